//! Where a new project finds the SDK.
//!
//! Inside a checkout of Wapo, there; anywhere else, in a copy that this command
//! carries and unpacks into the cache. Never in the registry, whose `wapo` is
//! another one (0.x). The copy is named by its content, so projects made by
//! different versions of the command do not disturb each other.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

mod files {
    include!(concat!(env!("OUT_DIR"), "/sdk_files.rs"));
}

/// The crate that apps depend on, below a checkout or an unpacked copy.
const WAPO: &str = "crates/wapo";
/// A crate that nobody but us has beside it.
const WITNESS: &str = "crates/wapo-abi/Cargo.toml";

/// Versions of dependencies that the SDK is tested with, for new projects.
pub(crate) const LOCK: &str = files::LOCK;

/// Tells engines apart that are built from other sources.
pub(crate) const ENGINE_HASH: &str = files::ENGINE_HASH;

/// Writes what the engine of JavaScript apps is built of: the SDK and its own
/// sources, laid out as in a checkout.
///
/// # Errors
///
/// The folder cannot be written.
pub(crate) fn write_engine(folder: &Path) -> io::Result<()> {
    write_all(folder, files::ENGINE_FILES)
}

/// Names of the engine's sources, as in a checkout.
pub(crate) fn engine_files() -> impl Iterator<Item = &'static str> {
    files::ENGINE_FILES.iter().map(|(name, _)| *name)
}

/// The SDK in the checkout that `folder` is in, if it is in one.
pub(crate) fn in_checkout(folder: &Path) -> Option<PathBuf> {
    let root = folder
        .ancestors()
        .find(|root| root.join(WITNESS).is_file())?;
    let wapo = root.join(WAPO);
    wapo.join("Cargo.toml").is_file().then_some(wapo)
}

/// Where the copy of this command's SDK is or would be.
pub(crate) fn unpacked_path(cache: &Path) -> PathBuf {
    cache.join(format!("sdk-{}", files::HASH)).join(WAPO)
}

/// Unpacks the SDK into the cache, unless that was done before.
///
/// # Errors
///
/// The cache cannot be written.
pub(crate) fn unpack(cache: &Path) -> Result<PathBuf> {
    let folder = cache.join(format!("sdk-{}", files::HASH));
    let wapo = folder.join(WAPO);
    if wapo.join("Cargo.toml").is_file() {
        return Ok(wapo);
    }
    let failed = || format!("cannot unpack the SDK to {}", folder.display());
    // Complete or not there at all: it appears under its name when it is whole.
    let partial = cache.join(format!("sdk-{}.{}", files::HASH, std::process::id()));
    write_all(&partial, files::FILES).with_context(failed)?;
    match fs::rename(&partial, &folder) {
        Ok(()) => Ok(wapo),
        Err(_) if wapo.join("Cargo.toml").is_file() => {
            // Another command was quicker.
            let _ = fs::remove_dir_all(&partial);
            Ok(wapo)
        }
        Err(error) => Err(error).with_context(failed),
    }
}

fn write_all(folder: &Path, files: &[(&str, &str)]) -> io::Result<()> {
    for (name, content) in files {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, content)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_is_a_workspace_that_cargo_understands() {
        let cache = tempfile::tempdir().expect("folder");
        let wapo = unpack(cache.path()).expect("unpacked");
        assert_eq!(wapo, unpacked_path(cache.path()));
        assert_eq!(unpack(cache.path()).expect("again"), wapo);

        let output = std::process::Command::new(env!("CARGO"))
            .args([
                "metadata",
                "--no-deps",
                "--offline",
                "--format-version",
                "1",
            ])
            .current_dir(&wapo)
            .output()
            .expect("cargo runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        let metadata = String::from_utf8_lossy(&output.stdout);
        for name in ["wapo", "wapo-abi", "wapo-macros"] {
            assert!(metadata.contains(&format!("\"name\":\"{name}\"")), "{name}");
        }
        assert!(!metadata.contains("\"name\":\"wapo-host\""));
    }

    #[test]
    fn a_checkout_is_recognised_from_within() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let wapo = in_checkout(&here.join("src")).expect("checkout");
        assert!(wapo.join("src/lib.rs").is_file());
        let elsewhere = tempfile::tempdir().expect("folder");
        assert_eq!(in_checkout(elsewhere.path()), None);
    }
}
