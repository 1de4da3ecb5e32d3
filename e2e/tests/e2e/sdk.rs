//! What the SDK offers, used by a guest (`guests/fixtures/sdk-suite`).

use std::net::IpAddr;

use e2e::dns::Dns;
use e2e::{App, Authority, Daemon, guest, ports, within};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use wapod::{AppConfig, Resolver};

async fn suite() -> App {
    suite_with(|_| {}).await
}

async fn suite_with(change: impl FnOnce(&mut AppConfig)) -> App {
    let mut config = guest("sdk-suite");
    change(&mut config);
    Daemon::start().await.deploy(config).await
}

#[tokio::test(flavor = "multi_thread")]
async fn timers_take_the_time_they_should() {
    let app = suite().await;
    for path in ["/sleep/40", "/sleep-until/40", "/reset/40", "/timeout/40"] {
        let took = app.ask_number(path).await;
        assert!((40..10_000).contains(&took), "{path}: {took}");
    }
    let took = app.ask_number("/interval/20").await;
    assert!((60..10_000).contains(&took), "{took}");
    assert!(app.ask_number("/sleep/0").await < 10_000);
    assert!(app.query("/interval/0", []).await.is_err(), "no panic");
    assert!(app.ask_number("/clock").await > 1_700_000_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_sleeps_run_side_by_side() {
    let app = suite().await;
    let asking = (0..100).map(|_| {
        let app = app.clone();
        tokio::spawn(async move { app.query("/sleep/100", []).await })
    });
    let begun = std::time::Instant::now();
    for asked in asking.collect::<Vec<_>>() {
        asked.await.unwrap().unwrap();
    }
    assert!(
        begun.elapsed().as_millis() < 100 * 100,
        "one after the other"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_spawned_joined_and_aborted() {
    let app = suite().await;
    assert_eq!(app.ask_number("/spawn/1000").await, 499_500);
    assert_eq!(app.ask("/abort").await, "true");
    assert!(app.ask_number("/select").await < 10_000);
    assert_eq!(app.ask_number("/unordered/500").await, 500);
    assert_eq!(app.ask_number("/yield/1000").await, 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn running_out_of_handles_is_not_the_end() {
    let app = suite().await;
    let taken = app.ask_number("/handles/10000").await;
    assert!((8000..8192).contains(&taken), "{taken}");
    assert_eq!(app.ask("/").await, "sdk-suite");
    assert!(app.ask_number("/sleep/1").await < 10_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_sees_its_arguments_and_environment() {
    let app = suite_with(|app| {
        app.env = vec![("COLOUR".into(), "blue".into())];
    })
    .await;
    let arguments = app.ask("/args").await;
    assert_eq!(arguments, app.handle().address().to_string());
    assert_eq!(app.ask("/env/COLOUR").await, "blue");
    assert!(app.query("/env/PATH", []).await.is_err(), "not the host's");
    assert!(app.query("/env/HOME", []).await.is_err(), "not the host's");
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_and_app_are_at_hand() {
    let app = suite().await;
    let address = app.query("/address", []).await.unwrap();
    assert_eq!(address, app.handle().address().0);
    assert_eq!(app.query("/pubkey", []).await.unwrap().len(), 32);
    assert_eq!(app.query("/sign", *b"x").await.unwrap().len(), 64);
    assert_eq!(app.query("/secret/a", []).await.unwrap().len(), 64);
    assert_eq!(app.query("/random/1000", []).await.unwrap().len(), 1000);
    assert_eq!(app.ask("/quote").await, "none");
    assert!(app.ask("/gas").await.contains("number"));
    assert_eq!(app.ask("/tip/5000000000").await, "thanks");
    assert_eq!(app.usage().tip, 5_000_000_000);
    app.query("/output", *b"out").await.unwrap();
    assert_eq!(app.handle().take_output(), b"out");
    assert!(app.query("/random/10000000", []).await.is_err() || app.ask("/").await == "sdk-suite");
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_wait_for_each_other() {
    let app = suite().await;
    let took = app.ask_number("/lock/a").await;
    assert!((15..10_000).contains(&took), "{took}");
}

#[tokio::test(flavor = "multi_thread")]
async fn boot_data_and_blobs_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let hash = hex::encode(Sha256::digest(b"content"));
    std::fs::write(folder.path().join(&hash), b"content").unwrap();
    let daemon = Daemon::with(|config| config.blob_dir = Some(folder.path().into())).await;
    let app = daemon.deploy(guest("sdk-suite")).await;
    assert_eq!(app.ask(&format!("/blob/sha256:{hash}")).await, "content");
    assert!(app.query("/blob/sha256:00", []).await.is_err());
    assert_eq!(app.ask("/boot").await, "none");
    app.query("/boot-write", *b"record").await.unwrap();
    assert_eq!(app.ask("/boot").await, "record");
}

/// Sends back what it gets, plain.
async fn echo_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    port
}

/// The suite, which may reach `echo.test`; the name server knows that name alone.
async fn suite_that_reaches_echo_test() -> (Dns, App) {
    let dns = Dns::serve(&[("echo.test", IpAddr::from([127, 0, 0, 1]))]).await;
    let servers = vec![dns.address()];
    let daemon = Daemon::with(|config| config.resolver = Resolver::Servers(servers)).await;
    let mut config = guest("sdk-suite");
    config.egress = vec!["echo.test".parse().unwrap()];
    (dns, daemon.deploy(config).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_connects_by_name() {
    let (_dns, app) = suite_that_reaches_echo_test().await;
    let port = echo_server().await;
    let path = format!("/connect/echo.test/{port}");
    let payload: Vec<u8> = (0..=255).cycle().take(200_000).collect();
    assert!(app.query(&path, payload.clone()).await.unwrap() == payload);
    let denied = app.query(&format!("/connect/127.0.0.1/{port}"), []).await;
    let denied = denied.unwrap_err();
    assert!(
        denied.contains(&format!("--allow-egress 127.0.0.1:{port}")),
        "{denied}"
    );
    let missing = app.query("/connect/missing.test/1", []).await;
    assert!(
        missing
            .unwrap_err()
            .contains("cannot connect to missing.test:1: no such name")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_learns_why_a_connection_failed() {
    let (_dns, app) = suite_that_reaches_echo_test().await;
    let closed = ports::free();
    for (host, port, kind) in [
        ("echo.test", closed, "ConnectionRefused"),
        ("missing.test", 1, "NotFound"),
        ("127.0.0.1", closed, "PermissionDenied"),
    ] {
        let told = app.ask(&format!("/failure/{host}/{port}")).await;
        assert_eq!(told, kind, "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_connects_with_tls() {
    let authority = Authority::new();
    let acceptor = authority.issue("secure.test").acceptor();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut stream = acceptor.accept(tcp).await.unwrap();
        let mut question = [0; 5];
        stream.read_exact(&mut question).await.unwrap();
        stream.write_all(b"answer to ").await.unwrap();
        stream.write_all(&question).await.unwrap();
        stream.shutdown().await.unwrap();
    });
    let dns = Dns::serve(&[("secure.test", IpAddr::from([127, 0, 0, 1]))]).await;
    let daemon = Daemon::with(|config| {
        config.resolver = Resolver::Servers(vec![dns.address()]);
        config.trust_roots = vec![authority.root()];
    })
    .await;
    let mut config = guest("sdk-suite");
    config.egress = vec!["secure.test".parse().unwrap()];
    let app = daemon.deploy(config).await;
    let path = format!("/connect-tls/secure.test/{port}");
    let answer = app.query(&path, *b"hello").await.unwrap();
    assert_eq!(answer, b"answer to hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_listens_plain_and_with_tls() {
    let authority = Authority::new();
    let identity = authority.issue("127.0.0.1");
    let plain = ports::free();
    let secure = if plain < u16::MAX {
        plain + 1
    } else {
        plain - 1
    };
    let app = suite_with(|app| {
        app.listen_ports = format!("{plain},{secure}").parse().ok();
        app.args = vec![
            format!("listen=127.0.0.1:{plain}"),
            format!("listen-tls=127.0.0.1:{secure}"),
        ];
        app.env = vec![
            ("TLS_CERT".into(), identity.cert.clone()),
            ("TLS_KEY".into(), identity.key.clone()),
        ];
    })
    .await;
    app.until("both listeners", |status| status.listening.len() == 2)
        .await;
    let text = vec![7; 300_000];
    let tcp = TcpStream::connect(("127.0.0.1", plain)).await.unwrap();
    assert!(echo(tcp, text.clone()).await == text);
    let tcp = TcpStream::connect(("127.0.0.1", secure)).await.unwrap();
    let tls = authority.connect("127.0.0.1", tcp);
    let tls = within("the handshake", tls).await.unwrap();
    assert!(echo(tls, text.clone()).await == text);
}

/// Sends a text and reads as much back.
async fn echo(stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite, text: Vec<u8>) -> Vec<u8> {
    let (mut read, mut write) = tokio::io::split(stream);
    let mut back = vec![0; text.len()];
    let both = async {
        let (sent, got) = tokio::join!(write.write_all(&text), read.read_exact(&mut back));
        sent.unwrap();
        got.unwrap();
    };
    within("the echo", both).await;
    back
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_host_refuses_is_an_error_and_no_panic() {
    for argument in ["listen=nonsense", "listen=127.0.0.1:1", "sni=app.test"] {
        let app = suite_with(|app| {
            app.args = vec![argument.to_owned()];
            app.env = vec![
                ("TLS_CERT".into(), "rubbish".into()),
                ("TLS_KEY".into(), "rubbish".into()),
            ];
        })
        .await;
        assert!(!app.exited().await.is_success(), "{argument}");
        // What main returned, so it got the error.
        app.expect_log(&format!("main returned: {argument}: "))
            .await;
    }
}
