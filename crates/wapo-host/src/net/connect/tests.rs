//! Attempts to connect: their deadlines, their descriptors, their addresses.

use std::net::Ipv4Addr;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Handle;
use tokio::time::sleep;

use super::*;
use crate::budget::MemoryBudget;
use crate::descriptors::{DescriptorBudget, DescriptorLimits, DescriptorShare};
use crate::embedder::{Bystander, InstanceId};
use crate::host_memory::HostMemory;
use crate::limits::ANSWER_ADDRESSES_MAX;
use crate::logs::LogRate;
use crate::logs::Logger;
use crate::net::dialer::Deadlines;
use crate::net::dns::{Dns, Resolver};
use crate::net::policy::EgressRules;
use crate::net::proxy::Proxies;
use crate::net::tls_settings::TlsSettings;
use crate::notices::Notices;

fn dialer(budget: &Arc<DescriptorBudget>, rule: &str) -> Dialer {
    let rules = vec![rule.parse().expect("rule")];
    Dialer {
        dns: Arc::new(Dns::new(&Resolver::Servers(Vec::new())).expect("a resolver")),
        names: Arc::default(),
        tls: Arc::new(TlsSettings::new(&[]).expect("settings")),
        policy: Arc::new(EgressRules::new(rules)),
        proxies: Proxies::default(),
        meter: Arc::default(),
        quotas: Arc::default(),
        descriptors: DescriptorShare::new(budget, &Arc::default()),
        memory: HostMemory::new(&MemoryBudget::new(None)),
        notices: Notices::new(Logger::new(
            InstanceId(0),
            Arc::<Bystander>::default(),
            LogRate::Limited,
        )),
        machine: Arc::default(),
        deadlines: Deadlines {
            connect: Duration::from_millis(400),
            handshake: Duration::from_millis(50),
        },
        runtime: Handle::current(),
    }
}

fn budget() -> Arc<DescriptorBudget> {
    let limits = DescriptorLimits {
        total: 100,
        per_instance: 10,
    };
    DescriptorBudget::new(limits, 1)
}

/// Drops whatever comes, because its queue is full.
async fn silent(address: SocketAddr) -> (SocketAddr, TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(address).expect("a port");
    let listener = socket.listen(0).expect("listens");
    let address = listener.local_addr().expect("bound");
    let mut clients = Vec::new();
    loop {
        let connecting = timeout(Duration::from_millis(200), TcpStream::connect(address));
        match connecting.await {
            Ok(client) => clients.push(client.expect("connects")),
            Err(_) => return (address, listener, clients),
        }
    }
}

