//! The rows of the bench, one file each, in the order in which they run.

mod cpu;
mod daemon;
mod egress;
mod enclave;
mod gateway;
mod hold;
pub(crate) mod host_call;
mod http;
mod https;
mod idle_memory;
pub(crate) mod instantiation;
mod javascript;
mod load;
mod neighbour;
mod peers;
mod plain;
mod scale;
mod tcp_echo;
mod tls;
mod transfer;
mod trust_handshake;
mod trust_usage;
mod trust_verify;
mod udp_echo;

use anyhow::Result;

use crate::plan::Plan;
use crate::report::Report;

/// A row: its name on the command line, and what measures it.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) group: Group,
    pub(crate) run: fn(&Plan, &mut Report) -> Result<()>,
}

/// Rows that are kept in one table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    /// How fast it is; what runs without a name.
    Speed,
    /// Whether it holds while strangers do their worst: `bench hold`.
    Hold,
}

impl Group {
    /// The group of this name on the command line.
    pub(crate) fn of(name: &str) -> Option<Self> {
        (name == "hold").then_some(Self::Hold)
    }

    /// What the name of the kept file ends with.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::Speed => "",
            Self::Hold => "-hold",
        }
    }
}

/// Every row.
pub(crate) const ALL: &[Row] = &[
    Row {
        name: "host-call",
        group: Group::Speed,
        run: host_call::run,
    },
    Row {
        name: "egress",
        group: Group::Speed,
        run: egress::run,
    },
    Row {
        name: "instantiation",
        group: Group::Speed,
        run: instantiation::run,
    },
    Row {
        name: "http",
        group: Group::Speed,
        run: http::run,
    },
    Row {
        name: "gateway",
        group: Group::Speed,
        run: gateway::run,
    },
    Row {
        name: "peers",
        group: Group::Speed,
        run: peers::run,
    },
    Row {
        name: "https",
        group: Group::Speed,
        run: https::run,
    },
    Row {
        name: "transfer",
        group: Group::Speed,
        run: transfer::run,
    },
    Row {
        name: "daemon",
        group: Group::Speed,
        run: daemon::run,
    },
    Row {
        name: "tcp-echo",
        group: Group::Speed,
        run: tcp_echo::run,
    },
    Row {
        name: "tls",
        group: Group::Speed,
        run: tls::run,
    },
    Row {
        name: "trust-handshake",
        group: Group::Speed,
        run: trust_handshake::run,
    },
    Row {
        name: "trust-verify",
        group: Group::Speed,
        run: trust_verify::run,
    },
    Row {
        name: "trust-usage",
        group: Group::Speed,
        run: trust_usage::run,
    },
    Row {
        name: "udp-echo",
        group: Group::Speed,
        run: udp_echo::run,
    },
    Row {
        name: "cpu",
        group: Group::Speed,
        run: cpu::run,
    },
    Row {
        name: "idle-memory",
        group: Group::Speed,
        run: idle_memory::run,
    },
    Row {
        name: "scale-apps",
        group: Group::Speed,
        run: scale::run_apps,
    },
    Row {
        name: "scale-connections",
        group: Group::Speed,
        run: scale::run_connections,
    },
    Row {
        name: "trust-enclave",
        group: Group::Speed,
        run: enclave::run,
    },
    Row {
        name: "neighbour",
        group: Group::Speed,
        run: neighbour::run,
    },
    Row {
        name: "javascript-hello",
        group: Group::Speed,
        run: javascript::hello::run,
    },
    Row {
        name: "javascript-start",
        group: Group::Speed,
        run: javascript::start::run,
    },
    Row {
        name: "javascript-loops",
        group: Group::Speed,
        run: javascript::loops::run,
    },
    Row {
        name: "javascript-memory",
        group: Group::Speed,
        run: javascript::memory::run,
    },
    Row {
        name: "javascript-apps",
        group: Group::Speed,
        run: javascript::memory::run_apps,
    },
    Row {
        name: "burst",
        group: Group::Hold,
        run: hold::burst::run,
    },
    Row {
        name: "hostile-guests",
        group: Group::Hold,
        run: hold::guests::run,
    },
    Row {
        name: "hostile-clients",
        group: Group::Hold,
        run: hold::clients::run,
    },
    Row {
        name: "compile-bombs",
        group: Group::Hold,
        run: hold::bombs::run,
    },
    Row {
        name: "quotas",
        group: Group::Hold,
        run: hold::quotas::run,
    },
    Row {
        name: "drain",
        group: Group::Hold,
        run: hold::drain::run,
    },
];
