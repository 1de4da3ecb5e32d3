//! The subcommands, one file each.
//!
//! Each has `Options` for the command line and a function `run` that does it.

pub(crate) mod build;
pub(crate) mod new;
pub(crate) mod run;
