//! Files of the dist folder: where they come from, their hashes, what a program needs.
//!
//! Copies only; what the manifest says of them is in `manifest`. Used by `dist`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};

use crate::reproducible::copy;
use crate::{process, toolchain};

/// Libraries that the daemon needs; everything else is in the program.
pub(super) const LIBRARIES: &[&str] = &[
    "ld-linux-x86-64.so.2",
    "libc.so.6",
    "libm.so.6",
    "libgcc_s.so.1",
];

/// Bytes of the stripped program at most. It is hashed at each start.
const PROGRAM_BYTES_MAX: u64 = 64 << 20;

/// Gramine on this machine.
pub(super) struct Gramine {
    /// The folder with `libsysdb.so`, `direct`, `sgx` and `runtime`.
    folder: PathBuf,
}

impl Gramine {
    /// Looks for it beside the program `gramine-direct` or `gramine-sgx` on the path.
    pub(super) fn find() -> Option<Self> {
        let names = ["gramine-direct", "gramine-sgx"];
        let program = names.iter().find_map(toolchain::find)?;
        let prefix = fs::canonicalize(program).ok()?;
        let prefix = prefix.parent()?.parent()?;
        let places = [
            "lib/x86_64-linux-gnu/gramine",
            "lib64/gramine",
            "lib/gramine",
        ];
        let mut folders = places.iter().map(|place| prefix.join(place));
        let folder = folders.find(|folder| folder.join("libsysdb.so").is_file())?;
        Some(Self { folder })
    }

    /// Copies what the launchers start into `cruntime`.
    pub(super) fn copy_to(&self, runtime: &Path) -> Result<()> {
        copy(
            &self.folder.join("libsysdb.so"),
            &runtime.join("libsysdb.so"),
        )?;
        for mode in ["direct", "sgx"] {
            let from = self.folder.join(mode);
            if from.is_dir() {
                copy_files(&from, &runtime.join(mode))?;
            }
        }
        Ok(())
    }

    /// The folder of its C library, patched so that system calls are no faults.
    fn libraries(&self) -> PathBuf {
        self.folder.join("runtime/glibc")
    }
}

/// Copies the libraries: Gramine's own where there are any, else the machine's, as the
/// loader finds them for `program`.
pub(super) fn copy_libraries(
    gramine: Option<&Gramine>,
    program: &Path,
    folder: &Path,
) -> Result<()> {
    let mut ldd = Command::new("ldd");
    let text = process::read(ldd.arg(program)).context("ldd tells where the libraries are")?;
    for name in LIBRARIES {
        let patched = gramine.map(|gramine| gramine.libraries().join(name));
        let from = match patched.filter(|path| path.is_file()) {
            Some(path) => path,
            None => found_by_ldd(&text, name)
                .with_context(|| format!("{} does not need {name}", program.display()))?,
        };
        copy(&from, &folder.join(name))?;
    }
    Ok(())
}

/// `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`, or without the arrow.
fn found_by_ldd(text: &str, name: &str) -> Option<PathBuf> {
    let words = text.lines().flat_map(str::split_whitespace);
    let mut paths = words
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from);
    paths.find(|path| path.file_name().is_some_and(|own| own == name))
}

fn copy_files(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.path().is_file() {
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// SHA-256 of a file in hex; `None` when there is no such file.
pub(super) fn sha256(path: &Path) -> Result<Option<String>> {
    if !path.is_file() {
        return Ok(None);
    }
    let content = fs::read(path).with_context(|| path.display().to_string())?;
    Ok(Some(hex::encode(Sha256::digest(content))))
}

/// Looks at the program beside the libraries that it will have.
///
/// # Errors
///
/// It needs others, or newer ones; or, for one that is to be shipped, it is too large
/// or has symbols.
pub(super) fn check_program(program: &Path, libraries: &Path, is_shipped: bool) -> Result<()> {
    let readelf = |option: &str| {
        let mut command = Command::new("readelf");
        process::read(command.args(["--wide", option]).arg(program))
    };
    let dynamic = readelf("--dynamic")?;
    for name in needed(&dynamic) {
        ensure!(
            LIBRARIES.contains(&name),
            "{} needs {name}, which an enclave does not have",
            program.display()
        );
    }
    let libc = fs::read(libraries.join("libc.so.6"))?;
    for version in glibc_versions(&readelf("--version-info")?) {
        let needle = [version.as_bytes(), b"\0"].concat();
        ensure!(
            libc.windows(needle.len()).any(|window| window == needle),
            "{} needs {version}, which the enclave's libc.so.6 does not have: build on an older system",
            program.display()
        );
    }
    if is_shipped {
        let bytes = fs::metadata(program)?.len();
        ensure!(
            bytes <= PROGRAM_BYTES_MAX,
            "{} has {bytes} bytes, which are hashed at each start: at most {PROGRAM_BYTES_MAX}",
            program.display()
        );
        ensure!(
            !readelf("--section-headers")?.contains(".symtab"),
            "{} is not stripped",
            program.display()
        );
    }
    Ok(())
}

/// `0x… (NEEDED)  Shared library: [libc.so.6]`
fn needed(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().filter(|line| line.contains("(NEEDED)"));
    lines.filter_map(|line| line.split_once('[')?.1.split(']').next())
}

/// Names of versions such as `GLIBC_2.34`.
fn glibc_versions(text: &str) -> BTreeSet<&str> {
    let is_part = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.');
    let words = text.split(is_part);
    words.filter(|word| word.starts_with("GLIBC_")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tools_print_is_read() {
        let ldd = "\tlinux-vdso.so.1 (0x7)\n\tlibc.so.6 => /lib/a/libc.so.6 (0x7)\n\t/lib64/ld-linux-x86-64.so.2 (0x7)\n";
        let path = |name| found_by_ldd(ldd, name);
        assert_eq!(path("libc.so.6"), Some("/lib/a/libc.so.6".into()));
        assert_eq!(
            path("ld-linux-x86-64.so.2"),
            Some("/lib64/ld-linux-x86-64.so.2".into())
        );
        assert_eq!(path("libm.so.6"), None);
        let dynamic = " 0x1 (NEEDED)   Shared library: [libm.so.6]\n 0x2 (SONAME) [x]\n";
        assert_eq!(needed(dynamic).collect::<Vec<_>>(), ["libm.so.6"]);
        let versions = "Name: GLIBC_2.34  Flags: none\n 2 (GLIBC_2.4) 3 (GCC_3.0)";
        assert_eq!(
            Vec::from_iter(glibc_versions(versions)),
            ["GLIBC_2.34", "GLIBC_2.4"]
        );
    }

    #[test]
    fn a_program_that_needs_more_than_an_enclave_has_is_refused() {
        let folder = std::env::temp_dir().join(format!("wapo-sgx-{}", std::process::id()));
        let own = std::env::current_exe().expect("this program");
        copy_libraries(None, &own, &folder).expect("copied");
        check_program(&own, &folder, false).expect("fits");
        let shipped = check_program(&own, &folder, true).expect_err("has symbols");
        assert!(shipped.to_string().contains("stripped") || shipped.to_string().contains("bytes"));
        let other = check_program("/bin/ls".as_ref(), &folder, false);
        let other = other.expect_err("needs more").to_string();
        assert!(other.contains("an enclave does not have"), "{other}");
        fs::write(folder.join("libc.so.6"), b"GLIBC_2.2").expect("written");
        let old = check_program(&own, &folder, false).expect_err("needs a newer one");
        assert!(old.to_string().contains("needs GLIBC_"), "{old}");
        fs::remove_dir_all(folder).expect("removed");
    }
}
