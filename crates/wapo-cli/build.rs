//! Puts the guest SDK into the `wapo` command, so that a new project builds on a
//! machine that has nothing but the command, and the sources of the engine of
//! JavaScript apps, for a command that is compiled without it.
//!
//! Writes lists of their files for `src/sdk.rs`. The crates stay as they
//! are; the workspace they inherit from is reduced to them. Starts no cargo.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Crates of the SDK, below `crates/`.
const CRATES: &[&str] = &["wapo", "wapo-abi", "wapo-macros"];
/// The engine's package.
const ENGINE: &str = "guests/wapo-js";
/// What of it is no source.
const NO_SOURCES: &[&str] = &[
    "guests/wapo-js/built/",
    "guests/wapo-js/examples/",
    "guests/wapo-js/tests/",
];
/// Versions that guests are tested with.
const LOCK: &str = "guests/Cargo.lock";

fn main() -> io::Result<()> {
    let here = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let root = here.join("../..").canonicalize()?;
    let out = PathBuf::from(variable("OUT_DIR")?);

    let manifest = fs::read_to_string(watched(&root.join("Cargo.toml")))?;
    let reduced_manifest = out.join("workspace.toml");
    fs::write(&reduced_manifest, reduce(&manifest)?)?;

    let mut files = vec![("Cargo.toml".to_owned(), reduced_manifest)];
    for name in CRATES {
        let folder = root.join("crates").join(name);
        files.push((
            format!("crates/{name}/Cargo.toml"),
            folder.join("Cargo.toml"),
        ));
        collect(
            &folder.join("src"),
            &format!("crates/{name}/src"),
            &mut files,
        )?;
        watched(&folder);
    }
    files.sort();
    let lock = fs::read_to_string(watched(&root.join(LOCK))).unwrap_or_default();
    let mut text = list("", &files)?;
    text.push_str(&format!("pub(super) const LOCK: &str = {lock:?};\n"));

    collect(&root.join(ENGINE), ENGINE, &mut files)?;
    // Not the folder itself: the engine is put into it.
    for name in ["src", "js", "c", "npm", "build.rs", "Cargo.toml"] {
        let path = root.join(ENGINE).join(name);
        if path.exists() {
            watched(&path);
        }
    }
    for name in ["guests/Cargo.toml", LOCK] {
        files.push((name.to_owned(), watched(&root.join(name)).to_owned()));
    }
    let is_source = |name: &str| {
        let mut others = NO_SOURCES.iter();
        !others.any(|other| name.starts_with(other)) && !name.contains("/node_modules/")
    };
    files.retain(|(name, _)| is_source(name));
    files.sort();
    text.push_str(&list("ENGINE_", &files)?);
    fs::write(out.join("sdk_files.rs"), text)
}

/// The same workspace with the SDK's crates only.
fn reduce(manifest: &str) -> io::Result<String> {
    let mut manifest: toml::Table = manifest.parse().map_err(io::Error::other)?;
    manifest.retain(|key, _| key == "workspace");
    let workspace = manifest
        .get_mut("workspace")
        .and_then(toml::Value::as_table_mut)
        .ok_or_else(|| io::Error::other("Cargo.toml of the root is no workspace"))?;
    workspace.remove("default-members");
    workspace.remove("exclude");
    let members = CRATES
        .iter()
        .map(|name| toml::Value::from(format!("crates/{name}")));
    workspace.insert("members".to_owned(), members.collect::<Vec<_>>().into());
    Ok(manifest.to_string())
}

fn collect(folder: &Path, name: &str, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{name}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &name, files)?;
        } else {
            files.push((name, entry.path()));
        }
    }
    Ok(())
}

/// A list of files for the source text that `src/sdk.rs` includes, and their hash.
fn list(name: &str, files: &[(String, PathBuf)]) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    let mut text = format!("pub(super) const {name}FILES: &[(&str, &str)] = &[\n");
    let constant = name;
    let write = |result: std::fmt::Result| result.map_err(io::Error::other);
    for (name, path) in files {
        hasher
            .update(name.as_bytes())
            .update(&[0])
            .update(&fs::read(path)?);
        write(writeln!(text, "    ({name:?}, include_str!({path:?})),"))?;
    }
    let hash = hasher.finalize().to_hex();
    write(writeln!(
        text,
        "];\npub(super) const {constant}HASH: &str = {:?};",
        &hash[..16]
    ))?;
    Ok(text)
}

/// Has cargo run this again when the path changes.
#[allow(
    clippy::print_stdout,
    reason = "this is how a build script talks to cargo"
)]
fn watched(path: &Path) -> &Path {
    println!("cargo::rerun-if-changed={}", path.display());
    path
}

#[allow(
    clippy::disallowed_methods,
    reason = "this is how cargo talks to a build script"
)]
fn variable(name: &str) -> io::Result<String> {
    env::var(name).map_err(|_| io::Error::other(format!("cargo did not set {name}")))
}
