//! What strangers at the two ports can make the daemon keep or do.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use e2e::{Answer, Operator, client, guest, within};
use hyper::body::Frame;
use hyper::client::conn::http2;
use hyper::{Method, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use wapo_rpc::{AppAddress, Encoding, QueryArgs, QueryResponse};
use wapod::{AdminToken, limits};

use super::gateway::{Raw, RawAnswer, raw};

const MOMENT: Duration = Duration::from_millis(400);
/// Longer than any test.
const NEVER: Duration = Duration::from_secs(600);
const QUERY: &str = "/prpc/User.Query";

/// Bytes of the largest query.
const LARGEST: usize = 10 << 20;

/// A query to an app that echoes it.
fn echo(app: AppAddress, bytes: usize) -> QueryArgs {
    QueryArgs {
        address: app.0.to_vec(),
        path: "/echo".into(),
        payload: vec![0xab; bytes],
        ..QueryArgs::default()
    }
}

async fn ask(operator: &Operator, query: &QueryArgs) -> Answer {
    let body = Encoding::Protobuf.encode(query);
    client::post(&operator.user_url(QUERY), body).await
}

/// The echo in an answer.
fn echoed(answer: &Answer) -> Vec<u8> {
    let decoded: QueryResponse = Encoding::Protobuf.decode(&answer.body).unwrap();
    decoded.output
}

/// A figure of a port's budget.
pub(super) async fn figure(operator: &Operator, name: &str, port: &str, budget: &str) -> u64 {
    let page = operator.send(Method::GET, "/metrics", &[], "").await.text();
    let line = format!("wapo_client_budget_{name}{{port=\"{port}\",budget=\"{budget}\"}} ");
    let value = page.lines().find_map(|one| one.strip_prefix(&line));
    value
        .unwrap_or_else(|| panic!("{line} in {page}"))
        .parse()
        .unwrap()
}

pub(super) async fn until(
    operator: &Operator,
    port: &str,
    budget: &str,
    used: impl Fn(u64) -> bool,
) {
    let what = format!("the use of {budget} at the {port} port");
    within(&what, async {
        while !used(figure(operator, "used", port, budget).await) {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// Sends a call without its last byte, and reads the answer if it is refused.
async fn unfinished(address: SocketAddr, headers: &str) -> Result<Raw, RawAnswer> {
    let mut client = Raw::connect(address).await;
    let head =
        format!("POST {QUERY} HTTP/1.1\r\nhost: h\r\n{headers}content-length: {LARGEST}\r\n\r\n");
    client.send(head).await;
    let mut left = LARGEST - 1;
    while left > 0 {
        let piece = vec![0; left.min(1 << 16)];
        let mut peeked = [0; 1];
        let (mut reader, mut writer) = client.stream.split();
        let is_answered = tokio::select! {
            biased;
            answered = reader.peek(&mut peeked) => answered.is_ok(),
            sent = writer.write_all(&piece) => {
                sent.unwrap();
                false
            }
        };
        if is_answered {
            return Err(client.answer().await);
        }
        left -= piece.len();
    }
    // The daemon may be about to refuse it.
    let mut peeked = [0; 1];
    match tokio::time::timeout(MOMENT, client.stream.peek(&mut peeked)).await {
        Ok(_) => Err(client.answer().await),
        Err(_) => Ok(client),
    }
}

/// A body of which some bytes come, and no more.
struct Half(Option<Bytes>);

impl hyper::body::Body for Half {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.0.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None => Poll::Pending,
        }
    }
}

/// The status of a call over HTTP/2 whose body stops coming.
async fn half_over_http_2(address: SocketAddr, path: &str) -> u16 {
    let stream = TcpStream::connect(address).await.unwrap();
    let connecting = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = within("the handshake", connecting).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post(format!("http://{address}{path}"));
    let request = request
        .body(Half(Some(Bytes::from_static(b"half"))))
        .unwrap();
    let answer = within("an answer", sender.send_request(request)).await;
    answer.unwrap().status().as_u16()
}

fn is_refused_for_now(answer: &RawAnswer) {
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(answer.text().contains("try again later"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_calls_are_bounded_together_and_small_ones_still_get_through() {
    let operator = Operator::with(|config| config.timeouts.body_window = NEVER).await;
    let app = operator.deploy(&guest("sdk-suite")).await;
    let mut held = Vec::new();
    let refused = loop {
        match unfinished(operator.gateway(), "").await {
            Ok(client) => held.push(client),
            Err(answer) => break answer,
        }
        assert!(held.len() < 20, "no end of bodies");
    };
    is_refused_for_now(&refused);
    let used = figure(&operator, "used", "user", "body_bytes").await;
    assert!(used > 8 * LARGEST as u64, "{used}");
    assert!(used <= limits::BODIES_BYTES_MAX, "{used}");
    let max = figure(&operator, "max", "user", "body_bytes").await;
    assert_eq!(max, limits::BODIES_BYTES_MAX);
    assert!(figure(&operator, "refused_total", "user", "body_bytes").await >= 1);

    let answer = ask(&operator, &echo(app, 1000)).await;
    assert_eq!(echoed(&answer).len(), 1000, "{}", answer.text());
    // The operator has room of its own.
    let answer = operator.query(app, "/").await.unwrap();
    assert_eq!(answer, "sdk-suite");
    drop(held);
    until(&operator, "user", "body_bytes", |used| used == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_behind_a_proxy_has_a_bound_of_its_own() {
    let operator = Operator::with(|config| {
        config.timeouts.body_window = NEVER;
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let greedy = "x-forwarded-for: 2001:db8::1\r\n";
    let mut held = Vec::new();
    let refused = loop {
        match unfinished(operator.gateway(), greedy).await {
            Ok(client) => held.push(client),
            Err(answer) => break answer,
        }
        assert!(held.len() < 5, "no end of bodies");
    };
    is_refused_for_now(&refused);
    assert!(refused.text().contains("this client"), "{refused:?}");
    let used = figure(&operator, "used", "user", "body_bytes").await;
    assert!(used <= limits::BODIES_CLIENT_BYTES_MAX, "{used}");
    // The same network is the same client, another one is not.
    let neighbour = "x-forwarded-for: 2001:db8::ffff\r\n";
    assert!(unfinished(operator.gateway(), neighbour).await.is_err());
    let other = "x-forwarded-for: 2001:db8:0:1::1\r\n";
    assert!(unfinished(operator.gateway(), other).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_body_stops_coming_ends_with_408_on_both_ports() {
    let operator = Operator::with(|config| config.timeouts.body_window = MOMENT).await;
    let admin = operator.daemon().running().admin_address().unwrap();
    for (address, path) in [
        (operator.gateway(), "/prpc/User.Info"),
        (operator.gateway(), QUERY),
        (admin, "/prpc/Operation.AppDeploy"),
        (admin, "/blob/sha256:"),
    ] {
        for (body, sent) in [(100, 0), (5000, 4999)] {
            let mut client = Raw::connect(address).await;
            let host = format!(
                "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {body}\r\n\r\n"
            );
            client.send(host).await;
            client.send(vec![b'x'; sent]).await;
            let answer = client.answer().await;
            assert_eq!(answer.status, 408, "{path}: {answer:?}");
        }
        let status = half_over_http_2(address, path).await;
        assert_eq!(status, 408, "{path} over HTTP/2");
    }
    until(&operator, "user", "body_bytes", |used| used == 0).await;
    until(&operator, "admin", "blob_transfers", |used| used == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_drips_has_a_time_for_the_whole() {
    let operator = Operator::with(|config| config.timeouts.body = 2 * MOMENT).await;
    let mut client = Raw::connect(operator.gateway()).await;
    client.post(QUERY, LARGEST).await;
    let (mut reader, mut writer) = client.stream.into_split();
    let begun = Instant::now();
    let dripping = tokio::spawn(async move {
        while writer.write_all(&[0; 2048]).await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    });
    let mut answer = [0; 12];
    within("an answer", reader.read_exact(&mut answer))
        .await
        .unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    assert!(begun.elapsed() >= 2 * MOMENT);
    drop(reader);
    dripping.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_waited_for_leaves_for_a_newcomer_and_who_is_served_stays() {
    const PLACES: u32 = 12;
    let operator = Operator::with(|config| config.connections_max = PLACES).await;
    let app = operator.deploy(&guest("sdk-suite")).await;
    let address = operator.gateway();
    let mut served = Raw::connect(address).await;
    served.get(&format!("/app/{app}/chunks/5/1000")).await;
    let mut idle = Raw::connect(address).await;
    idle.get("/health").await;
    assert_eq!(idle.answer().await.status, 200);

    let mut strangers = Vec::new();
    for number in 0..4 * PLACES {
        let mut stranger = Raw::connect(address).await;
        let head = match number % 4 {
            0 => "POST /prpc/User.Info HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\n".to_owned(),
            1 => "GET / HTTP/1.1\r\nhost:".to_owned(),
            2 => format!(
                "POST /app/{app}/collect/9 HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\n"
            ),
            _ => String::new(),
        };
        stranger.try_send(head).await;
        strangers.push(stranger);
        if number % PLACES == 0 {
            let begun = Instant::now();
            let honest = raw(address, "GET /health HTTP/1.1\r\nhost: h\r\n\r\n").await;
            assert_eq!(honest.status, 200);
            assert!(
                begun.elapsed() < Duration::from_secs(5),
                "{:?}",
                begun.elapsed()
            );
        }
    }
    assert_eq!(served.answer().await.text(), "0\n1\n2\n3\n4\n");
    // Idle for longest of all.
    let (rest, _) = idle.rest().await;
    assert!(rest.is_empty(), "{rest:?}");
    let page = operator.send(Method::GET, "/metrics", &[], "").await.text();
    let displaced = page.lines().find_map(|line| {
        line.strip_prefix("wapo_client_connections_displaced_total{port=\"user\"} ")
    });
    assert!(displaced.unwrap().parse::<u64>().unwrap() > 0);
    let used = figure(&operator, "used", "user", "connections").await;
    assert!(used <= u64::from(PLACES), "{used}");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_messages_wait_for_each_other_and_all_are_answered() {
    let operator = Operator::start().await;
    let mut config = guest("sdk-suite");
    config.query_max_bytes = 4 << 20;
    let app = operator.deploy(&config).await;
    let query = echo(app, 2 << 20);
    let json = Encoding::Json.encode(&query);
    let protobuf = Encoding::Protobuf.encode(&query);
    let asking = (0..6).map(|number| {
        let (json, protobuf) = (json.clone(), protobuf.clone());
        let url = operator.user_url(QUERY);
        tokio::spawn(async move {
            if number % 2 == 0 {
                let answer = client::post(&format!("{url}?json"), json).await;
                answer.expect_status(200);
                let decoded: QueryResponse = Encoding::Json.decode(&answer.body).unwrap();
                decoded.output
            } else {
                let answer = client::post(&url, protobuf).await;
                answer.expect_status(200);
                echoed(&answer)
            }
        })
    });
    for asked in asking.collect::<Vec<_>>() {
        let output = within("an answer", asked).await.unwrap();
        assert!(output == query.payload);
    }
    until(&operator, "user", "answer_bytes", |used| used == 0).await;
    let refused = figure(&operator, "refused_total", "user", "large_messages").await;
    assert_eq!(refused, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_takes_are_bounded() {
    let operator = Operator::start().await;
    let mut config = guest("sdk-suite");
    config.query_max_bytes = 9 << 20;
    let app = operator.deploy(&config).await;
    let query = Encoding::Protobuf.encode(&echo(app, 8 << 20));
    let head = format!(
        "POST {QUERY}?json=false HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n",
        query.len()
    );
    let refusals = || figure(&operator, "refused_total", "user", "answer_bytes");
    let mut held = Vec::new();
    let mut late = loop {
        let mut client = Raw::connect(operator.gateway()).await;
        client.send(&head).await;
        client.send(&query).await;
        let is_answered = async {
            tokio::select! {
                head = client.head() => {
                    assert!(head.starts_with("http/1.1 200"), "{head}");
                    true
                }
                () = async {
                    while refusals().await == 0 {
                        sleep(Duration::from_millis(10)).await;
                    }
                } => false,
            }
        };
        match within("an answer, or no room for one", is_answered).await {
            true => held.push(client),
            false => break client,
        }
        assert!(held.len() < 30, "no end of answers");
    };
    let used = figure(&operator, "used", "user", "answer_bytes").await;
    assert!(used <= limits::ANSWERS_BYTES_MAX, "{used}");
    // The app has answered: a client that came again would ask it twice. So this one
    // waits.
    drop(held.pop());
    let answered = late.head().await;
    assert!(answered.starts_with("http/1.1 200"), "{answered}");
    held.push(late);
    // Bodies were given back when their calls were answered.
    until(&operator, "user", "body_bytes", |used| used == 0).await;
    assert_eq!(operator.query(app, "/").await.unwrap(), "sdk-suite");
    drop(held);
    until(&operator, "user", "answer_bytes", |used| used == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_body_of_a_blob_that_is_refused_is_not_asked_for() {
    let operator = Operator::start().await;
    let admin = operator.daemon().running().admin_address().unwrap();
    let large = limits::BLOB_BYTES_MAX + 1;
    for (name, bytes, word) in [
        ("md5:", 5, "400"),
        ("sha256:", large, "413"),
        ("sha256:", 5, "100"),
    ] {
        let mut client = Raw::connect(admin).await;
        let request = format!(
            "POST /blob/{name} HTTP/1.1\r\nhost: {admin}\r\nexpect: 100-continue\r\n\
             content-length: {bytes}\r\n\r\n"
        );
        client.send(request).await;
        let first = client.head().await;
        assert!(
            first.starts_with(&format!("http/1.1 {word}")),
            "{name}: {first}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_of_logs_are_counted_and_end_with_their_client() {
    let operator = Operator::start().await;
    let app = operator.deploy(&guest("sdk-suite")).await;
    let admin = operator.daemon().running().admin_address().unwrap();
    let request = format!("GET /logs/{app}?follow HTTP/1.1\r\nhost: {admin}\r\n\r\n");
    let mut followers = Vec::new();
    for _ in 0..limits::APP_LOG_FOLLOWERS_MAX {
        let mut follower = Raw::connect(admin).await;
        follower.send(&request).await;
        assert!(follower.head().await.starts_with("http/1.1 200"));
        followers.push(follower);
    }
    let refused = raw(admin, &request).await;
    is_refused_for_now(&refused);
    // One closes only its side, and is told the end; no line comes meanwhile.
    let mut half = followers.pop().unwrap();
    half.stream.shutdown().await.unwrap();
    let (rest, is_orderly) = half.rest().await;
    assert!(is_orderly && rest.ends_with(b"0\r\n\r\n"));
    drop(followers);
    until(&operator, "admin", "log_followers", |used| used == 0).await;
    until(&operator, "admin", "connections", |used| used <= 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_gets_every_line_once_and_in_order() {
    let operator = Operator::start().await;
    let app = operator.deploy(&guest("sdk-suite")).await;
    let admin = operator.daemon().running().admin_address().unwrap();
    let request = format!("GET /logs/{app}?follow&tail=0 HTTP/1.1\r\nhost: {admin}\r\n\r\n");
    let mut followers = Vec::new();
    for _ in 0..3 {
        let mut follower = Raw::connect(admin).await;
        follower.send(&request).await;
        follower.head().await;
        followers.push(follower);
    }
    const LINES: usize = 40;
    for _ in 0..LINES {
        operator.query(app, "/log/error").await.unwrap();
    }
    for follower in &mut followers {
        let (mut seqs, mut own) = (Vec::new(), 0);
        while own < LINES {
            // A chunk of several events, or the line with its length.
            let part = follower.line().await;
            let events = part.lines().filter_map(|line| line.strip_prefix("data: "));
            for event in events {
                let line: serde_json::Value = serde_json::from_str(event).unwrap();
                let text = line["text"].as_str().unwrap();
                own += usize::from(text.contains("a line at error"));
                seqs.push(line["seq"].as_u64().unwrap());
            }
        }
        assert!(
            seqs.is_sorted() && seqs.windows(2).all(|two| two[0] + 1 == two[1]),
            "{seqs:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_port_takes_other_names_from_whoever_shows_the_token() {
    let token = AdminToken("s3cret".into());
    let operator = Operator::with(|config| config.admin_token = Some(token)).await;
    let send = |path: &'static str, host: &'static str, token: &'static str| {
        let operator = &operator;
        async move {
            let headers = [("host", host), ("authorization", token)];
            operator.send(Method::GET, path, &headers, "").await.status
        }
    };
    const RIGHT: &str = "Bearer s3cret";
    assert_eq!(send("/prpc/Operation.Info", "wapod:8001", RIGHT).await, 200);
    assert_eq!(send("/health", "wapod:8001", "").await, 200);
    assert_eq!(send("/", "wapod:8001", "").await, 200);
    for wrong in ["", "Bearer other"] {
        assert_eq!(send("/prpc/Operation.Info", "wapod:8001", wrong).await, 421);
        assert_eq!(send("/metrics", "wapod:8001", wrong).await, 421);
    }
    for twisted in ["evil@127.0.0.1", "127.0.0.1:8001.evil.com", "127.0.0.1:x"] {
        assert_eq!(
            send("/prpc/Operation.Info", twisted, RIGHT).await,
            421,
            "{twisted}"
        );
        assert_eq!(send("/health", twisted, "").await, 421, "{twisted}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_and_scripts_of_other_sites_are_refused() {
    let operator = Operator::start().await;
    let send = async |path: &str, fields: &[(&str, &str)]| {
        operator.send(Method::GET, path, fields, "").await.status
    };
    for site in ["cross-site", "same-site"] {
        for path in [
            "/prpc/Operation.AppList",
            "/metrics",
            "/health",
            "/console/icon.svg",
        ] {
            let picture = [
                ("sec-fetch-site", site),
                ("sec-fetch-mode", "no-cors"),
                ("sec-fetch-dest", "image"),
            ];
            assert_eq!(send(path, &picture).await, 403, "{site} {path}");
        }
    }
    let link = [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
    ];
    assert_eq!(send("/", &link).await, 200);
    assert_eq!(send("/prpc/Operation.AppList", &link).await, 403);
    for own in ["same-origin", "none"] {
        assert_eq!(
            send("/prpc/Operation.AppList", &[("sec-fetch-site", own)]).await,
            200
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_request_buys_no_signature() {
    const NAME: &str = "x-phactory-signature";
    let operator = Operator::start().await;
    let get = async |path: &str| client::get(&operator.user_url(path)).await;
    for path in [
        "/nothing",
        "/health",
        "/app/xyz/",
        QUERY,
        "/prpc/User.Info?json=what",
    ] {
        assert_eq!(get(path).await.header(NAME), None, "{path}");
    }
    let info = (get("/prpc/User.Info").await, get("/prpc/User.Info").await);
    assert!(info.0.header(NAME).is_some());
    assert_ne!(info.0.header(NAME), info.1.header(NAME), "each is signed");
    let unknown = QueryArgs {
        address: vec![9; 32],
        ..QueryArgs::default()
    };
    let (one, other) = (
        ask(&operator, &unknown).await,
        ask(&operator, &unknown).await,
    );
    assert_eq!(one.status, 400);
    assert!(one.header(NAME).is_some());
    assert_eq!(one.header(NAME), other.header(NAME), "signed once");
    let garbage = client::post(&operator.user_url(QUERY), vec![0xff; 9]).await;
    assert_eq!(garbage.status, 400);
    assert_eq!(garbage.header(NAME), None);
}
