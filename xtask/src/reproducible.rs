//! Builds that can be repeated: the same sources give the same bytes, whatever the folder
//! is called. Measurements of enclaves and hashes of engines are worth nothing without.
//!
//! Paths are what differs: the compiler writes them into messages of panics. They are
//! replaced by names that are the same everywhere. Used by `dist --sgx`,
//! `reproducible`, CI and `nightly`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};

use crate::process;

/// A crate of ours that is built in no time.
const SMALL: &[&str] = &["rustc", "--package", "wapo-sni", "--crate-type", "cdylib"];
/// What of it is compared.
const SMALL_FILE: &str = "libwapo_sni.so";
/// Names of the two folders; of other lengths, so that nothing is the same by chance.
const FOLDERS: [&str; 2] = ["a", "another-folder"];

/// A cargo command in a copy of the repository, whose result does not depend on where
/// that is, in the target folder of that copy.
pub(crate) fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let mut command = process::cargo(arguments);
    let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    let flags = [remap(root, "/wapo"), remap(&cargo_home(), "/cargo")];
    command
        .current_dir(root)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .env("CARGO_INCREMENTAL", "0")
        // What was built is looked for there.
        .env_remove("CARGO_TARGET_DIR");
    command
}

/// Where cargo keeps the sources of packages.
fn cargo_home() -> PathBuf {
    #[allow(
        clippy::disallowed_methods,
        reason = "cargo decides by the same variables"
    )]
    let of = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let home = || of("HOME").map(|home| home.join(".cargo"));
    of("CARGO_HOME").or_else(home).unwrap_or_default()
}

/// Copies what git knows into two folders of other names, does the same in each, and
/// gives what came of it.
///
/// # Errors
///
/// Git, the disk, or `build`.
pub(crate) fn in_two_folders<T>(build: impl Fn(&Path) -> Result<T>) -> Result<[T; 2]> {
    let mut list = Command::new("git");
    list.args(["ls-files"]).current_dir(process::root());
    let files = process::read(&mut list)?;
    let in_one = |name: &str| {
        let folder = process::root().join("target/reproducible").join(name);
        for file in files.lines() {
            copy(&process::root().join(file), &folder.join(file))?;
        }
        let built = build(&folder)?;
        fs::remove_dir_all(&folder)?;
        Ok::<_, anyhow::Error>(built)
    };
    Ok([in_one(FOLDERS[0])?, in_one(FOLDERS[1])?])
}

/// Copies a file, not a link to it; makes the folder, and takes away what is there.
///
/// # Errors
///
/// The disk.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    // What is there may be without permission to write.
    if to.exists() {
        fs::remove_file(to)?;
    }
    fs::copy(from, to).with_context(|| from.display().to_string())?;
    Ok(())
}

/// Builds a small crate in two folders as the daemon is built for an enclave.
///
/// # Errors
///
/// It does not build, or the two differ.
pub(crate) fn small() -> Result<()> {
    compare("a small crate", SMALL, SMALL_FILE)
}

/// The same with the daemon itself, which takes a while.
///
/// # Errors
///
/// As [`small`].
pub(crate) fn daemon() -> Result<()> {
    compare("the daemon", &["build", "--package", "wapod"], "wapod")
}

fn compare(what: &str, arguments: &[&str], file: &str) -> Result<()> {
    let [one, other] = in_two_folders(|folder| {
        let arguments = [arguments, &["--profile", "dist", "--locked"]].concat();
        process::run(&mut cargo(folder, &arguments))?;
        let built = folder.join("target/dist").join(file);
        let content = fs::read(&built).with_context(|| built.display().to_string())?;
        let path = folder.display().to_string();
        ensure!(
            !content
                .windows(path.len())
                .any(|window| window == path.as_bytes()),
            "{what} has the path {path} in it"
        );
        Ok(hex::encode(Sha256::digest(content)))
    })?;
    ensure!(
        one == other,
        "{what} depends on the folder that it is built in: {one}, {other}"
    );
    println!("{what} is the same in two folders: sha256 {one}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_is_where_it_is_looked_for() {
        let command = cargo(Path::new("/somewhere"), &["build"]);
        let target = command
            .get_envs()
            .find(|(name, _)| *name == "CARGO_TARGET_DIR");
        assert_eq!(target, Some(("CARGO_TARGET_DIR".as_ref(), None)));
    }
}
