//! A guest's project: what cargo knows about it, and how it becomes a wasm file.
//!
//! Cargo does the work and shows its own messages; this file asks it for the
//! right target and finds out where the result is.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::toolchain::Toolchain;
use crate::{folders, sdk};

/// A folder with a package that builds to wasm.
#[derive(Clone, Debug)]
pub(crate) struct Project {
    /// The folder, absolute.
    pub(crate) folder: PathBuf,
    /// Name of the package.
    pub(crate) name: String,
    /// What its Cargo.toml says in `[package.metadata.wapo]`; null for nothing.
    pub(crate) metadata: serde_json::Value,
    target_folder: PathBuf,
}

/// How a project is built.
#[derive(Clone, Debug, Default)]
pub(crate) struct BuildOptions {
    /// Without optimisation.
    pub(crate) is_debug: bool,
    /// Which program, when there are several.
    pub(crate) bin: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    #[serde(default)]
    metadata: serde_json::Value,
}

/// A line of what cargo reports about a build; only artifacts matter here.
#[derive(Deserialize)]
struct Report {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

impl Project {
    /// Asks cargo about the package in a folder.
    ///
    /// # Errors
    ///
    /// There is no package, with a hint what to do instead.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let shown = folder.display();
        let Ok(folder) = folder.canonicalize() else {
            bail!("there is no {shown}; `wapo new {shown}` makes a project of that name");
        };
        let manifest = folder.join("Cargo.toml");
        if !manifest.is_file() {
            bail!(
                "{shown} is not a project: it has no Cargo.toml and no package.json; `wapo new NAME` makes one \
                 in Rust, `wapo new NAME --template js` one in JavaScript"
            );
        }
        let output = Command::new(cargo())
            .args([
                "metadata",
                "--no-deps",
                "--format-version",
                "1",
                "--manifest-path",
            ])
            .arg(&manifest)
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run cargo; install Rust from https://rustup.rs")?;
        if !output.status.success() {
            bail!("cargo does not understand {}", manifest.display());
        }
        let metadata: Metadata = serde_json::from_slice(&output.stdout)
            .context("cargo describes the project in a way this version does not know")?;
        let package = metadata
            .packages
            .into_iter()
            .find(|p| p.manifest_path == manifest);
        let Some(package) = package else {
            bail!("{shown} is a workspace; choose one of its packages");
        };
        Ok(Self {
            folder,
            name: package.name,
            metadata: package.metadata["wapo"].clone(),
            target_folder: metadata.target_directory,
        })
    }

    /// Compiles the project; gives the wasm file. Blocks, and shows what cargo
    /// says.
    ///
    /// # Errors
    ///
    /// No compiler for wasm, the project does not compile, or it does not make
    /// exactly one wasm file.
    pub(crate) fn build(&self, options: &BuildOptions) -> Result<PathBuf> {
        let Some(toolchain) = Toolchain::detect().map_err(anyhow::Error::msg)? else {
            bail!(Toolchain::advice());
        };
        self.restore_sdk()?;
        let mut command = toolchain
            .cargo("build", &self.target_folder)
            .with_context(|| format!("cannot write to {}", self.target_folder.display()))?;
        command
            .args([
                "--message-format",
                "json-render-diagnostics",
                "--manifest-path",
            ])
            .arg(self.folder.join("Cargo.toml"))
            .current_dir(&self.folder);
        if !options.is_debug {
            command.arg("--release");
        }
        if let Some(bin) = &options.bin {
            command.args(["--bin", bin]);
        }
        let files = self.run(&mut command)?;
        match files.as_slice() {
            [file] => Ok(file.clone()),
            [] => bail!(
                "{} makes no wasm file: it needs a src/main.rs, or `crate-type = [\"cdylib\"]` for a library",
                self.name
            ),
            several => {
                let names: Vec<_> = several.iter().filter_map(|file| file.file_stem()).collect();
                bail!(
                    "{} makes several programs, choose one with --bin: {names:?}",
                    self.name
                )
            }
        }
    }

    /// Runs cargo; gives the wasm files of this package.
    fn run(&self, command: &mut Command) -> Result<Vec<PathBuf>> {
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run cargo; install Rust from https://rustup.rs")?;
        let reports = child
            .stdout
            .take()
            .context("cargo's reports are not piped")?;
        let mut files = Vec::new();
        for line in BufReader::new(reports).lines() {
            let line = line.context("cannot read cargo's reports")?;
            // Programs that cargo runs may print lines of their own.
            let Ok(report) = serde_json::from_str::<Report>(&line) else {
                continue;
            };
            let is_ours = report.manifest_path == self.folder.join("Cargo.toml");
            if report.reason == "compiler-artifact" && is_ours {
                files.extend(report.filenames.into_iter().filter(|file| is_wasm(file)));
            }
        }
        let status = child.wait().context("cargo is gone")?;
        if !status.success() {
            bail!("{} does not compile", self.name);
        }
        Ok(files)
    }

    /// Unpacks the SDK again when the project was made with this command's copy
    /// and the cache was emptied since.
    fn restore_sdk(&self) -> Result<()> {
        let Ok(cache) = folders::cache() else {
            return Ok(());
        };
        let copy = sdk::unpacked_path(&cache);
        let manifest = std::fs::read_to_string(self.folder.join("Cargo.toml"));
        let uses_copy = manifest.is_ok_and(|text| text.contains(&copy.display().to_string()));
        if uses_copy {
            sdk::unpack(&cache)?;
        }
        Ok(())
    }
}

fn is_wasm(file: &Path) -> bool {
    file.extension()
        .is_some_and(|extension| extension == "wasm")
}

/// The cargo that runs us, if one does.
#[allow(
    clippy::disallowed_methods,
    reason = "this is how cargo tells who it is"
)]
fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_project_is_explained() {
        let folder = tempfile::tempdir().expect("folder");
        let missing = Project::open(&folder.path().join("x")).expect_err("missing");
        assert!(missing.to_string().contains("wapo new"), "{missing}");
        let empty = Project::open(folder.path()).expect_err("empty");
        assert!(
            empty
                .to_string()
                .contains("has no Cargo.toml and no package.json"),
            "{empty}"
        );
        assert!(empty.to_string().contains("--template js"), "{empty}");
    }

    #[test]
    fn reports_of_cargo_are_read() {
        let line = r#"{"reason":"compiler-artifact","package_id":"p","manifest_path":"/p/Cargo.toml","filenames":["/t/p.wasm"]}"#;
        let report: Report = serde_json::from_str(line).expect("report");
        assert_eq!(report.filenames, [PathBuf::from("/t/p.wasm")]);
        let finished = r#"{"reason":"build-finished","success":true}"#;
        let report: Report = serde_json::from_str(finished).expect("report");
        assert_eq!(report.reason, "build-finished");
    }
}
