//! What programs expect of the place they run in: constructors, time, output to
//! the last byte, errors that can be read.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use e2e::{App, Daemon, guest};
use wapod::{AppConfig, ExitReason, LogLevel, LogSource};

type Lines = Arc<Mutex<Vec<(LogSource, LogLevel, String)>>>;

/// Runs a program to its end; with all lines that its log ever had.
async fn run(app: AppConfig) -> (ExitReason, Vec<(LogSource, LogLevel, String)>) {
    let lines = Lines::default();
    let seen = Arc::clone(&lines);
    let daemon = Daemon::with(|config| {
        config.log_sink = Some(Arc::new(move |_, line| {
            let line = (line.source, line.level, line.text.to_string());
            seen.lock().unwrap().push(line);
        }));
    })
    .await;
    let app = daemon.deploy(app).await;
    let reason = app.exited().await;
    let lines = lines.lock().unwrap().clone();
    (reason, lines)
}

fn honest(args: &[&str]) -> AppConfig {
    let mut app = guest("honest");
    app.args = args.iter().map(|word| (*word).to_owned()).collect();
    app
}

fn texts(lines: &[(LogSource, LogLevel, String)], source: LogSource) -> Vec<&str> {
    let of_source = lines.iter().filter(|line| line.0 == source);
    of_source.map(|line| line.2.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn constructors_run_once_before_main() {
    let (reason, lines) = run(honest(&["constructors"])).await;
    assert_eq!(reason, ExitReason::Finished);
    let said = "constructed 1 times before main, 1 times in all";
    assert_eq!(texts(&lines, LogSource::Stdout), [said]);
}

#[tokio::test(flavor = "multi_thread")]
async fn constructors_and_environment_of_a_program_in_c_are_there() {
    let mut app = guest("constructors");
    app.env = vec![("GREETING".into(), "hi".into())];
    let (reason, lines) = run(app).await;
    assert_eq!(reason, ExitReason::Finished);
    assert_eq!(
        texts(&lines, LogSource::Stdout),
        ["constructed 1 times", "GREETING=hi", "environ is there"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_printed_without_a_line_break_is_in_the_log_however_the_program_ends() {
    let (reason, lines) = run(honest(&["last-line"])).await;
    assert_eq!(reason, ExitReason::Finished);
    let printed = texts(&lines, LogSource::Stdout);
    assert_eq!(printed, ["first", "last, without a newline"]);

    let (reason, lines) = run(honest(&["last-line-then-exit"])).await;
    assert_eq!(reason, ExitReason::Exited(3));
    assert_eq!(texts(&lines, LogSource::Stdout), ["printed before"]);

    let (reason, lines) = run(honest(&["last-line-then-panic"])).await;
    assert!(matches!(reason, ExitReason::Trapped(_)), "{reason}");
    assert_eq!(texts(&lines, LogSource::Stdout), ["printed before"]);
    let told = texts(&lines, LogSource::Guest);
    assert!(
        told.len() == 1 && told[0].contains("the reason"),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_line_arrives_in_pieces_that_make_it_up() {
    // 8 bytes each, behind one that shifts the seams.
    let (reason, lines) = run(honest(&["long-line", "10000"])).await;
    assert_eq!(reason, ExitReason::Finished);
    let pieces = texts(&lines, LogSource::Stdout);
    assert!(pieces.len() >= 5, "{}", pieces.len());
    assert!(pieces.iter().all(|piece| piece.len() <= 16 * 1024));
    assert!(pieces.concat() == format!("x{}", "äß🦀".repeat(10_000)));
}

#[tokio::test(flavor = "multi_thread")]
async fn colours_are_no_part_of_a_line() {
    let (_, lines) = run(honest(&["colours"])).await;
    assert_eq!(texts(&lines, LogSource::Stdout), ["green and orange"]);
    assert_eq!(texts(&lines, LogSource::Stderr), ["dim"]);
}

/// The lines that arrived and the ones that notes say are missing.
fn accounted(lines: &[(LogSource, LogLevel, String)]) -> (usize, usize) {
    let notes = texts(lines, LogSource::Lifecycle);
    let missing = notes.iter().filter_map(|note| {
        let (number, _) = note.split_once(" log lines dropped")?;
        number.parse::<usize>().ok()
    });
    (texts(lines, LogSource::Stdout).len(), missing.sum())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_words_survive_a_flood_and_what_is_missing_is_counted() {
    for end in ["lines-then-abort", "lines-then-panic", "lines"] {
        let (reason, lines) = run(honest(&[end, "20000"])).await;
        assert_eq!(reason.is_success(), end == "lines", "{reason}");
        let (arrived, missing) = accounted(&lines);
        assert_eq!(arrived + missing, 20_000, "{end}");
        assert!(missing > 0, "the rate is limited");
        let printed = texts(&lines, LogSource::Stdout);
        assert_eq!(printed.last(), Some(&"line 19999"), "{end}");
        let before = &lines[lines.len() - 2];
        let (source, words) = match end {
            "lines-then-abort" => (LogSource::Stderr, "the reason why it ends"),
            "lines-then-panic" => (LogSource::Guest, "the reason of a panic"),
            _ => (LogSource::Stdout, "line 19999"),
        };
        assert!(before.0 == source && before.2.contains(words), "{before:?}");
        let last = lines.last().unwrap();
        assert_eq!(last.0, LogSource::Lifecycle, "{last:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interval_of_ages_ticks_once() {
    let (reason, lines) = run(honest(&["interval-max"])).await;
    assert_eq!(reason, ExitReason::Finished, "{lines:?}");
    let told = texts(&lines, LogSource::Stdout);
    assert_eq!(told, ["one tick", "ticked again: false"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_main_is_one_line_with_its_causes_and_exit_code_1() {
    let cases: [(&[&str], &str); 3] = [
        (
            &["error"],
            "main returned: no configuration: the file is empty",
        ),
        (&["nonsense"], "main returned: not a program: \"nonsense\""),
        (&["bind", "127.0.0.1:80"], "cannot listen on 127.0.0.1:80: "),
    ];
    for (args, words) in cases {
        let (reason, lines) = run(honest(args)).await;
        assert_eq!(reason, ExitReason::Exited(1));
        let told = texts(&lines, LogSource::Guest);
        let [line] = told[..] else {
            panic!("{told:?}");
        };
        assert!(
            line.starts_with("main returned: ") && line.contains(words),
            "{line}"
        );
        assert!(!line.contains('\n') && !line.contains("panicked"), "{line}");
        let end = texts(&lines, LogSource::Lifecycle);
        assert_eq!(end.last(), Some(&"exited with code 1"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_tells_its_place_and_shows_the_programs_own_functions_or_all_on_request() {
    let (reason, lines) = run(honest(&["panic"])).await;
    let told = texts(&lines, LogSource::Guest);
    assert!(told[0].contains("src/main.rs:") && told[0].contains("the reason of a panic"));
    let shown = reason.to_string();
    assert!(shown.contains("honest::deep_in_the_program"), "{shown}");
    for foreign in ["core::", "std::", "__rust", "wasm function"] {
        assert!(!shown.contains(foreign), "{foreign} in {shown}");
    }
    let mut app = honest(&["panic"]);
    app.env = vec![("RUST_BACKTRACE".into(), "1".into())];
    let (reason, _) = run(app).await;
    let shown = reason.to_string();
    assert!(shown.contains("panicking::panic_fmt"), "{shown}");
}

async fn suite() -> App {
    Daemon::start().await.deploy(guest("sdk-suite")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_sleeping_tasks_take_no_cpu_and_one_handle() {
    let app = suite().await;
    assert_eq!(app.ask_number("/sleepers/100000").await, 100_000);
    // The answer comes before the tasks have begun to sleep.
    assert!(app.ask_number("/sleep/20").await < 10_000);
    let quiet = async {
        loop {
            let before = app.usage().gas;
            tokio::time::sleep(Duration::from_millis(500)).await;
            if app.usage().gas == before {
                return;
            }
        }
    };
    e2e::within("an idle guest", quiet).await;
    assert!(
        app.ask_number("/handles/20000").await > 8000,
        "handles are left"
    );
    assert_eq!(app.get("/").await.status, 200);
    let took = app.ask_number("/sleep/40").await;
    assert!((40..10_000).contains(&took), "{took}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_and_the_shortest_waits_are_those_of_their_numbers() {
    let app = suite().await;
    for path in ["/sleep/0", "/sleep-until/0"] {
        assert!(app.ask_number(path).await < 10_000);
    }
    for path in ["/sleep-max", "/sleep-far"] {
        assert_eq!(app.ask(path).await, "still waits", "{path}");
    }
    assert_eq!(app.ask_number("/sleeps-in-order/50").await, 50);
}
