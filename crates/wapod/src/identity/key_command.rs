//! Runs the operator's program that prints what opens the worker's key.
//!
//! Such as the client of a key service. It has a deadline and a cap on what it may
//! print, and ends with all that it has started. No shell reads the words. Called by
//! `identity`, at the start only; never in an enclave, where there is one process.

use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use zeroize::Zeroizing;

use crate::config::Passphrase;

/// Time for the program: a key service answers within seconds or not at all.
const TIME_MAX: Duration = Duration::from_secs(30);

/// How often it is looked whether it has ended, once it has printed all.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Variables that are no business of the program's.
const SECRETS: [&str; 2] = ["WAPOD_ADMIN_TOKEN", "WAPOD_KEY_PASSPHRASE"];

/// Runs the program and takes what it prints. Blocks.
///
/// # Errors
///
/// A text without the secret.
pub(super) fn ask(command: &str) -> Result<Passphrase, String> {
    ask_within(command, TIME_MAX)
}

fn ask_within(command: &str, time_max: Duration) -> Result<Passphrase, String> {
    let end = Instant::now() + time_max;
    let mut words = command.split_whitespace();
    let program = words.next().ok_or("it names no program")?;
    let mut command = Command::new(program);
    command
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // Of its own, so that what it starts ends with it.
        .process_group(0);
    for name in SECRETS {
        command.env_remove(name);
    }
    let child = command.spawn();
    let mut child = child.map_err(|error| format!("`{program}` cannot be started: {error}"))?;
    let printed = print_of(&mut child, end);
    let group = Pid::from_child(&child);
    let printed = printed.and_then(|printed| wait_for(group, end).map(|()| printed));
    // Whatever it has started, too. Until it is waited for, the number is nobody else's.
    let _ = kill_process_group(group, Signal::KILL);
    let status = child.wait();
    let mut printed = printed?;
    let status = status.map_err(|error| error.to_string())?;
    if !status.success() {
        return Err(format!("`{program}` ended with {status}"));
    }
    let secret = Passphrase::new(std::mem::take(&mut *printed));
    secret.map_err(|error| format!("what `{program}` prints is no secret: {error}"))
}

/// All that it prints.
fn print_of(child: &mut Child, end: Instant) -> Result<Zeroizing<Vec<u8>>, String> {
    let most = Passphrase::BYTES_MAX + 2;
    let output = child.stdout.take().ok_or("it has no output")?;
    let (send, receive) = sync_channel(1);
    let reading = thread::Builder::new().name("key-command".to_owned());
    let reading = reading.spawn(move || {
        // Of its final size, so that no piece is left behind when it grows.
        let mut bytes = Zeroizing::new(Vec::with_capacity(most + 1));
        let limit = u64::try_from(most).unwrap_or(u64::MAX);
        let read = output.take(limit + 1).read_to_end(&mut bytes);
        let _ = send.send(read.map(|_| bytes));
    });
    reading.map_err(|error| format!("cannot start threads: {error}"))?;
    let left = end.saturating_duration_since(Instant::now());
    let printed = receive.recv_timeout(left);
    let printed = printed.map_err(|_| TOO_LONG.to_owned())?;
    let printed = printed.map_err(|error| error.to_string())?;
    match printed.len() > most {
        true => Err(format!(
            "it prints more than {} bytes",
            Passphrase::BYTES_MAX
        )),
        false => Ok(printed),
    }
}

const TOO_LONG: &str = "it takes too long";

/// Waits until it has ended, and leaves the outcome to the next caller.
fn wait_for(child: Pid, end: Instant) -> Result<(), String> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    loop {
        let ended = waitid(WaitId::Pid(child), options).map_err(|error| error.to_string())?;
        if ended.is_some() {
            return Ok(());
        }
        if Instant::now() >= end {
            return Err(TOO_LONG.to_owned());
        }
        #[allow(
            clippy::disallowed_methods,
            reason = "at the start, on a thread for work that blocks"
        )]
        thread::sleep(LOOK_INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(command: &str) -> String {
        ask(command).expect_err(command)
    }

    #[test]
    fn what_a_program_prints_opens_the_key() {
        let secret = ask("echo from a  service").expect("printed");
        assert_eq!(secret.bytes(), b"from a service");
    }

    #[test]
    fn programs_that_fail_or_print_no_secret_are_told_apart() {
        assert!(error("").contains("names no program"));
        assert!(error("/nowhere/kms").contains("cannot be started"));
        assert!(error("false").contains("exit status: 1"));
        assert!(error("true").contains("empty"));
        let endless = error("yes");
        assert!(endless.contains("4096 bytes"), "{endless}");
    }

    #[test]
    fn a_program_that_hangs_is_ended_with_what_it_has_started() {
        let folder = tempfile::tempdir().expect("folder");
        let script = folder.path().join("kms");
        let pid = folder.path().join("pid");
        let text = format!("sleep 600 &\necho $! >{}\nwait\n", pid.display());
        std::fs::write(&script, text).expect("written");
        let begun = Instant::now();
        let command = format!("sh {}", script.display());
        let error = ask_within(&command, Duration::from_secs(1)).err();
        assert_eq!(error.as_deref(), Some(TOO_LONG));
        assert!(begun.elapsed() < Duration::from_secs(20));
        let started = std::fs::read_to_string(pid).expect("started");
        let process = format!("/proc/{}/stat", started.trim());
        let is_alive = || {
            let stat = std::fs::read_to_string(&process);
            stat.is_ok_and(|text| !text.contains(") Z "))
        };
        while is_alive() {
            assert!(begun.elapsed() < Duration::from_secs(20), "it lives");
            thread::yield_now();
        }
    }
}
