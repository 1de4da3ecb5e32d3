//! The daemon as its operator sees it: the program itself, started in a folder
//! of its own, told things by options, files, variables and signals.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use support::{Daemon, Folder};

/// A token that must not appear anywhere.
const TOKEN: &str = "token-that-nobody-may-see";

#[test]
fn sigterm_ends_it_with_0_and_a_restart_is_the_same_worker() {
    let folder = Folder::new();
    let first = folder.start(&[]);
    let worker = first.public_key();
    assert!(worker.starts_with("0x") && worker.len() == 66, "{worker}");
    let ended = first.stop("TERM");
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(ended.log.contains("stopping by SIGTERM"), "{}", ended.log);
    let again = folder.start(&[]);
    assert_eq!(again.public_key(), worker);
    assert_eq!(again.stop("INT").code, Some(0));
}

#[test]
fn the_operator_can_end_it() {
    let folder = Folder::new();
    let daemon = folder.start(&[]);
    daemon.call("Operation.WorkerExit");
    let ended = daemon.ended();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let folder = Folder::new();
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let daemon = folder.start(&["--drain-grace", "5m"]);
        let _request = daemon.begin_a_request();
        daemon.signal(signal);
        daemon.wait_for_line("stopping by");
        let ended = daemon.stop(signal);
        assert_eq!(ended.code, Some(code), "{}", ended.log);
    }
}

#[test]
fn addresses_are_told_when_they_are_open() {
    let folder = Folder::new();
    let daemon = folder.start(&["--base-domain", "apps.test"]);
    let user = daemon.wait_for_line("apps are served at http://127.0.0.1:");
    assert!(user.contains("http://NAME.apps.test:"), "{user}");
    assert!(daemon.get("/").contains("200 OK"));
    assert!(daemon.get("/health").contains("\"live\":true"));
}

#[test]
fn a_busy_port_is_named_with_the_option_that_helps() {
    let folder = Folder::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("bound").port().to_string();
    for option in ["--user-port", "--admin-port"] {
        let refused = folder.run(&[option, &port]);
        assert_eq!(refused.code, Some(1));
        let error = refused.only_error();
        assert!(error.contains(&format!("127.0.0.1:{port}")), "{error}");
        assert!(error.contains(option), "{error}");
    }
}

