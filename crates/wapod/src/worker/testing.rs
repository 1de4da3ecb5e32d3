//! Workers and apps for the unit tests of this folder: nothing of them runs.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustls::RootCertStore;
use wapo_host::{Engine, EngineConfig};
use wapo_rpc::AppManifest;

use super::app::{App, Secrets};
use super::ledger::Ledger;
use super::{Family, Worker};
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::edge::Edge;
use crate::identity::Identity;
use crate::store::{AppRecord, Change, Contents, DepartedRecord, Settings, Store, Totals};

/// A worker without apps, from which these have been removed.
pub(super) async fn worker(removed: RangeInclusive<u64>) -> Arc<Worker> {
    worker_on(EngineConfig::default(), removed).await
}

/// The same on an engine of the test's own.
pub(super) async fn worker_on(config: EngineConfig, removed: RangeInclusive<u64>) -> Arc<Worker> {
    let engine = Engine::new(config).expect("an engine");
    let (store, _) = Store::in_memory().expect("a store");
    let departed: BTreeMap<_, _> = removed.map(|serial| (serial, departed(serial))).collect();
    let puts = departed.values().cloned().map(Change::PutDeparted);
    store.commit(puts.collect()).await.expect("written");
    let contents = Contents {
        departed,
        ..Contents::default()
    };
    let edge = Edge::new("", None, RootCertStore::empty(), 1).expect("a table");
    let data = DataDir::temporary().expect("a folder");
    let config = Config::default();
    let identity = Identity::throw_away();
    let opened = Worker::open(engine, identity, data, (store, contents), edge, &config);
    opened.await.expect("a worker")
}

/// Deploys an app that does nothing, and has so much on disk that its usage grows with
/// each microsecond.
pub(super) fn add_app(worker: &Worker, serial: u64) -> Arc<App> {
    add_labelled_app(worker, serial, &serial.to_string())
}

/// The same with a label: apps with equal labels have equal addresses.
pub(super) fn add_labelled_app(worker: &Worker, serial: u64, label: &str) -> Arc<App> {
    let manifest = AppManifest {
        version: AppManifest::VERSION,
        code_hash: "sha256:00".to_owned(),
        args: Vec::new(),
        env_vars: Vec::new(),
        on_demand: true,
        resizable: false,
        max_query_size: 0,
        label: label.to_owned(),
        required_blobs: Vec::new(),
    };
    let record = AppRecord {
        serial,
        session: [3; 32],
        manifest,
        reuse_instances: true,
        name: String::new(),
        target: 0,
        deployed_at_ms: 0,
        settings: Settings::default(),
        domains: Vec::new(),
        more_listen_ports: Vec::new(),
        claims: Vec::new(),
        attested: false,
    };
    let address = record.address();
    let ledger = Ledger::new(Totals::default(), 1 << 50);
    let app = worker.assemble(record, Family(serial), (ledger, 0), Secrets::new());
    app.is_written.store(true, Ordering::Relaxed);
    let apps = worker.apps.write();
    apps.expect("whole").insert(address, Arc::clone(&app));
    app
}

/// An app that has been removed.
pub(super) fn departed(serial: u64) -> DepartedRecord {
    DepartedRecord {
        serial,
        address: [1; 32],
        session: [2; 32],
        totals: Totals::default(),
    }
}
