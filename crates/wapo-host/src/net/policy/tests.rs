//! Rules, addresses in all their forms, and who wins.

use super::*;

fn rules(texts: &[&str]) -> EgressRules {
    EgressRules::new(
        texts
            .iter()
            .map(|text| text.parse().expect("rule"))
            .collect(),
    )
}

fn address(text: &str) -> SocketAddr {
    SocketAddr::new(text.parse().expect("address"), 80)
}

#[test]
fn private_addresses_are_denied_in_every_spelling() {
    for text in [
        "127.0.0.1",
        "127.0.0.2",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",
        "168.63.129.16",
        "169.254.169.254",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "fe80::1",
        "fc00::1",
        "fd12::1",
        "ff02::1",
        "fec0::1",
        "4000::1",
        "200::1",
    ] {
        let denied = rules(&[]).check_address("name.example", address(text));
        assert!(denied.is_err(), "{text} was allowed");
        assert!(rules(&[]).check_name(text, 80).is_err(), "{text} as a name");
    }
}

#[test]
fn public_addresses_are_allowed() {
    for text in [
        "1.1.1.1",
        "8.8.8.8",
        "172.32.0.1",
        "2606:4700::1111",
        "64:ff9b::808:808",
    ] {
        let rules = rules(&[]);
        assert_eq!(rules.check_address("name", address(text)), Ok(()), "{text}");
    }
}

#[test]
fn rules_open_what_they_name_and_nothing_else() {
    let by_net = rules(&["127.0.0.1:80", "10.0.0.0/8"]);
    assert!(by_net.check_name("127.0.0.1", 80).is_ok());
    assert!(by_net.check_name("127.0.0.1", 81).is_err());
    assert!(by_net.check_name("127.0.0.2", 80).is_err());
    assert!(by_net.check_name("10.9.9.9", 1).is_ok());
    assert!(by_net.check_name("::ffff:127.0.0.1", 80).is_ok());

    let by_name = rules(&["*.internal.example", "LocalHost.:80"]);
    let loopback = address("127.0.0.1");
    assert!(by_name.check_address("localhost", loopback).is_ok());
    assert!(
        by_name
            .check_address("a.internal.example", loopback)
            .is_ok()
    );
    assert!(by_name.check_address("internal.example", loopback).is_err());
    assert!(
        by_name
            .check_address("evilinternal.example", loopback)
            .is_err()
    );
}

fn allows(rules: &EgressRules, target: &str) -> bool {
    let target: SocketAddr = target.parse().expect("an address and a port");
    rules
        .check_address(&target.ip().to_string(), target)
        .is_ok()
}

#[test]
fn the_workers_own_ports_need_a_rule_with_the_port() {
    let public: IpAddr = "1.2.3.4".parse().expect("an address");
    let machine = Arc::new(Machine::with_addresses(vec![8001, 8002], vec![public]));
    let rules = |texts: &[&str]| {
        let rules = texts.iter().map(|text| text.parse().expect("rule"));
        EgressRules::on(Arc::clone(&machine), rules.collect())
    };
    for broad in [
        "*",
        "127.0.0.1",
        "127.0.0.0/8",
        "::/0",
        "0.0.0.0/0",
        "1.2.3.4",
    ] {
        let broad = rules(&[broad]);
        for target in [
            "127.0.0.1:8001",
            "[::1]:8001",
            "0.0.0.0:8002",
            "1.2.3.4:8001",
        ] {
            assert!(!allows(&broad, target), "{broad:?} {target}");
        }
    }
    assert!(allows(&rules(&["*"]), "127.0.0.1:5432"), "other ports");
    assert!(allows(&rules(&[]), "9.9.9.9:8001"), "other machines");
    let named = rules(&["127.0.0.1:8001"]);
    assert!(allows(&named, "127.0.0.1:8001"));
    assert!(!allows(&named, "127.0.0.1:8002"));
    let denied = rules(&["*"]).check_name("127.0.0.1", 8001);
    let text = denied.expect_err("no port").to_string();
    assert!(text.contains("(--allow-egress 127.0.0.1:8001)"), "{text}");
}

