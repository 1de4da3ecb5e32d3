//! Tests of lists that are kept by changes: apps that change at random, and threads that
//! change them while others look.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;
use crate::worker::Worker;
use crate::worker::testing::{add_labelled_app, worker};

/// Labels of the apps that there may be.
const LABELS: u64 = 12;

/// Each run does the same.
const SEED: u64 = 7;

/// A client that keeps a list by what it is told.
struct Keeper {
    since: String,
    apps: HashMap<Vec<u8>, AppInfo>,
}

impl Keeper {
    fn new() -> Self {
        Self {
            since: "0".to_owned(),
            apps: HashMap::new(),
        }
    }

    /// Asks once; says whether there is more.
    fn ask(&mut self, worker: &Worker, max: usize) -> bool {
        let since = Since::from(self.since.as_str());
        let listing = look(worker, since, max);
        assert!(listing.apps.len() <= max);
        if !listing.is_delta {
            self.apps.clear();
        }
        let is_told =
            |address: &AppAddress| listing.apps.iter().any(|app| app.address == address.0);
        assert!(!listing.removed.iter().any(is_told), "one is in both");
        for address in listing.removed {
            self.apps.remove(address.0.as_slice());
        }
        for app in listing.apps {
            self.apps.insert(app.address.clone(), app);
        }
        self.since = listing.revision.to_string();
        listing.has_more
    }

    /// Asks until it knows everything: to the end of the list that it takes in parts,
    /// and for what has changed since that began.
    fn settle(&mut self, worker: &Worker, max: usize) {
        while self.ask(worker, max) {}
        while self.ask(worker, max) {}
    }

    #[track_caller]
    fn is_right(&self, worker: &Worker) {
        let apps = worker.apps();
        let right = apps
            .iter()
            .map(|app| (app.address.0.to_vec(), describe(app)));
        assert_eq!(self.apps, right.collect());
    }
}

/// Waits for the turn as a thread, and looks.
fn look(worker: &Worker, since: Since, max: usize) -> Listing {
    loop {
        let turn = Arc::clone(&worker.changes.looking).try_lock_owned();
        if let Ok(mut turn) = turn {
            return worker.look(&mut turn, since, max, describe);
        }
        std::thread::yield_now();
    }
}

/// As much of an app as these tests change.
fn describe(app: &Arc<App>) -> AppInfo {
    AppInfo {
        sn: app.serial,
        address: app.address.0.to_vec(),
        target: u64::from(app.target()),
        // Time, which is no change.
        last_query_elapsed: 0,
        ..AppInfo::default()
    }
}

fn deploy(worker: &Worker, label: u64) {
    let app = add_labelled_app(worker, worker.take_serial(), &label.to_string());
    worker.active.add(&app);
    worker.changes.stamp(&app);
}

fn app_of(worker: &Worker, label: u64) -> Option<Arc<App>> {
    let apps = worker.apps();
    let label = label.to_string();
    apps.into_iter().find(|app| app.manifest.label == label)
}

fn remove(worker: &Worker, app: &App) {
    assert!(worker.withdraw(app));
    worker.strike(app);
}

fn is_active(worker: &Worker, app: &App) -> bool {
    worker.active.serials().contains(&app.serial)
}

/// Anything that may happen to an app.
fn do_something(worker: &Worker, label: u64, what: u32) {
    let Some(app) = app_of(worker, label) else {
        return deploy(worker, label);
    };
    match what {
        0 => remove(worker, &app),
        1 => {
            remove(worker, &app);
            deploy(worker, label);
        }
        2 => worker.active.add(&app),
        3 => {
            let list = [app];
            for app in worker.active.release(&list, |_| true) {
                worker.changes.stamp(app);
            }
        }
        4 => {
            // A removal that fails.
            assert!(worker.withdraw(&app));
            let _changing = worker.changes.when_done(&app);
            app.reinstate();
        }
        _ if is_active(worker, &app) => app.state().target = what % 7,
        _ => {
            let _changing = worker.changes.when_done(&app);
            app.state().target = what % 7;
        }
    }
}

