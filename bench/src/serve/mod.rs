//! The child processes: `bench serve wapo`, `bench serve wapo-enclave`, `bench serve
//! attested`, `bench serve daemon`, `bench serve javascript`, `bench serve native` and
//! `bench serve native-one-thread`.
//!
//! All read commands from standard input and answer on standard output (see
//! `child`); all end with their input.

mod attested;
pub(crate) mod daemon;
mod javascript;
pub(crate) mod native;
mod native_tls;
mod wapo;

use std::fmt::Display;

use anyhow::{Result, bail};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines, Stdin};
use wapod::Allocation;

/// Runs a server until standard input ends.
///
/// # Errors
///
/// It cannot start.
pub(crate) fn run(what: &str) -> Result<()> {
    match what {
        "attested" => attested::run(),
        "wapo" => wapo::run(Allocation::Pooled),
        "wapo-enclave" => wapo::run(Allocation::Enclave),
        "daemon" => daemon::run(),
        "javascript" => javascript::run(),
        "native" => native::run(native::Threads::PerCore),
        "native-one-thread" => native::run(native::Threads::One),
        _ => bail!("no server is named `{what}`"),
    }
}

fn commands() -> Lines<BufReader<Stdin>> {
    BufReader::new(tokio::io::stdin()).lines()
}

/// Answers a command.
fn answer<T: Display>(outcome: Result<Vec<T>>) {
    match outcome {
        Ok(lines) => {
            lines.iter().for_each(|line| println!("{line}"));
            println!("done");
        }
        // One line, whatever the error's text is.
        Err(error) => println!("error {}", format!("{error:#}").replace('\n', " ")),
    }
}
