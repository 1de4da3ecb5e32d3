//! The egress policy, in a network where everything that it forbids would answer.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use e2e::dns::{Dns, Question, Record, Reply};
use e2e::forbidden::{ADDRESSES, OWN, PUBLIC, SPELLINGS};
use e2e::namespace::{Place, done, enter};
use e2e::operator::{self, args, settings};
use e2e::probe::{SCRATCH, Script};
use e2e::{Daemon, Errno, Operator, Probe, client, guest, within};
use tokio::net::{TcpListener, UdpSocket};
use wapo_rpc::AppAddress;
use wapod::{AppConfig, Config, DescriptorLimits, Resolver, WorkerEgress};

const TIMED_OUT: u8 = 4;
const NO_SUCH_NAME: u8 = 5;
const LOOKUP_FAILED: u8 = 6;
const DENIED: u8 = 9;
const LIMIT: u8 = 16;

/// Accepts at every address of this network, and remembers which they were.
struct Trap {
    port: u16,
    reached: Arc<Mutex<Vec<IpAddr>>>,
}

impl Trap {
    async fn set() -> Self {
        let listener = TcpListener::bind("[::]:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let reached = Arc::<Mutex<Vec<_>>>::default();
        let list = Arc::clone(&reached);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let address = stream.local_addr().unwrap().ip();
                list.lock().unwrap().push(address.to_canonical());
            }
        });
        Self { port, reached }
    }

    /// What was reached since the last look.
    fn take(&self) -> Vec<IpAddr> {
        std::mem::take(&mut *self.reached.lock().unwrap())
    }
}

fn rules(texts: &[&str]) -> Vec<wapod::EgressRule> {
    texts.iter().map(|text| text.parse().expect(text)).collect()
}

async fn daemon(dns: &Dns, change: impl FnOnce(&mut Config)) -> Daemon {
    let servers = vec![dns.address()];
    Daemon::with(|config| {
        config.resolver = Resolver::Servers(servers);
        change(config);
    })
    .await
}

async fn probe(daemon: &Daemon, label: &str, change: impl FnOnce(&mut AppConfig)) -> Probe {
    Probe::on(daemon, |app| {
        app.label = label.to_owned();
        change(app);
    })
    .await
}

/// Connects, and says why it could not.
async fn connect(probe: &Probe, host: &str, port: u16) -> Result<(), (u8, String)> {
    match probe.tcp_connect(host, port.into()).await {
        Ok(connecting) => settle(probe, connecting).await,
        Err(Errno::Forbidden) => Err(probe.net_failure(u32::MAX).await.unwrap()),
        Err(errno) => panic!("{host}: {errno:?}"),
    }
}

async fn settle(probe: &Probe, connecting: u32) -> Result<(), (u8, String)> {
    let outcome = probe.poll_res(connecting).await;
    let failure = match outcome {
        Ok(stream) => {
            probe.close(stream).await.unwrap();
            Ok(())
        }
        Err(Errno::Io) => Err(probe.net_failure(connecting).await.unwrap()),
        Err(errno) => panic!("{errno:?}"),
    };
    probe.close(connecting).await.unwrap();
    failure
}

async fn connect_tls(probe: &Probe, host: &str, port: u16) -> Result<(), (u8, String)> {
    match probe.tcp_connect_tls(host, port).await {
        Ok(connecting) => settle(probe, connecting).await,
        Err(Errno::Forbidden) => Err(probe.net_failure(u32::MAX).await.unwrap()),
        Err(errno) => panic!("{host}, TLS: {errno:?}"),
    }
}

#[track_caller]
fn assert_denied(outcome: Result<(), (u8, String)>, host: &str) {
    match outcome {
        Err((DENIED, _)) => {}
        other => panic!("{host}: {other:?}"),
    }
}

/// The name under which the servers here give an address.
fn name_of(address: &str) -> String {
    let label: String = address
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    format!("at{label}x.test")
}

