//! How guests end, start again, and what is known of it.

use std::time::{Duration, Instant};

use e2e::probe::Script;
use e2e::{App, Daemon, Errno, Probe, guest, ports, within};
use wapod::{ExitReason, LogSource, Phase, RestartPolicy};

async fn suite() -> App {
    let app = Daemon::start().await.deploy(guest("sdk-suite")).await;
    app.expect_log("ready").await;
    app
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_is_the_end() {
    let app = suite().await;
    assert_eq!(app.ask("/return").await, "bye");
    assert_eq!(app.exited().await, ExitReason::Finished);
    let gone = app.query("/", []).await.unwrap_err();
    assert!(gone.contains("not running"), "{gone}");
    app.get("/").await.expect_status(503);
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_are_kept() {
    for code in [0, 1, 42, 125] {
        let app = suite().await;
        let _answer = app.query(&format!("/exit/{code}"), []).await;
        let reason = app.exited().await;
        assert_eq!(reason, ExitReason::Exited(code));
        assert_eq!(reason.is_success(), code == 0);
    }
    let app = suite().await;
    let _answer = app.query("/exit/126", []).await;
    let reason = app.exited().await;
    assert!(matches!(reason, ExitReason::Trapped(_)), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_logged_before_the_guest_ends() {
    let app = suite().await;
    let error = app.query("/panic/why", []).await.unwrap_err();
    assert!(
        !error.contains("asked to panic"),
        "told to a client: {error}"
    );
    let reason = app.exited().await;
    assert!(matches!(reason, ExitReason::Trapped(_)), "{reason}");
    let line = app.expect_log("asked to panic: why").await;
    assert_eq!(line.level, wapod::LogLevel::Error);
    let end = app.expect_log("trapped").await;
    assert_eq!(end.source, LogSource::Lifecycle);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_main_is_a_failure() {
    let app = suite().await;
    let _answer = app.query("/return-error", []).await;
    assert!(!app.exited().await.is_success());
    app.expect_log("asked to fail").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_restarts_with_backoff() {
    let begun = Instant::now();
    let probe = Probe::with(|app| app.restart = RestartPolicy::OnFailure).await;
    for restarts in 1..=3_u32 {
        let before = Instant::now();
        let crashed = probe.try_run(&Script::new().trap()).await;
        assert!(crashed.is_err());
        let status = probe
            .app()
            .until("a restart", |status| {
                status.restarts == restarts && status.phase == Phase::Running
            })
            .await;
        assert_eq!(status.restarts, restarts);
        // 100 ms, 200 ms, 400 ms.
        let least = Duration::from_millis(90 << (restarts - 1));
        assert!(before.elapsed() >= least, "{:?}", before.elapsed());
    }
    assert_eq!(probe.app().usage().starts, 4);
    assert!(begun.elapsed() >= Duration::from_millis(690));
    assert!(probe.getrandom(1).await.is_ok(), "it serves again");
}

#[tokio::test(flavor = "multi_thread")]
async fn status_is_right_across_restarts() {
    let port = ports::free();
    let probe = Probe::with(|app| {
        app.restart = RestartPolicy::OnFailure;
        app.listen_ports = ports::only(port);
    })
    .await;
    let address = format!("127.0.0.1:{port}");
    probe.tcp_listen(&address, None).await.unwrap();
    probe.create_input_channel(4).await.unwrap();
    let before = probe.app().status();
    assert!(before.takes_http && before.takes_queries && before.listening.len() == 1);
    let crashed = probe.try_run(&Script::new().trap()).await;
    assert!(crashed.is_err());
    let waiting = probe
        .app()
        .until("the pause", |status| {
            matches!(status.phase, Phase::Waiting(_))
        })
        .await;
    assert!(!waiting.takes_http && !waiting.takes_queries);
    assert!(waiting.listening.is_empty());
    let again = probe
        .app()
        .until("the next start", |status| status.takes_queries)
        .await;
    assert_eq!(again.restarts, 1);
    assert!(!again.takes_http && again.listening.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crashed_guest_held_is_free_for_the_next_start() {
    // One slot: a restart that needed a second one would never come.
    let daemon = Daemon::with(|config| config.instances_max = 1).await;
    let port = ports::free();
    let probe = Probe::on(&daemon, |app| {
        app.restart = RestartPolicy::OnFailure;
        app.listen_ports = ports::only(port);
    })
    .await;
    let address = format!("127.0.0.1:{port}");
    for restarts in 1..=3 {
        assert_eq!(probe.app_try_lock(b"held").await, Ok(0));
        assert_eq!(probe.app_try_lock(b"held").await, Err(Errno::Condition));
        assert!(probe.tcp_listen(&address, None).await.is_ok());
        let crashed = probe.try_run(&Script::new().trap()).await;
        assert!(crashed.is_err());
        probe
            .app()
            .until("a restart", |status| {
                status.restarts == restarts && status.takes_queries
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn boot_data_survives_a_restart_and_memory_does_not() {
    let probe = Probe::with(|app| app.restart = RestartPolicy::OnFailure).await;
    probe.write_boot_data(b"kept").await.unwrap();
    let at = e2e::probe::SCRATCH;
    probe.run(&Script::new().write(at, b"forgotten")).await;
    let crashed = probe.try_run(&Script::new().trap()).await;
    assert!(crashed.is_err());
    probe
        .app()
        .until("a restart", |status| {
            status.restarts == 1 && status.takes_queries
        })
        .await;
    assert_eq!(probe.read(at, 9).await, [0; 9]);
    assert_eq!(probe.read_boot_data().await, Ok(Some(b"kept".to_vec())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_during_the_pause_is_the_end() {
    let probe = Probe::with(|app| app.restart = RestartPolicy::Always).await;
    let crashed = probe.try_run(&Script::new().trap()).await;
    assert!(crashed.is_err());
    probe
        .app()
        .until("the pause", |status| {
            matches!(status.phase, Phase::Waiting(_))
        })
        .await;
    assert_eq!(probe.app().stop().await, ExitReason::Stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_do_not_extend_the_time_limit() {
    let begun = Instant::now();
    let limit = Duration::from_millis(1_500);
    let probe = Probe::with(|app| app.time_max = Some(limit)).await;
    let asking = async {
        // A request every few milliseconds, until the app is gone.
        while probe.try_run(&Script::new()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within("the end", asking).await;
    assert_eq!(probe.app().exited().await, ExitReason::TimeExceeded(limit));
    let took = begun.elapsed();
    assert!(took >= limit && took < limit * 6, "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_flight_fails_when_the_guest_ends() {
    let app = suite().await;
    let asking = {
        let app = app.clone();
        tokio::spawn(async move { app.query("/never", []).await })
    };
    let seen = async {
        while app.handle().requests() == 0 {
            tokio::task::yield_now().await;
        }
    };
    within("the request", seen).await;
    app.stop().await;
    let answer = within("the answer", asking).await.unwrap();
    assert!(answer.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_app_can_be_deployed_again() {
    let daemon = Daemon::start().await;
    for _ in 0..3 {
        let app = daemon.deploy(guest("hello-http")).await;
        app.get("/you").await.expect_text("Hello, you!\n");
        assert_eq!(app.stop().await, ExitReason::Stopped);
    }
    let app = daemon.deploy(guest("hello-http")).await;
    assert!(
        daemon.try_deploy(guest("hello-http")).await.is_err(),
        "it is there"
    );
    drop(app);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_ends_every_guest() {
    let daemon = Daemon::start().await;
    let spinning = Probe::on(&daemon, |_| {}).await;
    let handle = spinning.app().handle().clone();
    let asking = tokio::spawn(async move { spinning.try_run(&Script::new().spin()).await });
    let seen = async {
        while handle.requests() == 0 {
            tokio::task::yield_now().await;
        }
    };
    within("the request", seen).await;
    asking.abort();
    let _gone = asking.await;
    daemon.shutdown().await;
    assert_eq!(
        within("the end", handle.exited()).await,
        ExitReason::Stopped
    );
}
