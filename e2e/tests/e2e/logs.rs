//! What guests print and log, and what becomes of it.

use e2e::probe::{SCRATCH, Script};
use e2e::{Daemon, Errno, Operator, Probe, guest, within};
use wapo_rpc::client::{LogEvent, Tail};
use wapod::{LogLevel, LogSource};

const LINE_BYTES_MAX: usize = 16 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn lines_have_a_level_and_a_source() {
    let probe = Probe::start().await;
    for (number, level) in [
        (1, LogLevel::Error),
        (2, LogLevel::Warn),
        (3, LogLevel::Info),
        (4, LogLevel::Debug),
        (5, LogLevel::Trace),
    ] {
        let text = format!("level {number}");
        assert_eq!(probe.log(number, text.as_bytes()).await, Ok(0));
        let line = probe.app().expect_log(&text).await;
        assert_eq!((line.level, line.source), (level, LogSource::Guest));
    }
    for number in [0, 6, u32::MAX] {
        let refused = probe.log(number, b"x").await;
        assert_eq!(refused, Err(Errno::InvalidEncoding), "{number}");
    }
    assert_eq!(probe.log(3, b"\xff\xfe").await, Err(Errno::InvalidEncoding));
    assert_eq!(probe.log(3, b"").await, Ok(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_cut_escaped_and_limited() {
    let probe = Probe::start().await;
    probe.log(3, b"\x1b[31mred\r\x07").await.unwrap();
    let line = probe.app().expect_log("red").await;
    assert!(
        line.text.chars().all(|c| !c.is_control()),
        "{:?}",
        line.text
    );

    let long = Script::new().fill(SCRATCH, b'x', 1 << 20);
    probe.run(&long.fast(220, [3, SCRATCH, 1 << 20, 0])).await;
    let line = probe.app().expect_log("xxx").await;
    assert!(line.text.len() < LINE_BYTES_MAX + 8, "{}", line.text.len());
    assert!(line.text.ends_with('…'));

    let flood = Script::new()
        .write(SCRATCH, b"flood")
        .fast_times(20_000, 220, [3, SCRATCH, 5, 0]);
    assert_eq!(probe.run(&flood).await.counted(), (Ok(0), 20_000));
    let flooded = probe.app().log_lines().len();
    assert!(flooded < 5_000, "{flooded} lines");
    // The host says how much is missing, with the first line of a later second.
    let next = async {
        loop {
            probe.log(3, b"later").await.unwrap();
            let lines = probe.app().log_lines();
            if let Some(line) = lines.iter().find(|line| line.text.contains("dropped")) {
                return line.clone();
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    let dropped = within("the note", next).await;
    assert_eq!(dropped.source, LogSource::Lifecycle);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_program_prints_becomes_lines() {
    let app = Daemon::start().await.deploy(guest("sdk-suite")).await;
    assert_eq!(app.ask("/stdout").await, "printed");
    let out = app.expect_log("a line on standard output").await;
    assert_eq!(out.source, LogSource::Stdout);
    assert_eq!(out.text, "a line on standard output");
    let err = app.expect_log("a line on standard error").await;
    assert_eq!(err.source, LogSource::Stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guests_logger_filters_by_environment() {
    let mut config = guest("sdk-suite");
    config.env = vec![("RUST_LOG".into(), "debug".into())];
    let app = Daemon::start().await.deploy(config).await;
    for level in ["error", "warn", "info", "debug", "trace"] {
        assert_eq!(app.ask(&format!("/log/{level}")).await, "logged");
    }
    app.expect_log("a line at debug").await;
    let lines = app.log_lines();
    assert!(lines.iter().all(|line| !line.text.contains("at trace")));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_gets_the_last_line_and_the_end_when_the_app_is_removed() {
    let operator = Operator::start().await;
    let app = operator.deploy(&guest("query")).await;
    let mut log = operator.follow_logs(app, Tail::All).await.unwrap();
    operator.app_remove(app.into()).await.unwrap();
    let reading = async {
        let mut last = None;
        while let Some(event) = log.next().await.unwrap() {
            last = Some(event);
        }
        last
    };
    match within("the end of the log", reading).await {
        Some(LogEvent::Line(line)) => assert_eq!(line.text, "stopped"),
        other => panic!("{other:?}"),
    }
}
