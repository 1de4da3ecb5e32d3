//! Bundles the editor of the console, on whose page programs in JavaScript are written:
//! CodeMirror from npm, at the versions of its lock, into one file that the daemon is
//! compiled with.
//!
//! Without npm there is none, and the console has a text area instead.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, anyhow};

use crate::engine_build::{fetch_packages, write_if_changed};
use crate::{process, toolchain};

/// Where it is written, with its packages and their lock.
const FOLDER: &str = "crates/wapod/console/editor";
/// Its first file.
const ENTRY: &str = "editor.js";
/// Where the daemon finds it when it is compiled.
const BUILT: &str = "crates/wapod/console/built/editor.js";
/// Where packages are fetched to.
const WORK: &str = "target/console-editor";

/// The licence of all packages, which has to be in every copy.
const LICENCE: &str = "node_modules/@codemirror/view/LICENSE";

/// Bundles it, unless the machine lacks npm.
///
/// # Errors
///
/// A package cannot be fetched, or the bundle cannot be made.
pub(crate) fn run() -> Result<()> {
    if let Some(missing) = ["node", "npm"]
        .into_iter()
        .find(|one| !toolchain::on_path(one))
    {
        println!(
            "no {missing} here: the console has a text area for programs, and no editor; `cargo xtask setup` installs it"
        );
        return Ok(());
    }
    let root = process::root();
    let (folder, work) = (root.join(FOLDER), root.join(WORK));
    fetch_packages(&folder, &work).map_err(|text| anyhow!(text))?;
    // Beside its packages, where they are looked for.
    let entry = fs::read(folder.join(ENTRY)).context(FOLDER)?;
    write_if_changed(&work.join(ENTRY), &entry)?;
    let licence = fs::read_to_string(work.join(LICENCE)).context(LICENCE)?;
    let mut esbuild = Command::new(work.join("node_modules/.bin/esbuild"));
    esbuild
        .arg(ENTRY)
        .args(["--bundle", "--format=esm", "--target=es2022", "--minify"])
        .args(["--legal-comments=none", "--log-level=warning"])
        .arg(format!(
            "--banner:js=/* CodeMirror and Lezer\n\n{licence}*/"
        ))
        .arg("--outfile=bundled.js")
        .current_dir(&work);
    process::run(&mut esbuild)?;
    let bundled = fs::read(work.join("bundled.js"))?;
    // A file that is as it was does not have the daemon compiled again.
    write_if_changed(&root.join(BUILT), &bundled).context(BUILT)?;
    println!("{BUILT}: {} bytes", bundled.len());
    Ok(())
}
