//! The network as guests see it.
//!
//! `policy` decides who may be reached, `dns` finds addresses, `connect` dials,
//! `tls` speaks TLS, `stream` and `listener` are what a guest's handles stand
//! for. Nothing here knows wasm.

pub(crate) mod body;
pub(crate) mod connect;
pub(crate) mod dns;
pub(crate) mod listener;
pub mod policy;
pub(crate) mod stream;
pub(crate) mod tls;

pub use listener::bind_tcp;
