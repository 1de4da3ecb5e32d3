//! Renews what is derived from the tables of host calls, of the worker's
//! interface and of dependencies, or says what is out of date.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::process;
use crate::tidy::{dependencies, layers};

mod abi_doc;
mod openapi;
mod openapi_routes;
mod proto;
mod rpc_doc;

// The same text that the lock's test compares.
#[path = "../../crates/wapo-abi/tests/lines/mod.rs"]
mod lines;

// The table alone: the rest of that crate takes long to compile.
#[path = "../../crates/wapo-rpc/src/schema/mod.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "the crate that it belongs to uses and exports more of it"
)]
mod schema;

const ABI_DOC: &str = "docs/abi.md";
const ABI_LOCK: &str = "crates/wapo-abi/tests/abi.snap";
const RPC_DOC: &str = "docs/rpc.md";
const RPC_PROTO: &str = "crates/wapo-rpc/proto/wapod_rpc.proto";
const OPENAPI: &str = "docs/openapi.json";
const ARCHITECTURE: &str = "ARCHITECTURE.md";
/// Tables in it: the lines around them.
const DEPENDENCIES: [&str; 2] = [
    "<!-- dependencies: written by `cargo xtask codegen` -->\n",
    "<!-- end of dependencies -->\n",
];
const LAYERS: [&str; 2] = [
    "<!-- layers: written by `cargo xtask codegen` -->\n",
    "<!-- end of layers -->\n",
];
const LOCK_HEADER: &str = "\
# What guests in the field rely on. Lines are appended by `cargo xtask codegen`
# and never changed or removed; the test beside this file checks that.
";

/// Whether to write or to compare.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Write what differs.
    Write,
    /// Fail when something differs.
    Check,
}

/// Renews or compares every generated text.
///
/// # Errors
///
/// A file cannot be read or written, or (when checking) is out of date.
pub(crate) fn run(mode: Mode) -> Result<()> {
    let root = process::root();
    let mut stale = Vec::new();
    for (file, text) in [
        (ABI_DOC, abi_doc::render()),
        (RPC_DOC, rpc_doc::render()),
        (RPC_PROTO, proto::render()),
        (OPENAPI, openapi::render()),
        (ABI_LOCK, lock(&read_or_empty(&root.join(ABI_LOCK))?)),
        (
            ARCHITECTURE,
            architecture(&read_or_empty(&root.join(ARCHITECTURE))?)?,
        ),
    ] {
        let path = root.join(file);
        if read_or_empty(&path)? == text {
            continue;
        }
        stale.push(file);
        if mode == Mode::Write {
            fs::write(&path, text).with_context(|| format!("cannot write {file}"))?;
            println!("renewed {file}");
        }
    }
    if mode == Mode::Check && !stale.is_empty() {
        bail!(
            "out of date: {}; run `cargo xtask codegen` and commit",
            stale.join(", ")
        );
    }
    Ok(())
}

fn line(text: &mut String, line: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{line}");
}

fn read_or_empty(path: &Path) -> Result<String> {
    if !path.exists() {
        return Ok(String::new());
    }
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Appends what is new; what is there stays, right or wrong (the lock's test
/// tells).
fn lock(existing: &str) -> String {
    let known: HashSet<&str> = existing.lines().collect();
    let mut text = if existing.is_empty() {
        LOCK_HEADER.to_owned()
    } else {
        existing.to_owned()
    };
    for line in lines::contract() {
        if !known.contains(line.as_str()) {
            text += &line;
            text.push('\n');
        }
    }
    text
}

fn architecture(existing: &str) -> Result<String> {
    let text = with_table(existing, DEPENDENCIES, &dependencies::table())?;
    with_table(&text, LAYERS, &layers::table())
}

fn with_table(existing: &str, [begin, end]: [&str; 2], table: &str) -> Result<String> {
    let (before, rest) = existing
        .split_once(begin)
        .with_context(|| format!("{ARCHITECTURE} lacks the line {begin}"))?;
    let (_, after) = rest
        .split_once(end)
        .with_context(|| format!("{ARCHITECTURE} lacks the line {end}"))?;
    Ok([before, begin, table, end, after].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_only_grows() {
        let first = lock("");
        assert_eq!(lock(&first), first);
        let edited = first.replace("call 101 close", "call 101 shut");
        assert!(lock(&edited).starts_with(&edited));
    }

    #[test]
    fn the_table_is_written_between_its_markers() {
        let [begin, end] = DEPENDENCIES;
        let text = format!("a\n{begin}old\n{end}b\n");
        let new = with_table(&text, DEPENDENCIES, "| new |\n").expect("markers");
        assert_eq!(new, format!("a\n{begin}| new |\n{end}b\n"));
        assert!(architecture("no markers").is_err());
    }
}
