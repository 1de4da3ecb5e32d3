//! HTTP/2 as clients speak it, frame by frame.

use std::time::Duration;

use e2e::{App, Daemon, Probe, client, guest, within};
use tokio::io::AsyncWriteExt as _;

use super::frames::{
    DATA, ENABLE_CONNECT_PROTOCOL, END_STREAM, Frame, Frames, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE,
    PING, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame,
};
use super::{ReceivedRequest, head, suite};

/// A host name that leads to an app.
fn host(app: &App) -> String {
    format!("{}.localhost", app.handle().address().to_base32())
}

fn text(frames: &[Frame]) -> String {
    let data = frames.iter().filter(|frame| frame.kind == DATA);
    let bytes: Vec<u8> = data.flat_map(|frame| frame.payload.clone()).collect();
    String::from_utf8(bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_that_come_in_pieces_arrive_as_one() {
    let app = suite().await;
    let mut client = Frames::connect(app.gateway(), &[]).await;
    let crumbs = [
        ("cookie", "a=1"),
        ("x", "y"),
        ("cookie", "b=2"),
        ("cookie", "c=3; d=4"),
    ];
    let stream = client.request("GET", &host(&app), "/", &crumbs, true).await;
    let seen = text(&client.answer(stream).await);
    let cookies: Vec<_> = seen
        .lines()
        .filter(|line| line.starts_with("cookie"))
        .collect();
    assert_eq!(cookies, ["cookie: a=1; b=2; c=3; d=4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_before_sending_a_body_is_told_to_go_on() {
    let app = suite().await;
    let expects = [("expect", "100-continue"), ("content-length", "4")];
    let own = host(&app);
    for (to, path, body, last) in [
        (own.as_str(), "/collect/100", "body", 200),
        ("h", "/prpc/User.Info", "\u{2}\u{3}\u{4}\u{5}", 200),
    ] {
        let mut client = Frames::connect(app.gateway(), &[]).await;
        let stream = client.request("POST", to, path, &expects, false).await;
        let first = client.until(|frame| frame.stream == stream).await;
        assert!(
            first.kind == HEADERS && !first.is_last(),
            "{path}: {first:?}"
        );
        assert!(!first.has_status(200), "{path}: not the answer yet");
        client.send(DATA, END_STREAM, stream, body.as_bytes()).await;
        let answer = client.answer(stream).await;
        let is_answered = answer[0].has_status(last) || path.starts_with("/prpc");
        assert!(is_answered, "{path}: {answer:?}");
        // Nobody is told who has sent it already, or who is refused.
        let stream = client
            .request("GET", to, "/status/204", &expects[..1], true)
            .await;
        let answer = client.answer(stream).await;
        assert_eq!(
            answer.iter().filter(|frame| frame.kind == HEADERS).count(),
            1
        );
    }
    let mut client = Frames::connect(app.gateway(), &[]).await;
    let large = [
        ("expect", "100-continue"),
        ("content-length", "99999999999"),
    ];
    let stream = client
        .request("POST", &own, "/collect/1", &large, false)
        .await;
    let first = client.until(|frame| frame.stream == stream).await;
    assert!(first.kind == HEADERS, "{first:?}");
    client
        .until(|frame| frame.stream == stream && frame.is_last())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_a_body_ends_with_its_head() {
    let app = suite().await;
    let mut client = Frames::connect(app.gateway(), &[]).await;
    for path in [
        "/status/200",
        "/status/404",
        "/status/204",
        "/status/304",
        "/cookies",
    ] {
        let stream = client.request("GET", &host(&app), path, &[], true).await;
        let frames = client.answer(stream).await;
        assert_eq!(frames.len(), 1, "{path}: {frames:?}");
        assert!(frames[0].kind == HEADERS && frames[0].is_last(), "{path}");
    }
    let stream = client
        .request("HEAD", &host(&app), "/big/1000", &[], true)
        .await;
    assert_eq!(client.answer(stream).await.len(), 1);
    // A guest that says the end after the head; clients of gRPC tell an error so.
    let probe = Probe::start().await;
    let channel = probe.create_input_channel(4).await.unwrap();
    let mut client = Frames::connect(probe.app().gateway(), &[]).await;
    let to = host(probe.app());
    let stream = client
        .request("POST", &to, "/a.B/C", &[("te", "trailers")], false)
        .await;
    let asked = ReceivedRequest::next(&probe, channel).await;
    let answer = [("content-type", "application/grpc"), ("grpc-status", "12")];
    probe
        .oneshot_send(asked.reply, &head(200, &answer))
        .await
        .unwrap();
    probe.close(asked.stream).await.unwrap();
    let frames = client.answer(stream).await;
    assert_eq!(frames.len(), 1, "{frames:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_end_an_answer_while_the_request_goes_on() {
    let app = suite().await;
    let mut client = Frames::connect(app.gateway(), &[]).await;
    let probe = Probe::start().await;
    let channel = probe.create_input_channel(4).await.unwrap();
    let mut open = Frames::connect(probe.app().gateway(), &[]).await;
    let stream = open
        .request("POST", &host(probe.app()), "/", &[], false)
        .await;
    let asked = ReceivedRequest::next(&probe, channel).await;
    probe
        .oneshot_send(asked.reply, &head(200, &[]))
        .await
        .unwrap();
    probe.write_all(asked.stream, b"some").await;
    probe
        .http_finish(asked.stream, &[("grpc-status", "0")])
        .await
        .unwrap();
    let frames = open.answer(stream).await;
    assert_eq!(text(&frames), "some");
    let last = frames.last().unwrap();
    assert!(last.kind == HEADERS && last.is_last(), "{last:?}");
    // And in the SDK: an echo of a body ends with that.
    let stream = client
        .request("POST", &host(&app), "/echo", &[], false)
        .await;
    client.send(DATA, 0, stream, b"some").await;
    client.until(|frame| frame.kind == DATA).await;
    client.send(DATA, END_STREAM, stream, b"").await;
    client.answer(stream).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_one_app_does_not_read_hold_up_no_other() {
    let daemon = Daemon::start().await;
    let silent = daemon.deploy(guest("sdk-suite")).await;
    let mut other = guest("sdk-suite");
    other.label = "other".into();
    let other = daemon.deploy(other).await;
    let mut client = Frames::connect(silent.gateway(), &[]).await;
    let window = usize::try_from(client.settings[&INITIAL_WINDOW_SIZE]).unwrap();
    // As much as each of them may hold, on all streams but one.
    for _ in 0..127 {
        let stream = client
            .request("POST", &host(&silent), "/never", &[], false)
            .await;
        client.body(stream, window, false).await;
    }
    let stream = client
        .request("POST", &host(&other), "/collect/1000000", &[], false)
        .await;
    client.body(stream, 300_000, true).await;
    assert_eq!(text(&client.answer(stream).await), "300000 bytes\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_take_nothing_are_given_up_whoever_answers() {
    let daemon = Daemon::with(|config| {
        config.timeouts.write = Duration::from_millis(400);
        // So that silence alone ends nothing.
        config.timeouts.idle = Duration::from_secs(600);
    })
    .await;
    let app = daemon.deploy(guest("sdk-suite")).await;
    let own = host(&app);
    for (to, method, path) in [
        ("h", "GET", "/nosuch"),
        ("h", "POST", "/prpc/User.Nosuch"),
        ("h", "GET", "/health"),
        (&own, "GET", "/"),
        (&own, "GET", "/big/100"),
    ] {
        let mut client = Frames::connect(app.gateway(), &[(INITIAL_WINDOW_SIZE, 0)]).await;
        for _ in 0..20 {
            client.request(method, to, path, &[], true).await;
        }
        // Each PING is answered meanwhile, and it does not help.
        while client.frame().await.is_some() {}
    }
    client::get(&app.url("/status/200"))
        .await
        .expect_status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_frames_that_do_no_work_end_the_connection() {
    let app = suite().await;
    for (kind, stream, payload) in [
        (PING, 0, vec![0; 8]),
        (PING, 0, b"\0\0\0\0\0\0\0\x01".to_vec()),
        (SETTINGS, 0, Vec::new()),
        (PRIORITY, 3, vec![0, 0, 0, 0, 1]),
        (WINDOW_UPDATE, 0, vec![0, 0, 0, 1]),
        (RST_STREAM, 1, vec![0, 0, 0, 8]),
        (DATA, 1, Vec::new()),
        (0xee, 0, vec![0; 4]),
    ] {
        let mut client = Frames::connect(app.gateway(), &[]).await;
        client
            .request("POST", &host(&app), "/never", &[], false)
            .await;
        let flood = frame(kind, 0, stream, &payload).repeat(1_000);
        let mut sent = 0;
        // A client that listens meanwhile, as the worker may have something to say.
        let (mut reader, mut writer) = client.stream.into_split();
        let listening = tokio::spawn(async move {
            let _ = tokio::io::copy(&mut reader, &mut tokio::io::sink()).await;
        });
        let flooding = async {
            while writer.write_all(&flood).await.is_ok() {
                sent += 1_000;
            }
        };
        within("the end of the connection", flooding).await;
        within("the end of the connection", listening)
            .await
            .unwrap();
        assert!(sent < 5_000_000, "{kind}: {sent} frames were taken");
    }
    client::get(&app.url("/status/200"))
        .await
        .expect_status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_makes_only_work_is_told_to_calm_down() {
    let app = suite().await;
    let mut client = Frames::connect(app.gateway(), &[]).await;
    // Not so many that what is left unread cuts the answer off.
    let flood = frame(PRIORITY, 0, 3, &[0, 0, 0, 0, 1]).repeat(1_100);
    client.stream.write_all(&flood).await.unwrap();
    let goodbye = client.until(|frame| frame.kind == GOAWAY).await;
    assert_eq!(goodbye.payload[4..8], [0, 0, 0, 11], "ENHANCE_YOUR_CALM");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_socket_is_spoken_on_one_stream() {
    let app = suite().await;
    let mut client = Frames::connect(app.gateway(), &[]).await;
    assert_eq!(client.settings.get(&ENABLE_CONNECT_PROTOCOL), Some(&1));
    let wishes = [(":protocol", "websocket"), ("sec-websocket-version", "13")];
    let stream = client
        .request("CONNECT", &host(&app), "/upgrade", &wishes, false)
        .await;
    let first = client.until(|frame| frame.stream == stream).await;
    assert!(first.has_status(200) && !first.is_last(), "{first:?}");
    for said in ["hello", "again"] {
        client.send(DATA, 0, stream, said.as_bytes()).await;
        let back = client.until(|frame| frame.kind == DATA).await;
        assert_eq!(back.payload, said.as_bytes());
    }
    client.send(DATA, END_STREAM, stream, b"").await;
    assert!(client.until(|frame| frame.stream == stream).await.is_last());
    app.expect_log("the upgraded stream ended: Ok").await;
    // Both ends hear of one that breaks off.
    let stream = client
        .request("CONNECT", &host(&app), "/upgrade", &wishes, false)
        .await;
    client.until(|frame| frame.stream == stream).await;
    client.send(RST_STREAM, 0, stream, &[0, 0, 0, 8]).await;
    app.expect_log("the upgraded stream ended: Err").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_refuses_a_web_socket_is_understood() {
    let probe = Probe::start().await;
    let channel = probe.create_input_channel(4).await.unwrap();
    let mut client = Frames::connect(probe.app().gateway(), &[]).await;
    let wishes = [(":protocol", "websocket"), ("sec-websocket-version", "13")];
    let to = host(probe.app());
    for (status, is_passed_on) in [(404, true), (200, false), (206, false), (204, false)] {
        let stream = client.request("CONNECT", &to, "/", &wishes, false).await;
        // What the guest sees is what it knows from HTTP/1.1.
        let asked = ReceivedRequest::next(&probe, channel).await;
        assert_eq!(asked.method, "GET");
        assert_eq!(asked.header("upgrade"), Some("websocket"));
        assert_eq!(asked.header("connection"), Some("upgrade"));
        assert!(asked.header("sec-websocket-key").is_some());
        probe.write_all(asked.stream, b"a page").await;
        probe
            .oneshot_send(asked.reply, &head(status, &[]))
            .await
            .unwrap();
        probe.close(asked.stream).await.unwrap();
        let answer = client.answer(stream).await;
        let (first, text) = (&answer[0], text(&answer));
        assert_eq!(first.has_status(status), is_passed_on, "{first:?}");
        if is_passed_on {
            assert_eq!(text, "a page");
        } else {
            // A success would be taken for the other protocol.
            let is_success = [200, 204, 206].iter().any(|code| first.has_status(*code));
            assert!(!is_success, "{first:?}");
            assert_eq!(text, "the app does not speak this protocol\n");
            let line = probe.app().expect_log("was answered with 501").await;
            assert!(line.text.starts_with("CONNECT / "), "{line:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_its_request_back_ends_it() {
    let app = suite().await;
    let mut client = Frames::connect(app.gateway(), &[]).await;
    for path in ["/never", "/chunks/100000/10"] {
        let stream = client.request("GET", &host(&app), path, &[], true).await;
        within("a request in work", async {
            while app.handle().requests() == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        client.send(RST_STREAM, 0, stream, &[0, 0, 0, 8]).await;
        within("the end of the request", async {
            while app.handle().requests() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}
