//! The daemon as its operator sees it: the program itself, started in a folder
//! of its own, told things by options, files, variables and signals.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use support::Folder;

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
    let file = "max-instances = 1\ndrain-grace = 3\nbase-domain = \"file.test\"\n";
    fs::write(folder.path("wapod.toml"), file).expect("written");
    let variables = [("WAPOD_MAX_INSTANCES", "2"), ("WAPOD_DRAIN_GRACE", "4")];
    let checked = folder.run_with(&["-c", "3", "--check-config"], &variables);
    assert_eq!(checked.code, Some(0), "{}", checked.errors);
    for (setting, source) in [
        ("max-instances = 3", "command line"),
        ("drain-grace = 4", "environment"),
        ("base-domain = \"file.test\"", "wapod.toml"),
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
            error.contains("wapod.toml:2: unknown key `max-instance`"),
            "{error}"
        );
    }
    fs::write(&path, "max-instances = 4294967295\n").expect("written");
    let refused = folder.run(&["--check-config"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.only_error().contains("vm.max_map_count"));
}

#[test]
fn wrong_usage_has_an_exit_code_of_its_own() {
    let folder = Folder::new();
    for options in [
        &["--no-such-option"][..],
        &["-m", "much"],
        &["--tls-port", "443"],
        &["app.wasm"],
    ] {
        let refused = folder.run(options);
        assert_eq!(refused.code, Some(2), "{options:?}: {}", refused.errors);
    }
    let refused = folder.run(&["--admin-address", "0.0.0.0"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.only_error().contains("set a token"));
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
