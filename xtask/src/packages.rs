//! Packages of npm that programs in tests and examples import, fetched with their
//! locks into `target/packages`. The tests in `crates/wapo-cli` look there.

use anyhow::{Result, anyhow};

use crate::engine_build::fetch_packages;
use crate::process;

/// Projects with a package.json and its lock, each with the folder that its packages
/// are put into.
const PROJECTS: &[(&str, &str)] = &[
    ("guests/wapo-js/tests/packages", "target/packages/tests"),
    ("guests/wapo-js/examples/router", "target/packages/router"),
];

/// Fetches what is not there.
///
/// # Errors
///
/// There is no npm, or no way to its registry.
pub(crate) fn run() -> Result<()> {
    for (project, folder) in PROJECTS {
        let root = process::root();
        fetch_packages(&root.join(project), &root.join(folder))
            .map_err(|error| anyhow!("packages of {project}: {error}"))?;
    }
    Ok(())
}
