//! Which module may import which: the layers of the two large crates, as data.
//!
//! `imports` compares it with what files import; `cargo xtask codegen` writes it into
//! ARCHITECTURE.md.

use std::fmt::Write;

/// The layers of one crate.
pub(crate) struct Layers {
    /// Name of the crate.
    pub(crate) name: &'static str,
    /// Lowest first. Files import from their own layer and from those before it.
    pub(crate) layers: &'static [Layer],
    /// Files that import each other in a circle all the same.
    pub(crate) circles: &'static [Circle],
}

/// Files of which each imports all others, by whatever way.
pub(crate) struct Circle {
    /// Paths of their modules.
    pub(crate) files: &'static [&'static str],
    /// Why nothing can be moved that opens it, in a sentence.
    pub(crate) reason: &'static str,
}

/// Modules that may know each other.
pub(crate) struct Layer {
    pub(crate) name: &'static str,
    /// Its one job.
    pub(crate) job: &'static str,
    /// Paths of modules, as files below `src` without the ending. Each stands for what
    /// is below it as well, except for what has a place of its own.
    pub(crate) modules: &'static [&'static str],
}

/// The file `lib.rs` in the list of a layer.
pub(crate) const ROOT: &str = "lib";

/// Every crate whose modules have an order.
pub(crate) const LAYERED: &[Layers] = &[
    Layers {
        name: "wapo-host",
        layers: &[
            Layer {
                name: "limits",
                job: "numbers, texts of log lines, why a module is refused",
                modules: &["limits", "line", "load_error"],
            },
            Layer {
                name: "accounts",
                job: "what an instance and its app use: memory, descriptors, traffic, quotas",
                modules: &[
                    "budget",
                    "host_memory",
                    "descriptors",
                    "meter",
                    "quotas",
                    "connections",
                ],
            },
            Layer {
                name: "embedder",
                job: "what the host asks the program that runs it, and how it opens ports by default",
                modules: &["embedder", "net/bind", "net/read_ahead"],
            },
            Layer {
                name: "requests",
                job: "heads, answers and errors of requests, as daemon and guest see them",
                modules: &["http_head", "request"],
            },
            Layer {
                name: "logs",
                job: "lines on their way from a guest to the app's log",
                modules: &["logs", "notices", "output"],
            },
            Layer {
                name: "scheduling",
                job: "when an instance's task runs: stop, wakers, slices, clocks, hogs",
                modules: &[
                    "compute",
                    "stack_account",
                    "control",
                    "steps",
                    "turn",
                    "pace",
                    "schedule",
                    "wake",
                ],
            },
            Layer {
                name: "net",
                job: "sockets, names, TLS, proxies, the egress policy",
                modules: &["net"],
            },
            Layer {
                name: "instance",
                job: "one instance: its handle, its requests, its table of handles, its state",
                modules: &[
                    "instance",
                    "intake",
                    "resource",
                    "context",
                    "state",
                    "stack",
                    "net/room",
                    "net/rate_waits",
                ],
            },
            Layer {
                name: "calls",
                job: "the host calls and the imports of WASI, guest memory",
                modules: &["calls", "memory", "wasi"],
            },
            Layer {
                name: "compiler",
                job: "a module becomes native code: checks, rewriting, compilation, files",
                modules: &["externref", "precheck", "bulk", "compiler", "module_files"],
            },
            Layer {
                name: "run",
                job: "the life of an instance: programs, polls, ends, restarts",
                modules: &[
                    "module_cache",
                    "memory_image",
                    "halt",
                    "trap",
                    "guest_abi",
                    "poll_abi",
                    "drive",
                    "supervise",
                ],
            },
            Layer {
                name: "engine",
                job: "what is set up once",
                modules: &["memory_pool", "engine", ROOT],
            },
        ],
        circles: &[],
    },
    Layers {
        name: "wapod",
        layers: &[
            Layer {
                name: "basics",
                job: "numbers, errors, the machine, the thread that watches the runtime",
                modules: &[
                    "limits",
                    "error",
                    "mistakes",
                    "proxy_protocol",
                    "system",
                    "watchdog",
                    "compile",
                ],
            },
            Layer {
                name: "disk",
                job: "the data folder: state, blobs, the reserve",
                modules: &["data_dir", "reserve", "store", "blobs"],
            },
            Layer {
                name: "config",
                job: "what a server is started with",
                modules: &["config", "quotas", "tls_files", "attestation", "javascript"],
            },
            Layer {
                name: "identity",
                job: "the worker's key, what is sealed with it, connections to the web",
                modules: &["identity", "boot_data", "web_client"],
            },
            Layer {
                name: "worker",
                job: "apps, their instances and names, what guests ask of the worker, the bill",
                modules: &["worker", "edge", "logs"],
            },
            Layer {
                name: "acme",
                job: "certificates from an authority",
                modules: &["acme"],
            },
            Layer {
                name: "transport",
                job: "one connection: bytes, the client's liveness, shares of the port's budgets",
                modules: &[
                    "api/transport",
                    "api/liveness",
                    "api/frames",
                    "api/unread",
                    "api/budget",
                    "api/places",
                    "api/pace",
                    "api/self_wakes",
                    "api/timer",
                ],
            },
            Layer {
                name: "connections",
                job: "HTTP on both ports: accepting, both versions, bodies, errors, marks of answers",
                modules: &[
                    "api/listener",
                    "api/connection",
                    "api/service",
                    "api/client",
                    "api/door",
                    "api/http1",
                    "api/http2",
                    "api/https",
                    "api/clients",
                    "api/request_body",
                    "api/body",
                    "api/framing",
                    "api/collect",
                    "api/error",
                    "api/auth",
                    "api/signing",
                    "api/signed_parts",
                    "api/seen_queries",
                ],
            },
            Layer {
                name: "calls",
                job: "calls of users to the worker",
                modules: &["api/call", "api/user", "api/private_query", "api/evidence"],
            },
            Layer {
                name: "gateway",
                job: "the user port: which app a request is for, and its way there and back",
                modules: &["api", "api/gateway", "api/signed_answer"],
            },
            Layer {
                name: "operator",
                job: "the admin port: calls of the operator, console, logs, figures (`/metrics`)",
                modules: &[
                    "api/admin",
                    "api/admin_service",
                    "api/operation",
                    "api/blob",
                    "api/log_stream",
                    "api/figures",
                    "api/console",
                    "api/all_budgets",
                    "api/quotas",
                    "api/gateway/visit",
                ],
            },
            Layer {
                name: "TLS port",
                job: "the port that apps share for TLS",
                modules: &["edge/port", "edge/parking", "edge/handshake"],
            },
            Layer {
                name: "checks for fuzzers",
                job: "what must hold for any bytes that clients and guests send; called by `e2e` alone",
                modules: &["api/fuzz"],
            },
            Layer {
                name: "server",
                job: "starting, stopping, signals, backups",
                modules: &["server", "signals", "backup", ROOT],
            },
            Layer {
                name: "program",
                job: "the command line of `wapod`",
                modules: &["main", "log_pipe", "logging", "options", "serve"],
            },
        ],
        circles: &[Circle {
            files: &[
                "edge",
                "edge/claims",
                "edge/kin",
                "edge/serving",
                "worker/app",
                "worker/app_context",
                "worker/embedder",
                "worker/guest_evidence",
                "worker/instance",
                "worker/seats",
            ],
            reason: "The table of names leads from a name to its app, and an app to the table: \
                     its instances leave it when they end, and its guests take names there; \
                     guests reach their app as well, for evidence. Only a second table of apps, \
                     or a trait with one implementation, would part them.",
        }],
    },
];

/// The layers as Markdown.
pub(crate) fn table() -> String {
    let mut text = String::new();
    for crate_of_ours in LAYERED {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| layer of {} | its one job | modules |\n| --- | --- | --- |",
            crate_of_ours.name
        );
        for layer in crate_of_ours.layers.iter().rev() {
            let modules: Vec<String> = layer
                .modules
                .iter()
                .map(|module| format!("`{module}`"))
                .collect();
            let modules = modules.join(", ");
            let _ = writeln!(text, "| {} | {} | {modules} |", layer.name, layer.job);
        }
        text.push('\n');
        for circle in crate_of_ours.circles {
            let files: Vec<String> = circle
                .files
                .iter()
                .map(|file| format!("`{file}`"))
                .collect();
            let (name, files) = (crate_of_ours.name, files.join(", "));
            let _ = writeln!(
                text,
                "A circle that stays in {name}: {files}. {}\n",
                circle.reason
            );
        }
    }
    text
}
