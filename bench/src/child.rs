//! A server under measurement: this program once more, as a child process.
//!
//! Commands go in by standard input, one a line; answers come back by standard
//! output and end with the line `done`. The child ends when its input does, so
//! none outlives the bench, however that ends.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::machine;

/// A running server process. Killed when dropped.
pub(crate) struct Server {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Server {
    /// Starts `bench serve <what>`.
    ///
    /// # Errors
    ///
    /// The system starts no process.
    pub(crate) fn start(what: &str) -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["serve", what])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the server's process")?;
        let input = process.stdin.take().context("no input")?;
        let output = process.stdout.take().context("no output")?;
        Ok(Self {
            process,
            input,
            output: BufReader::new(output),
        })
    }

    /// Gives a command and waits for the lines of its answer.
    ///
    /// # Errors
    ///
    /// The child refuses the command or is gone.
    pub(crate) fn ask(&mut self, command: &str) -> Result<Vec<String>> {
        writeln!(self.input, "{command}").context("the server is gone")?;
        let mut answer = Vec::new();
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line)? == 0 {
                bail!("the server ended at `{command}`");
            }
            match line.trim_end() {
                "done" => return Ok(answer),
                line => match line.strip_prefix("error ") {
                    Some(error) => bail!("`{command}`: {error}"),
                    None => answer.push(line.to_owned()),
                },
            }
        }
    }

    /// As [`ask`](Self::ask), for an answer of one line.
    ///
    /// # Errors
    ///
    /// As there, and when the answer is empty.
    pub(crate) fn ask_one(&mut self, command: &str) -> Result<String> {
        let mut lines = self.ask(command)?;
        lines
            .pop()
            .with_context(|| format!("no answer to `{command}`"))
    }

    /// Memory of the process in bytes.
    ///
    /// # Errors
    ///
    /// The system does not tell.
    pub(crate) fn memory_bytes(&self) -> Result<u64> {
        machine::memory_bytes(self.id())
    }

    /// Processor time that the process has used.
    ///
    /// # Errors
    ///
    /// The system does not tell.
    pub(crate) fn cpu_time(&self) -> Result<Duration> {
        machine::cpu_time(self.id())
    }

    /// The number of the process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already; there is nobody to tell.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
