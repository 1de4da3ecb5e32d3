//! The subcommands, one file each; those that take nothing but an app share one.
//!
//! Each has `Options` for the command line and a function `run` that does it.
//! The first of them work on this machine alone, the others talk to a worker.

pub(crate) mod build;
pub(crate) mod engine;
mod former;
pub(crate) mod new;
pub(crate) mod repl;
pub(crate) mod run;
pub(crate) mod test;

pub(crate) mod change;
pub(crate) mod collateral;
pub(crate) mod deploy;
pub(crate) mod domain;
pub(crate) mod egress;
pub(crate) mod info;
pub(crate) mod init;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod query;
pub(crate) mod quota;
pub(crate) mod resize;
pub(crate) mod secret;
pub(crate) mod usage;
pub(crate) mod verify;