#[test]
fn addresses_of_this_machine_are_not_public() {
    let public: IpAddr = "1.2.3.4".parse().expect("an address");
    let machine = Arc::new(Machine::with_addresses(Vec::new(), vec![public]));
    let without = EgressRules::on(Arc::clone(&machine), Vec::new());
    assert!(!allows(&without, "1.2.3.4:80"));
    assert!(!allows(&without, "[::ffff:1.2.3.4]:80"));
    assert!(allows(&without, "1.2.3.5:80"));
    let rule = "1.2.3.4".parse().expect("rule");
    assert!(allows(&EgressRules::on(machine, vec![rule]), "1.2.3.4:80"));
}

#[test]
fn networks_that_hide_in_others_are_the_networks_they_mean() {
    for (text, shown, inside, outside) in [
        (
            "::ffff:127.0.0.0/104",
            "127.0.0.0/8",
            "127.3.2.1:80",
            "10.0.0.1:80",
        ),
        (
            "::ffff:10.0.0.0/104",
            "10.0.0.0/8",
            "10.9.9.9:80",
            "127.0.0.1:80",
        ),
        (
            "64:ff9b::10.0.0.0/120",
            "10.0.0.0/24",
            "10.0.0.9:80",
            "10.0.1.1:80",
        ),
        ("2002:a00::/24", "10.0.0.0/8", "10.9.9.9:80", "127.0.0.1:80"),
        ("fc00::/7", "fc00::/7", "[fd00::1]:80", "[fe80::1]:80"),
    ] {
        let rule: EgressRule = text.parse().expect(text);
        assert_eq!(rule.to_string(), shown);
        assert!(allows(&rules(&[text]), inside), "{text} {inside}");
        assert!(!allows(&rules(&[text]), outside), "{text} {outside}");
    }
}

/// A rule about a form as a whole is about that form: to deny it cuts off no IPv4,
/// and to allow it opens none.
#[test]
fn a_form_of_ipv4_as_a_whole_is_not_all_of_ipv4() {
    for (text, inside) in [
        ("64:ff9b::/96", "64:ff9b::808:808"),
        ("2002::/16", "2002:808:808::1"),
        ("::ffff:0:0/96", "::ffff:8.8.8.8"),
        ("::ffff:0:0:0/96", "::ffff:0:8.8.8.8"),
        ("::ffff:0.0.0.0/103", "::ffff:1.1.1.1"),
    ] {
        let open = rules(&[text]);
        for closed in ["127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1"] {
            assert!(
                open.check_address("a.test", address(closed)).is_err(),
                "{text} opens {closed}"
            );
        }
        let worker = WorkerEgress {
            deny: set(&[text]),
            ..WorkerEgress::default()
        };
        let closed = EgressRules::of(Arc::default(), Arc::new(worker), AppEgress::default());
        assert_eq!(reason(&closed, "a.test", "8.8.8.8:80"), None, "{text}");
        let inside = SocketAddr::new(inside.parse().expect(inside), 80).to_string();
        let found = reason(&closed, "a.test", &inside);
        assert_eq!(found, Some(DenyReason::WorkerRule), "{text}");
    }
}

#[test]
fn an_own_port_is_known_as_one_whatever_the_reason() {
    let machine = Arc::new(Machine::with_addresses(vec![8001], Vec::new()));
    let worker = WorkerEgress {
        deny: set(&["127.0.0.0/8", "localhost"]),
        audit: true,
        ..WorkerEgress::default()
    };
    // Also where a rule names it and another denies it.
    for allow in [set(&[]), set(&["127.0.0.1:8001", "localhost:8001"])] {
        let app = AppEgress {
            allow,
            ..AppEgress::default()
        };
        let rules = EgressRules::of(Arc::clone(&machine), Arc::new(worker.clone()), app);
        let own = |denied: Result<(), Denied>| denied.expect_err("denied").is_own_port;
        assert!(own(rules.check_name("127.0.0.1", 8001)));
        assert!(own(rules.check_name("::ffff:127.0.0.1", 8001)));
        assert!(own(rules.check_unresolved("localhost", 8001)));
        let loopback = SocketAddr::from(([127, 0, 0, 1], 8001));
        assert!(own(rules.check_address("name.test", loopback)));
        assert!(!own(rules.check_name("127.0.0.1", 8002)));
        assert!(!own(rules.check_unresolved("localhost", 8002)));
    }
}

