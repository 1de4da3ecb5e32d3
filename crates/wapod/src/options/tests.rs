//! How the three sources come together, and that each setting is in all of them and in
//! the operator's manual. What the program does with the result is in `tests/`.

use std::collections::BTreeSet;
use std::path::Path;

use clap::{Args as _, CommandFactory as _};

use super::layer::KEYS;
use super::*;

/// Options that are no key: a token does not belong into a file that others read, and its
/// variable has a name of its own.
const NO_KEYS: [&str; 1] = ["admin-api-token"];

/// Keys without effect, which the table of the manual leaves out.
const WITHOUT_EFFECT: [&str; 1] = ["module-cache-size"];

/// Settings of a command line and an environment, in a folder with `file`.
fn settings(line: &str, variables: &[(&str, &str)], file: &str) -> Result<Settings, String> {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("wapod.toml");
    std::fs::write(&path, file).expect("written");
    let path = path.display().to_string();
    let line = ["wapod", "--config", &path]
        .into_iter()
        .chain(line.split_whitespace());
    let options = Options::try_parse_from(line).map_err(|error| error.to_string())?;
    let variables = variables
        .iter()
        .map(|(name, value)| (name.into(), value.into()));
    let environment = Environment::of(variables)?;
    let sources = Sources::new(&options, environment).map_err(|refused| match refused {
        Refused::Usage(text) | Refused::Settings(text) => text,
    })?;
    sources.settings()
}

fn error(line: &str, variables: &[(&str, &str)]) -> String {
    match settings(line, variables, "") {
        Ok(_) => panic!("{line} {variables:?} is accepted"),
        Err(error) => error,
    }
}

#[test]
fn the_options_are_consistent() {
    Options::command().debug_assert();
}

#[test]
fn every_option_has_a_key_and_every_key_an_option() {
    let command = Layer::augment_args(clap::Command::new("wapod"));
    let options = command.get_arguments().filter_map(|one| one.get_long());
    let options: BTreeSet<&str> = options.filter(|name| !NO_KEYS.contains(name)).collect();
    let keys: BTreeSet<&str> = KEYS.iter().map(|(key, _)| *key).collect();
    assert_eq!(options, keys);
    assert_eq!(keys.len(), KEYS.len(), "a key has two rows");
}

#[test]
fn every_key_has_a_line_in_the_manual() {
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operating.md");
    let manual = std::fs::read_to_string(manual).expect("docs/operating.md");
    let table = manual.split_once("| setting | default | |\n");
    let (_, rest) = table.expect("the table of settings");
    let lines = rest.lines().take_while(|line| line.starts_with('|'));
    let cells = lines.filter_map(|line| line.split('|').nth(1));
    // Names stand in backquotes, several of them in a line.
    let named: BTreeSet<&str> = cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    for (key, _) in KEYS {
        let is_named = named.contains(key) || WITHOUT_EFFECT.contains(key);
        assert!(is_named, "docs/operating.md has no line for `{key}`");
    }
}

#[test]
fn the_defaults_are_safe() {
    let settings = settings("", &[], "").expect("valid");
    let config = &settings.config;
    assert_eq!(config.admin_address, "127.0.0.1:8001".parse().ok());
    assert_eq!(config.address.to_string(), "127.0.0.1:8002");
    assert_eq!(config.memory_max_bytes, 128 << 20);
    assert_eq!(config.instances_max, 128);
    assert!(config.memory_budget_bytes.is_some());
    assert_eq!(config.listen_ports, None);
    assert!(config.log_sink.is_none());
    assert_eq!(settings.warnings, [""; 0]);
}

#[test]
fn a_proxy_protocol_needs_a_trusted_proxy() {
    let good = settings(
        "--proxy-protocol user --trusted-proxies 10.0.0.0/8",
        &[],
        "",
    );
    let config = good.expect("valid").config;
    assert!(config.proxy_protocol.user && !config.proxy_protocol.apps);
    let text = error("--proxy-protocol user", &[]);
    assert!(text.contains("no proxy is trusted"), "{text}");
    let text = error("--proxy-protocol admin --trusted-proxies 10.0.0.0/8", &[]);
    assert!(text.contains("takes no PROXY headers"), "{text}");
    let of_file = settings("", &[], "proxy-protocol = \"none\"");
    assert!(!of_file.expect("valid").config.proxy_protocol.user);
}

