//! The network as guests see it.
//!
//! `policy` decides which addresses may be reached, also from the addresses of the
//! `machine` and by what `address` knows of them, `gate` asks it and counts, `dns` finds
//! addresses, by `dns_sockets`, which `names` keeps, `connect` dials, itself or by a
//! `proxy`, with what `dialer` has, `failure` says why something failed, `tls` speaks
//! TLS, as a client in the way that `tls_client` makes of a guest's wishes and of
//! `tls_settings`, and as a server with what `tls_server` has, over a socket that
//! `read_ahead` may read in larger pieces, `bind` opens ports, `stream`, `listener` and
//! `udp` are what a guest's handles stand for. Nothing here knows wasm.

pub mod address;
pub(crate) mod bind;
pub(crate) mod body;
pub(crate) mod connect;
pub(crate) mod dialer;
pub(crate) mod dns;
pub(crate) mod dns_sockets;
pub(crate) mod failure;
pub(crate) mod gate;
pub(crate) mod identity;
pub(crate) mod listener;
pub mod machine;
pub(crate) mod names;
pub mod policy;
pub(crate) mod port;
pub mod port_ranges;
pub mod proxied;
pub mod proxy;
pub mod proxy_header;
pub(crate) mod rate_waits;
pub(crate) mod read_ahead;
pub(crate) mod room;
pub(crate) mod stream;
pub(crate) mod task;
pub(crate) mod tls;
pub(crate) mod tls_client;
pub(crate) mod tls_server;
pub(crate) mod tls_settings;
pub(crate) mod udp;
pub(crate) mod udp_connect;

pub use bind::{bind_tcp, bind_udp};
