//! The list of apps, and what there is to say of each.
//!
//! Part of the operator's calls; which apps have changed since a client asked last is in
//! `worker/changes`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use wapo_rpc::message::{AppInfo, AppListArgs, AppListResponse, AppUsage, InstanceInfo};

use super::operator::Fault;
use super::settings::app_settings;
use crate::error::AppError;
use crate::worker::{App, Instance, Listing, LookTurn, Since, Worker};

/// What a client has asked for. Blocks for as long as it takes to look at the apps.
pub(super) fn list(
    worker: &Worker,
    mut turn: LookTurn,
    args: &AppListArgs,
) -> Result<AppListResponse, Fault> {
    let max = match args.count {
        0 => usize::MAX,
        count => count as usize,
    };
    if args.since.is_empty() {
        return Ok(match (args.start, args.count) {
            (0, 0) => answer(worker.look(&mut turn, Since::Nothing, max, app_info)),
            (start, _) => part(worker, start as usize, max),
        });
    }
    if args.start > 0 {
        let text = "`start` counts apps of the whole list: it does not go with `since`";
        return Err(AppError::Refused(text.to_owned()).into());
    }
    let since = Since::from(args.since.as_str());
    Ok(answer(worker.look(&mut turn, since, max, app_info)))
}

/// Some of all apps, in the order in which they were deployed. An app that is removed
/// between two calls moves all others: what is missing then is told to nobody, so there
/// is no revision.
fn part(worker: &Worker, start: usize, max: usize) -> AppListResponse {
    let apps = worker.apps_in_order();
    let page = apps.iter().skip(start).take(max);
    AppListResponse {
        apps: page.map(app_info).collect(),
        ..AppListResponse::default()
    }
}

fn answer(listing: Listing) -> AppListResponse {
    let removed = listing.removed.iter();
    AppListResponse {
        apps: listing.apps,
        revision: listing.revision.to_string(),
        removed: removed.map(|address| address.0.to_vec()).collect(),
        is_delta: listing.is_delta,
        has_more: listing.has_more,
    }
}

fn app_info(app: &Arc<App>) -> AppInfo {
    let (condition, reason) = app.condition();
    let instances = app.instances();
    AppInfo {
        sn: app.serial,
        address: app.address.0.to_vec(),
        instances: instances.len() as u64,
        last_query_elapsed: app.last_request_elapsed().as_secs(),
        reuse_instances: app.reuse_instances,
        manifest: Some(app.manifest.clone().into()),
        name: app.name(),
        state: condition.name().to_owned(),
        reason: reason.unwrap_or_default(),
        settings: Some(app_settings(&app.settings_now())),
        target: u64::from(app.target()),
        instance_list: instances.iter().map(|one| instance_info(one)).collect(),
        usage: Some(app_usage(app)),
        deployed_at_ms: app.deployed_at_ms,
        domains: app.domains(),
    }
}

fn instance_info(instance: &Instance) -> InstanceInfo {
    let status = instance.status();
    let shown = |one: &wapo_host::ListenAddress| one.address.to_string();
    let with_tls = status.listening.iter().filter(|one| one.tls);
    InstanceInfo {
        id: instance.handle().id().0,
        phase: phase_name(&status.phase).to_owned(),
        restarts: u64::from(status.restarts),
        uptime_ms: u64::try_from(instance.uptime().as_millis()).unwrap_or(u64::MAX),
        requests: instance.requests() as u64,
        memory: instance.handle().memory_bytes(),
        listening: status.listening.iter().map(shown).collect(),
        listening_tls: with_tls.map(shown).collect(),
        listening_udp: status
            .listening_udp
            .iter()
            .map(SocketAddr::to_string)
            .collect(),
        server_names: status.names.iter().map(ToString::to_string).collect(),
        takes_http: status.takes_http,
        takes_queries: status.takes_queries,
        next_start_ms: status.next_start.map_or(0, until_ms),
    }
}

/// Milliseconds until a moment.
fn until_ms(moment: Instant) -> u64 {
    let left = moment.saturating_duration_since(Instant::now());
    u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
}

fn phase_name(phase: &wapo_host::Phase) -> &'static str {
    match phase {
        wapo_host::Phase::Starting => "starting",
        wapo_host::Phase::Running => "running",
        wapo_host::Phase::Waiting(_) => "waiting",
        wapo_host::Phase::Ended(_) => "ended",
    }
}

fn app_usage(app: &App) -> AppUsage {
    let totals = app.ledger.totals();
    let refusals = app.ledger.egress_refusals();
    AppUsage {
        requests: totals.requests,
        gas: totals.gas,
        network_ingress: totals.network_ingress_bytes,
        network_egress: totals.network_egress_bytes,
        memory: app.ledger.live().memory_bytes,
        memory_mib_seconds: u64::try_from(totals.memory_mib_seconds()).unwrap_or(u64::MAX),
        running_time_ms: totals.running_ms(),
        starts: totals.starts,
        restarts: totals.restarts,
        storage_bytes: app.ledger.stored_bytes(),
        storage_read: totals.storage_read_bytes,
        storage_write: totals.storage_write_bytes,
        tip: totals.tip,
        egress_denied: refusals.denied,
        egress_audited: refusals.audited,
    }
}
