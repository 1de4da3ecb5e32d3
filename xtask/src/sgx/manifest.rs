//! The manifest: the template with its values, and the text that comes of it.
//!
//! The values go to the template by name, so that plain Jinja2 can be given the same
//! ones (`check` does). Nothing here reads a file but the template.

use anyhow::{Context as _, Result};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde_json::json;
use toml::Table;

use super::enclave::enclave_threads;
use super::options::{Options, policy_name};
use crate::process;

/// The template.
pub(super) const TEMPLATE: &str = "packaging/gramine/wapod.manifest.template";
/// Folder of Gramine's own files, in the dist folder.
pub(super) const RUNTIME: &str = "cruntime";
/// Folder on the host with what is `/data` inside, encrypted.
pub(super) const SEAL_DIR: &str = "data/protected_files";
/// Folder on the host with the blobs: checked by hash when they are read, not encrypted.
pub(super) const STORAGE_DIR: &str = "data/storage_files";
/// A file whose content is measured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Trusted {
    /// Path in the dist folder.
    pub(super) path: String,
    /// SHA-256 in hex; `None` when the file is not there yet.
    pub(super) sha256: Option<String>,
}

/// Values of the template, by name: an object.
pub(super) type Values = serde_json::Value;

/// Where the manifest is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    /// An enclave.
    Sgx,
    /// A process like others, to try things out: there is no key of the processor, so
    /// the data folder is not encrypted.
    Direct,
}

impl Mode {
    /// Both, each with the name of its manifest.
    pub(super) const ALL: [(Self, &str); 2] = [
        (Self::Sgx, "wapod.manifest"),
        (Self::Direct, "direct.manifest"),
    ];
}

/// Arenas of the daemon's allocator: a worker thread each, and one for the rest.
pub(super) fn arenas(workers: usize) -> usize {
    workers.saturating_add(1)
}

/// The values for what was asked for.
pub(super) fn values(options: &Options, mode: Mode, trusted: &[Trusted]) -> Values {
    let seal_key = match mode {
        Mode::Sgx => options.seal.key_name(),
        Mode::Direct => "",
    };
    let files = trusted.iter().map(|file| {
        let sha256 = file.sha256.as_deref().unwrap_or_default();
        json!({ "uri": format!("file:{}", file.path), "sha256": sha256 })
    });
    json!({
        "runtime": RUNTIME,
        "log_level": "error",
        "argv": options.argv(),
        "arenas": arenas(options.workers),
        "workers": options.workers,
        "enclave_size": options.enclave_size,
        "from_host": options.from_host,
        "config": options.config.is_some(),
        "policies": Vec::from_iter(options.policies.iter().map(|(option, _)| policy_name(option))),
        "seal_dir": SEAL_DIR,
        "seal_key": seal_key,
        "storage_dir": STORAGE_DIR,
        "edmm": options.has_edmm,
        "max_threads": enclave_threads(options.workers),
        "isv_prod_id": 0,
        "isv_svn": options.svn,
        "rpc_threads": options.rpc_threads,
        "trusted_files": Vec::from_iter(files),
    })
}

/// Renders the template with these values.
///
/// # Errors
///
/// The template cannot be read, or asks for a value that there is not.
pub(super) fn render(values: &Values) -> Result<String> {
    let text = std::fs::read_to_string(process::root().join(TEMPLATE)).context(TEMPLATE)?;
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let syntax = SyntaxConfig::builder()
        .keep_trailing_newline(true)
        .build()?;
    environment.set_syntax(syntax);
    environment.add_template(TEMPLATE, &text)?;
    Ok(environment.get_template(TEMPLATE)?.render(Serde(values))?)
}

/// Reads a rendered manifest.
///
/// # Errors
///
/// It is no TOML.
pub(super) fn parse(text: &str) -> Result<Table> {
    text.parse().context("the manifest is no TOML")
}
