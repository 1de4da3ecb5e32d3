//! Settled usage, the bill. Bytes in, checks out; called by `wapo verify usage`.
