//! A daemon in a process of its own, for tests that kill it.
//!
//! `e2e-daemon FOLDER` serves on free ports until it is killed, and says on
//! standard output where. It is the same server that `wapod` starts; this
//! program belongs to the tests, so cargo promises them that it is there.

#![forbid(unsafe_code)]

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use wapod::{Running, Server};

fn main() -> ExitCode {
    if let Some(code) = wapod::compile::compile_if_asked() {
        return code;
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("e2e-daemon: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("which folder?")?;
    let runtime = wapod::runtime_builder().build()?;
    runtime.block_on(serve(folder))
}

async fn serve(folder: String) -> Result<(), Box<dyn std::error::Error>> {
    let mut config = e2e::daemon::config();
    config.data_dir = Some(folder.into());
    config.admin_address = Some(([127, 0, 0, 1], 0).into());
    // Long enough to be killed within it.
    config.drain_grace = Duration::from_secs(10);
    let running: Running = Server::start(config).await?;
    let admin = running.admin_address().ok_or("no admin port")?;
    let mut out = std::io::stdout();
    writeln!(out, "{admin} {}", running.user_address())?;
    out.flush()?;
    running.exit_requested().await;
    running.shutdown().await;
    Ok(())
}
