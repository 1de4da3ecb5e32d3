//! Names on the TLS port that all apps share: what guests and their clients see.

use std::collections::BTreeSet;
use std::sync::Arc;

use e2e::client::curl;
use e2e::tls_port::alert;
use e2e::{App, Errno, Probe, TlsPort, guest, within};
use rustls::AlertDescription;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use wapo_rpc::message::Empty;
use wapod::QuotaList;

/// A probe on a daemon with a TLS port.
async fn probe(port: &TlsPort, label: &str) -> Probe {
    Probe::on(port.daemon(), |app| app.label = label.to_owned()).await
}

/// Lets a probe serve a name; gives its listener.
async fn serve(port: &TlsPort, probe: &Probe, name: &str) -> u32 {
    let identity = port.authority().issue(name);
    let listening = probe.tls_listen_sni(name, (&identity.cert, &identity.key));
    listening.await.unwrap()
}

/// Waits until an app serves a name.
async fn serving(app: &App, name: &str) {
    let serves = |status: &wapod::Status| status.names.iter().any(|one| **one == *name);
    app.until("the name", serves).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_serves_a_name() {
    let port = TlsPort::start().await;
    let probe = probe(&port, "one").await;
    let listener = serve(&port, &probe, "shop.example").await;
    assert_eq!(
        probe.app().status().names,
        [Arc::<str>::from("shop.example")]
    );
    let client = port.connect("shop.example");
    let (client, accepted) = tokio::join!(client, probe.tcp_accept(listener));
    let (mut client, (stream, peer)) = (client.unwrap(), accepted.unwrap());
    assert_eq!(peer, client.get_ref().0.local_addr().unwrap().to_string());
    assert_eq!(
        probe.stream_tls(stream).await,
        Ok((Some("shop.example".to_owned()), None))
    );
    client.write_all(b"question").await.unwrap();
    assert_eq!(probe.read_exact(stream, 8).await, b"question");
    probe.write_all(stream, b"answer").await;
    let mut answer = [0; 6];
    within("the answer", client.read_exact(&mut answer))
        .await
        .unwrap();
    assert_eq!(&answer, b"answer");
    // Half of the connection is closed; the other still works.
    client.shutdown().await.unwrap();
    assert_eq!(probe.poll_read(stream, 1).await, Ok(Vec::new()));
    probe.write_all(stream, b"after that").await;
    assert_eq!(probe.poll_shutdown(stream).await, Ok(0));
    let mut rest = Vec::new();
    within("the rest", client.read_to_end(&mut rest))
        .await
        .unwrap();
    assert_eq!(rest, b"after that");
    probe.close(stream).await.unwrap();
    probe.close(listener).await.unwrap();
    assert!(probe.app().status().names.is_empty());
    let refused = port.connect("shop.example").await.unwrap_err();
    assert_eq!(alert(&refused), Some(AlertDescription::UnrecognisedName));
    probe.check_wakers(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_apps_answer_curl_for_their_own_names() {
    let port = TlsPort::with(|config| {
        // The example's certificate signs itself.
        config.tls.as_mut().unwrap().verifies_certificates = false;
    })
    .await;
    let names = ["one.example", "two.example"];
    let mut apps = Vec::new();
    for name in names {
        let mut app = guest("sni-tls-server");
        app.label = name.replace('.', "-");
        app.args = vec![name.to_owned()];
        let app = port.daemon().deploy(app).await;
        serving(&app, name).await;
        apps.push(app);
    }
    // The operator sees where, and which app has which name.
    let info = port.operator().info(Empty {}).await.unwrap();
    assert_eq!(info.tls_address, port.address().to_string());
    for (app, name) in apps.iter().zip(names) {
        let seen = port.operator().find(app.handle().address()).await.unwrap();
        assert_eq!(seen.instance_list[0].server_names, [name]);
    }
    let number = port.address().port();
    for name in names {
        let resolve = format!("{name}:{number}:127.0.0.1");
        let url = format!("https://{name}:{number}/");
        let printed = curl(&["--insecure", "--resolve", &resolve, &url]).await;
        let expected = format!("Hello from {name}, 127.0.0.1:");
        assert!(printed.out.starts_with(&expected), "{}", printed.err);
    }
    let resolve = format!("three.example:{number}:127.0.0.1");
    let url = format!("https://three.example:{number}/");
    let printed = curl(&["--insecure", "--resolve", &resolve, &url]).await;
    assert_eq!(printed.code, Some(35), "{}", printed.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn apps_never_see_each_others_connections() {
    let port = Arc::new(TlsPort::start().await);
    let mut clients = tokio::task::JoinSet::new();
    for name in ["one.example", "two.example"] {
        let probe = probe(&port, name).await;
        let listener = serve(&port, &probe, name).await;
        let number = 30;
        for _ in 0..number {
            let port = Arc::clone(&port);
            clients.spawn(async move {
                let mut stream = port.connect(name).await.unwrap();
                let mut greeting = vec![0; name.len()];
                stream.write_all(name.as_bytes()).await.unwrap();
                stream.read_exact(&mut greeting).await.unwrap();
                assert_eq!(greeting, name.as_bytes());
            });
        }
        clients.spawn(async move {
            for _ in 0..number {
                let stream = probe.tcp_accept_no_addr(listener).await.unwrap();
                let said = probe.read_exact(stream, name.len()).await;
                assert_eq!(said, name.as_bytes());
                probe.write_all(stream, name.as_bytes()).await;
                probe.close(stream).await.unwrap();
            }
        });
    }
    while let Some(done) = within("all clients", clients.join_next()).await {
        done.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_bytes_of_a_closed_stream_arrive() {
    const BYTES: usize = 1 << 20;
    let port = TlsPort::start().await;
    let probe = probe(&port, "one").await;
    let listener = serve(&port, &probe, "shop.example").await;
    let client = port.connect("shop.example");
    let (client, accepted) = tokio::join!(client, probe.tcp_accept_no_addr(listener));
    let (mut client, stream) = (client.unwrap(), accepted.unwrap());
    let reading = tokio::spawn(async move {
        let mut all = Vec::new();
        // The guest has closed without a word of TLS: that is an error at the end.
        let _ = client.read_to_end(&mut all).await;
        all
    });
    let piece: Vec<u8> = (0..=250).cycle().take(64 * 1024).collect();
    let mut sent = Vec::new();
    while sent.len() < BYTES {
        probe.write_all(stream, &piece).await;
        sent.extend_from_slice(&piece);
    }
    // Nobody flushes, nobody shuts down.
    probe.close(stream).await.unwrap();
    let all = within("all of it", reading).await.unwrap();
    assert_eq!(all.len(), sent.len());
    assert!(all == sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_name_is_one_however_it_is_written() {
    let port = TlsPort::start().await;
    let one = probe(&port, "one").await;
    let identity = port.authority().issue("shop.example");
    let listening = one.tls_listen_sni("Shop.EXAMPLE.", (&identity.cert, &identity.key));
    let listener = listening.await.unwrap();
    let other = probe(&port, "other").await;
    let taken = other.tls_listen_sni("shop.example", (&identity.cert, &identity.key));
    assert_eq!(taken.await, Err(Errno::InvalidParameter));
    let (_, why) = other.net_failure(u32::MAX).await.unwrap();
    assert!(why.contains("another app's"), "{why}");
    let client = port.connect("shop.example");
    let (client, accepted) = tokio::join!(client, one.tcp_accept_no_addr(listener));
    assert!(client.is_ok() && accepted.is_ok());
    // As often as it may listen for one name, for instance to replace a certificate.
    let claim = || one.tls_listen_sni("shop.example", (&identity.cert, &identity.key));
    for _ in 1..wapod::limits::LISTENERS_OF_NAME_MAX {
        claim().await.unwrap();
    }
    assert_eq!(claim().await, Err(Errno::Limited));
    for name in [
        "",
        ".",
        "a b",
        "127.0.0.1",
        "[::1]",
        "*.example",
        "-a.example",
        "ü.example",
    ] {
        let refused = one.tls_listen_sni(name, (&identity.cert, &identity.key));
        assert_eq!(refused.await, Err(Errno::InvalidParameter), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_has_a_bounded_number_of_names_and_others_have_theirs() {
    let port = TlsPort::start().await;
    let greedy = probe(&port, "greedy").await;
    let identity = port.authority().issue("*.flood.example");
    for number in 0..wapod::limits::CLAIMS_OF_APP_MAX {
        let name = format!("a{number}.flood.example");
        let claim = greedy.tls_listen_sni(&name, (&identity.cert, &identity.key));
        assert!(claim.await.is_ok(), "{name}");
    }
    let one_more = greedy.tls_listen_sni("b.flood.example", (&identity.cert, &identity.key));
    assert_eq!(one_more.await, Err(Errno::Limited));
    let other = probe(&port, "other").await;
    let claim = other.tls_listen_sni("b.flood.example", (&identity.cert, &identity.key));
    assert!(claim.await.is_ok());
    let client = port.connect("b.flood.example").await;
    assert!(client.is_ok(), "{client:?}");
    // A star is the operator's to give.
    let claim = other.tls_listen_sni("*.flood.example", (&identity.cert, &identity.key));
    assert_eq!(claim.await, Err(Errno::InvalidParameter));
    let (_, why) = other.net_failure(u32::MAX).await.unwrap();
    assert!(why.contains("by the operator"), "{why}");
}

/// The value of the first figure of this name with this among its labels.
async fn figure(port: &TlsPort, name: &str, label: &str) -> u64 {
    let get = hyper::Method::GET;
    let figures = port.operator().send(get, "/metrics", &[], "").await.text();
    let name = format!("{name}{{");
    let is_it = |line: &&str| line.starts_with(&name) && line.contains(label);
    let line = figures.lines().find(is_it).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// What the host keeps for the app: memory and descriptors.
async fn held(port: &TlsPort) -> (u64, u64) {
    (
        figure(port, "wapo_app_host_memory_bytes", "").await,
        figure(port, "wapo_app_descriptors", "").await,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_connections_take_is_counted_for_the_instance_and_given_back() {
    const CONNECTIONS: usize = 10;
    /// What is charged for a TLS stream on which nothing waits.
    const STREAM_BYTES: u64 = 16 * 1024;
    let port = TlsPort::start().await;
    let probe = probe(&port, "one").await;
    let listener = serve(&port, &probe, "shop.example").await;
    let before = held(&port).await;
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS {
        let client = port.connect("shop.example");
        let (client, stream) = tokio::join!(client, probe.tcp_accept_no_addr(listener));
        open.push((client.unwrap(), stream.unwrap()));
    }
    let after = held(&port).await;
    let each = STREAM_BYTES * CONNECTIONS as u64;
    assert_eq!(after.0 - before.0, each);
    assert_eq!(after.1 - before.1, CONNECTIONS as u64);
    for (_, stream) in open {
        probe.close(stream).await.unwrap();
    }
    assert_eq!(held(&port).await, before);
}

/// Lets a client send a mebibyte, reads it piece by piece, and gives what the host has
/// kept for the app after each of them, besides what it keeps for the connection.
async fn read_in_pieces(port: &TlsPort, probe: &Probe, piece: u32) -> BTreeSet<u64> {
    let sent: Vec<u8> = (0..=250).cycle().take(1 << 20).collect();
    let listener = serve(port, probe, "shop.example").await;
    let client = port.connect("shop.example");
    let (client, stream) = tokio::join!(client, probe.tcp_accept_no_addr(listener));
    let (mut client, stream) = (client.unwrap(), stream.unwrap());
    let before = held(port).await.0;
    let text = sent.clone();
    let sending = tokio::spawn(async move {
        client.write_all(&text).await.unwrap();
        client
    });
    let (mut received, mut kept) = (Vec::new(), BTreeSet::new());
    while received.len() < sent.len() {
        let some = probe.poll_read(stream, piece).await.unwrap();
        assert!(!some.is_empty() && some.len() <= piece as usize);
        received.extend(some);
        kept.insert(held(port).await.0 - before);
    }
    assert!(received == sent, "other bytes came");
    assert_eq!(held(port).await.0, before, "it has all");
    drop(within("the client", sending).await.unwrap());
    kept
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_ahead_of_a_guest_is_counted_until_it_has_it() {
    /// Less than a record, and more than the library asks the socket for.
    const PIECE: u32 = 5_000;
    const AHEAD_BYTES: u64 = 66 * 1024;
    let port = TlsPort::start().await;
    let probe = probe(&port, "one").await;
    let kept = read_in_pieces(&port, &probe, PIECE).await;
    assert_eq!(kept, [0, AHEAD_BYTES].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_memory_nothing_is_read_ahead_and_a_guest_has_all_even_so() {
    let port = TlsPort::start().await;
    let probe = Probe::on(port.daemon(), |app| {
        let list: QuotaList = "host-memory=1K".parse().unwrap();
        app.quotas = list.0;
    })
    .await;
    let kept = read_in_pieces(&port, &probe, 5_000).await;
    assert_eq!(kept, [0].into());
    let quota = r#"quota="host-memory""#;
    let refused = figure(&port, "wapo_app_quota_refused_total", quota).await;
    assert_eq!(refused, 1, "a connection asks once");
}