#[tokio::test]
async fn whatever_happens_each_client_knows_the_apps_in_the_end() {
    let worker = worker(1..=1).await;
    let mut random = StdRng::seed_from_u64(SEED);
    let mut keepers: Vec<_> = (0..4).map(|_| Keeper::new()).collect();
    for _ in 0..3000 {
        let what = random.random_range(0..20);
        do_something(&worker, random.random_range(0..LABELS), what);
        let keeper = random.random_range(0..keepers.len());
        // Most are in the middle of a list that they take in parts.
        let max = random.random_range(1..5);
        keepers[keeper].ask(&worker, max);
        if random.random_ratio(1, 20) {
            keepers[keeper].settle(&worker, max);
            keepers[keeper].is_right(&worker);
        }
    }
    for mut keeper in keepers {
        keeper.settle(&worker, 3);
        keeper.is_right(&worker);
        assert!(
            look(&worker, keeper.since.as_str().into(), 1)
                .apps
                .is_empty()
        );
    }
}

#[tokio::test]
async fn no_change_falls_between_two_answers() {
    let worker = worker(1..=1).await;
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let changing: Vec<_> = (0..2)
            .map(|thread| {
                let worker = &worker;
                scope.spawn(move || {
                    let mut random = StdRng::seed_from_u64(SEED + thread);
                    for _ in 0..3000 {
                        // Operations on one app come one after the other.
                        let label = random.random_range(0..LABELS / 2) * 2 + thread;
                        do_something(worker, label, random.random_range(0..20));
                    }
                })
            })
            .collect();
        let keeping: Vec<_> = [1, 3, usize::MAX]
            .map(|max| {
                let (worker, is_over) = (&worker, &is_over);
                scope.spawn(move || {
                    let mut keeper = Keeper::new();
                    while !is_over.load(Ordering::Relaxed) {
                        keeper.ask(worker, max);
                    }
                    keeper.settle(worker, max);
                    keeper.is_right(worker);
                })
            })
            .into();
        let changed = changing.into_iter().map(|thread| thread.join());
        let failed = changed.filter(Result::is_err).count();
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(failed, 0);
        for thread in keeping {
            thread.join().expect("right");
        }
    });
}

#[tokio::test]
async fn what_one_client_was_told_others_are_told_too_and_each_once() {
    let worker = worker(1..=1).await;
    deploy(&worker, 1);
    deploy(&worker, 2);
    let mut keepers = [Keeper::new(), Keeper::new()];
    for keeper in &mut keepers {
        keeper.settle(&worker, 10);
    }
    app_of(&worker, 1).expect("it is there").state().target = 5;
    for keeper in &mut keepers {
        let listing = look(&worker, keeper.since.as_str().into(), 10);
        assert_eq!((listing.apps.len(), listing.apps[0].target), (1, 5));
        keeper.settle(&worker, 10);
        keeper.is_right(&worker);
        let listing = look(&worker, keeper.since.as_str().into(), 10);
        assert!(listing.apps.is_empty() && listing.is_delta && !listing.has_more);
        assert_eq!(listing.revision.to_string(), keeper.since);
    }
}

#[tokio::test]
async fn a_change_that_a_client_saw_and_that_was_taken_back_is_told() {
    let worker = worker(1..=1).await;
    deploy(&worker, 1);
    let app = app_of(&worker, 1).expect("it is there");
    let (mut one, mut other) = (Keeper::new(), Keeper::new());
    one.settle(&worker, 10);
    // The other one sees the app between two looks of the first.
    app.state().target = 5;
    other.settle(&worker, 10);
    app.state().target = 0;
    one.settle(&worker, 10);
    other.settle(&worker, 10);
    one.is_right(&worker);
    other.is_right(&worker);
}

