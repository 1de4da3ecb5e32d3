//! What clients and guests may take of the gateway's time and room.

use std::time::Duration;

use e2e::{App, Daemon, Errno, Operator, Probe, client, guest, within};
use http_body_util::BodyExt as _;
use hyper::Method;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep};
use wapo_rpc::message::AppSettings;
use wapod::limits::Timeouts;

use super::{Http2, Raw, ReceivedRequest, all_over, get_of, hang, head, header, path};

async fn suite(change: impl FnOnce(&mut Timeouts)) -> App {
    let daemon = Daemon::with(|config| change(&mut config.timeouts)).await;
    daemon.deploy(guest("sdk-suite")).await
}

/// Waits until the guest has a request.
async fn in_work(app: &App) {
    within("a request", async {
        while app.usage().requests == 0 {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

const MOMENT: Duration = Duration::from_millis(400);

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_come_closes_the_connection() {
    let app = suite(|timeouts| timeouts.head = MOMENT).await;
    let mut drips = Raw::connect(app.gateway()).await;
    let dripping = async {
        for byte in b"GET / HTTP/1.1\r\nhost: a-long-name.localhost\r\n"
            .iter()
            .cycle()
        {
            if drips.stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    within("the connection to be closed", dripping).await;
    let mut half = Raw::connect(app.gateway()).await;
    half.send("GET / HTTP/1.1\r\nhost:").await;
    let (rest, _) = half.rest().await;
    let rest = String::from_utf8(rest).unwrap();
    assert!(
        rest.is_empty() || rest.starts_with("HTTP/1.1 408"),
        "{rest}"
    );
    app.get("/status/200").await.expect_status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_are_closed() {
    let app = suite(|timeouts| {
        timeouts.head = MOMENT;
        timeouts.idle = MOMENT;
    })
    .await;
    let mut one = Raw::connect(app.gateway()).await;
    one.send("GET /health HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(one.answer().await.status, 200);
    assert_eq!(one.rest().await.0, b"");

    let mut client = Http2::connect(app.gateway()).await;
    // A long answer keeps the connection.
    let answer = client.get(&app.url("/chunks/5/300")).await;
    let body = within("the body", answer.into_body().collect()).await;
    assert_eq!(body.unwrap().to_bytes(), "0\n1\n2\n3\n4\n");
    within("the end", client.connection).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_comes_too_slowly_is_refused() {
    let app = suite(|timeouts| timeouts.body_window = MOMENT).await;
    let mut client = Raw::connect(app.gateway()).await;
    let to = path(&app, "/collect/100000");
    client.post(&to, 5000).await;
    let (mut reader, mut writer) = client.stream.into_split();
    let dripping = tokio::spawn(async move {
        while writer.write_all(b"x").await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    });
    let mut answer = Vec::new();
    let reading = tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut answer);
    let _ = within("the answer", reading).await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    within("the end", dripping).await.unwrap();
    // For the guest it is a body that broke off.
    app.expect_log("the body broke off").await;
    all_over(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_take_its_time_once_the_app_has_answered() {
    let app = suite(|timeouts| timeouts.body_window = MOMENT).await;
    let mut client = Raw::connect(app.gateway()).await;
    let to = path(&app, "/echo");
    client.post(&to, 4).await;
    client.send("a").await;
    client.head().await;
    for byte in ["b", "c", "d"] {
        sleep(2 * MOMENT).await;
        client.send(byte).await;
    }
    assert_eq!(client.chunks().await, b"abcd");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_never_answers_is_a_timeout() {
    let app = suite(|timeouts| timeouts.response = MOMENT).await;
    let answer = app.get("/never?secret").await;
    answer.expect_status(504);
    assert_eq!(answer.text(), "the app did not answer in time\n");
    let line = app.expect_log("was answered with 504").await;
    assert!(!line.text.contains("secret"), "{line:?}");
    // Nor does one that does not read what it is sent.
    let answer = client::try_send(Method::POST, &app.url("/never"), vec![0; 4 << 20]).await;
    answer.unwrap().expect_status(504);
    all_over(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_upload_is_no_timeout() {
    let app = suite(|timeouts| timeouts.response = MOMENT).await;
    let mut client = Raw::connect(app.gateway()).await;
    let to = path(&app, "/collect/100000");
    client.post(&to, 50000).await;
    for _ in 0..10 {
        client.send([0; 5000]).await;
        sleep(MOMENT / 2).await;
    }
    assert_eq!(client.answer().await.text(), "50000 bytes\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_before_the_answer_ends_its_request() {
    for with_reset in [false, true] {
        let app = suite(|_| {}).await;
        let mut client = Raw::connect(app.gateway()).await;
        let to = path(&app, "/never");
        client.get(&to).await;
        in_work(&app).await;
        assert_eq!(app.handle().requests(), 1);
        let left = Instant::now();
        if with_reset {
            client.stream.set_zero_linger().unwrap();
        }
        drop(client);
        all_over(&app).await;
        let time = left.elapsed();
        assert!(time < Duration::from_secs(10), "{with_reset}: {time:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_closes_its_side_and_waits_gets_its_answer() {
    let probe = Probe::start().await;
    let channel = probe.create_input_channel(4).await.unwrap();
    let mut client = Raw::connect(probe.app().gateway()).await;
    let to = path(probe.app(), "/");
    client.get(&to).await;
    client.stream.shutdown().await.unwrap();
    let asked = ReceivedRequest::next(&probe, channel).await;
    // The gateway looks after the client, with a word that has to be skipped.
    let word = client.head().await;
    assert_eq!(word, "http/1.1 100 continue\r\n\r\n");
    sleep(Duration::from_secs(2)).await;
    let answer = head(200, &[("content-length", "2")]);
    probe.oneshot_send(asked.reply, &answer).await.unwrap();
    probe.write_all(asked.stream, b"ok").await;
    assert_eq!(client.answer().await.text(), "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_a_silent_answer_ends_it() {
    let daemon = Daemon::with(|config| config.timeouts.half_closed = MOMENT).await;
    let probe = Probe::on(&daemon, |_| {}).await;
    let channel = probe.create_input_channel(4).await.unwrap();
    let mut client = Raw::connect(probe.app().gateway()).await;
    let to = path(probe.app(), "/");
    client.get(&to).await;
    let asked = ReceivedRequest::next(&probe, channel).await;
    probe
        .oneshot_send(asked.reply, &head(200, &[]))
        .await
        .unwrap();
    client.head().await;
    // Silence alone is no reason.
    sleep(3 * MOMENT).await;
    probe.write_all(asked.stream, b"still here").await;
    client.exactly(10).await;
    drop(client);
    within("the end", async {
        while probe.poll_read(asked.stream, 1).await == Err(Errno::Pending)
            || probe.app().handle().requests() > 1
        {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_is_given_up() {
    let app = suite(|timeouts| timeouts.write = MOMENT).await;
    let mut client = Raw::connect(app.gateway()).await;
    let to = path(&app, "/big/500000000");
    client.get(&to).await;
    in_work(&app).await;
    all_over(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_its_time_is_not_given_up() {
    let write_timeout = 5 * MOMENT;
    let app = suite(|timeouts| timeouts.write = write_timeout).await;
    let mut slow = Raw::connect(app.gateway()).await;
    let to = path(&app, "/big/30000000");
    slow.get(&to).await;
    slow.head().await;
    let begun = Instant::now();
    let (mut body, mut pauses) = (0, 0);
    while body < 30_000_000 {
        let line = slow.line().await;
        let length = usize::from_str_radix(line.trim(), 16).unwrap();
        slow.exactly(length + 2).await;
        body += length;
        // Less than the whole timeout each time, and much more of it in all.
        if body > (pauses + 1) * 2_500_000 {
            sleep(MOMENT).await;
            pauses += 1;
        }
    }
    assert!(begun.elapsed() > 2 * write_timeout, "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_http_2_whose_client_takes_nothing_is_given_up() {
    let app = suite(|timeouts| timeouts.write = MOMENT).await;
    let mut client = Http2::connect(app.gateway()).await;
    // More than the window of the stream has room for.
    let unread = client.get(&app.url("/big/500000000")).await;
    in_work(&app).await;
    all_over(&app).await;
    // The connection serves on, and a guest that is slow is no slow client.
    let answer = client.get(&app.url("/chunks/5/300")).await;
    let body = within("the body", answer.into_body().collect()).await;
    assert_eq!(body.unwrap().to_bytes(), "0\n1\n2\n3\n4\n");
    let cut_off = unread.into_body().collect();
    assert!(within("the end", cut_off).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_the_limit_of_an_app_are_refused_at_once() {
    let operator = Operator::start().await;
    let settings = AppSettings {
        requests_max: 2,
        ..AppSettings::default()
    };
    let app = operator
        .deploy_with(&guest("sdk-suite"), |args| args.settings = Some(settings))
        .await;
    client::get(&operator.app_url(app, "status/200"))
        .await
        .expect_status(200);
    let mut waiting = Vec::new();
    for expected in 0..3 {
        operator
            .until("so many requests", app, |info| {
                let requests = info.instance_list.iter().map(|one| one.requests);
                requests.sum::<u64>() == expected
            })
            .await;
        if expected < 2 {
            waiting.push(hang(&operator, app).await);
        }
    }
    let path = format!("/app/{app}/status/200");
    let refused = get_of(operator.gateway(), "h", &path, "").await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.text(), "the app is busy\n");
    drop(waiting);
    within("room", async {
        let url = operator.app_url(app, "status/200");
        while client::get(&url).await.status != 200 {
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_headers_and_huge_urls_are_refused() {
    let app = suite(|_| {}).await;
    let host = "host: h\r\n";
    let to = path(&app, "/");
    let many = "x: y\r\n".repeat(200);
    let long = format!("x: {}\r\n", "y".repeat(100_000));
    let far = format!("{to}?{}", "z".repeat(20_000));
    let farther = format!("{to}?{}", "z".repeat(100_000));
    for (request, allowed) in [
        (format!("GET {to} HTTP/1.1\r\n{host}{many}\r\n"), [431, 431]),
        (format!("GET {to} HTTP/1.1\r\n{host}{long}\r\n"), [431, 431]),
        (format!("GET {far} HTTP/1.1\r\n{host}\r\n"), [414, 414]),
        (format!("GET {farther} HTTP/1.1\r\n{host}\r\n"), [414, 431]),
    ] {
        let mut raw = Raw::connect(app.gateway()).await;
        raw.try_send(&request).await;
        let head = raw.head().await;
        let status: u16 = head[9..12].parse().unwrap();
        assert!(allowed.contains(&status), "{head}");
        assert_eq!(header(&head, "x"), None);
        app.get("/status/200").await.expect_status(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_of_an_app_are_in_its_log() {
    let operator = Operator::start().await;
    let daemon = operator.daemon();
    let app = daemon.deploy(guest("sdk-suite")).await;
    let long = format!("drop/{}", "x".repeat(1000));
    let to = path(&app, &format!("/{long}?token=secret"));
    let answer = get_of(app.gateway(), "h", &to, "cookie: secret\r\n").await;
    assert_eq!(answer.status, 502);
    assert_eq!(answer.text(), "the app gave no answer\n");
    let line = app.expect_log("was answered with 502").await;
    assert!(line.text.starts_with("GET /app/"), "{line:?}");
    assert!(line.text.contains("the app gave no answer"), "{line:?}");
    assert!(!line.text.contains("secret") && line.text.len() < 400);
    // A flood of them does not push out what the guest says.
    for _ in 0..30 {
        app.get("/drop").await.expect_status(502);
    }
    let lines = app.log_lines();
    let told = lines
        .iter()
        .filter(|line| line.text.contains("was answered"));
    assert!(told.count() < 30);

    app.get("/status/200").await.expect_status(200);
    let admin = operator.daemon().running().admin_address().unwrap();
    let figures = client::get(&format!("http://{admin}/metrics")).await.text();
    let count = figures
        .lines()
        .find(|line| line.starts_with("wapo_app_answer_seconds_count"))
        .unwrap();
    assert!(
        count.ends_with(" 1"),
        "{count}: answers count, failures do not"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_cannot_be_sent_are_a_bad_gateway() {
    let many = vec![("x", "y"); 1000];
    for answer in [
        head(200, &[("bad name", "x")]),
        head(200, &[("x", "a\r\nb: c")]),
        head(200, &[("content-length", "1"), ("content-length", "2")]),
        head(99, &[]),
        head(101, &[]),
        head(200, &many),
        b"\xff\xff\xff\xff".to_vec(),
    ] {
        let probe = Probe::start().await;
        let channel = probe.create_input_channel(4).await.unwrap();
        let url = probe.app().url("/");
        let asking = tokio::spawn(async move { client::get(&url).await });
        let asked = ReceivedRequest::next(&probe, channel).await;
        probe.oneshot_send(asked.reply, &answer).await.unwrap();
        let refused = within("the answer", asking).await.unwrap();
        refused.expect_status(502);
        assert_eq!(refused.text(), "the app gave an invalid answer\n");
        probe.app().expect_log("was answered with 502").await;
    }
}
