//! Which compiler builds guests, and how it is called.
//!
//! Guests are compiled for `wasm32-wasip1`. The usual way is the standard
//! library that rustup delivers for that target. Where it cannot be had (a
//! distribution's compiler, a network that does not reach rustup's server),
//! Debian's packages do: their compiler, their copy of the standard library's
//! sources, which cargo then compiles, their C library and their linker.
//!
//! Nothing is recorded: both ways are looked for at every build (some 50 ms), so
//! there is no state that could be stale. This file uses the standard library
//! only, because `xtask` includes it by path and must stay quick to compile.

#![allow(dead_code, reason = "wapo-cli and xtask each use a part of it")]
#![allow(
    clippy::disallowed_methods,
    reason = "the search path and FORCE_VARIABLE are properties of the machine, not settings"
)]

use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The target that guests are compiled for.
pub(crate) const TARGET: &str = "wasm32-wasip1";
/// Forces one of the two ways when set to `rustup` or `debian`.
pub(crate) const FORCE_VARIABLE: &str = "WAPO_GUEST_TOOLCHAIN";
/// The packages of Debian 12 (with its security updates) that build guests.
pub(crate) const DEBIAN_PACKAGES: &[&str] = &["rustc-web", "rust-web-src", "wasi-libc", "lld-22"];

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_LIBC: &str = "/usr/lib/wasm32-wasi";
const DEBIAN_LINKERS: &[&str] = &["/usr/bin/wasm-ld-22", "/usr/bin/wasm-ld"];
/// An object file that weakly defines `main`.
///
/// Programs of Wapo 0.x have none, and Debian's C library, unlike newer ones,
/// insists on it. Nobody calls it: the host enters a program elsewhere.
const MAIN_OBJECT: &[u8] = b"\0asm\x01\0\0\0\
    \x01\x07\x01\x60\x02\x7f\x7f\x01\x7f\
    \x03\x02\x01\x00\
    \x0a\x06\x01\x04\x00\x41\x00\x0b\
    \x00\x14\x07linking\x02\x08\x09\x01\x00\x05\x00\x04main";
/// Its name in the sysroot.
const MAIN_FILE: &str = "main.o";
/// Oldest minor version of Rust 1 that compiles our crates.
const RUST_MINOR_MIN: u32 = 95;

/// A way to compile guests, found to be complete on this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Toolchain {
    /// The compiler in use has a standard library for [`TARGET`].
    Rustup,
    /// Debian's compiler; the standard library is compiled along with the guest.
    Debian {
        /// Linker for wasm.
        linker: PathBuf,
        /// Where the compiler keeps what belongs to it.
        sysroot: PathBuf,
    },
}

impl Toolchain {
    /// Looks for a way to compile guests; `None` when neither is complete.
    ///
    /// # Errors
    ///
    /// [`FORCE_VARIABLE`] holds something else than the two names.
    pub(crate) fn detect() -> Result<Option<Self>, String> {
        match forced()?.as_deref() {
            Some("rustup") => Ok(Self::rustup()),
            Some(_) => Ok(Self::debian()),
            None => Ok(Self::rustup().or_else(Self::debian)),
        }
    }

    fn rustup() -> Option<Self> {
        let libraries =
            output(Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]))?;
        Path::new(&libraries).is_dir().then_some(Self::Rustup)
    }

    fn debian() -> Option<Self> {
        let version = output(Command::new(DEBIAN_RUSTC).arg("--version"))?;
        if minor_version(&version)? < RUST_MINOR_MIN {
            return None;
        }
        let sysroot = PathBuf::from(output(
            Command::new(DEBIAN_RUSTC).args(["--print", "sysroot"]),
        )?);
        let linker = DEBIAN_LINKERS
            .iter()
            .map(Path::new)
            .find(|path| path.exists())?;
        let complete = sysroot.join("lib/rustlib/src/rust/library/std").is_dir()
            && Path::new(DEBIAN_LIBC).join("libc.a").exists();
        complete.then(|| Self::Debian {
            linker: linker.to_owned(),
            sysroot,
        })
    }

    /// Prepares `cargo <subcommand> --target wasm32-wasip1`, to be completed and run.
    ///
    /// `scratch` is a folder for files of the build, usually the target folder.
    ///
    /// # Errors
    ///
    /// `scratch` cannot be written.
    pub(crate) fn cargo(&self, subcommand: &str, scratch: &Path) -> io::Result<Command> {
        let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut cargo = Command::new(program);
        cargo.args([subcommand, "--target", TARGET]);
        if let Self::Debian { linker, sysroot } = self {
            let sysroot = make_sysroot(sysroot, &scratch.join("guest-sysroot"))?;
            // As configuration and not as RUSTFLAGS: it joins what the guest's
            // own .cargo/config.toml says, and paths may hold blanks.
            cargo
                .args(["-Zbuild-std=std,panic_abort", "--config"])
                .arg(format!(
                    "target.{TARGET}.linker={:?}",
                    linker.display().to_string()
                ))
                .arg("--config")
                .arg(format!(
                    "target.{TARGET}.rustflags=[{:?}, {:?}]",
                    format!("--sysroot={}", sysroot.display()),
                    format!("-Clink-arg={}", sysroot.join(MAIN_FILE).display()),
                ))
                .env("RUSTC", DEBIAN_RUSTC)
                .env("RUSTC_BOOTSTRAP", "1")
                .env_remove("RUSTFLAGS")
                .env_remove("CARGO_ENCODED_RUSTFLAGS");
        }
        Ok(cargo)
    }

    /// What to tell someone whose machine has neither way.
    pub(crate) fn advice() -> String {
        format!(
            "no compiler for {TARGET} found.\n\
             Either:  rustup target add {TARGET}\n\
             or, on Debian 12:  apt-get install {}",
            DEBIAN_PACKAGES.join(" ")
        )
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rustup => "rustup",
            Self::Debian { .. } => "debian",
        })
    }
}

