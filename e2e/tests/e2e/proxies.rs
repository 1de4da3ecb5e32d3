//! Proxies that carry the connections of guests, in a network where everything would
//! answer that is reached without them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use e2e::certificates::Authority;
use e2e::dns::{Dns, Question, Reply};
use e2e::namespace::{Place, done, enter};
use e2e::proxy::{Behaviour, Proxy};
use e2e::{Daemon, Errno, Probe, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use wapod::{Proxies, Resolver};

const REFUSED: u8 = 1;
const DENIED: u8 = 9;

/// Answers a byte with the next one.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                while let Ok(byte) = stream.read_u8().await {
                    if stream.write_u8(byte.wrapping_add(1)).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

/// Where connections arrive that went around the proxy.
async fn around() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("[::]:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    (port, count)
}

/// A public and a private address for every name.
async fn dns() -> Dns {
    let addresses = [
        IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3)),
        IpAddr::V4(Ipv4Addr::new(93, 184, 216, 34)),
    ];
    Dns::scripted(move |question: &Question, _| Some(Reply::of(question, &addresses))).await
}

async fn behind(dns: &Dns, proxies: Proxies, allow: &[&str]) -> Probe {
    let servers = vec![dns.address()];
    let daemon = Daemon::with(|config| {
        config.resolver = Resolver::Servers(servers);
        config.proxies = proxies;
    })
    .await;
    Probe::on(&daemon, |app| {
        app.egress = allow.iter().map(|rule| rule.parse().unwrap()).collect();
    })
    .await
}

