//! Bundles a program that imports packages of npm, by esbuild: one module of all,
//! and a map of its places to those of the files it was made of.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::{PACKAGE, node};
use crate::toolchain;

/// Where npm puts what it installs.
const INSTALLED: &str = "node_modules";
/// Bytes of a map that a program is given. Without it stack traces tell places in
/// the bundle; the engine reads all of it into its memory for the first one.
const MAP_BYTES_MAX: usize = 8 << 20;

/// A program in one module.
pub(super) struct Bundle {
    /// What it is called: the entry, relative to the project's folder.
    pub(super) name: String,
    pub(super) text: String,
    /// The map, as the engine reads it; `None` for one that is too long.
    pub(super) map: Option<String>,
    /// Files of the program itself, not of packages, by their names in stack traces.
    pub(super) files: BTreeMap<String, PathBuf>,
}

/// The parts of a source map (ECMA-426) that places are found with.
#[derive(Serialize, Deserialize)]
struct Map {
    sources: Vec<String>,
    mappings: String,
}

/// One module of the whole program. `importer` and `name` are the first import of a
/// package, for messages.
///
/// # Errors
///
/// There is no esbuild, or it refuses.
pub(super) fn bundle(entry: &Path, importer: &Path, name: &str) -> Result<Bundle> {
    let Some(esbuild) = esbuild(entry) else {
        if node::is_of_node(name) {
            bail!(
                "{} imports {name:?}: {}",
                importer.display(),
                node::lacks(name)
            );
        }
        bail!(
            "{} imports the package {name:?}, and packages are bundled by esbuild, which is not here.\n\
             Install both beside the program: npm install {} esbuild",
            importer.display(),
            package(name)
        );
    };
    let root = root(entry);
    let out = tempfile::tempdir().context("cannot make a folder for the bundle")?;
    let out = out.path().canonicalize()?;
    let output = Command::new(&esbuild)
        .arg(entry)
        .args(["--bundle", "--format=esm", "--platform=neutral"])
        // As other runtimes of workers ask for packages.
        .args(["--main-fields=browser,module,main"])
        .args(["--conditions=worker,browser"])
        .args([r#"--define:process.env.NODE_ENV="production""#])
        .args(["--target=es2023", "--loader:.txt=text"])
        .args(["--external:wapo:*"])
        .args(node::modules().flat_map(|id| {
            [
                format!("--external:{id}"),
                format!("--external:node:{id}"),
            ]
        }))
        .args(["--sourcemap=external", "--sources-content=false"])
        .args(["--entry-names=bundle", "--log-level=error", "--color=false"])
        .arg(format!("--outdir={}", out.display()))
        .current_dir(&root)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", esbuild.display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{} cannot be bundled:\n{}", entry.display(), advised(&said));
    }
    let read = |name: &str| {
        let path = out.join(name);
        fs::read_to_string(&path).with_context(|| format!("esbuild wrote no {name}"))
    };
    let mut map: Map = serde_json::from_str(&read("bundle.js.map")?)?;
    let sources: Vec<PathBuf> = map
        .sources
        .iter()
        .map(|source| joined(&out, source))
        .collect();
    map.sources = sources.iter().map(|source| shown(&root, source)).collect();
    let is_own = |source: &PathBuf| !is_installed(source) && source.is_file();
    let named = map.sources.iter().cloned().zip(sources);
    let files = named.filter(|(_, source)| is_own(source)).collect();
    let map = serde_json::to_string(&map)?;
    Ok(Bundle {
        name: shown(&root, entry),
        text: read("bundle.js")?,
        map: (map.len() <= MAP_BYTES_MAX).then_some(map),
        files,
    })
}

/// The folder that names of files are relative to: that of the nearest package.json.
fn root(entry: &Path) -> PathBuf {
    let mut folders = entry.ancestors().skip(1);
    let nearest = folders.find(|folder| folder.join(PACKAGE).is_file());
    nearest
        .or_else(|| entry.parent())
        .unwrap_or(entry)
        .to_owned()
}

/// The program's own esbuild, else that of the machine.
fn esbuild(entry: &Path) -> Option<PathBuf> {
    let native = format!("@esbuild/{}/bin/esbuild", platform());
    let installed = entry.ancestors().flat_map(|folder| {
        let modules = folder.join(INSTALLED);
        // The program itself, before the script that starts it by Node.
        [modules.join(&native), modules.join(".bin/esbuild")]
    });
    let machine = toolchain::on_path("esbuild").then(|| PathBuf::from("esbuild"));
    installed
        .into_iter()
        .find(|path| path.is_file())
        .or(machine)
}

