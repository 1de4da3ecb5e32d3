//! Quotes of hardware, and of the simulator. Bytes in, checks out; called by `wapo verify quote`.
