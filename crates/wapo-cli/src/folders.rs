//! Where the command keeps what it can make again.
//!
//! Follows the XDG base directories. Everything in the cache may be deleted at
//! any time.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

/// The folder of caches, `~/.cache/wapo` as a rule. Not made here.
///
/// # Errors
///
/// Neither `XDG_CACHE_HOME` nor `HOME` says where it is.
#[allow(
    clippy::disallowed_methods,
    reason = "where a user's files are is a property of the machine"
)]
pub(crate) fn cache() -> Result<PathBuf> {
    let absolute = |name| {
        let path = std::env::var_os(name).map(PathBuf::from);
        // The standard says that relative paths are to be ignored.
        path.filter(|path| path.is_absolute())
    };
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .map(|folder| folder.join("wapo"))
        .context("there is no folder for caches: set HOME or XDG_CACHE_HOME")
}