#[test]
fn every_option_of_wapo_0_is_taken() {
    let settings = settings(
        "-m 1g -c 8 --admin-port 9001 -t secret --user-port 9002 --module-cache-size 16 \
         --no-mem-pool -l 3000..3100 --on-demand-instance-time-secs 5",
        &[],
        "",
    )
    .expect("valid");
    let config = &settings.config;
    assert_eq!(config.memory_max_bytes, 1 << 30);
    assert_eq!(config.instances_max, 8);
    assert_eq!(
        config.admin_address.map(|address| address.port()),
        Some(9001)
    );
    assert_eq!(config.address.port(), 9002);
    assert!(config.admin_token == Some(wapod::AdminToken("secret".to_owned())));
    assert_eq!(config.allocation, wapod::Allocation::Enclave);
    assert_eq!(
        config.listen_ports,
        Some("3000..3100".parse().expect("ports"))
    );
    assert_eq!(config.on_demand_time.as_secs(), 5);
    assert_eq!(settings.warnings.len(), 2, "{:?}", settings.warnings);
    let shown = settings.to_string();
    assert!(!shown.contains("secret"), "{shown}");

    assert!(settings_of_ports("none").is_none());
    assert!(error("-l 3100..3000", &[]).contains("holds no port"));
}

#[test]
fn the_tls_port_is_a_setting_and_no_other_port() {
    let tls = |line: &str, file: &str| settings(line, &[], file).expect(line).config.tls;
    assert_eq!(tls("", ""), None);
    assert_eq!(tls("", "tls-port = \"none\""), None);
    let wanted = |address: &str, verifies_certificates| {
        Some(wapod::TlsSettings {
            address: address.parse().expect(address),
            verifies_certificates,
            certificate: None,
        })
    };
    assert_eq!(tls("--tls-port 443", ""), wanted("0.0.0.0:443", true));
    let line = "--tls-address 127.0.0.1:8443 --do-not-verify-tls-server-cert";
    assert_eq!(tls(line, ""), wanted("127.0.0.1:8443", false));
    let file = "tls-port = 443\ntls-address = \"::1\"\ndo-not-verify-tls-server-cert = true";
    assert_eq!(tls("", file), wanted("[::1]:443", false));
    assert!(error("--tls-port 8002", &[]).contains("the gateway"));
    assert!(error("--tls-port 8001", &[]).contains("the operator's interface"));
    let line = "--tls-address 127.0.0.1:1 --tls-port 2";
    assert!(error(line, &[]).contains("tls-address says port 1"));
    let unused = settings("--do-not-verify-tls-server-cert", &[], "").expect("valid");
    assert!(
        unused.warnings[0].contains("no tls-port"),
        "{:?}",
        unused.warnings
    );
    assert!(error("--base-domain 127.0.0.1", &[]).contains("is not a domain"));
}

#[test]
fn each_time_of_http_is_a_setting() {
    let defaults = settings("", &[], "").expect("valid").config.timeouts;
    assert_eq!(defaults.idle.as_secs(), 75);
    let line = "--idle-timeout 1 --head-timeout 2 --body-timeout 3";
    let variables = [
        ("WAPOD_WRITE_TIMEOUT", "4"),
        ("WAPOD_RESPONSE_TIMEOUT", "5"),
    ];
    let settings = settings(line, &variables, "query-timeout = \"6m\"").expect("valid");
    let timeouts = settings.config.timeouts;
    let times = [
        timeouts.idle,
        timeouts.head,
        timeouts.body_window,
        timeouts.write,
        timeouts.response,
        timeouts.query,
    ];
    assert_eq!(times.map(|time| time.as_secs()), [1, 2, 3, 4, 5, 360]);
    assert!(error("--query-timeout 0", &[]).contains("query-timeout"));
}

fn settings_of_ports(ports: &str) -> Option<wapod::PortRanges> {
    let settings = settings(
        &format!("-l {ports}"),
        &[],
        "tcp-listen-port-range = \"1..2\"",
    );
    settings.expect("valid").config.listen_ports
}

#[test]
fn the_command_line_decides_over_the_environment_and_that_over_the_file() {
    let file = "max-instances = 1\nuser-port = 7001\nbase-domain = \"file.test\"";
    let variables = [("WAPOD_MAX_INSTANCES", "2"), ("WAPOD_USER_PORT", "7002")];
    let of = |line, variables: &[_]| {
        let settings = settings(line, variables, file).expect("valid");
        let config = settings.config;
        (
            config.instances_max,
            config.address.port(),
            config.base_domain,
        )
    };
    let domain = || "file.test".to_owned();
    assert_eq!(of("", &[]), (1, 7001, domain()));
    assert_eq!(of("", &variables), (2, 7002, domain()));
    assert_eq!(of("-c 3", &variables), (3, 7002, domain()));
    assert_eq!(
        of("--user-address 127.0.0.1:7003", &variables),
        (2, 7003, domain())
    );
}

