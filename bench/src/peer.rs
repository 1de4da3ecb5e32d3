//! A server of others, in a process of its own, for rows that compare with it.

use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::machine;
use crate::worker::pause;

/// Time for it to start.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Time between two looks at it.
const PAUSE: Duration = Duration::from_millis(20);

/// A running server. Killed when dropped.
pub(crate) struct Peer {
    process: Child,
    address: SocketAddr,
}

impl Peer {
    /// Starts it, and waits until it takes connections at this address.
    ///
    /// # Errors
    ///
    /// It does not start.
    pub(crate) fn start(mut command: Command, address: SocketAddr) -> Result<Self> {
        let program = command.get_program().display().to_string();
        let process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let server = Self { process, address };
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            if begun.elapsed() > START_TIMEOUT {
                bail!("{program} does not start");
            }
            pause(PAUSE);
        }
        Ok(server)
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

impl Drop for Peer {
    fn drop(&mut self) {
        // It may be gone already; there is nobody to tell.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
