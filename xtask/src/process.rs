//! Running other programs: where, how long, and what their failure says.

use std::env;
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How often a running program with a time limit is looked at.
const WATCH_INTERVAL: Duration = Duration::from_millis(100);

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

/// What cargo tells a program that it runs about that program's package.
///
/// Build scripts of dependencies (ring's is one) are run again when such a
/// variable is another one than last time, so a cargo that is started here must
/// not see those of `xtask`: everything that needs them would be built anew after
/// each change between `cargo xtask` and a bare `cargo build`.
const OF_OUR_PACKAGE: &[&str] = &[
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_LINKS",
    "CARGO_MANIFEST_PATH",
    "CARGO_PKG_AUTHORS",
    "CARGO_PKG_DESCRIPTION",
    "CARGO_PKG_HOMEPAGE",
    "CARGO_PKG_LICENSE",
    "CARGO_PKG_LICENSE_FILE",
    "CARGO_PKG_NAME",
    "CARGO_PKG_README",
    "CARGO_PKG_REPOSITORY",
    "CARGO_PKG_RUST_VERSION",
    "CARGO_PKG_VERSION",
    "CARGO_PKG_VERSION_MAJOR",
    "CARGO_PKG_VERSION_MINOR",
    "CARGO_PKG_VERSION_PATCH",
    "CARGO_PKG_VERSION_PRE",
];

/// A cargo command that runs in the root of the repository.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    #[allow(
        clippy::disallowed_methods,
        reason = "cargo tells its children where it is"
    )]
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    for name in OF_OUR_PACKAGE {
        command.env_remove(name);
    }
    command
}

/// Runs a program to its end.
///
/// # Errors
///
/// It cannot be started or does not succeed.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| not_started(command))?;
    succeeded(command, status)
}

/// Runs a program and hands each line it writes to one of its outputs to
/// `on_line`, which sees it after it was printed.
///
/// # Errors
///
/// As [`run`].
pub(crate) fn run_watching(
    command: &mut Command,
    output: Output,
    mut on_line: impl FnMut(&str),
) -> Result<()> {
    match output {
        Output::Stdout => command.stdout(Stdio::piped()),
        Output::Stderr => command.stderr(Stdio::piped()),
    };
    let mut child = command.spawn().with_context(|| not_started(command))?;
    let pipe: Option<Box<dyn Read>> = match output {
        Output::Stdout => child.stdout.take().map(|pipe| Box::new(pipe) as _),
        Output::Stderr => child.stderr.take().map(|pipe| Box::new(pipe) as _),
    };
    let mut lines = BufReader::new(pipe.context("the output is not piped")?);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line);
        match output {
            Output::Stdout => print!("{text}"),
            Output::Stderr => eprint!("{text}"),
        }
        on_line(text.trim_end());
        line.clear();
    }
    let status = child.wait()?;
    succeeded(command, status)
}

/// One of the two outputs of a program.
#[derive(Clone, Copy)]
pub(crate) enum Output {
    /// What it prints.
    Stdout,
    /// What it reports.
    Stderr,
}

/// Runs a program and ends it when it takes longer than `limit`.
///
/// # Errors
///
/// As [`run`], and when the limit is reached.
pub(crate) fn run_limited(command: &mut Command, limit: Duration) -> Result<()> {
    let start = Instant::now();
    let mut child = command.spawn().with_context(|| not_started(command))?;
    loop {
        if let Some(status) = child.try_wait()? {
            return succeeded(command, status);
        }
        if start.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            bail!(
                "`{}` took longer than {} s",
                Shown(command),
                limit.as_secs()
            );
        }
        #[allow(
            clippy::disallowed_methods,
            reason = "nothing else runs in this program"
        )]
        thread::sleep(WATCH_INTERVAL);
    }
}

/// What a program prints.
///
/// # Errors
///
/// As [`run`], and when the text is not UTF-8.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| not_started(command))?;
    succeeded(command, output.status)?;
    Ok(String::from_utf8(output.stdout)?)
}

/// Does one stage of a longer task and says how long it took.
///
/// # Errors
///
/// Those of `work`, with the name of the stage.
pub(crate) fn stage<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("== {name}");
    let start = Instant::now();
    let result = work();
    let outcome = if result.is_ok() { "done" } else { "FAILED" };
    println!(
        "== {name}: {outcome} in {:.1} s",
        start.elapsed().as_secs_f64()
    );
    result.with_context(|| format!("stage {name}"))
}

fn succeeded(command: &Command, status: ExitStatus) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    bail!("`{}` failed: {status}", Shown(command))
}

fn not_started(command: &Command) -> String {
    format!("cannot start `{}`", Shown(command))
}

/// A command as one would type it.
struct Shown<'a>(&'a Command);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = Path::new(self.0.get_program());
        let name = program.file_name().unwrap_or(program.as_os_str());
        write!(f, "{}", name.display())?;
        for argument in self.0.get_args() {
            write!(f, " {}", argument.display())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_hangs_is_ended() {
        let start = Instant::now();
        let error = run_limited(Command::new("sleep").arg("60"), Duration::from_millis(50))
            .expect_err("must not wait");
        assert!(start.elapsed() < Duration::from_secs(20));
        assert_eq!(error.to_string(), "`sleep 60` took longer than 0 s");
    }

    #[test]
    fn a_failure_names_the_command() {
        let error = run(&mut Command::new("false")).expect_err("fails");
        assert!(error.to_string().starts_with("`false` failed"), "{error}");
    }
}