#[test]
fn what_cannot_work_is_refused_in_one_line() {
    for (line, variables, expected) in [
        ("-c 0", &[][..], "-c"),
        ("-m 5g", &[], "4 GiB"),
        ("-m 1k", &[], "64 KiB"),
        ("--user-port 8001", &[], "cannot share"),
        ("--admin-address 0.0.0.0", &[], "set a token"),
        ("--admin-address 0.0.0.0 -t x", &[], "--admin-tls"),
        ("--user-tls /nothing", &[], "cannot read /nothing"),
        ("--admin-address 127.0.0.1:1 --admin-port 2", &[], "port 1"),
        ("--admin-token-file /nowhere/token", &[], "/nowhere/token"),
        (
            "",
            &[("WAPOD_MAX_INSTANCES", "many")],
            "WAPOD_MAX_INSTANCES",
        ),
        ("", &[("WAPOD_ADMIN_TOKEN", "two words")], "visible ASCII"),
        (
            "-c 128",
            &[("WAPOD_ENCLAVE_SIZE", "1g")],
            "WAPOD_ENCLAVE_SIZE",
        ),
        (
            "-m 1g",
            &[("WAPOD_ENCLAVE_SIZE", "1g")],
            "WAPOD_ENCLAVE_SIZE",
        ),
        (
            "",
            &[("all_proxy", "socks4://127.0.0.1:9050")],
            "all_proxy in the environment: not a proxy",
        ),
        ("", &[("HTTPS_PROXY", "http://proxy:3128")], "HTTPS_PROXY"),
        (
            "",
            &[
                ("all_proxy", "socks5h://127.0.0.1:9050"),
                ("ALL_PROXY", "socks5://127.0.0.1:9050"),
            ],
            "another variable",
        ),
        ("", &[("WAPOD_ENCLAVE_SIZE", "lots")], "WAPOD_ENCLAVE_SIZE"),
        ("--on-demand-instance-time-secs 0", &[], "a second"),
    ] {
        let error = error(line, variables);
        assert!(error.contains(expected), "{line} {variables:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(!error.contains("two words"), "{error}");
    }
    let half = settings("-m 1.5g", &[], "").expect("one and a half");
    assert_eq!(half.config.memory_max_bytes, 3 << 29);
}

#[test]
fn the_environment_is_looked_at_for_mistakes() {
    let settings = settings(
        "--ignore-proxy",
        &[
            ("all_proxy", "socks5://127.0.0.1:1"),
            ("WAPOD_ADMIN_WORKERS", "8"),
            ("WAPOD_DATADIR", "x"),
            ("WAPOD_SHOES", "x"),
            ("WAPOD_USER_ADDRESS", "0.0.0.0"),
            ("WAPOD_BASE_DOMAIN", ""),
            ("PATH", "/bin"),
        ],
        "",
    )
    .expect("valid");
    let warnings = &settings.warnings;
    assert_eq!(warnings.len(), 4, "{warnings:?}");
    for (warning, expected) in warnings.iter().zip([
        "WAPOD_ADMIN_WORKERS has no effect",
        "WAPOD_DATADIR is not known; did you mean WAPOD_DATA_DIR?",
        "WAPOD_SHOES is not known",
        "all_proxy in the environment: ignored",
    ]) {
        assert!(warning.starts_with(expected), "{warning}");
    }
    assert!(settings.config.address.ip().is_unspecified());
    assert_eq!(settings.config.base_domain, "localhost");
}

#[test]
fn a_token_comes_from_the_nearest_source() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("token");
    std::fs::write(&path, "from-the-file\n").expect("written");
    let path = path.display().to_string();
    let variables = [("WAPOD_ADMIN_TOKEN", "from-the-environment")];
    let token = |line: &str, variables: &[_]| {
        let settings = settings(line, variables, "").expect("valid");
        settings.config.admin_token.map(|token| token.0.clone())
    };
    let file = format!("--admin-token-file {path}");
    assert_eq!(token(&file, &variables).as_deref(), Some("from-the-file"));
    assert_eq!(
        token("", &variables).as_deref(),
        Some("from-the-environment")
    );
    assert_eq!(token("", &[]), None);
    let both = [variables[0], ("WAPOD_ADMIN_TOKEN_FILE", path.as_str())];
    assert!(error("", &both).contains("a token and a file"));
}

