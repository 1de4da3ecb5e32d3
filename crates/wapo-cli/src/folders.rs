//! Where the command keeps what it can make again, and finds what people set.
//!
//! Follows the XDG base directories. Everything in the cache may be deleted at
//! any time.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use wapod::ModuleCacheConfig;

/// The folder of caches, `~/.cache/wapo` as a rule.
///
/// # Errors
///
/// Neither `XDG_CACHE_HOME` nor `HOME` says where it is.
pub(crate) fn cache() -> Result<PathBuf> {
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .map(|folder| folder.join("wapo"))
        .context("there is no folder for caches: set HOME or XDG_CACHE_HOME")
}

/// The cache of compiled modules; `None` where there is no place for it, which only
/// makes starting slower. Blocks.
pub(crate) fn module_cache() -> Option<ModuleCacheConfig> {
    let folder = cache().ok()?.join("modules");
    wapod::config::module_cache(folder).ok()
}

/// The folder of settings, `~/.config/wapo` as a rule; `None` when neither
/// `XDG_CONFIG_HOME` nor `HOME` says where it is.
pub(crate) fn config() -> Option<PathBuf> {
    absolute("XDG_CONFIG_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".config")))
        .map(|folder| folder.join("wapo"))
}

/// The folder of what the command remembers, `~/.local/state/wapo` as a rule; `None`
/// when neither `XDG_STATE_HOME` nor `HOME` says where it is.
pub(crate) fn state() -> Option<PathBuf> {
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .map(|folder| folder.join("wapo"))
}

/// A path in which `~/` means the person's own folder, as a shell has it.
pub(crate) fn expand_home(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), absolute("HOME")) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}

/// The standard says that relative paths are to be ignored.
#[allow(
    clippy::disallowed_methods,
    reason = "where a user's files are is a property of the machine"
)]
fn absolute(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os(name).map(PathBuf::from);
    path.filter(|path| path.is_absolute())
}
