//! The public interface of a Wapo worker.
//!
//! A call is `POST /prpc/<Service>.<Method>` with a protobuf message, or with
//! the same message as JSON ([`encoding`]). This crate has the messages
//! ([`message`]), the names of the methods ([`method`]), and what an app is to
//! the outside: its manifest and the address that follows from it
//! ([`manifest`]), what it signs ([`statement`]). All of it follows from one
//! table ([`schema`]), as do docs/rpc.md, docs/openapi.json and
//! proto/wapod_rpc.proto. Used by `wapod`, which serves the interface, and by the
//! `wapo` command, which calls it with `client`; without that feature the crate
//! opens no sockets.

#![forbid(unsafe_code)]

#[cfg(feature = "client")]
pub mod client;
pub mod documents;
pub mod encoding;
pub mod hexbytes;
pub mod host_name;
pub mod limits;
pub mod log;
pub mod manifest;
pub mod message;
pub mod method;
pub mod private_query;
pub mod schema;
mod sealed_query;
pub mod signed_answer;
pub mod ss58;
pub mod statement;
pub mod text;
pub mod usage_file;

#[cfg(feature = "client")]
pub use client::{Client, ClientError, UserClient};
pub use encoding::{DecodeError, Encoding};
pub use host_name::{HostName, HostNameError};
pub use manifest::{AddressError, AppAddress, AppManifest, ManifestError};
pub use message::{
    Empty, ErrorMessage, MemoryUsage, ModuleLoaderInfo, QueryArgs, QueryResponse, WorkerInfo,
};
pub use method::{Method, OperationMethod, UserMethod};
