//! Puts the engine of JavaScript apps into the daemon, when `cargo xtask guests`
//! has built it. Without it the daemon is the same, but for that engine.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// Where `cargo xtask guests` puts it.
const FOLDER: &str = "../../guests/wapo-js/built";
const FILE: &str = "wapo-js.wasm";

fn main() -> io::Result<()> {
    let folder = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join(FOLDER);
    // The folder, not the file: it is there in any case, and cargo would run this
    // at every build for a file that is not.
    watch(&if folder.is_dir() {
        folder.clone()
    } else {
        PathBuf::from("build.rs")
    });
    let out = PathBuf::from(variable("OUT_DIR")?);
    let source = match fs::read(folder.join(FILE)) {
        Ok(wasm) => {
            // A copy, because the compiler may read it after the next build began.
            let copy = out.join(FILE);
            fs::write(&copy, &wasm)?;
            let hash: [u8; 32] = Sha256::digest(&wasm).into();
            format!(
                "Some((include_bytes!({:?}), {hash:?}))",
                copy.display().to_string()
            )
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => "None".to_owned(),
        Err(error) => return Err(error),
    };
    fs::write(out.join("javascript_engine.rs"), source)
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
