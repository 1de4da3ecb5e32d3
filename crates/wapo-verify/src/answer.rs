//! Signed answers of a worker or an app. Bytes in, checks out; called by `wapo verify answer`.