#[test]
fn what_is_shown_can_be_used_as_a_file() {
    let first = settings("-m 1536M -c 7 -l 3000..3100 --log-format json", &[], "");
    let shown = first.expect("valid").to_string();
    let again = settings("", &[], &shown).expect("valid");
    let values = |text: &str| {
        let value = |line: &str| line.split('#').next().unwrap_or_default().trim().to_owned();
        text.lines().map(value).collect::<Vec<_>>()
    };
    assert_eq!(values(&shown), values(&again.to_string()));
    assert_eq!(again.config.memory_max_bytes, 1536 << 20);
}

#[test]
fn values_are_read_as_people_write_them() {
    let place = |text: &str| text.parse::<values::Place>();
    assert_eq!(place("[::1]:80").expect("valid").port, Some(80));
    assert_eq!(place("::1").expect("valid").port, None);
    for text in ["localhost", "127.0.0.1:", "8001", ""] {
        assert!(place(text).is_err(), "{text}");
    }
    let networks = |text: &str| text.parse::<values::Networks>();
    let both = networks("10.0.0.0/8, ::1").expect("valid");
    assert_eq!(both.to_string(), "10.0.0.0/8, ::1/128");
    assert!(networks("10.0.0.0/40").is_err() && networks("proxy").is_err());
    let seconds = |text: &str| text.parse::<values::Seconds>().map(|value| value.0);
    assert_eq!(
        (seconds("5"), seconds("5s"), seconds("2m")),
        (Ok(5), Ok(5), Ok(120))
    );
    assert!(seconds("1h").is_err() && seconds("").is_err() && seconds("-1").is_err());
    for (text, is_domain) in [
        ("localhost", true),
        ("Apps.Example.com", true),
        ("a..b", false),
        ("a:1", false),
        ("-a", false),
        ("", false),
    ] {
        assert_eq!(text.parse::<values::Domain>().is_ok(), is_domain, "{text}");
    }
}

#[test]
fn proxies_of_the_environment_are_used() {
    let shown = |line: &str, variables: &[_]| {
        let settings = settings(line, variables, "").expect("valid");
        let proxies = settings.config.proxies;
        [proxies.all, proxies.i2p].map(|proxy| proxy.map(|proxy| proxy.to_string()))
    };
    let both = [
        ("all_proxy", "socks5h://127.0.0.1:9050"),
        ("https_proxy", "http://127.0.0.1:3128"),
        ("i2p_proxy", "socks5h://127.0.0.1:4447/"),
    ];
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        shown("", &both),
        [
            some("socks5h://127.0.0.1:9050"),
            some("socks5h://127.0.0.1:4447")
        ]
    );
    let line = "--all-proxy socks5://127.0.0.1:1";
    assert_eq!(shown(line, &both)[0], some("socks5://127.0.0.1:1"));
    assert_eq!(shown("--ignore-proxy", &both), [None, None]);
    let error = error("", &[("all_proxy", "socks5://me:secret@127.0.0.1:1")]);
    assert!(error.contains("a user or a password") && !error.contains("secret"));
}

#[test]
fn rules_of_the_worker_come_from_the_nearest_source() {
    let file = "egress-deny = [\"10.0.0.0/8\", \"*:25\"]\negress-default = \"none\"\n\
        [runtime]\ntcp_connect_blacklist = [\"8.8.8.8\"]\n";
    let deny = |line: &str| {
        let settings = settings(line, &[], file).expect("valid");
        assert_eq!(
            settings.config.egress.default,
            wapod::EgressDefault::Nothing
        );
        settings.config.egress.deny.len()
    };
    assert_eq!(deny(""), 3);
    assert_eq!(deny("--egress-deny a.test --egress-audit"), 2);
    let many: Vec<String> = (0..=wapod::limits::EGRESS_RULES_MAX)
        .map(|number| format!("n{number}.test"))
        .collect();
    let line = format!("--egress-allow {}", many.join(","));
    assert!(error(&line, &[]).contains("are more than"));
}

