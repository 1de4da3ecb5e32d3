//! Figures for Prometheus: `GET /metrics`, in its text format (version 0.0.4).
//!
//! Nothing is counted here. It reads the sums of the bill ([`Totals`]), which outlive the
//! daemon; meters, quotas and instances of apps; the budgets (`all_budgets`); and the
//! worker's own counters, which begin at zero with the daemon (stalls, answer times, TLS,
//! certificates, quotes). Labels are addresses, host names and words of ours, which need
//! no escaping. Called by `admin`.
//!
//! # Adding a figure
//!
//! One value for the worker is a [`Page::one`] in [`answer`]; a gauge of each app is a row
//! of [`gauges`]. A counter of each app is a row of [`counters`] if the bill has it.
//! [`Totals`] is stored with every app and is the bill's, so a counter that is not billed
//! does not belong there (`restarts` is the one exception): it is counted beside the bill, as
//! [`EgressRefusals`] in the host's meter or `worker/latency.rs` in the daemon. A name is
//! written out, so that it can be searched for, and has a line in the table of
//! `docs/operating.md`, which `cargo xtask tidy` compares.

use std::fmt::{Display, Write as _};
use std::sync::Arc;

use hyper::{Response, StatusCode};
use wapo_host::{EgressRefusals, QuotaReading};

use super::admin_service::AdminService;
use super::all_budgets::{AllBudgets, Row, Scope};
use super::body::{self, Body};
use super::quotas;
use crate::acme::AcmeReading;
use crate::attestation::Figures;
use crate::store::Totals;
use crate::tls_files::CertificateReading;
use crate::worker::{App, BOUNDS_US, Instance, Worker};

/// The text format.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers `/metrics`.
pub(super) async fn answer(service: &AdminService) -> Response<Body> {
    let worker = &*service.worker;
    let rows = {
        let (worker, budgets) = (Arc::clone(&service.worker), Arc::clone(&service.budgets));
        tokio::task::spawn_blocking(move || budgets.rows(&worker)).await
    };
    let mut page = Page::default();
    let info = worker.operator_info();
    page.one("wapo_apps", "gauge", "Deployed apps.", info.deployed_apps);
    page.one(
        "wapo_instances",
        "gauge",
        "Running instances.",
        info.running_instances,
    );
    page.one(
        "wapo_instances_max",
        "gauge",
        "Slots for instances.",
        info.max_instances,
    );
    page.one(
        "wapo_memory_committed_bytes",
        "gauge",
        "Memory that instances were granted.",
        info.memory_committed,
    );
    page.one(
        "wapo_memory_resident_bytes",
        "gauge",
        "Resident memory of the daemon.",
        info.memory_usage.map_or(0, |memory| memory.used),
    );
    page.one(
        "wapo_ready",
        "gauge",
        "Whether every app was started.",
        u8::from(worker.is_ready()),
    );
    of_instances(&mut page, service);
    // Without them only while the daemon ends.
    budgets(&mut page, &rows.unwrap_or_default());
    displaced(&mut page, &service.budgets);
    let of_port = worker.edge.certificates().port_reading();
    https(&mut page, &service.budgets, of_port);
    if let Some(acme) = &service.acme {
        certificates(&mut page, &acme.reading());
    }
    if let Some(figures) = worker.attester.figures() {
        attestation(&mut page, figures);
    }
    stalls(&mut page, worker);
    let apps: Vec<_> = worker
        .apps_in_order()
        .into_iter()
        .map(|app| (labels(&app), app.ledger.totals(), app))
        .collect();
    counters(&mut page, &apps);
    refusals(&mut page, &apps);
    gauges(&mut page, &apps);
    tls(&mut page, worker, &apps);
    app_quotas(&mut page, &apps);
    latencies(&mut page, &apps);
    body::full(StatusCode::OK, CONTENT_TYPE, page.text)
}

/// What one instance may have.
fn of_instances(page: &mut Page, service: &AdminService) {
    page.one(
        "wapo_instance_memory_max_bytes",
        "gauge",
        "Linear memory of one instance at most.",
        service.worker.limits.memory_max_bytes,
    );
    page.one(
        "wapo_instance_descriptors_max",
        "gauge",
        "Descriptors of one instance at most.",
        service.instance_descriptors,
    );
}