/// Answers for [`name_of`], and for some names that are worse.
fn script(question: &Question, before: usize) -> Option<Reply> {
    let addresses = |texts: &[&str]| {
        let parsed: Vec<IpAddr> = texts.iter().map(|text| text.parse().unwrap()).collect();
        Reply::of(question, &parsed)
    };
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let aliases = |names: &[&str], end: Option<IpAddr>| {
        let pairs = names.windows(2);
        let mut records: Vec<_> = pairs
            .map(|pair| Record::Alias(pair[0].to_owned(), pair[1].to_owned()))
            .collect();
        let last = names.last().unwrap();
        let fitting = end.filter(|ip| ip.is_ipv6() == question.is_v6);
        records.extend(fitting.map(|ip| Record::AddressOf((*last).to_owned(), ip)));
        Reply {
            records,
            ..Reply::default()
        }
    };
    let thousand = |first: Option<IpAddr>| {
        let private =
            (0..1000_u32).map(|n| IpAddr::from(0x0a00_0001_u32.wrapping_add(n).to_be_bytes()));
        let all: Vec<IpAddr> = first.into_iter().chain(private).collect();
        Reply::of(question, &all)
    };
    Some(match question.name.as_str() {
        "public.test" => addresses(&PUBLIC),
        "mixed.test" => addresses(&["127.0.0.1", PUBLIC[0], "10.0.0.1", "::1"]),
        "thousand.test" => thousand(None),
        "denied-first.test" => {
            let private = (1..16).map(|n| IpAddr::from([10, 0, 0, n]));
            let public = PUBLIC[0].parse().unwrap();
            Reply::of(question, &private.chain([public]).collect::<Vec<_>>())
        }
        "thousand-and-one.test" => thousand(Some(PUBLIC[0].parse().unwrap())),
        // Each question has another answer than the one before.
        "rebinding.test" => match before % 2 {
            0 => addresses(&PUBLIC[..1]),
            _ => addresses(&["127.0.0.1", "::1"]),
        },
        "alias.test" => aliases(&["alias.test", "inner.test"], Some(loopback)),
        "chain.test" => aliases(
            &["chain.test", "a.test", "b.test", "c.test"],
            Some(loopback),
        ),
        "bare-alias.test" => aliases(&["bare-alias.test", &name_of("127.0.0.1")], None),
        "loop.test" => aliases(&["loop.test", "pool.test"], None),
        "pool.test" => aliases(&["pool.test", "loop.test"], None),
        "self.test" => aliases(&["self.test", "self.test"], None),
        "silent.test" => return None,
        name => match ADDRESSES.iter().find(|address| name_of(address) == name) {
            Some(address) => addresses(&[address]),
            None => Reply::missing(),
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn forbidden_addresses_are_reached_in_no_spelling_and_by_no_name() {
    let test = "egress::forbidden_addresses_are_reached_in_no_spelling_and_by_no_name";
    if enter(test, OWN) == Place::Outside {
        return;
    }
    let dns = Dns::scripted(script).await;
    let trap = Trap::set().await;
    let daemon = daemon(&dns, |_| {}).await;
    let closed = probe(&daemon, "closed", |_| {}).await;
    for host in ADDRESSES.iter().chain(SPELLINGS) {
        assert_denied(connect(&closed, host, trap.port).await, host);
        assert_denied(connect_tls(&closed, host, trap.port).await, host);
    }
    let names: Vec<String> = ADDRESSES.iter().map(|address| name_of(address)).collect();
    let worse = [
        "thousand.test",
        "alias.test",
        "chain.test",
        "bare-alias.test",
        "LocalHost.",
    ];
    for host in names.iter().map(String::as_str).chain(worse) {
        assert_denied(connect(&closed, host, trap.port).await, host);
        assert_denied(connect_tls(&closed, host, trap.port).await, host);
    }
    assert_eq!(trap.take(), Vec::<IpAddr>::new(), "reached without a rule");

    // The network is what it seems: everything would have been reached.
    let open = probe(&daemon, "open", |app| app.egress = rules(&["*"])).await;
    for host in ADDRESSES {
        assert_eq!(connect(&open, host, trap.port).await, Ok(()), "{host}");
        let name = name_of(host);
        assert_eq!(connect(&open, &name, trap.port).await, Ok(()), "{name}");
    }
    done();
}

#[tokio::test(flavor = "multi_thread")]
async fn forbidden_addresses_get_no_datagrams_in_no_spelling_and_by_no_name() {
    let test = "egress::forbidden_addresses_get_no_datagrams_in_no_spelling_and_by_no_name";
    if enter(test, OWN) == Place::Outside {
        return;
    }
    let dns = Dns::scripted(script).await;
    let trap = UdpSocket::bind("[::]:0").await.unwrap();
    let port = trap.local_addr().unwrap().port();
    let daemon = daemon(&dns, |_| {}).await;
    let closed = probe(&daemon, "closed", |_| {}).await;
    let refused = Err(Errno::Forbidden);
    let sockets = bind_both(&closed).await;
    for host in ADDRESSES {
        let to = SocketAddr::new(host.parse().unwrap(), port);
        let socket = sockets[usize::from(to.is_ipv6())];
        assert_eq!(closed.send_to(socket, to, b"x").await, refused, "{host}");
        assert_eq!(
            closed.send_to(sockets[1], to, b"x").await,
            refused,
            "{host}"
        );
        for socket in sockets {
            let target = to.to_string();
            assert_eq!(closed.udp_connect(socket, &target).await, refused, "{host}");
            let target = format!("{}:{port}", name_of(host));
            let outcome = closed.udp_connect(socket, &target).await;
            // A socket of IPv4 asks for no address of IPv6, and finds none.
            let finds_none = socket == sockets[0] && to.is_ipv6();
            let expected = if finds_none { Err(Errno::Io) } else { refused };
            assert_eq!(outcome, expected, "{target}");
        }
    }
    for host in SPELLINGS {
        let outcome = closed
            .udp_connect(sockets[1], &format!("{host}:{port}"))
            .await;
        let is_refused = matches!(outcome, Err(Errno::Forbidden | Errno::InvalidParameter));
        assert!(is_refused, "{host}: {outcome:?}");
    }
    for host in [
        "thousand.test",
        "alias.test",
        "chain.test",
        "bare-alias.test",
    ] {
        let outcome = closed
            .udp_connect(sockets[1], &format!("{host}:{port}"))
            .await;
        assert_eq!(outcome, refused, "{host}");
    }
    let mut buffer = [0; 10];
    let arrived = trap.try_recv_from(&mut buffer);
    assert!(arrived.is_err(), "{arrived:?} without a rule");

    // The network is what it seems: everything would have arrived.
    let open = probe(&daemon, "open", |app| app.egress = rules(&["*"])).await;
    let sockets = bind_both(&open).await;
    for host in ADDRESSES {
        let to = SocketAddr::new(host.parse().unwrap(), port);
        let socket = sockets[usize::from(to.is_ipv6())];
        assert_eq!(open.send_to(socket, to, b"x").await, Ok(1), "{host}");
        let arrived = within("the datagram", trap.recv_from(&mut buffer)).await;
        assert!(arrived.is_ok(), "{host}");
    }
    done();
}

/// A socket for IPv4 and one for IPv6.
async fn bind_both(probe: &Probe) -> [u32; 2] {
    let v4 = probe.udp_bind("0.0.0.0:0").await.unwrap();
    let v6 = probe.udp_bind("[::]:0").await.unwrap();
    [v4, v6]
}

#[tokio::test(flavor = "multi_thread")]
async fn only_addresses_that_were_checked_are_dialled_whatever_the_server_says_next() {
    let test = "egress::only_addresses_that_were_checked_are_dialled_whatever_the_server_says_next";
    if enter(test, OWN) == Place::Outside {
        return;
    }
    let dns = Dns::scripted(script).await;
    let trap = Trap::set().await;
    let daemon = daemon(&dns, |_| {}).await;
    let probe = probe(&daemon, "closed", |_| {}).await;
    let public: Vec<IpAddr> = PUBLIC.iter().map(|text| text.parse().unwrap()).collect();
    for (host, is_reached) in [
        (PUBLIC[0], true),
        (PUBLIC[1], true),
        ("public.test", true),
        ("mixed.test", true),
        ("thousand-and-one.test", true),
        ("denied-first.test", true),
        ("rebinding.test", true),
        ("rebinding.test", false),
        ("rebinding.test", true),
        ("rebinding.test", false),
    ] {
        let outcome = connect(&probe, host, trap.port).await;
        let reached = trap.take();
        match is_reached {
            true => assert_eq!(outcome, Ok(()), "{host}"),
            false => assert_denied(outcome, host),
        }
        assert!(
            reached.iter().all(|ip| public.contains(ip)),
            "{host}: {reached:?}"
        );
    }
    let denied = || probe.app().handle().egress_refusals().denied;
    let before = denied();
    assert_denied(connect(&probe, "thousand.test", trap.port).await, "all");
    assert_eq!(denied() - before, 16, "addresses that are looked at");
    // A loop ends, and leads nowhere.
    for host in ["loop.test", "self.test"] {
        let (kind, text) = connect(&probe, host, trap.port).await.unwrap_err();
        let kinds = [NO_SUCH_NAME, LOOKUP_FAILED, TIMED_OUT];
        assert!(kinds.contains(&kind), "{host}: {kind} {text}");
    }
    assert_eq!(trap.take(), Vec::<IpAddr>::new());
    done();
}

/// Two apps of a worker with rules of its own.
async fn with_rules(dns: &Dns, port: u16) -> [Probe; 2] {
    let by_port = format!("10.1.2.3:{port}");
    let daemon = daemon(dns, |config| {
        config.egress = WorkerEgress {
            deny: rules(&[
                "192.168.0.0/16",
                "*.bad.test",
                "alias.test",
                "2606:2800::/32",
                "*:25",
            ])
            .into_iter()
            .collect(),
            allow: rules(&["172.16.0.0/12", by_port.as_str()])
                .into_iter()
                .collect(),
            ..WorkerEgress::default()
        };
    })
    .await;
    let one = probe(&daemon, "one", |app| {
        app.egress = rules(&[
            "192.168.0.0/16",
            "100.64.0.0/10",
            "alias.test",
            "127.0.0.0/8",
        ]);
        app.egress_deny = rules(&["172.16.0.1", "93.184.216.0/24", "100.64.0.1:9"]);
    })
    .await;
    let two = probe(&daemon, "two", |app| {
        app.egress = rules(&["public.test", "169.254.169.254"]);
        app.egress_default = "none".parse().unwrap();
    })
    .await;
    [one, two]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_of_worker_and_app_that_says_something_decides() {
    let test = "egress::the_first_of_worker_and_app_that_says_something_decides";
    if enter(test, OWN) == Place::Outside {
        return;
    }
    let dns = Dns::scripted(script).await;
    let trap = Trap::set().await;
    let port = trap.port;
    let [one, two] = with_rules(&dns, port).await;
    let mapped = "::ffff:192.168.1.1";
    for (probe, host, is_open) in [
        // The worker denies, whatever the app was allowed.
        (&one, "192.168.1.1", false),
        (&one, mapped, false),
        (&one, "0xc0a80101", false),
        (&one, "alias.test", false),
        (&one, "x.bad.test", false),
        (&one, PUBLIC[1], false),
        // The app's rules that deny win over the worker's that allow.
        (&one, "172.16.0.1", false),
        (&one, "172.31.255.255", true),
        (&one, "2002:ac10:1::1", false),
        (&one, "10.1.2.3", true),
        (&one, "100.64.0.1", true),
        (&one, "chain.test", true),
        // Of the public name both addresses are denied, each by another list.
        (&one, "public.test", false),
        (&one, PUBLIC[0], false),
        // Without the default, only what a rule allows.
        (&two, PUBLIC[0], false),
        (&two, "mixed.test", false),
        (&two, "public.test", true),
        (&two, "169.254.169.254", true),
        (&two, "172.31.255.255", true),
        (&two, "100.64.0.1", false),
    ] {
        let outcome = connect(probe, host, port).await;
        match is_open {
            true => assert_eq!(outcome, Ok(()), "{host}"),
            false => assert_denied(outcome, host),
        }
    }
    assert_denied(connect(&one, "127.0.0.1", 25).await, "port 25");
    assert_denied(connect(&one, "100.64.0.1", 9).await, "port 9");
    assert_denied(
        connect(&one, "10.1.2.3", port.wrapping_add(1)).await,
        "another port",
    );
    let usage = one.app().handle().egress_refusals();
    assert!(usage.denied >= 13 && usage.audited == 0, "{usage:?}");
    done();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_counts_and_tells_and_lets_through_all_but_the_workers_own_ports() {
    let test = "egress::an_audit_counts_and_tells_and_lets_through_all_but_the_workers_own_ports";
    if enter(test, OWN) == Place::Outside {
        return;
    }
    let dns = Dns::scripted(script).await;
    let trap = Trap::set().await;
    let daemon = daemon(&dns, |config| {
        config.egress.audit = true;
        // What a rule denies is let through as well, and no port of the worker's.
        config.egress.deny = rules(&["127.0.0.0/8", "10.0.0.0/8"]).into_iter().collect();
        config.admin_address = Some((Ipv4Addr::LOCALHOST, 0).into());
    })
    .await;
    let user = daemon.running().user_address().port();
    let probe = probe(&daemon, "audited", |app| {
        app.egress_deny = rules(&["8.8.4.4", "::1"]);
    })
    .await;
    for host in ["10.1.2.3", "alias.test", "127.1"] {
        assert_eq!(connect(&probe, host, trap.port).await, Ok(()), "{host}");
    }
    let line = probe.app().expect_log("audit: ").await;
    assert!(line.text.contains("10.1.2.3"), "{}", line.text);
    for host in ["127.0.0.1", "8.8.4.4", "::1", "2002:7f00:1::"] {
        let own: SocketAddr = (Ipv4Addr::LOCALHOST, user).into();
        assert_denied(connect(&probe, host, own.port()).await, host);
    }
    let refusals = probe.app().handle().egress_refusals();
    assert_eq!((refusals.denied, refusals.audited), (4, 3));
    let admin = daemon.running().admin_address().unwrap();
    let figures = client::get(&format!("http://{admin}/metrics")).await.text();
    for (name, count) in [("denied", 4), ("audited", 3)] {
        let begin = format!("wapo_app_egress_{name}_total{{");
        let line = figures.lines().find(|line| line.starts_with(&begin));
        let line = line.unwrap_or_else(|| panic!("{name}: {figures}"));
        assert!(line.ends_with(&format!(" {count}")), "{line}");
    }
    done();
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_kept_for_each_app_and_questions_have_a_rate() {
    let answers = |question: &Question, _| {
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST)];
        let mut reply = Reply::of(question, &loopback);
        if matches!(question.name.as_str(), "missing.test" | "flood.test") {
            reply = Reply::missing();
        }
        reply.ttl_secs = match question.name.as_str() {
            "fleeting.test" | "flood.test" => 0,
            _ => 3600,
        };
        Some(reply)
    };
    let dns = Dns::scripted(answers).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let daemon = daemon(&dns, |config| {
        config.guest_descriptors = Some(DescriptorLimits {
            total: 8000,
            per_instance: 4000,
        });
    })
    .await;
    let one = probe(&daemon, "one", |app| app.egress = rules(&["*"])).await;
    let two = probe(&daemon, "two", |app| app.egress = rules(&["*"])).await;
    for _ in 0..3 {
        for name in ["kept.test", "KEPT.test.", "fleeting.test"] {
            assert_eq!(connect(&one, name, port).await, Ok(()), "{name}");
        }
        let (kind, text) = connect(&one, "missing.test", port).await.unwrap_err();
        assert_eq!(kind, NO_SUCH_NAME, "{text}");
    }
    assert_eq!(dns.asked_for_v4("kept.test"), 1);
    assert_eq!(dns.asked_for_v4("fleeting.test"), 3);
    assert_eq!(
        dns.asked_for_v4("missing.test"),
        1,
        "none is an answer, too"
    );
    assert_eq!(connect(&two, "kept.test", port).await, Ok(()));
    assert_eq!(
        dns.asked_for_v4("kept.test"),
        2,
        "an app has its own answers"
    );

    // More questions than it may ask at once: what it asks next waits for its turn, and
    // the neighbour does not.
    let begun = Instant::now();
    let flood = Script::new().write(SCRATCH, b"flood.test").fast_times(
        600,
        213,
        [SCRATCH, 10, port.into(), 0],
    );
    assert!(one.run(&flood).await.result().is_ok());
    let late = async || {
        // Refused as long as its turn would come too late.
        while let Err((kind, text)) = connect(&one, "late.test", port).await {
            assert_eq!(kind, LIMIT, "{text}");
        }
    };
    let outcome = tokio::select! {
        () = late() => panic!("before the neighbour's turn"),
        outcome = connect(&two, "other.test", port) => outcome,
    };
    assert_eq!(outcome, Ok(()));
    late().await;
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_secs(4), "it waited for {waited:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_of_an_app_are_settings_that_are_shown_and_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let operator = Operator::in_folder(folder.path()).await;
    let app = guest("sdk-suite");
    operator.put_code(&app).await;
    let mut wanted = args(&app);
    settings(&mut wanted).egress = vec!["127.0.0.0/8".to_owned()];
    settings(&mut wanted).egress_deny = vec!["127.0.0.1".to_owned(), "*:25".to_owned()];
    settings(&mut wanted).egress_only_allowed = true;
    let address = operator::address(&operator.try_deploy(wanted).await.unwrap());
    look_at_rules(operator, address).await;
    look_at_rules(Operator::in_folder(folder.path()).await, address).await;
}

async fn look_at_rules(operator: Operator, app: AppAddress) {
    operator
        .until("running", app, |info| info.state == "running")
        .await;
    let told = async |host: &str, port: u16| {
        let path = format!("/failure/{host}/{port}");
        operator.query(app, &path).await.unwrap()
    };
    assert_eq!(told("127.0.0.1", 1).await, "PermissionDenied");
    assert_eq!(told("127.0.0.2", 25).await, "PermissionDenied");
    assert_eq!(told(PUBLIC[0], 80).await, "PermissionDenied");
    assert_eq!(told("127.0.0.2", 1).await, "ConnectionRefused");
    let info = operator.find(app).await.unwrap();
    let shown = info.settings.unwrap();
    assert_eq!(shown.egress_deny, ["127.0.0.1", "*:25"]);
    assert!(shown.egress_only_allowed);
    let usage = info.usage.unwrap();
    assert_eq!((usage.egress_denied, usage.egress_audited), (3, 0));
    operator.shutdown().await;
}