#[test]
fn rules_parse_or_say_what_is_wrong() {
    for (text, shown) in [
        ("*", "*"),
        ("*:443", "*:443"),
        ("[::1]:80", "::1/128:80"),
        ("::1", "::1/128"),
        ("Example.COM.:1", "example.com:1"),
        ("10.0.0.0/8", "10.0.0.0/8"),
    ] {
        let rule: EgressRule = text.parse().expect(text);
        assert_eq!(rule.to_string(), shown);
    }
    for text in ["", "a b", "host:port", "10.0.0.0/99", "..", "host:99999"] {
        let error = text.parse::<EgressRule>().expect_err(text);
        assert!(error.to_string().contains("is not an egress rule"));
    }
}

fn set(texts: &[&str]) -> RuleSet {
    let rules = texts
        .iter()
        .map(|text| text.parse::<EgressRule>().expect(text));
    rules.collect()
}

/// Why a name at an address is denied.
fn reason(rules: &EgressRules, host: &str, target: &str) -> Option<DenyReason> {
    let target: SocketAddr = target.parse().expect("an address and a port");
    let by_name = rules.check_name(host, target.port());
    let checked = by_name.and_then(|()| rules.check_address(host, target));
    checked.err().map(|denied| denied.reason)
}

#[test]
fn the_first_list_that_says_something_decides() {
    let machine = Arc::new(Machine::with_addresses(vec![8001], Vec::new()));
    let worker = WorkerEgress {
        deny: set(&["10.0.0.0/8:22", "*.bad.test", "9.9.9.9", "*:25"]),
        allow: set(&["10.1.0.0/16", "172.16.0.1", "127.0.0.0/8"]),
        ..WorkerEgress::default()
    };
    let app = AppEgress {
        deny: set(&["10.1.2.3", "exact.test"]),
        allow: set(&["10.0.0.0/8", "9.9.9.9", "x.bad.test", "[::1]:8001"]),
        default: EgressDefault::Public,
    };
    let both = EgressRules::of(Arc::clone(&machine), Arc::new(worker.clone()), app.clone());
    use DenyReason as R;
    for (host, target, expected) in [
        ("a.test", "10.9.9.9:80", None),
        ("a.test", "10.9.9.9:22", Some(R::WorkerRule)),
        ("a.test", "9.9.9.9:80", Some(R::WorkerRule)),
        ("x.bad.test", "1.1.1.1:80", Some(R::WorkerRule)),
        ("X.Bad.Test.", "1.1.1.1:80", Some(R::WorkerRule)),
        ("bad.test", "1.1.1.1:80", None),
        ("a.test", "1.1.1.1:25", Some(R::WorkerRule)),
        ("a.test", "10.1.2.3:80", Some(R::AppRule)),
        ("exact.test", "1.1.1.1:80", Some(R::AppRule)),
        ("sub.exact.test", "1.1.1.1:80", None),
        ("a.test", "172.16.0.1:80", None),
        (
            "a.test",
            "172.16.0.2:80",
            Some(R::Special("private address")),
        ),
        ("a.test", "127.0.0.1:80", None),
        ("a.test", "127.0.0.1:8001", Some(R::OwnPort)),
        ("a.test", "[::1]:8001", None),
        ("a.test", "[::1]:80", Some(R::Special("loopback address"))),
    ] {
        assert_eq!(reason(&both, host, target), expected, "{host} {target}");
    }
    for nothing in [
        (EgressDefault::Nothing, EgressDefault::Public),
        (EgressDefault::Public, EgressDefault::Nothing),
    ] {
        let worker = WorkerEgress {
            default: nothing.0,
            ..worker.clone()
        };
        let app = AppEgress {
            default: nothing.1,
            ..app.clone()
        };
        let narrow = EgressRules::of(Arc::clone(&machine), Arc::new(worker), app);
        assert_eq!(reason(&narrow, "a.test", "1.1.1.1:80"), Some(R::NoRule));
        assert_eq!(reason(&narrow, "a.test", "10.9.9.9:80"), None);
    }
}