/// This machine, as esbuild's packages call it.
fn platform() -> String {
    let system = match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    };
    let processor = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("{system}-{processor}")
}

/// The package that a name is of: without a path in it.
fn package(name: &str) -> String {
    let parts = if name.starts_with('@') { 2 } else { 1 };
    let parts: Vec<&str> = name.split('/').take(parts).collect();
    parts.join("/")
}

/// What esbuild says, with advice that is right here: its own is to bundle for Node,
/// or to leave a package out.
fn advised(said: &str) -> String {
    let mut lacking = BTreeSet::new();
    let mut missing = BTreeSet::new();
    let mut text = String::new();
    for part in said.trim().split("\n\n") {
        // The next part is its place, the one after it is advice.
        let name = part
            .split_once("Could not resolve \"")
            .and_then(|(_, rest)| rest.split_once('"'))
            .map(|(name, _)| name);
        if let Some(name) = name.filter(|name| !name.starts_with(['.', '/'])) {
            match node::is_of_node(name) {
                true => lacking.insert(name.to_owned()),
                false => missing.insert(package(name)),
            };
        }
        if !part.trim_start().starts_with("You can mark the path ")
            && !part.contains("is built into node")
        {
            text.push_str(part);
            text.push_str("\n\n");
        }
    }
    let mut text = text.trim_end().to_owned();
    if !lacking.is_empty() {
        let names: Vec<String> = lacking.into_iter().collect();
        text.push_str("\n\n");
        text.push_str(&node::lacks(&names.join(", ")));
    }
    if !missing.is_empty() {
        let names: Vec<String> = missing.into_iter().collect();
        text.push_str("\n\nInstall what is missing: npm install ");
        text.push_str(&names.join(" "));
    }
    text
}

/// Whether a file is of a package.
fn is_installed(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == INSTALLED)
}

/// Joins a relative name to a folder, without `.` and `..`.
pub(super) fn joined(folder: &Path, name: &str) -> PathBuf {
    let mut path = folder.to_owned();
    for part in Path::new(name).components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            Component::Normal(part) => path.push(part),
            _ => {}
        }
    }
    path
}

/// The name of a file in stack traces: relative to a folder, or from where packages
/// are; with `/`.
fn shown(root: &Path, path: &Path) -> String {
    let parts = |path: &Path| -> Vec<String> {
        let parts = path.components();
        parts
            .map(|part| part.as_os_str().to_string_lossy().into_owned())
            .collect()
    };
    if let Ok(inner) = path.strip_prefix(root) {
        return parts(inner).join("/");
    }
    let all = parts(path);
    if let Some(at) = all.iter().position(|part| part == INSTALLED) {
        return all[at..].join("/");
    }
    let root = parts(root);
    let common = root.iter().zip(&all).take_while(|(a, b)| a == b).count();
    let up = vec!["..".to_owned(); root.len() - common];
    [up, all[common..].to_vec()].concat().join("/")
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

    #[test]
    fn files_are_named_from_the_project_or_from_the_package() {
        for (path, name) in [
            ("/home/me/app/src/a.ts", "src/a.ts"),
            ("/home/me/shared/b.js", "../shared/b.js"),
            ("/cache/node_modules/hono/x.js", "node_modules/hono/x.js"),
        ] {
            assert_eq!(shown(Path::new("/home/me/app"), Path::new(path)), name);
        }
    }

    #[test]
    fn advice_is_for_this_runtime() {
        let said = "X [ERROR] Could not resolve \"fs\"\n\n    node_modules/a/index.js:1:19:\n      1 │ const fs = require('fs')\n\n  \
            The package \"fs\" wasn't found on the file system but is built into node. Are you trying to\n  bundle for node?\n\n\
            X [ERROR] Could not resolve \"@b/c/d\"\n\n    app.js:2:7:\n\n  You can mark the path \"@b/c/d\" as external to exclude it\n\n";
        let text = advised(said);
        for part in [
            "node_modules/a/index.js:1:19",
            "app.js:2:7",
            "WapoJS has no module fs of Node",
            "npm install @b/c",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(
            !text.contains("bundle for node") && !text.contains("as external"),
            "{text}"
        );
    }
}