#[test]
fn a_folder_has_one_daemon() {
    let folder = Folder::new();
    let first = folder.start(&[]);
    let refused = folder.run(&[]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.only_error().contains("another daemon uses"));
    let refused = folder.run(&["backup", "backup.tar"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.only_error().contains("stop it"));
    assert!(!folder.path("backup.tar").exists());
    assert!(first.get("/health").contains("200 OK"));
}

#[test]
fn a_damaged_state_is_refused_and_left_as_it_is() {
    let folder = Folder::new();
    folder.start(&[]).stop("TERM");
    let state = folder.path("data/state.redb");
    let whole = fs::read(&state).expect("the state");
    for damaged in [b"garbage".as_slice(), b"", &whole[..whole.len() / 2]] {
        fs::write(&state, damaged).expect("written");
        let refused = folder.run(&[]);
        assert_eq!(refused.code, Some(1));
        let error = refused.only_error();
        assert!(error.contains("state.redb"), "{error}");
        assert!(error.contains("wapod restore"), "{error}");
        assert_eq!(fs::read(&state).expect("the state"), damaged);
    }
}

#[test]
fn a_backup_brings_the_worker_back() {
    let folder = Folder::new();
    let daemon = folder.start(&[]);
    let worker = daemon.public_key();
    let blob = daemon.put_blob(b"content");
    daemon.stop("TERM");

    let made = folder.run(&["backup", "backup.tar"]);
    assert_eq!(made.code, Some(0), "{}", made.errors);
    let mode = fs::metadata(folder.path("backup.tar"))
        .expect("the backup")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let refused = folder.run(&["restore", "backup.tar"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.only_error().contains("--force"));

    fs::write(folder.path("data/state.redb"), b"garbage").expect("written");
    let restored = folder.run(&["restore", "backup.tar", "--force"]);
    assert_eq!(restored.code, Some(0), "{}", restored.errors);
    assert!(restored.output.contains("the former content is in"));
    let daemon = folder.start(&[]);
    assert_eq!(daemon.public_key(), worker);
    assert!(daemon.get(&format!("/blob/{blob}")).ends_with("content"));
    daemon.stop("TERM");

    let elsewhere = ["--data-dir", "elsewhere"];
    let restored = folder.run(&[&["restore", "backup.tar"], &elsewhere[..]].concat());
    assert_eq!(restored.code, Some(0), "{}", restored.errors);
    let daemon = folder.start(&elsewhere);
    assert_eq!(daemon.public_key(), worker);
}

#[test]
fn a_worker_whose_key_is_elsewhere_has_no_backup_with_an_older_key() {
    let folder = Folder::new();
    folder.start(&[]).stop("TERM");
    let elsewhere = ["--worker-key", "moved.key"];
    folder.start(&elsewhere).stop("TERM");
    let refused = folder.run(&[&elsewhere[..], &["backup", "backup.tar"]].concat());
    assert_eq!(refused.code, Some(1));
    let error = refused.only_error();
    assert!(
        error.contains("--worker-key names another place"),
        "{error}"
    );
    assert!(!folder.path("backup.tar").exists());
}

#[test]
fn the_token_is_needed_and_shown_nowhere() {
    let folder = Folder::new();
    fs::write(folder.path("token"), format!("{TOKEN}\n")).expect("written");
    for (options, variables) in [
        (&["--admin-token-file", "token"][..], &[][..]),
        (&["-t", TOKEN], &[]),
        (&[], &[("WAPOD_ADMIN_TOKEN", TOKEN)]),
    ] {
        let traced = [variables, &[("RUST_LOG", "trace")]].concat();
        let daemon = folder.start_with(options, &traced);
        assert!(daemon.get("/metrics").contains(" 401 "));
        let allowed = daemon.get_with("/metrics", &format!("Authorization: Bearer {TOKEN}\r\n"));
        assert!(allowed.contains(" 200 "), "{allowed}");
        let ended = daemon.stop("TERM");
        assert!(ended.log.contains("stopped"), "{}", ended.log);
        assert!(!ended.log.contains(TOKEN), "{}", ended.log);

        let checked = folder.run_with(&[options, &["--check-config"]].concat(), variables);
        assert_eq!(checked.code, Some(0), "{}", checked.errors);
        assert!(checked.output.contains("admin-token"), "{}", checked.output);
        let shown = format!("{}{}", checked.output, checked.errors);
        assert!(!shown.contains(TOKEN), "{shown}");
    }
}

#[test]
fn the_configuration_is_shown_with_its_sources() {
    let folder = Folder::new();
    let file = "max-instances = 1\ndrain-grace = 3\nbase-domain = \"file.test\"\n\
                [quotas]\ncpu = 0.5\nconnections-in = 100\n[quotas.worker]\nmemory = \"1G\"\n";
    fs::write(folder.path("wapod.toml"), file).expect("written");
    let variables = [("WAPOD_MAX_INSTANCES", "2"), ("WAPOD_DRAIN_GRACE", "4")];
    let checked = folder.run_with(&["-c", "3", "--check-config"], &variables);
    assert_eq!(checked.code, Some(0), "{}", checked.errors);
    for (setting, source) in [
        ("max-instances = 3", "command line"),
        ("drain-grace = 4", "environment"),
        ("base-domain = \"file.test\"", "wapod.toml"),
        ("quotas = \"connections-in=100,cpu=0.5\"", "wapod.toml"),
        ("worker-quotas = \"memory=1G\"", "wapod.toml"),
        ("user-port = 8002", "default"),
    ] {
        let mut lines = checked.output.lines();
        let line = lines.find(|line| line.starts_with(setting));
        let line = line.unwrap_or_else(|| panic!("{setting}: {}", checked.output));
        assert!(line.ends_with(source), "{line}");
    }
    assert!(!folder.path("data").exists());
}

#[test]
fn mistakes_in_the_configuration_are_named_with_their_line() {
    let folder = Folder::new();
    let path = folder.path("wapod.toml");
    fs::write(&path, "# ours\nmax-instance = 3\n").expect("written");
    for options in [&[][..], &["--check-config"]] {
        let refused = folder.run(options);
        assert_eq!(refused.code, Some(1));
        let error = refused.only_error();
        assert!(
            error.contains(
                "wapod.toml:2: unknown setting `max-instance`; did you mean `max-instances`?"
            ),
            "{error}"
        );
    }
    fs::write(&path, "max-instances = 4294967295\n").expect("written");
    let refused = folder.run(&["--check-config"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.only_error().contains("vm.max_map_count"));
}

#[test]
fn a_file_of_settings_that_is_a_pipe_or_a_device_does_not_hold_the_start() {
    let folder = Folder::new();
    let mut command = Command::new("mkfifo");
    command.arg(folder.path("pipe"));
    assert_eq!(folder.finish(command).code, Some(0));
    let begun = std::time::Instant::now();
    for (option, file) in [
        ("--config", "pipe"),
        ("--admin-token-file", "pipe"),
        ("--config", "/dev/zero"),
    ] {
        let refused = folder.run(&[option, file, "--check-config"]);
        assert_eq!(refused.code, Some(1), "{option} {file}");
        assert!(refused.only_error().contains(file), "{}", refused.errors);
    }
    assert!(begun.elapsed().as_secs() < 45, "{:?}", begun.elapsed());
}

#[test]
fn a_data_folder_that_others_can_read_is_made_private() {
    let folder = Folder::new();
    let data = folder.path("data");
    fs::create_dir(&data).expect("made");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).expect("open to all");
    let daemon = folder.start(&[]);
    daemon.put_blob(b"content");
    daemon.stop("TERM");
    let mut folders = vec![data];
    while let Some(path) = folders.pop() {
        let metadata = fs::metadata(&path).expect("there");
        let mode = metadata.permissions().mode() & 0o777;
        let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, expected, "{path:?} is {mode:o}");
        if metadata.is_dir() {
            let entries = fs::read_dir(&path).expect("a folder");
            folders.extend(entries.map(|entry| entry.expect("an entry").path()));
        }
    }
}

#[test]
fn a_proxy_in_the_environment_is_not_passed_over() {
    let folder = Folder::new();
    let proxy = [("all_proxy", "socks5h://127.0.0.1:9050")];
    for unusable in [
        [("all_proxy", "socks4://127.0.0.1:9050")],
        [("https_proxy", "http://127.0.0.1:3128")],
    ] {
        let refused = folder.run_with(&[], &unusable);
        assert_eq!(refused.code, Some(1));
        let error = refused.only_error();
        assert!(error.contains("--ignore-proxy"), "{}", refused.errors);
    }
    let daemon = folder.start_with(&[], &proxy);
    let log = daemon.stop("TERM").log;
    assert!(log.contains("socks5h://127.0.0.1:9050"), "{log}");
    let daemon = folder.start_with(&["--ignore-proxy"], &proxy);
    assert!(daemon.stop("TERM").log.contains("apps connect directly"));
}

#[test]
fn wrong_usage_has_an_exit_code_of_its_own() {
    let folder = Folder::new();
    for options in [
        &["--no-such-option"][..],
        &["-m", "much"],
        &["--tls-port", "https"],
        &["app.wasm"],
    ] {
        let refused = folder.run(options);
        assert_eq!(refused.code, Some(2), "{options:?}: {}", refused.errors);
    }
    for (options, words) in [
        (
            ["-c", "many"],
            "'--max-instances <N>': `many` is not a number",
        ),
        (
            ["--user-port", "70000"],
            "'--user-port <PORT>': `70000` is too large",
        ),
        (
            ["--admin-port", "x"],
            "'--admin-port <PORT>': `x` is not a number",
        ),
    ] {
        let refused = folder.run(&options);
        assert_eq!(refused.code, Some(2), "{options:?}");
        assert!(
            refused.errors.contains(words),
            "{words}: {}",
            refused.errors
        );
    }
    let refused = folder.run(&["--admin-address", "0.0.0.0"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.only_error().contains("set a token"));
    let refused = folder.run(&["--admin-address", "0.0.0.0", "-t", "secret"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.only_error().contains("--admin-tls"));
    let refused = folder.run(&["--user-tls", "nothing.pem"]);
    assert_eq!(refused.code, Some(1));
    assert!(
        refused
            .only_error()
            .contains("user-tls: cannot read nothing.pem")
    );
    let help = folder.run(&["--help"]);
    assert_eq!(help.code, Some(0));
    assert!(help.output.contains("WAPOD_ADMIN_TOKEN"));
}

#[test]
fn lines_of_the_log_are_json_when_asked() {
    let folder = Folder::new();
    let ended = folder.start(&["--log-format", "json"]).stop("TERM");
    assert!(ended.log.lines().count() > 2);
    for line in ended.log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect(line);
        assert!(
            line["message"].is_string() && line["target"].is_string(),
            "{line}"
        );
    }
}

#[test]
fn lines_of_apps_are_logged_only_when_asked_and_never_when_sanitized() {
    const LINE: &str = "ready for requests and queries";
    let folder = Folder::new();
    for (asks, sanitized, expected) in [
        (false, "false", false),
        (true, "false", true),
        (true, "true", false),
    ] {
        let variables = [("RUST_LOG", "debug"), ("RUST_LOG_SANITIZED", sanitized)];
        let daemon = folder.start_with(&[], &variables);
        daemon.deploy_the_sample(asks);
        let ended = daemon.stop("TERM");
        assert_eq!(ended.log.contains(LINE), expected, "{}", ended.log);
        assert!(ended.log.contains("the console is at"), "{}", ended.log);
    }
}

/// The sample app, which refuses each request with an error text of its own: a
/// line break, a line as the daemon writes them, an escape sequence, and zeros up
/// to a length.
fn forger(length: u32) -> String {
    let sample = include_str!("../console/sample.wat");
    let text = sample.replace(
        "(memory (export \"memory\") 2)",
        "(memory (export \"memory\") 300)
         (data (i32.const 0x100000) \"x\\n2026-11-25T00:00:00Z ERROR wapod: FORGED line \\1b[31mred\")",
    );
    let before = "(call $send (i32.load (i32.sub (local.get $end) (i32.const 8)))\n      (global.get $head) (global.get $head_len))";
    assert!(text.contains(before), "the sample has changed");
    let refuse = format!(
        "(drop (call $fast (i32.const 0) (i32.const 204) (i32.load (i32.sub (local.get $end) (i32.const 8))) (i32.const 0x100000) (i32.const {length}) (i32.const 0)))"
    );
    text.replace(before, &refuse)
}

#[test]
fn an_app_cannot_forge_or_flood_the_daemons_log() {
    let folder = Folder::new();
    let daemon = folder.start(&[]);
    let settings = serde_json::json!({"log_to_daemon": true});
    for length in [90, 8 << 20] {
        let manifest = serde_json::json!({"label": format!("forger {length}")});
        let app = daemon.deploy_with(&forger(length), &manifest, &settings);
        for _ in 0..30 {
            assert!(daemon.get_app(&app).contains(" 502 "));
        }
        let own = daemon.get(&format!("/logs/{app}"));
        assert!(!own.contains('\u{1b}'), "{own}");
    }
    let log = daemon.stop("TERM").log;
    assert!(
        log.contains("FORGED"),
        "the reason of a failure is told: {log}"
    );
    assert!(!log.contains('\u{1b}'), "{log}");
    for line in log.lines() {
        assert!(!line.starts_with("2026-11-25T00:00:00Z"), "{line}");
        assert!(line.len() < 4096, "{} bytes", line.len());
    }
    assert!(log.len() < 256 << 10, "{} bytes", log.len());
}

#[test]
fn a_log_that_nobody_reads_holds_up_nothing() {
    let folder = Folder::new();
    let daemon = folder.start_unread(&[("RUST_LOG", "trace")]);
    let begun = std::time::Instant::now();
    // More lines than a pipe and the queue hold.
    for _ in 0..400 {
        let answer = daemon.get(&format!("/health?{}", "x".repeat(4000)));
        // Whether it is ready at once, too, is another question.
        assert!(answer.contains(r#""live":true"#), "{answer}");
    }
    assert_eq!(daemon.stop("TERM").code, Some(0));
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
}

#[test]
fn a_label_that_a_terminal_would_obey_is_refused() {
    let folder = Folder::new();
    let daemon = folder.start(&[]);
    let hash = "ab".repeat(32);
    for label in ["a\u{1b}[2Jb", "a\nb", "a\u{202e}b"] {
        let manifest = serde_json::json!({"version": 1, "code_hash": format!("sha256:{hash}"), "label": label});
        let arguments = serde_json::json!({"manifest": manifest}).to_string();
        let answer = daemon.try_call("Operation.AppDeploy", &arguments);
        assert!(
            answer.contains(" 400 ") && answer.contains("invisible character"),
            "{answer}"
        );
    }
}

#[test]
fn the_limit_of_open_files_is_raised() {
    let folder = Folder::new();
    let program = env!("CARGO_BIN_EXE_wapod");
    let mut limited = Command::new("sh");
    let script = format!("ulimit -S -n 300; exec '{program}' \"$@\"");
    limited.args(["-c", &script, "sh", "--check-config"]);
    let checked = folder.finish(limited);
    assert_eq!(checked.code, Some(0), "{}", checked.errors);

    let mut limited = Command::new("sh");
    let script = format!("ulimit -n 300; exec '{program}' \"$@\"");
    limited.args(["-c", &script, "sh", "--check-config"]);
    let refused = folder.finish(limited);
    assert_eq!(refused.code, Some(1));
    assert!(refused.only_error().contains("LimitNOFILE"));
}

#[test]
fn the_operator_says_how_many_connections_there_may_be() {
    let most = |daemon: &Daemon| -> u64 {
        let page = daemon.get("/metrics");
        let line = page.lines().find_map(|line| {
            line.strip_prefix("wapo_client_budget_max{port=\"user\",budget=\"connections\"} ")
        });
        line.expect(&page).parse().expect("a number")
    };
    let folder = Folder::new();
    let daemon = folder.start(&["--max-connections", "5000"]);
    assert_eq!(most(&daemon), 5000);
    drop(daemon);
    let daemon = folder.start_with(&[], &[("WAPOD_MAX_CONNECTIONS", "7")]);
    assert_eq!(most(&daemon), 7);
    drop(daemon);

    let refused = folder.run(&["--max-connections", "0"]);
    assert!(refused.only_error().contains("1 to 1000000"));
    let mut limited = Command::new("sh");
    let program = env!("CARGO_BIN_EXE_wapod");
    let script = format!("ulimit -n 6000; exec '{program}' \"$@\"");
    limited.args(["-c", &script, "sh", "--check-config"]);
    limited.args(["--max-connections", "5000"]);
    let refused = folder.finish(limited);
    assert_eq!(refused.code, Some(1));
    let error = refused.only_error();
    assert!(
        error.contains("`--max-connections 4212` at most"),
        "{error}"
    );
}

#[test]
fn memory_that_strangers_took_is_given_back() {
    const STRANGERS: usize = 800;
    const HEAD_BYTES: usize = 60_000;
    let folder = Folder::new();
    let daemon = folder.start(&[]);
    // What the first request takes is not the strangers'.
    daemon.get("/health");
    let before = daemon.resident_bytes();
    let taken = STRANGERS * HEAD_BYTES;
    let strangers = daemon.unfinished_heads(STRANGERS, HEAD_BYTES);
    daemon.wait_until(|| daemon.resident_bytes() > before + taken / 2);
    drop(strangers);
    // Nobody has to be served for it.
    daemon.wait_until(|| daemon.resident_bytes() < before + taken / 4);
}