async fn until_given_back(budget: &DescriptorBudget) {
    let given_back = async {
        while budget.usage().used > 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = timeout(Duration::from_secs(20), given_back).await;
    assert!(waited.is_ok(), "{:?}", budget.usage());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_ends_at_its_deadline_without_being_asked() {
    let budget = budget();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let (address, _listener, _clients) = silent(any).await;
    let host = address.ip().to_string();
    let dialer = dialer(&budget, "*");
    let mut attempt = Connecting::start(dialer, host, address.port(), None).expect("room");
    assert_eq!(budget.usage().used, 1);
    until_given_back(&budget).await;
    let outcome = std::future::poll_fn(|cx| attempt.poll(cx)).await;
    let failure = outcome
        .expect("not asked before")
        .err()
        .expect("nobody answered");
    assert_eq!(failure.kind, NetFailure::TIMED_OUT);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_says_nothing_ends_with_the_attempt() {
    let budget = budget();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
    let proxy = listener.local_addr().expect("bound");
    for scheme in ["socks5", "socks5h", "http"] {
        let proxy = format!("{scheme}://{proxy}").parse().expect("a proxy");
        let dialer = Dialer {
            proxies: Proxies {
                all: Some(Arc::new(proxy)),
                i2p: None,
            },
            ..dialer(&budget, "*")
        };
        let host = "192.0.2.1".to_owned();
        let mut attempt = Connecting::start(dialer, host, 80, None).expect("room");
        let (_silent, _) = listener.accept().await.expect("asked");
        until_given_back(&budget).await;
        let outcome = std::future::poll_fn(|cx| attempt.poll(cx)).await;
        let failure = outcome
            .expect("not asked before")
            .err()
            .expect("nobody answered");
        assert_eq!(failure.kind, NetFailure::TIMED_OUT, "{scheme}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_never_ends_its_answer_ends_with_the_attempt() {
    let budget = budget();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
    let proxy = listener.local_addr().expect("bound");
    // What each says at once, before it says one byte more, again and again.
    let cases: [(&str, &[u8], &[u8]); 3] = [
        ("socks5h", &[5, 0, 5], &[]),
        // The address that it is connected from, a name of 255 letters.
        ("socks5", &[5, 0, 5, 0, 0, 3, 255], b"x"),
        ("http", b"HTTP/1.1 200 OK\r\nVia: ", b"x"),
    ];
    for (scheme, begin, more) in cases {
        let url = format!("{scheme}://{proxy}").parse().expect("a proxy");
        let dialer = Dialer {
            proxies: Proxies {
                all: Some(Arc::new(url)),
                i2p: None,
            },
            ..dialer(&budget, "*")
        };
        let host = "192.0.2.1".to_owned();
        let mut attempt = Connecting::start(dialer, host, 80, None).expect("room");
        let (mut talker, _) = listener.accept().await.expect("asked");
        let talking = tokio::spawn(async move {
            talker.write_all(begin).await?;
            while talker.write_all(more).await.is_ok() {
                sleep(Duration::from_millis(10)).await;
            }
            std::io::Result::Ok(())
        });
        until_given_back(&budget).await;
        let outcome = std::future::poll_fn(|cx| attempt.poll(cx)).await;
        let failure = outcome
            .expect("not asked before")
            .err()
            .expect("there was no answer");
        assert_eq!(failure.kind, NetFailure::TIMED_OUT, "{scheme}");
        talking.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_ends_at_its_deadline_without_being_asked() {
    let budget = budget();
    let dialer = dialer(&budget, "*");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
    let address = listener.local_addr().expect("bound");
    let tcp = TcpStream::connect(address).await.expect("connects");
    let permit = dialer.descriptors.take(1).expect("room");
    let name = ServerName::try_from("name.test").expect("a name");
    let memory = dialer.memory.charge(1).expect("room");
    let held = Held {
        permit,
        memory,
        guard: None,
    };
    let to = (name, Arc::clone(dialer.tls.client()));
    let stream = TlsStream::connect(&dialer, to, tcp, held);
    until_given_back(&budget).await;
    drop(stream);
}

/// Two addresses of one name, and a port at which the first is silent.
async fn race(rule: &str) -> (Result<IpAddr, Failure>, Duration) {
    let budget = budget();
    let dialer = dialer(&budget, rule);
    let good = TcpListener::bind("127.0.0.1:0").await.expect("port");
    let port = good.local_addr().expect("bound").port();
    let first = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 77), port));
    let (first, _listener, _clients) = silent(first).await;
    let permit = dialer.descriptors.attempt(2).expect("room");
    let mut race = Race::new(&dialer, "name.test", port, permit, None);
    race.add(vec![first.ip(), Ipv4Addr::LOCALHOST.into()]);
    let begun = Instant::now();
    let running = timeout(Duration::from_secs(10), race.run(Lookups::none()));
    let outcome = running.await.expect("the second address answers");
    // While the listener is there: its end ends the connection.
    let reached = outcome.map(|(stream, _)| stream.peer_addr().expect("a peer").ip());
    (reached, begun.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_address_does_not_keep_the_next_one_waiting() {
    let (outcome, time) = race("*").await;
    assert_eq!(outcome.expect("connected"), Ipv4Addr::LOCALHOST);
    assert!(time >= ATTEMPT_DELAY, "both at once: {time:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_socket_of_an_attempt_is_counted_while_it_is_open() {
    let budget = budget();
    let dialer = dialer(&budget, "*");
    let first = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 81), 0));
    let (first, _listener, _clients) = silent(first).await;
    let at = |last| SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), first.port()));
    let _others = (silent(at(82)).await, silent(at(83)).await);
    let permit = dialer.descriptors.attempt(2).expect("room");
    let mut race = Race::new(&dialer, "name.test", first.port(), permit, None);
    race.add(vec![first.ip(), at(82).ip(), at(83).ip()]);
    // A question that nobody answers.
    let question = race.permit.take();
    let pending: Lookup<'_> = Box::pin(async move {
        std::future::pending::<()>().await;
        (AddressFamily::V6, Ok(Vec::new()), question)
    });
    let lookups = Lookups {
        pending: [pending].into_iter().collect(),
        waits_for_v6: false,
    };
    let all_open = async {
        while budget.usage().used < 4 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        outcome = race.run(lookups) => panic!("nobody answers: {outcome:?}"),
        waited = timeout(Duration::from_secs(10), all_open) => {
            assert!(waited.is_ok(), "{:?}", budget.usage());
        }
    }
    assert_eq!(budget.usage().used, 0, "all are closed");
    drop(race);
}

/// Whether a name is reached at a port, when all its addresses but the last are these,
/// at which nobody listens.
async fn reaches_behind(rule: &str, addresses: Vec<IpAddr>) -> Result<(), Failure> {
    let budget = budget();
    let dialer = dialer(&budget, rule);
    let good = TcpListener::bind("127.0.0.1:0").await.expect("port");
    let port = good.local_addr().expect("bound").port();
    let permit = dialer.descriptors.attempt(2).expect("room");
    let mut race = Race::new(&dialer, "name.test", port, permit, None);
    race.add(addresses);
    race.add(vec![Ipv4Addr::LOCALHOST.into()]);
    race.run(Lookups::none()).await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_addresses_that_are_allowed_so_many_are_tried() {
    let refusing = |count: usize| -> Vec<IpAddr> {
        let last = 0..u8::try_from(count).expect("few");
        last.map(|n| Ipv4Addr::new(127, 0, 9, n).into()).collect()
    };
    let reached = reaches_behind("*", refusing(CONNECT_ADDRESSES_MAX - 1)).await;
    assert!(reached.is_ok(), "the last one: {reached:?}");
    let reached = reaches_behind("*", refusing(CONNECT_ADDRESSES_MAX)).await;
    assert!(reached.is_err(), "one too many");
    // Those that are denied cost no try.
    let reached = reaches_behind("127.0.0.1", refusing(ANSWER_ADDRESSES_MAX - 1)).await;
    assert!(reached.is_ok(), "{reached:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_address_that_is_tried_passes_the_policy() {
    let (outcome, _) = race("127.0.0.1").await;
    assert!(outcome.is_ok(), "the one that is allowed");
    let (outcome, _) = race("10.0.0.1").await;
    let failure = outcome.expect_err("none is allowed");
    assert_eq!(failure.kind, NetFailure::DENIED);
}