#[test]
fn evidence_lists_what_the_host_decided_and_no_measurement_covers() {
    let variables = [
        ("WAPOD_MAX_INSTANCES", "7"),
        ("WAPOD_ADMIN_TOKEN", "secret"),
        ("RUST_LOG", "debug"),
        ("RUST_LOG_SANITIZED", "true"),
    ];
    let listed = |line: &str, measured: &str| {
        let variables = [&variables[..], &[("WAPOD_MEASURED", measured)]].concat();
        let all = settings(line, &variables, "settle = 2\n").expect("valid");
        all.config.attestation.host_controlled
    };
    let line = "--attestation simulator -m 64M --log-format json";
    assert_eq!(
        listed(line, ""),
        [
            "admin-token",
            "attestation",
            "instance-memory-size",
            "log-filter",
            "log-sanitized",
            "max-instances",
            "settle"
        ]
    );
    assert_eq!(
        listed(line, "command-line"),
        [
            "admin-token",
            "log-filter",
            "log-sanitized",
            "max-instances",
            "settle"
        ]
    );
    assert_eq!(listed(line, "command-line, environment"), ["settle"]);
    assert_eq!(listed(line, "environment,file,command-line"), [""; 0]);
    let text = error("", &[("WAPOD_MEASURED", "all")]);
    assert!(text.contains("WAPOD_MEASURED: `all`"), "{text}");
}

#[test]
fn a_simulator_is_used_only_where_it_is_asked_for() {
    let mode = |line| {
        settings(line, &[], "")
            .expect("valid")
            .config
            .attestation
            .mode
    };
    assert_eq!(mode(""), wapod::AttestationMode::Auto);
    assert_eq!(mode("--attestation off"), wapod::AttestationMode::Off);
    assert_eq!(
        mode("--attestation simulator"),
        wapod::AttestationMode::Simulator
    );
    let text = error("--attestation sgx", &[]);
    assert!(text.contains("auto, simulator or off"), "{text}");
}

#[test]
fn the_worker_s_key_has_a_place_and_a_secret() {
    use std::os::unix::fs::PermissionsExt as _;
    use wapod::config::KeySecret;
    let none = settings("", &[], "").expect("valid").config.key;
    assert!(none.file.is_none() && none.secret.is_none());
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("passphrase");
    std::fs::write(&file, "hush\n").expect("written");
    let line = format!("--worker-key k --key-passphrase-file {}", file.display());
    let open = error(&line, &[]);
    assert!(open.contains("chmod 600"), "{open}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("closed");
    let variable = [("WAPOD_KEY_PASSPHRASE", "other")];
    let of_file = settings(&line, &variable, "").expect("valid");
    assert_eq!(of_file.config.key.file, Some("k".into()));
    assert!(matches!(
        of_file.config.key.secret,
        Some(KeySecret::Known(_))
    ));
    assert!(of_file.to_string().contains("key-passphrase-file"));
    let of_variable = settings("", &variable, "").expect("valid").to_string();
    assert!(of_variable.contains("(hidden)") && !of_variable.contains("other"));

    let command = settings("", &[], "key-command = \"kms get wapo\"").expect("valid");
    assert!(
        matches!(command.config.key.secret, Some(KeySecret::Command(text)) if text == "kms get wapo")
    );
    let enclave = [("WAPOD_ENCLAVE_SIZE", "4g"), ("WAPOD_KEY_COMMAND", "kms")];
    assert!(error("", &enclave).contains("starts no other program"));
    let both = [("WAPOD_KEY_PASSPHRASE", "a"), ("WAPOD_KEY_COMMAND", "kms")];
    assert!(error("", &both).contains("more than one"));
    assert!(error("--key-passphrase-file /nowhere/file", &[]).contains("/nowhere/file"));
}

#[test]
fn the_size_of_an_enclave_decides_what_is_in_it() {
    let size = |text| ("WAPOD_ENCLAVE_SIZE", text);
    let line = "-m 64M -c 8";
    settings(line, &[size("1g")], "").expect("fits the enclave");
    let alone = settings("", &[size("4g")], "").expect("decides itself");
    // (4 GiB - 256 MiB) / (128 MiB + 1 MiB)
    assert_eq!(alone.config.instances_max, 29);
    assert_eq!(alone.config.allocation, wapod::Allocation::Enclave);
    assert_eq!(alone.config.memory_budget_bytes, Some((4096 - 256) << 20));
    let pages = settings("", &[size("1t")], "").expect("decides itself");
    assert_eq!(pages.config.instances_max, 128);
    let pool = [size("4g"), ("WAPOD_NO_MEM_POOL", "false")];
    assert!(error("", &pool).contains("no address space for a pool"));
    let line = "--proxy-protocol user --trusted-proxies 10.0.0.0/8";
    assert!(error(line, &[size("4g")]).contains("X-Forwarded-For"));
}
