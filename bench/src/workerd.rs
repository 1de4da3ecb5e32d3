//! `workerd`, another runtime that serves JavaScript programs, in a process of its own.
//!
//! `cargo xtask bench` fetches its prebuilt program from npm, with a lock file, into
//! the target folder. Where it cannot be fetched, rows say so and go without.

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::guests;
use crate::machine;
use crate::worker::{free_addresses, pause};

/// Time for it to start.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Time between two looks at it.
const PAUSE: Duration = Duration::from_millis(20);

/// The package of npm with the program for this machine.
const PACKAGE: &str = if cfg!(target_arch = "aarch64") {
    "workerd-linux-arm64"
} else {
    "workerd-linux-64"
};

/// A running server of hello. Killed when dropped.
pub(crate) struct Workerd {
    process: Child,
    address: SocketAddr,
}

impl Workerd {
    /// Starts it; `None` when it was not fetched.
    ///
    /// # Errors
    ///
    /// It does not start.
    pub(crate) fn start() -> Result<Option<Self>> {
        let program = program();
        if !program.exists() {
            return Ok(None);
        }
        let [address] = free_addresses()?;
        let process = Command::new(&program)
            .arg("serve")
            .arg(guests::root().join("bench/workerd/hello.capnp"))
            .arg(format!("--socket-addr=http={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let server = Self { process, address };
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            if begun.elapsed() > START_TIMEOUT {
                bail!("workerd does not start");
            }
            pause(PAUSE);
        }
        Ok(Some(server))
    }

    /// Where it answers.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Memory of the process in bytes.
    ///
    /// # Errors
    ///
    /// The system does not tell.
    pub(crate) fn memory_bytes(&self) -> Result<u64> {
        machine::memory_bytes(self.id())
    }
}

impl Drop for Workerd {
    fn drop(&mut self) {
        // It may be gone already; there is nobody to tell.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn program() -> PathBuf {
    guests::root()
        .join("target/workerd/node_modules/@cloudflare")
        .join(PACKAGE)
        .join("bin/workerd")
}