/// How much of each budget is used, how much there is, how much was refused.
fn budgets(page: &mut Page, rows: &[Row]) {
    let of_guests = |row: &&Row| row.scope == Scope::Guests;
    let of_daemon = |row: &&Row| row.scope == Scope::Daemon;
    let of_clients = |row: &&Row| matches!(row.scope, Scope::Clients(_));
    family(page, GUESTS, "apps", rows.iter().filter(of_guests));
    family(page, DAEMON, "the daemon", rows.iter().filter(of_daemon));
    family(page, CLIENTS, "clients", rows.iter().filter(of_clients));
}

/// Series of one kind of holder: how much is used, how much there is, how much was
/// refused.
type Family = [&'static str; 3];

const GUESTS: Family = [
    "wapo_guest_budget_used",
    "wapo_guest_budget_max",
    "wapo_guest_budget_refused_total",
];
const DAEMON: Family = [
    "wapo_daemon_budget_used",
    "wapo_daemon_budget_max",
    "wapo_daemon_budget_refused_total",
];
const CLIENTS: Family = [
    "wapo_client_budget_used",
    "wapo_client_budget_max",
    "wapo_client_budget_refused_total",
];

/// The budgets of one kind of holder.
fn family<'a>(
    page: &mut Page,
    [used, max, refused]: Family,
    whose: &str,
    rows: impl Iterator<Item = &'a Row>,
) {
    let rows: Vec<_> = rows.map(|row| (budget_labels(row), row)).collect();
    page.head(used, "gauge", &format!("What is kept for {whose}."));
    for (labels, row) in &rows {
        page.line(used, labels, row.used);
    }
    let help = format!("How much may be kept for {whose}.");
    page.head(max, "gauge", &help);
    for (labels, row) in &rows {
        let most = row
            .max
            .map_or_else(|| "+Inf".to_owned(), |most| most.to_string());
        page.line(max, labels, most);
    }
    let help = "Refusals because a budget was used up.";
    page.head(refused, "counter", help);
    for (labels, row) in &rows {
        if let Some(count) = row.refused {
            page.line(refused, labels, count);
        }
    }
}

fn budget_labels(row: &Row) -> String {
    let budget = row.name;
    match row.scope {
        Scope::Clients(port) => format!("port=\"{port}\",budget=\"{budget}\""),
        Scope::Guests | Scope::Daemon => format!("budget=\"{budget}\""),
    }
}

fn displaced(page: &mut Page, budgets: &AllBudgets) {
    const DISPLACED: &str = "wapo_client_connections_displaced_total";
    let help = "Connections that waited and had to leave for others.";
    page.head(DISPLACED, "counter", help);
    for (port, count) in budgets.ports().map(|port| port.displaced()) {
        page.line(DISPLACED, &format!("port=\"{port}\""), count);
    }
}

/// TLS of the daemon's own ports.
fn https(page: &mut Page, budgets: &AllBudgets, of_port: Option<CertificateReading>) {
    let readings: Vec<_> = budgets.https.iter().map(|one| one.reading()).collect();
    let certificates = readings.iter().map(|one| one.certificate);
    let certificates: Vec<_> = certificates.chain(of_port).collect();
    if certificates.is_empty() {
        return;
    }
    const HANDSHAKES: &str = "wapo_tls_handshakes_total";
    let help = "Handshakes of TLS, by how they ended.";
    page.head(HANDSHAKES, "counter", help);
    for reading in &readings {
        let port = reading.certificate.port;
        for (outcome, count) in reading.outcomes {
            let labels = format!("port=\"{port}\",outcome=\"{outcome}\"");
            page.line(HANDSHAKES, &labels, count);
        }
    }
    const EXPIRY: &str = "wapo_tls_certificate_not_after_seconds";
    let help = "When the certificate of a port expires, in seconds since 1970.";
    page.head(EXPIRY, "gauge", help);
    for of in &certificates {
        page.line(EXPIRY, &format!("port=\"{}\"", of.port), of.not_after);
    }
    const CHANGES: &str = "wapo_tls_certificate_changes_total";
    let help = "Changes of the files of a certificate, by what became of them.";
    page.head(CHANGES, "counter", help);
    for of in &certificates {
        for (outcome, count) in [("adopted", of.adopted), ("refused", of.refused)] {
            let labels = format!("port=\"{}\",outcome=\"{outcome}\"", of.port);
            page.line(CHANGES, &labels, count);
        }
    }
}

