//! Which crate may use which: the table, as data.
//!
//! `packages` compares it with what cargo says; `cargo xtask codegen` writes it
//! into ARCHITECTURE.md.

use std::fmt::Write;

/// One crate of ours and what it may know.
pub(crate) struct Room {
    /// Name of the crate.
    pub(crate) name: &'static str,
    /// Its one job.
    pub(crate) job: &'static str,
    /// Crates of ours it may use.
    pub(crate) may_use: &'static [&'static str],
    /// Crates of others that it must not use, even through a third.
    pub(crate) never: &'static [&'static str],
    /// What else it must not know, checked by readers.
    pub(crate) blind_to: &'static str,
}

/// Every crate of the workspace, lowest first.
pub(crate) const ROOMS: &[Room] = &[
    Room {
        name: "wapo-abi",
        job: "the contract between guest and host: table of host calls, wire types",
        may_use: &[],
        never: &["tokio", "wasmtime", "serde"],
        blind_to: "std",
    },
    Room {
        name: "wapo-macros",
        job: "`#[wapo::main]`",
        may_use: &[],
        never: &["tokio", "wasmtime"],
        blind_to: "",
    },
    Room {
        name: "wapo",
        job: "what an app's author writes against",
        may_use: &["wapo-abi", "wapo-macros"],
        never: &["wasmtime", "prost"],
        blind_to: "",
    },
    Room {
        name: "wapo-host",
        job: "runs guests on wasmtime",
        may_use: &["wapo-abi"],
        never: &["hyper", "axum", "prost", "clap", "redb"],
        blind_to: "HTTP servers, RPC, keys, environment variables",
    },
    Room {
        name: "wapo-sni",
        job: "names on a shared TLS port: ClientHello bytes in, name out",
        may_use: &[],
        never: &["tokio", "rustls", "wasmtime"],
        blind_to: "the contract, RPC, sockets, the clock",
    },
    Room {
        name: "wapo-crypto",
        job: "keys, signatures, sealing, attestation: bytes in, bytes out",
        may_use: &[],
        never: &["tokio", "wasmtime"],
        blind_to: "files, sockets, the clock, global randomness",
    },
    Room {
        name: "wapo-snapshot",
        job: "a module starts from the image of its memory: bytes in, bytes out",
        may_use: &[],
        never: &["tokio", "wasmtime"],
        blind_to: "the contract, files, sockets, the clock",
    },
    Room {
        name: "wapo-rpc",
        job: "the worker's public interface: schema and client",
        may_use: &["wapo-crypto"],
        never: &["wasmtime"],
        blind_to: "",
    },
    Room {
        name: "wapo-verify",
        job: "checks evidence, bills and answers: bytes in, a verdict out",
        may_use: &["wapo-crypto", "wapo-rpc"],
        never: &["tokio", "wasmtime", "rand", "hyper"],
        blind_to: "files, sockets, the clock, randomness",
    },
    Room {
        name: "wapo-verify-page",
        job: "the verifier in a browser: a message in, a report out",
        may_use: &["wapo-rpc", "wapo-verify"],
        never: &["tokio", "wasmtime", "rand", "hyper"],
        blind_to: "files, sockets, the clock, randomness",
    },
    Room {
        name: "wapo-simulator",
        job: "plays the hardware that attests: bytes in, bytes out",
        may_use: &["wapo-crypto"],
        never: &["tokio", "wasmtime"],
        blind_to: "files, sockets, the clock, randomness",
    },
    Room {
        name: "wapod",
        job: "the daemon: worker, HTTP services",
        may_use: &[
            "wapo-abi",
            "wapo-host",
            "wapo-crypto",
            "wapo-rpc",
            "wapo-simulator",
            "wapo-sni",
            "wapo-verify",
        ],
        never: &[],
        blind_to: "the guest SDK",
    },
    Room {
        name: "wapo-cli",
        job: "the `wapo` command",
        may_use: &[
            "wapod",
            "wapo-rpc",
            "wapo-crypto",
            "wapo-snapshot",
            "wapo-verify",
        ],
        never: &[],
        blind_to: "the host directly",
    },
    Room {
        name: "e2e",
        job: "tests from outside: real daemon, real guests, real clients",
        may_use: &[
            "wapod",
            "wapo-rpc",
            "wapo-cli",
            "wapo-simulator",
            "wapo-sni",
            "wapo-verify",
        ],
        never: &[],
        blind_to: "the host directly",
    },
    Room {
        name: "bench",
        job: "ours beside native, in one run",
        may_use: &[
            "wapod",
            "wapo-rpc",
            "wapo-host",
            "wapo-abi",
            "wapo-crypto",
            "wapo-verify",
        ],
        never: &[],
        blind_to: "the host directly, except in microbenchmarks",
    },
    Room {
        name: "xtask",
        job: "all automation",
        may_use: &["wapo-abi", "wapo-snapshot"],
        never: &["tokio", "wasmtime"],
        blind_to: "",
    },
];

