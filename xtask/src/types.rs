//! Checks the types for programs in JavaScript (`guests/wapo-js/types`) with the
//! TypeScript compiler of their lock file: the types themselves, uses of them that must
//! be right or wrong, the examples, and a new project.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::engine_build::write_if_changed;
use crate::process::{self, stage};
use crate::setup;

/// The package.
const PACKAGE: &str = "guests/wapo-js/types";
/// Where the compiler is installed and the new project is made.
const WORK: &str = "target/types";
/// What `wapo new --template ts` makes, but for the types.
const TEMPLATE: &str = "crates/wapo-cli/templates/ts";
/// The types' name in such a project.
const TYPES_NAME: &str = "wapo-env.d.ts";

/// Installs the compiler and checks.
///
/// # Errors
///
/// npm is missing, or something is wrong; what was printed says what.
pub(crate) fn run() -> Result<()> {
    let work = process::root().join(WORK);
    stage("TypeScript, installed", || install(&work))?;
    let compiler = work.join("node_modules/typescript/bin/tsc");
    let check = |project: &Path| {
        let mut node = Command::new("node");
        node.arg(&compiler).arg("--project").arg(project);
        process::run(&mut node)
    };
    stage("types", || check(&process::root().join(PACKAGE)))?;
    stage("types of a new project", || {
        let project = work.join("project");
        copy_template(&project)?;
        check(&project)
    })
}

fn install(work: &Path) -> Result<()> {
    setup::node()?;
    fs::create_dir_all(work)?;
    let mut is_changed = !work.join("node_modules/.package-lock.json").exists();
    for name in ["package.json", "package-lock.json"] {
        let text = fs::read(process::root().join(PACKAGE).join(name)).context(name)?;
        is_changed |= write_if_changed(&work.join(name), &text)?;
    }
    if !is_changed {
        return Ok(());
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(work);
    process::run(&mut npm)
}

fn copy_template(project: &Path) -> Result<()> {
    fs::create_dir_all(project)?;
    let template = process::root().join(TEMPLATE);
    for entry in fs::read_dir(&template).context(TEMPLATE)? {
        let entry = entry?;
        fs::copy(entry.path(), project.join(entry.file_name()))?;
    }
    let types = process::root().join(PACKAGE).join("index.d.ts");
    fs::copy(types, project.join(TYPES_NAME))?;
    Ok(())
}
