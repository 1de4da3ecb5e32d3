//! Puts into the daemon what `cargo xtask guests` has built: the engine of
//! JavaScript apps, the console's editor, and the verifier of the page `/verify`. Without
//! them the daemon is the same, but for these.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// Where `cargo xtask guests` puts the engine.
const ENGINE: (&str, &str) = ("../../guests/wapo-js/built", "wapo-js.wasm");
/// Where it puts the editor.
const EDITOR: (&str, &str) = ("console/built", "editor.js");
/// Where it puts the verifier of the page `/verify`.
const VERIFIER: (&str, &str) = ("console/built", "verify.wasm");

fn main() -> io::Result<()> {
    let out = PathBuf::from(variable("OUT_DIR")?);
    let engine = match taken(ENGINE, &out)? {
        Some((wasm, copy)) => {
            let hash: [u8; 32] = Sha256::digest(&wasm).into();
            format!("Some((include_bytes!({copy:?}), {hash:?}))")
        }
        None => "None".to_owned(),
    };
    fs::write(out.join("javascript_engine.rs"), engine)?;
    for (file, name) in [
        (EDITOR, "console_editor.rs"),
        (VERIFIER, "console_verifier.rs"),
    ] {
        let built = match taken(file, &out)? {
            Some((_, copy)) => format!("Some(include_bytes!({copy:?}))"),
            None => "None".to_owned(),
        };
        fs::write(out.join(name), built)?;
    }
    Ok(())
}

/// The content of a built file and where a copy of it is; `None` without it.
fn taken((folder, file): (&str, &str), out: &Path) -> io::Result<Option<(Vec<u8>, String)>> {
    let folder = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join(folder);
    // The folder, not the file: it is there in any case, and cargo would run this
    // at every build for a file that is not.
    watch(&if folder.is_dir() {
        folder.clone()
    } else {
        PathBuf::from("build.rs")
    });
    match fs::read(folder.join(file)) {
        Ok(content) => {
            // A copy, because the compiler may read it after the next build began.
            let copy = out.join(file);
            fs::write(&copy, &content)?;
            Ok(Some((content, copy.display().to_string())))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Has cargo run this again when the path changes.
#[allow(
    clippy::print_stdout,
    reason = "this is how a build script talks to cargo"
)]
fn watch(path: &Path) {
    println!("cargo::rerun-if-changed={}", path.display());
}

#[allow(
    clippy::disallowed_methods,
    reason = "this is how cargo talks to a build script"
)]
fn variable(name: &str) -> io::Result<String> {
    env::var(name).map_err(|_| io::Error::other(format!("cargo did not set {name}")))
}