/// Connects and has a byte answered.
async fn talk(probe: &Probe, host: &str, port: u16) -> Result<(), (u8, String)> {
    let connecting = match probe.tcp_connect(host, port.into()).await {
        Ok(connecting) => connecting,
        Err(Errno::Forbidden) => return Err(probe.net_failure(u32::MAX).await.unwrap()),
        Err(errno) => panic!("{host}: {errno:?}"),
    };
    match probe.poll_res(connecting).await {
        Ok(stream) => {
            probe.write_all(stream, b"a").await;
            assert_eq!(probe.read_exact(stream, 1).await, b"b", "{host}");
            Ok(())
        }
        Err(_) => Err(probe.net_failure(connecting).await.unwrap()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_goes_through_the_proxy_and_what_is_asked_of_it_was_checked() {
    let test = "proxies::everything_goes_through_the_proxy_and_what_is_asked_of_it_was_checked";
    if enter(test, &[]) == Place::Outside {
        return;
    }
    let (port, around) = around().await;
    let (dns, echo) = (dns().await, echo().await);
    for (scheme, resolved) in [
        ("socks5h", "name.example:"),
        ("http", "name.example:"),
        ("socks5", "93.184.216.34:"),
    ] {
        let proxy = Proxy::start(Behaviour::Connect(echo)).await;
        let proxies = Proxies {
            all: Some(proxy.url(scheme)),
            i2p: None,
        };
        let rules = ["db.internal", "10.9.9.9"];
        let probe = behind(&dns, proxies, &rules).await;
        let asked = |host: &str| vec![format!("{host}{port}")];
        assert_eq!(talk(&probe, "Name.Example.", port).await, Ok(()));
        assert_eq!(proxy.take_asked(), asked(resolved), "{scheme}");
        assert_eq!(talk(&probe, "1.1.1.1", port).await, Ok(()));
        assert_eq!(proxy.take_asked(), asked("1.1.1.1:"), "{scheme}");
        assert_eq!(talk(&probe, "2606:4700::1111", port).await, Ok(()));
        assert_eq!(proxy.take_asked(), asked("[2606:4700::1111]:"), "{scheme}");
        assert_eq!(
            talk(&probe, "10.9.9.9", port).await,
            Ok(()),
            "a rule names it"
        );
        assert_eq!(proxy.take_asked(), asked("10.9.9.9:"), "{scheme}");
        for host in [
            "10.1.2.3",
            "127.1",
            "0x7f000001",
            "::ffff:10.0.0.1",
            "localhost",
        ] {
            let (kind, text) = talk(&probe, host, port).await.unwrap_err();
            assert_eq!(kind, DENIED, "{scheme}, {host}: {text}");
        }
        if scheme != "socks5" {
            assert_eq!(talk(&probe, "db.internal", port).await, Ok(()));
            assert_eq!(proxy.take_asked(), asked("db.internal:"), "{scheme}");
            for host in ["router", "printer.local", "x.internal"] {
                let (kind, text) = talk(&probe, host, port).await.unwrap_err();
                assert_eq!(kind, DENIED, "{scheme}, {host}: {text}");
            }
            assert_eq!(dns.asked_for_v4("name.example"), 0, "the proxy resolves");
        }
        assert_eq!(proxy.take_asked(), Vec::<String>::new(), "{scheme}");
    }
    assert_eq!(around.load(Ordering::Relaxed), 0, "something went around");
    done();
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_i2p_have_their_own_proxy_and_tls_goes_through_one() {
    let test = "proxies::names_of_i2p_have_their_own_proxy_and_tls_goes_through_one";
    if enter(test, &[]) == Place::Outside {
        return;
    }
    let authority = Authority::new();
    let identity = authority.issue("site.i2p");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    let acceptor = identity.acceptor();
    let serving = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut stream = acceptor.accept(tcp).await.unwrap();
        let byte = stream.read_u8().await.unwrap();
        stream.write_u8(byte + 1).await.unwrap();
        stream.shutdown().await.unwrap();
    });
    let (all, i2p) = (
        Proxy::start(Behaviour::Connect(echo().await)).await,
        Proxy::start(Behaviour::Connect(server)).await,
    );
    let root = authority.root();
    let proxies = Proxies {
        all: Some(all.url("socks5h")),
        i2p: Some(i2p.url("socks5h")),
    };
    let daemon = Daemon::with(|config| {
        config.proxies = proxies;
        config.trust_roots = vec![root];
    })
    .await;
    let probe = Probe::on(&daemon, |_| {}).await;
    let connecting = probe.tcp_connect_tls("site.i2p", 443).await.unwrap();
    let stream = probe.poll_res(connecting).await.unwrap();
    probe.write_all(stream, b"a").await;
    assert_eq!(probe.read_exact(stream, 1).await, b"b");
    within("the server", serving).await.unwrap();
    assert_eq!(i2p.take_asked(), ["site.i2p:443"]);
    assert_eq!(talk(&probe, "site.example", 80).await, Ok(()));
    assert_eq!(all.take_asked(), ["site.example:80"]);
    assert_eq!(i2p.take_asked(), Vec::<String>::new());
    done();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_refuses_lies_or_is_away_is_a_failure_and_nothing_goes_around_it() {
    let test =
        "proxies::a_proxy_that_refuses_lies_or_is_away_is_a_failure_and_nothing_goes_around_it";
    if enter(test, &[]) == Place::Outside {
        return;
    }
    let (port, around) = around().await;
    let dns = dns().await;
    let endless = [b"HTTP/1.1 200 OK\r\n".to_vec(), vec![b'x'; 1 << 20]].concat();
    for (scheme, says, expected) in [
        ("socks5h", vec![5, 5, 0, 1], (REFUSED, "refused")),
        ("socks5h", vec![5, 2, 0, 1], (REFUSED, "does not allow")),
        ("socks5h", vec![5, 0, 0, 9], (0, "does not speak SOCKS5")),
        (
            "socks5h",
            vec![5, 0, 0, 3, 255, 1],
            (15, "closed the connection"),
        ),
        (
            "socks5h",
            b"HTTP/1.1 400\r\n".to_vec(),
            (0, "does not speak SOCKS5"),
        ),
        ("socks5h", Vec::new(), (15, "closed the connection")),
        (
            "http",
            b"HTTP/1.1 403 No\r\n\r\n".to_vec(),
            (REFUSED, "does not allow"),
        ),
        (
            "http",
            b"HTTP/1.1 502 No\r\n\r\n".to_vec(),
            (7, "status 502"),
        ),
        ("http", b"HTTP/1.1 407 No\r\n\r\n".to_vec(), (0, "login")),
        (
            "http",
            b"SSH-2.0-x\r\n\r\n".to_vec(),
            (0, "does not speak HTTP"),
        ),
        ("http", endless, (0, "too long a head")),
    ] {
        let proxy = Proxy::start(Behaviour::Say(says.clone())).await;
        let proxies = Proxies {
            all: Some(proxy.url(scheme)),
            i2p: None,
        };
        let probe = behind(&dns, proxies, &[]).await;
        let (kind, text) = talk(&probe, "name.example", port).await.unwrap_err();
        let shown = says[..says.len().min(20)].escape_ascii();
        assert!(text.contains(expected.1), "{scheme} {shown}: {text}");
        assert_eq!(kind, expected.0, "{scheme} {shown}: {text}");
        assert!(!text.contains("127.0.0.1"), "where the proxy is: {text}");
    }
    // No socket listens there.
    let gone = Proxy::start(Behaviour::Silence).await.url("socks5");
    let proxies = Proxies {
        all: Some(gone),
        i2p: None,
    };
    let probe = behind(&dns, proxies, &[]).await;
    let (kind, text) = talk(&probe, "1.1.1.1", port).await.unwrap_err();
    assert_eq!(
        (kind, text.contains("cannot be reached")),
        (REFUSED, true),
        "{text}"
    );
    assert_eq!(around.load(Ordering::Relaxed), 0, "something went around");
    done();
}
