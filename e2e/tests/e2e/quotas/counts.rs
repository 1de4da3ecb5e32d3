//! Quotas of what exists: as much as there may be works, and more is refused or
//! waits.

use e2e::probe::Script;
use e2e::{Daemon, Errno, Operator, Probe, fixture, guest, within};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use wapo_rpc::message::StringPair;

use super::{LIMIT, Neighbour, probe_on, quotas};

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_quota_wait_and_none_is_lost() {
    let daemon = Daemon::start().await;
    let neighbour = Neighbour::on(&daemon).await;
    let (probe, port) = probe_on(&daemon, "connections-in=3").await;
    let address = format!("127.0.0.1:{port}");
    let listener = probe.tcp_listen(&address, None).await.unwrap();
    let mut clients = Vec::new();
    for number in 0..5_u8 {
        let mut client = TcpStream::connect(&address).await.unwrap();
        client.write_all(&[number]).await.unwrap();
        clients.push(client);
    }
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(probe.tcp_accept_no_addr(listener).await.unwrap());
    }
    let (waker, fourth) = probe.try_wait(212, [listener, 0, 0]).await;
    assert_eq!(fourth, Err(Errno::Pending));
    let line = probe.app().expect_log("connections wait").await;
    assert!(line.text.contains("`connections-in`"), "{}", line.text);
    neighbour.answers().await;

    // One goes, the next one comes, with what it said meanwhile.
    assert_eq!(probe.close(streams.remove(0)).await, Ok(0));
    probe.until_woken(waker).await;
    let fourth = probe.tcp_accept_no_addr(listener).await.unwrap();
    assert_eq!(probe.read_exact(fourth, 1).await, [3]);
    assert_eq!(probe.close(streams.remove(0)).await, Ok(0));
    let fifth = probe.tcp_accept_no_addr(listener).await.unwrap();
    assert_eq!(probe.read_exact(fifth, 1).await, [4]);
    probe.write_all(fifth, b"served").await;
    let mut answer = [0; 6];
    within("the answer", clients[4].read_exact(&mut answer))
        .await
        .unwrap();
    assert_eq!(&answer, b"served");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_elsewhere_beyond_the_quota_are_refused_with_a_reason() {
    let daemon = Daemon::start().await;
    let neighbour = Neighbour::on(&daemon).await;
    let (probe, _) = probe_on(&daemon, "connections-out=2").await;
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = u32::from(server.local_addr().unwrap().port());
    let mut streams = Vec::new();
    for _ in 0..2 {
        let attempt = probe.tcp_connect("127.0.0.1", port).await.unwrap();
        streams.push(probe.poll_res(attempt).await.unwrap());
        assert_eq!(probe.close(attempt).await, Ok(0));
    }
    let third = probe.tcp_connect("127.0.0.1", port).await;
    assert_eq!(third, Err(Errno::Limited));
    let (kind, text) = probe.net_failure(u32::MAX).await.unwrap();
    assert_eq!(kind, LIMIT);
    assert!(text.contains("2 of 2 connections out"), "{text}");
    probe.app().expect_log("`connections-out`").await;
    neighbour.answers().await;
    assert_eq!(probe.close(streams.remove(0)).await, Ok(0));
    let again = probe.tcp_connect("127.0.0.1", port).await.unwrap();
    assert!(probe.poll_res(again).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_beyond_the_quota_are_refused() {
    let daemon = Daemon::start().await;
    let neighbour = Neighbour::on(&daemon).await;
    let (probe, port) = probe_on(&daemon, "listeners=2").await;
    let mut listeners = Vec::new();
    for last in 1..=2 {
        let address = format!("127.0.0.{last}:{port}");
        listeners.push(probe.tcp_listen(&address, None).await.unwrap());
    }
    let third = format!("127.0.0.3:{port}");
    assert_eq!(probe.tcp_listen(&third, None).await, Err(Errno::Limited));
    let (kind, text) = probe.net_failure(u32::MAX).await.unwrap();
    assert!(kind == LIMIT && text.contains("`listeners`"), "{text}");
    neighbour.answers().await;
    assert_eq!(probe.close(listeners.remove(0)).await, Ok(0));
    assert!(probe.tcp_listen(&third, None).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn timers_and_handles_beyond_the_quotas_are_refused() {
    let daemon = Daemon::start().await;
    let neighbour = Neighbour::on(&daemon).await;
    // To the limit, and some given back: a guest without handles is asked nothing.
    let fill = Script::new()
        .fast_times(1000, 201, [u32::MAX, 0, 0, 0])
        .fast(101, [10, 0, 0, 0])
        .fast(101, [11, 0, 0, 0])
        .fast(101, [12, 0, 0, 0]);
    for (text, most) in [("timers=20", 20..=20), ("handles=50", 40..=50)] {
        let probe = Probe::on(&daemon, |app| {
            app.quotas = quotas(text);
            app.label = text.to_owned();
        })
        .await;
        let (last, made) = probe.run(&fill).await.counted();
        assert_eq!(last, Err(Errno::Limited), "{text}");
        assert!(most.contains(&made), "{made} with {text}");
        let name = text.split('=').next().unwrap();
        probe.app().expect_log(&format!("`{name}`")).await;
        neighbour.answers().await;
        // It goes on, and has room again for what it gives back.
        assert_eq!(probe.create_timer(1).await, Ok(10), "{text}");
        assert_eq!(probe.poll_timer(10).await, Ok(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn descriptors_beyond_the_quota_are_refused() {
    let daemon = Daemon::start().await;
    let neighbour = Neighbour::on(&daemon).await;
    let (probe, port) = probe_on(&daemon, "descriptors=5").await;
    // A listener has two, its own and the one that is kept to share the port.
    for last in 1..=2 {
        let address = format!("127.0.0.{last}:{port}");
        assert!(probe.tcp_listen(&address, None).await.is_ok());
    }
    let third = format!("127.0.0.3:{port}");
    assert_eq!(probe.tcp_listen(&third, None).await, Err(Errno::Limited));
    let (kind, text) = probe.net_failure(u32::MAX).await.unwrap();
    assert!(kind == LIMIT && text.contains("`descriptors`"), "{text}");
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = u32::from(server.local_addr().unwrap().port());
    let attempt = probe.tcp_connect("127.0.0.1", target).await.unwrap();
    assert!(probe.poll_res(attempt).await.is_ok(), "the fifth");
    neighbour.answers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_beyond_the_quota_is_not_granted() {
    let daemon = Daemon::start().await;
    let neighbour = Neighbour::on(&daemon).await;
    // The probe begins with 2 MiB.
    let probe = Probe::on(&daemon, |app| app.quotas = quotas("memory=4M")).await;
    let grown = |pages| Script::new().grow(pages);
    let before = probe.run(&grown(16)).await.number();
    assert_eq!(before, 32, "pages");
    let refused = probe.run(&grown(32)).await.number();
    assert_eq!(refused, u32::MAX, "three and two are more than four");
    let line = probe.app().expect_log("`memory`").await;
    assert!(
        line.text.contains("of 4194304 bytes of memory"),
        "{}",
        line.text
    );
    neighbour.answers().await;
    assert_eq!(probe.run(&grown(8)).await.number(), 48);
    // Another app has its own.
    let other = Probe::on(&daemon, |app| {
        app.quotas = quotas("memory=4M");
        app.label = "other".to_owned();
    })
    .await;
    assert_eq!(other.run(&grown(16)).await.number(), 32);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_host_keeps_beyond_the_quota_is_refused() {
    let operator = Operator::start().await;
    let neighbour = Neighbour::on(operator.daemon()).await;
    let put = async |len: usize| {
        let body = vec![7; len];
        let hash = format!("sha256:{}", hex::encode(Sha256::digest(&body)));
        let blob = wapo_rpc::message::Blob {
            hash: hash.clone(),
            body,
        };
        operator.blob_put(blob).await.unwrap();
        hash
    };
    let (small, large) = (put(100 << 10).await, put(1 << 20).await);
    let limits = quotas("host-memory=512K");
    let probe = Probe::on(operator.daemon(), |app| app.quotas = limits).await;
    assert_eq!(
        probe.blob_get(small.as_bytes()).await.unwrap().len(),
        100 << 10
    );
    let refused = probe.blob_get(large.as_bytes()).await;
    assert_eq!(refused, Err(Errno::Limited));
    probe.app().expect_log("`host-memory`").await;
    neighbour.answers().await;
    assert_eq!(
        probe.blob_get(small.as_bytes()).await.unwrap().len(),
        100 << 10
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_disk_beyond_the_quota_is_refused() {
    let operator = Operator::start().await;
    let neighbour = Neighbour::on(operator.daemon()).await;
    let app = fixture("probe");
    let code_bytes = app.module.wasm().len() as u64;
    let with_storage = |bytes: u64| StringPair {
        key: "storage".to_owned(),
        value: bytes.to_string(),
    };
    operator.put_code(&app).await;
    let mut args = e2e::operator::args(&app);
    args.settings.as_mut().unwrap().quotas = vec![with_storage(code_bytes - 1)];
    let refused = operator.try_deploy(args).await.unwrap_err().to_string();
    assert!(refused.contains("quota of storage"), "{refused}");

    let mut config = app.clone();
    config.quotas = quotas(&format!("storage={}", code_bytes + 1000));
    let probe = Probe::of(operator.daemon().deploy(config).await);
    assert_eq!(probe.write_boot_data(&[1; 1000]).await, Ok(vec![]));
    let refused = probe.write_boot_data(&[2; 1001]).await;
    assert_eq!(refused, Err(Errno::Limited));
    probe.app().expect_log("`storage`").await;
    let kept = probe.read_boot_data().await.unwrap();
    assert_eq!(kept, Some(vec![1; 1000]), "the one before is still there");
    neighbour.answers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_the_quota_are_refused_for_the_moment() {
    let daemon = Daemon::start().await;
    let neighbour = Neighbour::on(&daemon).await;
    let mut config = guest("sdk-suite");
    config.quotas = quotas("requests=2");
    let app = daemon.deploy(config).await;
    app.expect_log("ready").await;
    let ask = |path: &'static str| {
        let app = app.clone();
        tokio::spawn(async move { app.query(path, []).await })
    };
    let held = [ask("/sleep/4000"), ask("/sleep/4000")];
    app.until_requests(2).await;
    let refused = app.query("/", []).await.unwrap_err();
    assert!(refused.contains("busy"), "{refused}");
    neighbour.answers().await;
    for one in held {
        let answer = within("the answer", one).await.unwrap();
        assert!(answer.is_ok(), "{answer:?}");
    }
    assert_eq!(app.ask("/").await, "sdk-suite");
}
