//! Installs the compiler for guests, one of two ways.
//!
//! rustup's target first, with a time limit, because a network that swallows
//! packets must not stop a build for ever; then Debian's packages.

use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::process;
use crate::toolchain::{self, DEBIAN_PACKAGES, TARGET, Toolchain};

/// Patience with rustup: the download is some 20 MB.
const RUSTUP_LIMIT: Duration = Duration::from_secs(120);
/// Patience with apt: some 200 MB, and its lock may be held by another.
const APT_LIMIT: Duration = Duration::from_secs(900);

/// Makes sure that guests can be built and says how.
///
/// # Errors
///
/// Neither way works; the message says what to run by hand.
pub(crate) fn run() -> Result<Toolchain> {
    if let Some(found) = detect()? {
        println!("guests are built with: {found}");
        return Ok(found);
    }
    let forced = toolchain::forced().map_err(|text| anyhow!(text))?;
    if forced.as_deref() != Some("debian") {
        add_rustup_target();
    }
    if forced.as_deref() != Some("rustup") && detect()?.is_none() {
        install_packages()?;
    }
    let found = detect()?.with_context(Toolchain::advice)?;
    println!("guests are built with: {found}");
    Ok(found)
}

/// The toolchain in place, if any.
///
/// # Errors
///
/// A malformed wish in the environment.
pub(crate) fn detect() -> Result<Option<Toolchain>> {
    Toolchain::detect().map_err(|text| anyhow!(text))
}

/// A failure here is only reported: the other way is still to come.
fn add_rustup_target() {
    if !toolchain::on_path("rustup") {
        println!("rustup is not installed");
        return;
    }
    let mut command = Command::new("rustup");
    command.args(["target", "add", TARGET]);
    if let Err(error) = process::run_limited(&mut command, RUSTUP_LIMIT) {
        eprintln!("warning: {error:#}");
    }
}

fn install_packages() -> Result<()> {
    let packages = DEBIAN_PACKAGES.join(" ");
    if !toolchain::on_path("apt-get") {
        bail!(Toolchain::advice());
    }
    if !is_root() {
        bail!("not allowed to install packages; please run: sudo apt-get install {packages}");
    }
    println!("installing {packages}");
    apt_get(&["update"])?;
    apt_get(&[&["install", "--no-install-recommends"], DEBIAN_PACKAGES].concat())
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command
        .args(["--yes", "--quiet"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive");
    process::run_limited(&mut command, APT_LIMIT)
}

/// The owner of our own entry in /proc is the effective user.
fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}