/// The way that [`FORCE_VARIABLE`] asks for.
pub(crate) fn forced() -> Result<Option<String>, String> {
    match env::var(FORCE_VARIABLE).ok().as_deref() {
        None | Some("") => Ok(None),
        Some(name @ ("rustup" | "debian")) => Ok(Some(name.to_owned())),
        Some(other) => Err(format!(
            "{FORCE_VARIABLE}={other}: expected `rustup` or `debian`"
        )),
    }
}

/// Lays out a sysroot of links in which rustc finds Debian's C library and start
/// objects where rustup would put them ("self-contained"). With these in place
/// rustc links programs and libraries just as it does with rustup's target.
fn make_sysroot(debian: &Path, sysroot: &Path) -> io::Result<PathBuf> {
    let rustlib = sysroot.join("lib/rustlib");
    let target = rustlib.join(TARGET).join("lib");
    fs::create_dir_all(&target)?;
    for entry in fs::read_dir(debian.join("lib/rustlib"))? {
        let entry = entry?;
        if entry.file_name() != TARGET {
            link(&entry.path(), &rustlib.join(entry.file_name()))?;
        }
    }
    link(Path::new(DEBIAN_LIBC), &target.join("self-contained"))?;
    let main = sysroot.join(MAIN_FILE);
    if fs::read(&main).ok().as_deref() != Some(MAIN_OBJECT) {
        fs::write(main, MAIN_OBJECT)?;
    }
    fs::canonicalize(sysroot)
}

/// Makes a link, or changes it.
///
/// # Errors
///
/// As those of the system; something that is no link is there.
pub(crate) fn link(from: &Path, to: &Path) -> io::Result<()> {
    if fs::read_link(to).is_ok_and(|existing| existing == from) {
        return Ok(());
    }
    match fs::remove_file(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    match std::os::unix::fs::symlink(from, to) {
        // Another build was quicker.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// `rustc 1.96.0 (…)` is 96; `None` for anything else than Rust 1.
fn minor_version(text: &str) -> Option<u32> {
    let mut numbers = text.strip_prefix("rustc 1.")?.split('.');
    numbers.next()?.parse().ok()
}

/// What a command prints, when it exists and succeeds.
fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// Whether a program is on the search path.
pub(crate) fn on_path(program: impl AsRef<OsStr>) -> bool {
    find(program).is_some()
}

/// Where the path has a program.
pub(crate) fn find(program: impl AsRef<OsStr>) -> Option<PathBuf> {
    let folders = env::var_os("PATH")?;
    let mut files = env::split_paths(&folders).map(|folder| folder.join(program.as_ref()));
    files.find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_version_of_a_compiler() {
        assert_eq!(
            minor_version("rustc 1.96.0 (ac68faa20 2026-05-25)"),
            Some(96)
        );
        assert_eq!(minor_version("rustc 1.97.0-nightly"), Some(97));
        assert_eq!(minor_version("rustc 2.0.0"), None);
        assert_eq!(minor_version("gcc 12"), None);
    }

    #[test]
    fn a_sysroot_can_be_made_twice() {
        let folder = env::temp_dir().join(format!("wapo-sysroot-{}", std::process::id()));
        let debian = folder.join("debian");
        fs::create_dir_all(debian.join("lib/rustlib/src")).expect("folder");
        let first = make_sysroot(&debian, &folder.join("own")).expect("first");
        let second = make_sysroot(&debian, &folder.join("own")).expect("second");
        assert_eq!(first, second);
        assert!(first.join("lib/rustlib/src").is_dir());
        let linked = fs::read_link(first.join("lib/rustlib/wasm32-wasip1/lib/self-contained"));
        assert_eq!(linked.expect("link"), Path::new(DEBIAN_LIBC));
        fs::remove_dir_all(folder).expect("clean up");
    }
}
