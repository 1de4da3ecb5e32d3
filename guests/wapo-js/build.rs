//! Packs the modules of the boot code for the engine, and sizes its stack.
//!
//! The boot code is every `.js` file below `js/` and, under `npm/`, what
//! `cargo xtask guests` bundled of npm packages (`WAPO_JS_NPM` names the folder).
//! Their texts are deflated: the engine runs most of them once, when its image is
//! made, and needs them no more.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use flate2::Compression;
use flate2::write::DeflateEncoder;

/// Stack of wasm code in linear memory. Scripts meet a limit before its end
/// (`engine::stack`); the rest is for functions of the engine that do not look.
const STACK_BYTES: usize = 2 * 1024 * 1024;

fn main() -> io::Result<()> {
    println!("cargo:rustc-link-arg-bins=-zstack-size={STACK_BYTES}");
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let mut modules = Vec::new();
    collect(&root.join("js"), "", &mut modules)?;
    println!("cargo:rerun-if-env-changed=WAPO_JS_NPM");
    if let Some(folder) = env::var_os("WAPO_JS_NPM") {
        collect(Path::new(&folder), "npm/", &mut modules)?;
    }
    modules.sort();
    let out = PathBuf::from(variable("OUT_DIR")?);
    let mut texts = Vec::new();
    let mut table = String::from("&[\n");
    for (name, path) in &modules {
        let text = fs::read(path)?;
        let start = texts.len();
        texts.extend(deflated(&text)?);
        let end = texts.len();
        let _ = writeln!(table, "({name:?}, {}, {start}..{end}),", text.len());
    }
    table.push(']');
    fs::write(out.join("boot_texts.bin"), texts)?;
    fs::write(out.join("boot_modules.rs"), table)
}

/// The text in the form that the engine unpacks, as small as it gets.
fn deflated(text: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text)?;
    encoder.finish()
}

fn variable(name: &str) -> io::Result<String> {
    env::var(name).map_err(io::Error::other)
}

/// Adds the files of a folder and of those below it, by their path in it.
fn collect(folder: &Path, prefix: &str, into: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    println!("cargo:rerun-if-changed={}", folder.display());
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default()
            .to_owned();
        if path.is_dir() {
            collect(&path, &format!("{prefix}{name}/"), into)?;
        } else if name.ends_with(".js") {
            into.push((format!("{prefix}{name}"), path));
        }
    }
    Ok(())
}
