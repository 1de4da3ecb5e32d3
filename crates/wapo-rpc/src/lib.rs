//! The public interface of a Wapo worker.
//!
//! A call is `POST /prpc/<Service>.<Method>` with a protobuf message, or with
//! the same message as JSON ([`encoding`]). This crate has the messages
//! ([`message`]), the names of the methods ([`method`]), and what an app is to
//! the outside: its manifest and the address that follows from it
//! ([`manifest`]). It opens no sockets. Used by `wapod`, which serves the
//! interface, and by the `wapo` command, which calls it.

#![forbid(unsafe_code)]

pub mod encoding;
mod hexbytes;
pub mod limits;
pub mod manifest;
pub mod message;
pub mod method;

pub use encoding::{DecodeError, Encoding};
pub use manifest::{AddressError, AppAddress, AppManifest};
pub use message::{
    ErrorMessage, MemoryUsage, ModuleLoaderInfo, QueryArgs, QueryResponse, WorkerInfo,
};
pub use method::{Method, UserMethod};