#[test]
fn the_workers_own_port_is_named_by_an_address_and_not_by_a_network_or_all() {
    let machine = Arc::new(Machine::with_addresses(vec![8001], Vec::new()));
    let allows = |rule: &str| {
        let rules = EgressRules::on(Arc::clone(&machine), vec![rule.parse().expect(rule)]);
        reason(&rules, "localhost", "127.0.0.1:8001").is_none()
    };
    for rule in [
        "*:8001",
        "127.0.0.0/8:8001",
        "*.localhost:8001",
        "127.0.0.1",
    ] {
        assert!(!allows(rule), "{rule}");
    }
    for rule in ["127.0.0.1:8001", "localhost:8001", "0x7f000001:8001"] {
        assert!(allows(rule), "{rule}");
    }
}

#[test]
fn rules_that_deny_reach_into_every_form_of_an_address() {
    let worker = WorkerEgress {
        deny: set(&["9.9.9.0/24"]),
        ..WorkerEgress::default()
    };
    let rules = EgressRules::of(Arc::default(), Arc::new(worker), AppEgress::default());
    for text in [
        "9.9.9.1",
        "::ffff:9.9.9.1",
        "64:ff9b::909:901",
        "2002:909:901::1",
        "2606:4700::5efe:909:901",
        "2001:0:909:901::1",
    ] {
        let target = SocketAddr::new(text.parse().expect(text), 80).to_string();
        let found = reason(&rules, "a.test", &target);
        assert_eq!(found, Some(DenyReason::WorkerRule), "{text}");
    }
    assert_eq!(reason(&rules, "a.test", "9.9.8.1:80"), None);
}

#[test]
fn of_names_that_a_proxy_resolves_only_public_ones_and_those_of_rules_pass() {
    let machine = Arc::new(Machine::with_addresses(vec![8001], Vec::new()));
    let worker = WorkerEgress {
        deny: set(&["bad.test"]),
        ..WorkerEgress::default()
    };
    let app = AppEgress {
        allow: set(&["db.internal:5432", "*:8001"]),
        ..AppEgress::default()
    };
    let rules = EgressRules::of(machine, Arc::new(worker), app);
    let reason = |host: &str, port| {
        let checked = rules.check_unresolved(host, port);
        checked.err().map(|denied| denied.reason)
    };
    use DenyReason as R;
    for (host, port, expected) in [
        ("example.com", 443, None),
        ("hidden.onion", 80, None),
        ("bad.test", 80, Some(R::WorkerRule)),
        ("db.internal", 5432, None),
        ("db.internal", 80, Some(R::PrivateName)),
        ("localhost", 80, Some(R::PrivateName)),
        ("router", 80, Some(R::PrivateName)),
        ("localhost", 8001, Some(R::OwnPort)),
        ("router", 8001, Some(R::OwnPort)),
        ("127.1", 80, Some(R::Special("loopback address"))),
        ("1.1.1.1", 80, None),
    ] {
        assert_eq!(reason(host, port), expected, "{host}:{port}");
    }
}

#[test]
fn a_rule_that_was_shown_is_the_same_rule() {
    for text in [
        "*",
        "*:1",
        "a.test",
        "*.a.test:80",
        "10.1.2.3/8",
        "::1",
        "[::1]:8",
        "::/0:5",
        "2001:db8::5",
        "2001:db8::5:abc",
        "[2001:db8::5:443]",
        "[2001:db8::5]:443",
        "1:2:3:4:5:6:7:8",
        "64:ff9b::/96",
        "0x7f.1:80",
        "Bücher.example",
        "fe80::/10",
    ] {
        let rule: EgressRule = text.parse().expect(text);
        assert_eq!(rule.to_string().parse(), Ok(rule), "{text}");
    }
    for text in [
        "fe80::1%lo",
        "a:+1",
        "*.127.0.0.1",
        "*.*",
        "10.0.0.0/8:",
        ":1",
        // With a port or without: nobody knows.
        "2001:db8::5:443",
        "::1:8001",
        "fe80::1:1",
    ] {
        assert!(text.parse::<EgressRule>().is_err(), "{text}");
    }
}