/// Certificates that an authority issues.
fn certificates(page: &mut Page, acme: &AcmeReading) {
    const ATTEMPTS: &str = "wapo_acme_certificates_total";
    let help = "Attempts to get a certificate, by what became of them.";
    page.head(ATTEMPTS, "counter", help);
    for (outcome, count) in [("issued", acme.issued), ("failed", acme.failed)] {
        page.line(ATTEMPTS, &format!("outcome=\"{outcome}\""), count);
    }
    const EXPIRY: &str = "wapo_acme_certificate_not_after_seconds";
    let help = "When the certificate of a name expires, in seconds since 1970; 0 without one.";
    page.head(EXPIRY, "gauge", help);
    for one in &acme.names {
        page.line(EXPIRY, &format!("name=\"{}\"", one.name), one.not_after);
    }
    const FAILURES: &str = "wapo_acme_failures";
    let help = "Attempts for a name that failed since the last good one.";
    page.head(FAILURES, "gauge", help);
    for one in &acme.names {
        page.line(FAILURES, &format!("name=\"{}\"", one.name), one.failures);
    }
}

/// Quotes and evidence, where the worker can make some.
fn attestation(page: &mut Page, figures: &Figures) {
    const QUOTES: &str = "wapo_quotes_total";
    let help = "Quotes of the hardware, by who asked and what became of them.";
    page.head(QUOTES, "counter", help);
    for (asker, outcome, count) in figures.quotes() {
        let labels = format!("asker=\"{asker}\",outcome=\"{outcome}\"");
        page.line(QUOTES, &labels, count);
    }
    const EVIDENCE: &str = "wapo_evidence_total";
    let help = "Evidence that was made, by what it is about.";
    page.head(EVIDENCE, "counter", help);
    for (about, count) in figures.evidence() {
        page.line(EVIDENCE, &format!("about=\"{about}\""), count);
    }
}

fn stalls(page: &mut Page, worker: &Worker) {
    let reading = worker.stalls.read();
    page.one(
        "wapo_stalls_total",
        "counter",
        "Times that the runtime stood still for more than a second.",
        reading.count,
    );
    page.one(
        "wapo_stall_longest_seconds",
        "gauge",
        "The longest stall since the start.",
        reading.longest.as_secs_f64(),
    );
    page.one(
        "wapo_stall_seconds",
        "gauge",
        "The stall of this moment.",
        reading.current.as_secs_f64(),
    );
}

/// The shared TLS port.
fn tls(page: &mut Page, worker: &Worker, apps: &[AppRow]) {
    const CONNECTIONS: &str = "wapo_tls_connections_total";
    const WAITING: &str = "wapo_tls_waiting";
    const TAKEN: &str = "wapo_app_tls_connections_total";
    let figures = worker.edge.figures();
    page.one(
        "wapo_tls_names",
        "gauge",
        "Host names that apps have.",
        worker.edge.names_count(),
    );
    let help = "Connections to the shared TLS port, by what became of them.";
    page.head(CONNECTIONS, "counter", help);
    for (outcome, count) in figures.outcomes() {
        page.line(CONNECTIONS, &format!("outcome=\"{outcome}\""), count);
    }
    let help = "Connections of the shared TLS port that no guest has yet.";
    page.head(WAITING, "gauge", help);
    for (state, count) in figures.waiting() {
        page.line(WAITING, &format!("state=\"{state}\""), count);
    }
    page.head(
        TAKEN,
        "counter",
        "Connections of the TLS port that the app has taken.",
    );
    for (labels, _, app) in apps {
        page.line(TAKEN, labels, worker.edge.connections_of(app));
    }
}

type AppRow = (String, Totals, Arc<App>);

fn labels(app: &App) -> String {
    format!("app=\"{}\",name=\"{}\"", app.address, app.name())
}

fn counters(page: &mut Page, apps: &[AppRow]) {
    type Read = fn(&Totals) -> f64;
    let rows: [(&str, &str, Read); 9] = [
        (
            "wapo_app_requests_total",
            "Requests and queries handed to the app.",
            |t| t.requests as f64,
        ),
        ("wapo_app_gas_total", "Gas.", |t| t.gas as f64),
        (
            "wapo_app_network_ingress_bytes_total",
            "Bytes received.",
            |t| t.network_ingress_bytes as f64,
        ),
        ("wapo_app_network_egress_bytes_total", "Bytes sent.", |t| {
            t.network_egress_bytes as f64
        }),
        (
            "wapo_app_storage_read_bytes_total",
            "Bytes read from storage.",
            |t| t.storage_read_bytes as f64,
        ),
        (
            "wapo_app_storage_write_bytes_total",
            "Bytes written to storage.",
            |t| t.storage_write_bytes as f64,
        ),
        ("wapo_app_starts_total", "Starts of instances.", |t| {
            t.starts as f64
        }),
        ("wapo_app_restarts_total", "Restarts after a crash.", |t| {
            t.restarts as f64
        }),
        (
            "wapo_app_running_seconds_total",
            "Time that instances ran.",
            |t| t.running_us as f64 / 1e6,
        ),
    ];
    for (name, help, read) in rows {
        page.head(name, "counter", help);
        for (labels, totals, _) in apps {
            page.line(name, labels, read(totals));
        }
    }
}

