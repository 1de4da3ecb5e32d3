//! `workerd`, another runtime that serves JavaScript programs.
//!
//! `cargo xtask bench` fetches its prebuilt program from npm, with a lock file, into
//! the target folder. Where it cannot be fetched, rows say so and go without.

use std::process::Command;

use anyhow::Result;

use crate::guests;
use crate::peer::Peer;
use crate::worker::free_addresses;

/// The package of npm with the program for this machine.
const PACKAGE: &str = if cfg!(target_arch = "aarch64") {
    "workerd-linux-arm64"
} else {
    "workerd-linux-64"
};

/// Starts a server of hello; `None` when the program was not fetched.
///
/// # Errors
///
/// It does not start.
pub(crate) fn start() -> Result<Option<Peer>> {
    let program = guests::root()
        .join("target/workerd/node_modules/@cloudflare")
        .join(PACKAGE)
        .join("bin/workerd");
    if !program.exists() {
        return Ok(None);
    }
    let [address] = free_addresses()?;
    let mut command = Command::new(program);
    command
        .arg("serve")
        .arg(guests::root().join("bench/workerd/hello.capnp"))
        .arg(format!("--socket-addr=http={address}"));
    Peer::start(command, address).map(Some)
}
