//! The rows of the bench, one file each, in the order in which they run.

mod cpu;
mod daemon;
mod gateway;
mod host_call;
mod http;
mod idle_memory;
mod instantiation;
mod neighbour;
mod plain;
mod tcp_echo;
mod transfer;

use anyhow::Result;

use crate::plan::Plan;
use crate::report::Report;

/// A row: its name on the command line, and what measures it.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Plan, &mut Report) -> Result<()>,
}

/// Every row.
pub(crate) const ALL: &[Row] = &[
    Row {
        name: "host-call",
        run: host_call::run,
    },
    Row {
        name: "instantiation",
        run: instantiation::run,
    },
    Row {
        name: "http",
        run: http::run,
    },
    Row {
        name: "gateway",
        run: gateway::run,
    },
    Row {
        name: "transfer",
        run: transfer::run,
    },
    Row {
        name: "daemon",
        run: daemon::run,
    },
    Row {
        name: "tcp-echo",
        run: tcp_echo::run,
    },
    Row {
        name: "cpu",
        run: cpu::run,
    },
    Row {
        name: "idle-memory",
        run: idle_memory::run,
    },
    Row {
        name: "neighbour",
        run: neighbour::run,
    },
];
