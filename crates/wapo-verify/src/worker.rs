//! Evidence of a worker, a quote over its claims. Bytes in, checks out; called by `wapo verify worker`.
