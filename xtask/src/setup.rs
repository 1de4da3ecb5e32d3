//! Installs what tests need besides Rust: the compiler for guests, a browser, an authority,
//! Python. Everything has a time limit, because a network that swallows packets
//! must not stop a build for ever.
//!
//! The compiler comes one of two ways: rustup's target first, then Debian's
//! packages. The browser and Python are Debian's.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::engine_build::{ARCHIVER, CLANG};
use crate::process;
use crate::toolchain::{self, DEBIAN_PACKAGES, TARGET, Toolchain};

/// Timeout for rustup: the download is some 20 MB.
const RUSTUP_LIMIT: Duration = Duration::from_secs(120);
/// Timeout for apt: some 200 MB, and its lock may be held by another.
const APT_LIMIT: Duration = Duration::from_secs(900);

/// What the verifier is compiled for besides the host: a page in a browser.
pub(crate) const PAGE_TARGET: &str = "wasm32-unknown-unknown";

/// The programs of the console's tests, and Debian's packages with them.
const BROWSER: [&str; 2] = ["chromium", "chromedriver"];
const BROWSER_PACKAGES: &[&str] = &["chromium", "chromium-driver"];
/// Python with `venv`, which Debian keeps apart.
const PYTHON_PACKAGES: &[&str] = &["python3", "python3-venv"];

/// Debian's packages for guests in C, which tests need, and for the C part of the engine
/// of JavaScript apps: compiler, archiver, linker, C library, compiler's own library.
const CLANG_PACKAGES: &[&str] = &[
    "clang-22",
    "llvm-22",
    "lld-22",
    "wasi-libc",
    "libclang-rt-22-dev-wasm32",
];

/// What fetches the packages that are bundled into the engine of JavaScript apps.
const NODE: [&str; 2] = ["node", "npm"];
const NODE_PACKAGES: &[&str] = &["nodejs", "npm"];

/// Everything that `cargo xtask ci` needs.
///
/// # Errors
///
/// As those of [`run`], [`clang`], [`node`], [`browser`], [`authority`] and [`python`].
pub(crate) fn all() -> Result<()> {
    run()?;
    pages();
    clang()?;
    node()?;
    browser()?;
    authority()?;
    python()
}

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
        add_rustup_target(TARGET);
    }
    if forced.as_deref() != Some("rustup") && detect()?.is_none() {
        if !toolchain::on_path("apt-get") {
            bail!(Toolchain::advice());
        }
        install_packages(DEBIAN_PACKAGES)?;
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
fn add_rustup_target(target: &str) {
    if !toolchain::on_path("rustup") {
        println!("rustup is not installed");
        return;
    }
    let mut command = Command::new("rustup");
    command.args(["target", "add", target]);
    if let Err(error) = process::run_limited(&mut command, RUSTUP_LIMIT) {
        eprintln!("warning: {error:#}");
    }
}

/// Installs what the verifier is compiled with for pages, where rustup is. Debian has
/// nothing for this target.
pub(crate) fn pages() {
    if !has_target(PAGE_TARGET) {
        add_rustup_target(PAGE_TARGET);
    }
}

/// Whether the compiler has the standard library of a target.
pub(crate) fn has_target(target: &str) -> bool {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", target]);
    process::read(&mut rustc).is_ok_and(|folder| Path::new(folder.trim()).is_dir())
}

/// Makes sure that guests in C can be built.
///
/// # Errors
///
/// It cannot be installed; the message says what to run by hand.
pub(crate) fn clang() -> Result<()> {
    let libraries = Path::new("/usr/lib/wasm32-wasi/libc.a");
    let programs = [CLANG, ARCHIVER, "wasm-ld-22"];
    if programs.iter().all(toolchain::on_path) && libraries.exists() {
        return Ok(());
    }
    install_packages(CLANG_PACKAGES).context("tests need a guest in C")
}

/// Makes sure that there is a browser for the console's tests.
///
/// # Errors
///
/// It cannot be installed; the message says what to run by hand.
pub(crate) fn browser() -> Result<()> {
    if BROWSER.iter().all(toolchain::on_path) {
        return Ok(());
    }
    install_packages(BROWSER_PACKAGES).context("the console's tests need a browser")
}

/// Makes sure that packages of npm can be fetched.
///
/// # Errors
///
/// It cannot be installed; the message says what to run by hand.
pub(crate) fn node() -> Result<()> {
    if NODE.iter().all(toolchain::on_path) {
        return Ok(());
    }
    install_packages(NODE_PACKAGES).context("the engine of JavaScript apps needs npm")
}

/// Makes sure that there is an authority for tests of ACME.
///
/// # Errors
///
/// It cannot be installed; the message says what to run by hand.
pub(crate) fn authority() -> Result<()> {
    if toolchain::on_path("pebble") {
        return Ok(());
    }
    install_packages(&["pebble"]).context("tests of certificates by ACME need an authority")
}

/// Makes sure that there is Python with virtual environments.
///
/// # Errors
///
/// It cannot be installed; the message says what to run by hand.
pub(crate) fn python() -> Result<()> {
    let mut probe = Command::new("python3");
    probe
        .args(["-m", "ensurepip", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if probe.status().is_ok_and(|status| status.success()) {
        return Ok(());
    }
    install_packages(PYTHON_PACKAGES)
        .context("programs that test a worker from outside need Python")
}

fn install_packages(packages: &[&str]) -> Result<()> {
    let names = packages.join(" ");
    if !toolchain::on_path("apt-get") {
        bail!("there is no apt-get here; please install, by whatever name: {names}");
    }
    if !is_root() {
        bail!("not allowed to install packages; please run: sudo apt-get install {names}");
    }
    println!("installing {names}");
    apt_get(&["update"])?;
    apt_get(&[&["install", "--no-install-recommends"], packages].concat())
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