/// Versions of one crate that cannot be made one, and who needs them.
///
/// A duplicate that a choice of ours causes is not listed but removed.
pub(crate) const DUPLICATES_ALLOWED: &[(&str, &str)] = &[
    (
        "base64",
        "tonic, the tests' client of gRPC, is one version behind; tests only",
    ),
    (
        "chacha20",
        "hpke, of the generation of schnorrkel's keys, beside rand",
    ),
    (
        "const-oid",
        "k256's generation, which is schnorrkel's, beside that of dcap-qvl",
    ),
    (
        "cpufeatures",
        "sha2 0.10, which schnorrkel's signatures need, beside blake3",
    ),
    ("der", "follows const-oid"),
    (
        "derive_more",
        "scale-info, below dcap-qvl, is one version behind; build time only",
    ),
    ("derive_more-impl", "follows derive_more"),
    (
        "embedded-io",
        "both optional parts of postcard, which wasmtime uses",
    ),
    (
        "foldhash",
        "wasmi, which runs at build time only, is one version behind",
    ),
    (
        "getrandom",
        "ring and schnorrkel's rand_core are generations behind",
    ),
    (
        "hashbrown",
        "gimli, which wasmtime uses, is one version behind",
    ),
    (
        "io-lifetimes",
        "fs-set-times, below wasmtime-wasi, is one version behind",
    ),
    (
        "num-bigint",
        "asn1 parsers of certificates are one version behind oxc",
    ),
    ("rand_core", "schnorrkel speaks version 0.6"),
    (
        "syn",
        "derive macros move to version 3 one by one; build time only",
    ),
    ("synstructure", "follows syn"),
    ("thiserror", "witx, below wasmtime-wasi, uses version 1"),
    ("thiserror-impl", "follows thiserror"),
    (
        "wasmparser",
        "wasmi, which runs at build time only, is some releases behind",
    ),
    ("wast", "witx, below wasmtime-wasi, uses version 35"),
];

/// Licences as packages write them. Anything else is looked at by a person.
pub(crate) const LICENCES: &[&str] = &[
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "MIT",
    "ISC",
    "Zlib",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "Unicode-3.0",
    // The list of trusted certificate authorities, which is data.
    "CDLA-Permissive-2.0",
    // One of these by choice.
    "MIT OR Apache-2.0",
    "Apache-2.0 OR MIT",
    "MIT/Apache-2.0",
    "MIT OR BSD-3-Clause",
    "Apache-2.0 OR BSD-3-Clause",
    "Apache-2.0/MIT",
    "Apache-2.0 / MIT",
    "BSD-2-Clause OR MIT",
    "Unlicense OR MIT",
    "Apache-2.0 OR ISC OR MIT",
    "Zlib OR Apache-2.0 OR MIT",
    "BSD-2-Clause OR Apache-2.0 OR MIT",
    "CC0-1.0 OR MIT-0 OR Apache-2.0",
    "CC0-1.0 OR Apache-2.0 OR Apache-2.0 WITH LLVM-exception",
    "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT",
    "Apache-2.0 WITH LLVM-exception OR BSL-1.0",
    // Parts under each of these.
    "Apache-2.0 AND ISC",
    "(MIT OR Apache-2.0) AND Apache-2.0",
    "(MIT OR Apache-2.0) AND Unicode-3.0",
    "(Apache-2.0 OR MIT) AND BSD-3-Clause",
];

/// The table as Markdown.
pub(crate) fn table() -> String {
    let mut text = String::from(
        "| crate | its one job | may use (ours) | must never see |\n| --- | --- | --- | --- |\n",
    );
    for room in ROOMS {
        let uses = list(room.may_use.iter().map(|name| (*name).to_owned()));
        let blind = (!room.blind_to.is_empty()).then(|| room.blind_to.to_owned());
        let never = list(
            blind
                .into_iter()
                .chain(room.never.iter().map(|name| format!("`{name}`"))),
        );
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| {} | {} | {uses} | {never} |", room.name, room.job);
    }
    text
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    if items.is_empty() {
        "–".to_owned()
    } else {
        items.join(", ")
    }
}
