//! What describes the interface to others, word for word.
//!
//! Written by `cargo xtask codegen` from `schema`; served by the daemon.

/// The interface over HTTP and JSON, as an OpenAPI 3.1 document.
pub const OPENAPI_JSON: &str = include_str!("../../../docs/openapi.json");

/// The messages and services, as a protobuf file.
pub const PROTO: &str = include_str!("../proto/wapod_rpc.proto");