/// What the egress policy refused each app since the daemon started.
fn refusals(page: &mut Page, apps: &[AppRow]) {
    type Read = fn(&EgressRefusals) -> u64;
    let rows: [(&str, &str, Read); 2] = [
        (
            "wapo_app_egress_denied_total",
            "Connections that the egress policy refused.",
            |refusals| refusals.denied,
        ),
        (
            "wapo_app_egress_audited_total",
            "Connections that the egress policy would have refused, while it only audits.",
            |refusals| refusals.audited,
        ),
    ];
    for (name, help, read) in rows {
        page.head(name, "counter", help);
        for (labels, _, app) in apps {
            page.line(name, labels, read(&app.ledger.egress_refusals()));
        }
    }
}

fn gauges(page: &mut Page, apps: &[AppRow]) {
    type Read = fn(&App) -> u64;
    let rows: [(&str, &str, Read); 6] = [
        ("wapo_app_memory_bytes", "Linear memory in use.", |app| {
            app.ledger.live().memory_bytes
        }),
        (
            "wapo_app_host_memory_bytes",
            "Memory that the host keeps for instances.",
            |app| sum(app, |one| one.handle().host_memory_bytes()),
        ),
        ("wapo_app_descriptors", "Descriptors in use.", |app| {
            sum(app, |one| one.handle().descriptors())
        }),
        ("wapo_app_instances", "Instances.", |app| {
            app.instances().len() as u64
        }),
        (
            "wapo_app_requests_in_flight",
            "Requests that wait or are worked on.",
            |app| app.requests() as u64,
        ),
        (
            "wapo_app_requests_max",
            "Requests that may wait or be worked on.",
            |app| app.requests_max() as u64,
        ),
    ];
    for (name, help, read) in rows {
        page.head(name, "gauge", help);
        for (labels, _, app) in apps {
            page.line(name, labels, read(app));
        }
    }
}

/// The quotas of apps that have a limit: there are as many lines as limits.
fn app_quotas(page: &mut Page, apps: &[AppRow]) {
    let mut rows = Vec::new();
    for (labels, _, app) in apps {
        rows.extend(quotas::limited(app).map(|(kind, reading)| {
            let labels = format!("{labels},quota=\"{}\"", kind.name());
            (labels, reading)
        }));
    }
    type Read = fn(&QuotaReading) -> u64;
    let families: [(&str, &str, &str, Read); 3] = [
        (
            "wapo_app_quota_max",
            "gauge",
            "Quotas of the app that have a limit; `cpu` in thousandths of a core.",
            |one| one.limit.unwrap_or_default(),
        ),
        (
            "wapo_app_quota_used",
            "gauge",
            "What the app has of it; of a rate, the average of the last second.",
            |one| one.used,
        ),
        (
            "wapo_app_quota_refused_total",
            "counter",
            "How often more was refused, or had to wait.",
            |one| one.refused,
        ),
    ];
    for (name, kind, help, read) in families {
        page.head(name, kind, help);
        for (labels, reading) in &rows {
            page.line(name, labels, read(reading));
        }
    }
}

/// Of all instances of an app together.
fn sum(app: &App, of_one: impl Fn(&Instance) -> u64) -> u64 {
    app.instances().iter().map(|one| of_one(one)).sum()
}

fn latencies(page: &mut Page, apps: &[AppRow]) {
    const NAME: &str = "wapo_app_answer_seconds";
    page.head(NAME, "histogram", "Time until the app answered.");
    for (labels, _, app) in apps {
        let reading = app.latency_reading();
        let bounds = BOUNDS_US.iter().map(|us| (*us as f64 / 1e6).to_string());
        let bounds = bounds.chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(reading.cumulated) {
            page.line(
                &format!("{NAME}_bucket"),
                &format!("{labels},le=\"{bound}\""),
                count,
            );
        }
        page.line(&format!("{NAME}_sum"), labels, reading.sum_us as f64 / 1e6);
        let all = reading.cumulated[BOUNDS_US.len()];
        page.line(&format!("{NAME}_count"), labels, all);
    }
}

/// The text so far. Writing to a string does not fail.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = writeln!(self.text, "{name}{{{labels}}} {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        let _ = writeln!(self.text, "{name} {value}");
    }
}