#[tokio::test]
async fn a_client_that_missed_more_removals_than_are_remembered_gets_the_whole_list() {
    let worker = worker(1..=1).await;
    deploy(&worker, 1);
    let mut keeper = Keeper::new();
    keeper.settle(&worker, 10);
    let gone = |number: u64| {
        let mut address = [0; 32];
        address[..8].copy_from_slice(&number.to_le_bytes());
        worker.changes.note_removal(AppAddress(address));
    };
    (0..REMOVALS_KEPT as u64).for_each(gone);
    let since = Since::from(keeper.since.as_str());
    let listing = look(&worker, since, 10);
    assert!(listing.is_delta && listing.removed.len() == REMOVALS_KEPT);
    gone(u64::MAX);
    let listing = look(&worker, since, 10);
    assert!(!listing.is_delta && listing.removed.is_empty());
    assert_eq!(listing.apps.len(), 1);
    // One that begins then does not need them.
    let mut late = Keeper::new();
    late.settle(&worker, 1);
    late.is_right(&worker);
    worker.stop_at_once();
    let listing = look(&worker, late.since.as_str().into(), 10);
    assert!(!listing.is_delta && listing.apps.is_empty());
}

#[tokio::test]
async fn a_revision_of_another_run_or_of_the_future_gets_the_whole_list() {
    let worker = worker(1..=1).await;
    deploy(&worker, 1);
    let epoch = worker.changes.epoch;
    let mut keeper = Keeper::new();
    keeper.settle(&worker, 10);
    let Since::Revision(right) = keeper.since.as_str().into() else {
        panic!("no revision: {}", keeper.since);
    };
    let Known::All { stamp } = right.known else {
        panic!("a part: {right}");
    };
    assert!(look(&worker, Since::Revision(right), 10).is_delta);
    let part = |from, until| Known::Part {
        from,
        until,
        next: 0,
    };
    let others = [
        (epoch ^ 1, right.known),
        (epoch, Known::All { stamp: u64::MAX }),
        (epoch, Known::All { stamp: stamp + 1 }),
        (epoch, part(0, u64::MAX)),
        (epoch, part(0, stamp + 1)),
        (epoch, part(stamp, stamp - 1)),
        (epoch ^ 1, part(0, stamp)),
    ];
    for (epoch, known) in others {
        let other = Revision { epoch, known };
        let listing = look(&worker, Since::Revision(other), 10);
        assert!(!listing.is_delta && listing.apps.len() == 1, "{other}");
    }
}

#[tokio::test]
async fn a_list_in_parts_comes_to_an_end_though_every_app_changes_all_the_time() {
    const APPS: usize = 10;
    let worker = worker(1..=1).await;
    (0..APPS as u64).for_each(|label| deploy(&worker, label));
    let change_all = |target: u32| {
        for app in worker.apps() {
            app.state().target = target;
        }
    };
    let (mut one, mut other) = (Keeper::new(), Keeper::new());
    for round in 0..20 {
        let mut parts = 1;
        loop {
            change_all(round * 100 + parts);
            // Another client that asks has everything stamped again.
            other.ask(&worker, 3);
            if !one.ask(&worker, 3) {
                break;
            }
            parts += 1;
        }
        assert_eq!(parts, 4, "ten apps in parts of three");
        let is_recent = |app: &AppInfo| app.target > u64::from(round) * 100;
        assert!(one.apps.len() == APPS && one.apps.values().all(is_recent));
    }
    one.settle(&worker, 3);
    one.is_right(&worker);
}

#[test]
fn a_revision_is_one_text_and_no_other() {
    let most = u64::MAX;
    let longest = format!("ffffffffffffffff.{most}.{most}.{most}");
    for right in [
        "0000000000000000.0",
        "00000000000000ab.10",
        "00000000000000ab.10.9.8",
        &longest,
    ] {
        let read = Revision::parse(right).map(|read| read.to_string());
        assert_eq!(read.as_deref(), Some(right));
    }
    let giant = "f".repeat(1 << 20);
    for wrong in [
        "",
        "0",
        " ",
        "00",
        "1",
        "-1",
        ".",
        "..",
        "0.0.0",
        "00000000000000AB.1",
        "+0000000000000ab.1",
        "00000000000000ab.+1",
        "00000000000000ab.-1",
        "00000000000000ab.01",
        "00000000000000ab.1 ",
        "00000000000000ab",
        "00000000000000ab.",
        "00000000000000ab.1.1",
        "00000000000000ab.1.1.",
        "00000000000000ab.1.1.1.1",
        "00000000000000ab.18446744073709551616",
        "１.1.1",
        "é",
        &giant,
    ] {
        assert_eq!(Since::from(wrong), Since::Nothing, "{wrong:.40}");
    }
}
