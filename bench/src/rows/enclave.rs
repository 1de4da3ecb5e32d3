//! Row `trust-enclave`: the mode for enclaves beside the usual one, in the same machine
//! without an enclave: what code that checks every access costs, not what leaving an
//! enclave costs. `Hello, World!` through the gateway, 32 connections with keep-alive,
//! rounds alternate; and the memory of instances that have answered and wait.

use std::net::SocketAddr;

use anyhow::{Result, ensure};

use super::load::Achieved;
use crate::child::Server;
use crate::client::Client;
use crate::plan::Plan;
use crate::report::{Goal, Line, Report, number};

const ROW: &str = "trust-enclave";

/// A server of one of the modes.
struct Mode {
    server: Server,
    gateway: SocketAddr,
    url: String,
    achieved: Achieved,
}

impl Mode {
    fn start(what: &str) -> Result<Self> {
        let mut server = Server::start(what)?;
        let gateway = server.ask_one("gateway")?.parse()?;
        let path = server.ask_one("apps 1 hello-http")?;
        Ok(Self {
            gateway,
            url: format!("http://{gateway}{path}"),
            achieved: Achieved::default(),
            server,
        })
    }

    /// Starts instances, each of which answers a request; bytes that each costs.
    fn idle_bytes(&mut self, count: usize) -> Result<f64> {
        let before = self.server.memory_bytes()?;
        let paths = self.server.ask(&format!("apps {count} hello-http"))?;
        // Not earlier: the gateway closes connections on which nothing was said for ten seconds.
        let mut client = Client::connect(self.gateway)?;
        for path in paths {
            let body = client.get(&path)?;
            ensure!(body == b"Hello, World!\n", "another answer than expected");
        }
        let grown = self.server.memory_bytes()?.saturating_sub(before);
        Ok(grown as f64 / count as f64)
    }
}

pub(super) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let mut usual = Mode::start("wapo")?;
    let mut enclave = Mode::start("wapo-enclave")?;
    for _ in 0..plan.rounds {
        for mode in [&mut usual, &mut enclave] {
            mode.achieved.round(mode.server.id(), &mode.url, plan)?;
        }
    }
    report.add(Line {
        row: ROW,
        what: "hello through the gateway, 32 connections keep-alive, mode for enclaves".to_owned(),
        beside: format!("{} as usual", usual.achieved.text()),
        ours: enclave.achieved.text(),
        value: enclave.achieved.rate() / usual.achieved.rate(),
        unit: "× as usual",
        goal: Goal::AtLeast(0.8),
    });
    let count = plan.idle_instances.iter().copied().min().unwrap_or(1);
    let (beside, ours) = (usual.idle_bytes(count)?, enclave.idle_bytes(count)?);
    report.add(Line {
        row: ROW,
        what: format!("memory of an idle instance, of {count}, mode for enclaves"),
        beside: format!("{} KB as usual", number(beside / 1e3)),
        ours: format!("{} KB", number(ours / 1e3)),
        value: ours / beside,
        unit: "× as usual",
        goal: Goal::AtMost(2.0),
    });
    Ok(())
}
