//! Bundles a program that imports packages of npm, by esbuild.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::toolchain;

/// Where npm puts a project's programs.
const INSTALLED: &str = "node_modules/.bin/esbuild";

/// One module of the whole program. `importer` and `name` are the first import of a
/// package, for messages.
///
/// # Errors
///
/// There is no esbuild, or it refuses.
pub(super) fn bundle(entry: &Path, importer: &Path, name: &str) -> Result<String> {
    let Some(esbuild) = esbuild(entry) else {
        bail!(
            "{} imports the package {name:?}, and packages are bundled by esbuild, which is not here.\n\
             Install both beside the program: npm install {} esbuild",
            importer.display(),
            package(name)
        );
    };
    let folder = entry.parent().unwrap_or(entry);
    let output = Command::new(&esbuild)
        .arg(entry)
        .args(["--bundle", "--format=esm", "--platform=neutral"])
        .args(["--main-fields=module,main", "--conditions=worker"])
        .args(["--target=es2023", "--external:node:*", "--external:wapo:*"])
        .args(["--loader:.txt=text", "--log-level=error", "--color=false"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", esbuild.display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{} cannot be bundled:\n{}", entry.display(), said.trim());
    }
    String::from_utf8(output.stdout).context("esbuild wrote no UTF-8")
}

/// The program's own esbuild, else that of the machine.
fn esbuild(entry: &Path) -> Option<PathBuf> {
    let installed = entry.ancestors().map(|folder| folder.join(INSTALLED));
    let machine = toolchain::on_path("esbuild").then(|| PathBuf::from("esbuild"));
    installed
        .into_iter()
        .find(|path| path.is_file())
        .or(machine)
}

/// The package that a name is of: without a path in it.
fn package(name: &str) -> String {
    let parts = if name.starts_with('@') { 2 } else { 1 };
    let parts: Vec<&str> = name.split('/').take(parts).collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_the_beginning_of_a_name() {
        for (name, of) in [
            ("hono", "hono"),
            ("hono/cors", "hono"),
            ("@a/b", "@a/b"),
            ("@a/b/c/d", "@a/b"),
        ] {
            assert_eq!(package(name), of);
        }
    }
}
