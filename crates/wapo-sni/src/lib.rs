//! Names on a shared TLS port: which one a client asks for, and whose it is.
//!
//! A [`HelloReader`] takes the bytes of a connection as they come and gives the
//! [`ClientHello`] in them, with the server's name; what it cannot read is a
//! [`HelloError`], which knows the [`Alert`] for the client. [`Names`] is the table
//! of names and their owners.
//!
//! No I/O, no clock, no TLS library, no wasm: the owner of the connection reads it,
//! keeps the deadline, and hands the bytes on to the side that terminates TLS, a
//! library or a guest. Used by `wapod`.

#![forbid(unsafe_code)]

mod alert;
mod bytes;
mod hello;
pub mod limits;
mod name;
mod names;
mod reader;

pub use alert::Alert;
pub use hello::{ClientHello, Version};
pub use name::{NameError, Pattern, ServerName};
pub use names::{Entry, Names, Refusal};
pub use reader::{HelloError, HelloReader, Progress};
