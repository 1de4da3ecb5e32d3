//! Guests beside each other: which guests delay others, and which do not.

use std::time::{Duration, Instant};

use e2e::probe::Script;
use e2e::{App, Daemon, Probe, guest, within};
use tokio::task::JoinHandle;
use wapod::{AppConfig, ExitReason};

/// Makes a probe loop for ever, and who asked it to leave.
async fn spin(daemon: &Daemon, change: impl FnOnce(&mut AppConfig)) -> App {
    let (app, asking) = spin_for(daemon, change).await;
    asking.abort();
    app
}

/// Makes a probe loop for ever, and who asked it to wait for the answer; whether
/// there was one.
async fn spin_for(daemon: &Daemon, change: impl FnOnce(&mut AppConfig)) -> (App, JoinHandle<bool>) {
    let probe = Probe::on(daemon, change).await;
    let app = probe.app().clone();
    probe.run(&Script::new()).await;
    let before = app.usage().requests;
    let asking = tokio::spawn(async move { probe.try_run(&Script::new().spin()).await.is_ok() });
    let begun = async {
        while app.usage().requests == before {
            tokio::task::yield_now().await;
        }
    };
    within("the loop", begun).await;
    (app, asking)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_looping_guest_stops_when_its_grace_is_over() {
    let grace = Duration::from_millis(200);
    let daemon = Daemon::with(|config| config.drain_grace = grace).await;
    // Without a client that waits for the answer there is nothing to finish.
    let (app, asking) = spin_for(&daemon, |_| {}).await;
    let begun = Instant::now();
    assert_eq!(app.stop().await, ExitReason::Stopped);
    let took = begun.elapsed();
    assert!(took >= grace, "{took:?}");
    assert!(took < grace + Duration::from_secs(1), "{took:?}");
    assert!(!within("the query", asking).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_limit_ends_a_loop() {
    let daemon = Daemon::start().await;
    let limit = Duration::from_millis(500);
    let app = spin(&daemon, |app| app.time_max = Some(limit)).await;
    assert_eq!(app.exited().await, ExitReason::TimeExceeded(limit));
}

// One thread for everything: a guest that blocks it blocks the test.
#[tokio::test]
async fn loops_do_not_keep_others_from_answering() {
    let daemon = Daemon::start().await;
    let mut spinning = Vec::new();
    for number in 0..4 {
        spinning.push(spin(&daemon, |app| app.label = number.to_string()).await);
    }
    let hello = daemon.deploy(guest("hello-http")).await;
    for _ in 0..20 {
        hello.get("/").await.expect_text("Hello, World!\n");
    }
    for app in spinning {
        assert_eq!(app.stop().await, ExitReason::Stopped);
    }
}

#[tokio::test]
async fn sleeping_in_wasi_blocks_nobody() {
    let daemon = Daemon::start().await;
    let sleeper = daemon.deploy(guest("sdk-suite")).await;
    sleeper.expect_log("ready").await;
    let hello = daemon.deploy(guest("hello-http")).await;
    hello.get("/").await.expect_text("Hello, World!\n");
    let asking = {
        let sleeper = sleeper.clone();
        tokio::spawn(async move { sleeper.query("/block/3600000", []).await })
    };
    let asleep = async {
        while sleeper.usage().requests == 0 {
            tokio::task::yield_now().await;
        }
    };
    within("the sleep to begin", asleep).await;
    let begun = Instant::now();
    for _ in 0..20 {
        hello.get("/").await.expect_text("Hello, World!\n");
    }
    assert_eq!(sleeper.stop().await, ExitReason::Stopped);
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    assert!(within("the query", asking).await.unwrap().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sleep_in_wasi_ends_in_time() {
    let app = Daemon::start().await.deploy(guest("sdk-suite")).await;
    let slept = app.ask_number("/block/50").await;
    assert!((50..10_000).contains(&slept), "{slept}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_daemon_ends_loops() {
    let daemon = Daemon::start().await;
    let app = spin(&daemon, |_| {}).await;
    let handle = app.handle().clone();
    let status = handle.status();
    drop((app, daemon));
    drop(handle);
    let mut status = status;
    let ended = async { while status.changed().await.is_ok() {} };
    within("the instance to be gone", ended).await;
}
