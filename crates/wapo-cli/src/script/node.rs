//! Modules of Node: which of them the engine has, and names of those it has not.

use crate::sdk;

/// Where the engine's sources have them.
const FOLDER: &str = "guests/wapo-js/js/node/";
/// What may stand before their names.
const PREFIX: &str = "node:";
/// Names of other modules of Node, to tell them from packages.
const OTHERS: &[&str] = &[
    "child_process",
    "cluster",
    "constants",
    "crypto",
    "dgram",
    "diagnostics_channel",
    "dns",
    "domain",
    "fs",
    "http",
    "http2",
    "https",
    "inspector",
    "net",
    "os",
    "punycode",
    "readline",
    "repl",
    "sqlite",
    "sys",
    "test",
    "tls",
    "trace_events",
    "tty",
    "v8",
    "vm",
    "wasi",
    "worker_threads",
    "zlib",
];

/// Modules that the engine has, in the order of their names.
pub(super) fn modules() -> impl Iterator<Item = &'static str> {
    let names = sdk::engine_files().filter_map(|name| name.strip_prefix(FOLDER));
    names.filter_map(|name| name.strip_suffix(".js"))
}

/// Whether a name that is imported means a module that the engine has.
pub(super) fn has(name: &str) -> bool {
    let id = name.strip_prefix(PREFIX).unwrap_or(name);
    modules().any(|known| known == id)
}

/// Whether it means a module of Node at all.
pub(super) fn is_of_node(name: &str) -> bool {
    let head = name.split('/').next().unwrap_or(name);
    name.starts_with(PREFIX) || OTHERS.contains(&head)
}

/// Says that modules are not there, and which are.
pub(super) fn lacks(names: &str) -> String {
    let known: Vec<&str> = modules().collect();
    format!(
        "WapoJS has no module {names} of Node; it has {}",
        known.join(", ")
    )
}
