//! `wapo verify`: what a worker claims, checked without trusting it or its operator.
//!
//! One file for each thing that is verified. The checks themselves are in `wapo-verify`;
//! here are the command line, files, the worker that is asked, and what people see.
//! The exit code is 0 when all that was demanded is so, 1 when it is refused or cannot
//! be found out, and 2 for a bad command line.

pub(crate) mod answer;
mod app;
mod demands;
mod files;
mod live;
mod peer;
mod quote;
pub(crate) mod show;
mod usage;
mod worker;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

pub(crate) use demands::Demands;
pub(crate) use files::{EvidenceFile, read_bounded, read_bytes, read_evidence, read_from};
pub(crate) use live::{user_client, whole_address};

use crate::terminal::Terminal;

/// Command line of `wapo verify`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Check a quote of SGX, TDX or SEV-SNP by itself.
    Quote(quote::Options),
    /// Check that a worker runs in hardware that attests, and what it claims.
    Worker(Box<worker::Options>),
    /// Check that an app runs in such a worker: by evidence, or by the certificate of a
    /// connection.
    App(Box<app::Options>),
    /// Check that a bill of `wapo usage export` is a chain that one worker has signed.
    Usage(usage::Options),
    /// Check a signed answer of an app: who answered, which request, and when.
    Answer(Box<answer::Options>),
}

/// Verifies, and says what was found.
///
/// # Errors
///
/// A file cannot be read, or the worker gives no evidence.
pub(crate) fn run(options: &Options, terminal: &Terminal) -> Result<ExitCode> {
    match &options.command {
        Command::Quote(options) => quote::run(options, terminal),
        Command::Worker(options) => worker::run(options, terminal),
        Command::App(options) => app::run(options, terminal),
        Command::Usage(options) => usage::run(options, terminal),
        Command::Answer(options) => answer::run(options, terminal),
    }
}
