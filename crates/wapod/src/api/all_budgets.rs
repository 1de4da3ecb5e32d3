//! Every budget of the daemon in one list: how much is used, how much there is,
//! how often more was refused.
//!
//! Read from the budgets themselves, wherever they are kept; nothing is counted
//! here. Shown by `figures` (Prometheus) and by `operation` (`Operation.Info`, and
//! with it the console and `wapo info`). Each name has a line in `docs/operating.md`, as
//! `cargo xtask tidy` checks.

use std::sync::Arc;

use wapo_host::{BudgetUsage, Meter, QuotaKind};
use wapo_rpc::AppAddress;

use super::budget::{Budget, BudgetReading};
use super::clients::Clients;
use super::https::Https;
use crate::limits::APPS_MAX;
use crate::system;
use crate::worker::Worker;

/// The budgets that are not the worker's.
pub(crate) struct AllBudgets {
    /// The clients of the admin port.
    pub(super) clients: Arc<Clients>,
    /// Those of the user port.
    pub(super) users: Arc<Clients>,
    /// TLS of the ports that have it.
    pub(super) https: Vec<Arc<Https>>,
    /// Those of the TLS port, if there is one.
    pub(super) tls: Option<Arc<Clients>>,
    /// Who follows logs, of each app.
    pub(super) followers: Arc<Budget<AppAddress>>,
    /// Blobs that come and go.
    pub(super) transfers: Arc<Budget>,
    /// Descriptors that are kept for the daemon itself.
    pub(super) daemon_descriptors: u64,
}

/// Whose a budget is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Scope {
    /// All apps together.
    Guests,
    /// The daemon itself.
    Daemon,
    /// The clients of a port.
    Clients(&'static str),
}

impl Scope {
    /// Its name for programs.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Guests => "guests",
            Self::Daemon => "daemon",
            Self::Clients(port) => port,
        }
    }
}

/// A budget at a glance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Row {
    pub(super) scope: Scope,
    /// For programs; that of a number of bytes ends in `_bytes`.
    pub(super) name: &'static str,
    /// For people.
    pub(super) title: &'static str,
    pub(super) used: u64,
    /// `None` for no limit.
    pub(super) max: Option<u64>,
    /// How often more was refused; `None` where nothing is refused, or nobody
    /// counts it.
    pub(super) refused: Option<u64>,
}

impl AllBudgets {
    /// All of them. Blocks: what the system says is read from files.
    pub(super) fn rows(&self, worker: &Worker) -> Vec<Row> {
        let mut rows = guests(worker);
        rows.extend(self.daemon(worker));
        for clients in self.ports() {
            let of_port = clients.readings();
            rows.extend(of_port.map(|(port, name, reading)| client(port, name, reading)));
        }
        for https in &self.https {
            let reading = https.reading();
            let port = reading.certificate.port;
            rows.push(client(port, "handshakes", reading.handshakes));
        }
        let of_operator = [
            ("log_followers", self.followers.reading()),
            ("blob_transfers", self.transfers.reading()),
        ];
        rows.extend(of_operator.map(|(name, reading)| client("admin", name, reading)));
        rows
    }

    /// The clients of each port.
    pub(super) fn ports(&self) -> impl Iterator<Item = &Arc<Clients>> {
        [&self.users, &self.clients].into_iter().chain(&self.tls)
    }

    fn daemon(&self, worker: &Worker) -> Vec<Row> {
        let row = |name, title, used, max, refused| Row {
            scope: Scope::Daemon,
            name,
            title,
            used,
            max: Some(max),
            refused,
        };
        let mut rows = Vec::new();
        if let Some(used) = self.own_descriptors(worker) {
            let max = self.daemon_descriptors;
            rows.push(row("descriptors", "Descriptors", used, max, None));
        }
        let load = worker.engine.compiler_load();
        let (compiling, compiling_max) = (load.compiling as u64, load.compiling_max as u64);
        let (waiting, waiting_max) = (load.waiting as u64, load.waiting_max as u64);
        let (bytes, bytes_max) = (load.waiting_bytes as u64, load.waiting_bytes_max as u64);
        let (changes, changes_max) = worker.store_queue();
        rows.extend([
            row(
                "compilations",
                "Compilations",
                compiling,
                compiling_max,
                None,
            ),
            row(
                "compile_queue",
                "Compile queue",
                waiting,
                waiting_max,
                Some(load.refused),
            ),
            row(
                "compile_queue_bytes",
                "Compile queue, size",
                bytes,
                bytes_max,
                None,
            ),
            row("store_queue", "Store queue", changes, changes_max, None),
            row(
                "apps",
                "Apps",
                worker.app_count() as u64,
                APPS_MAX as u64,
                None,
            ),
        ]);
        rows
    }

    /// Descriptors that neither guests nor clients have; `None` when the system
    /// does not say how many there are.
    fn own_descriptors(&self, worker: &Worker) -> Option<u64> {
        let all = system::open_files()?;
        let clients: u64 = self.ports().map(|port| port.connections()).sum();
        let others = worker.engine.descriptors().used + clients;
        Some(all.saturating_sub(others))
    }
}

fn guests(worker: &Worker) -> Vec<Row> {
    let row = |name, title, usage: BudgetUsage| Row {
        scope: Scope::Guests,
        name,
        title,
        used: usage.used,
        max: usage.max,
        refused: Some(usage.refused),
    };
    let instances = Row {
        scope: Scope::Guests,
        name: "instances",
        title: "Instances",
        used: worker.instances_now(),
        max: Some(u64::from(worker.limits.instances_max)),
        refused: None,
    };
    let mut rows = vec![
        instances,
        row("memory_bytes", "Memory", worker.engine.memory()),
        row("descriptors", "Descriptors", worker.engine.descriptors()),
    ];
    rows.extend(
        QuotaKind::ALL
            .iter()
            .filter_map(|kind| of_all(worker, *kind)),
    );
    rows
}

/// A quota of all apps together, if there is one. What goes beyond a rate waits, and
/// is counted with the app.
fn of_all(worker: &Worker, kind: QuotaKind) -> Option<Row> {
    // Nothing is metered of all but what each app's meter has.
    let reading = worker.quotas.all.read(kind, &Meter::default());
    Some(Row {
        scope: Scope::Guests,
        name: kind.info().budget,
        title: match kind {
            QuotaKind::Cpu => "thousandths of a core",
            _ => kind.info().title,
        },
        used: reading.used,
        max: Some(reading.limit?),
        refused: (!kind.is_rate()).then_some(reading.refused),
    })
}

fn client(port: &'static str, name: &'static str, reading: BudgetReading) -> Row {
    Row {
        scope: Scope::Clients(port),
        name,
        title: match name {
            "connections" => "Connections",
            "body_bytes" => "Bodies of calls",
            "answer_bytes" => "Answers to calls",
            "head_bytes" => "Heads of requests",
            "upload_bytes" => "Unread bodies",
            "large_messages" => "Large messages at a time",
            "private_queries" => "Private queries that are remembered",
            "handshakes" => "Handshakes of TLS",
            "log_followers" => "Followers of logs",
            "blob_transfers" => "Blobs on their way",
            other => other,
        },
        used: reading.used,
        max: Some(reading.total),
        refused: Some(reading.refused),
    }
}
