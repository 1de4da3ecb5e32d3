//! What connections of strangers keep: heads that do not end, bodies that nobody
//! reads, answers that nobody takes.

use std::time::Duration;

use e2e::{Operator, guest, within};
use hyper::Method;

use super::gateway::{Raw, raw};
use super::strangers::{figure, until};

/// Longer than any test.
const NEVER: Duration = Duration::from_secs(600);

/// Bytes of a head that is larger than what is not counted.
const LARGE: usize = 40_000;

/// A frame of HTTP/2 on the first stream.
fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let stream = if kind == 4 { 0 } else { 1 };
    let head = [
        length[1], length[2], length[3], kind, flags, 0, 0, 0, stream,
    ];
    [&head, payload].concat()
}

/// The beginning of a head in HTTP/2: one field, whose value does not end.
fn endless_head() -> Vec<u8> {
    // A name of one byte, and the length of a value: 127, 65 and 128 × 311.
    let mut block = vec![0, 1, b'x', 0x7f, 0xc1, 0xb7, 0x02];
    block.resize(LARGE - 100, b'v');
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, &[]));
    for (number, piece) in block.chunks(16_384).enumerate() {
        let kind = if number == 0 { 1 } else { 9 };
        bytes.extend(frame(kind, 0, piece));
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_do_not_end_are_counted_and_given_back() {
    let operator = Operator::start().await;
    let first = format!("GET / HTTP/1.1\r\nhost: h\r\nx: {}", "v".repeat(LARGE));
    for begun in [first.into_bytes(), endless_head()] {
        let mut client = Raw::connect(operator.gateway()).await;
        client.send(&begun).await;
        until(&operator, "user", "head_bytes", |used| used > 16_000).await;
        // What comes at once is not.
        let whole = raw(
            operator.gateway(),
            "GET /health HTTP/1.1\r\nhost: h\r\n\r\n",
        )
        .await;
        assert_eq!(whole.status, 200);
        drop(client);
        until(&operator, "user", "head_bytes", |used| used == 0).await;
    }
    let refused = figure(&operator, "refused_total", "user", "head_bytes").await;
    assert_eq!(refused, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_nothing_of_an_answer_makes_room_for_newcomers() {
    const PLACES: u32 = 4;
    let operator = Operator::with(|config| {
        config.connections_max = PLACES;
        config.timeouts.write = NEVER;
    })
    .await;
    let app = operator.deploy(&guest("sdk-suite")).await;
    let address = operator.gateway();
    let mut served = Raw::connect(address).await;
    served.get(&format!("/app/{app}/sleep/4000")).await;
    let mut strangers = Vec::new();
    for _ in 1..PLACES {
        let mut stranger = Raw::connect(address).await;
        stranger.get(&format!("/app/{app}/big/1000000000")).await;
        assert!(stranger.head().await.starts_with("http/1.1 200"));
        strangers.push(stranger);
    }
    let newcomer = raw(address, "GET /health HTTP/1.1\r\nhost: h\r\n\r\n");
    assert_eq!(within("a place", newcomer).await.status, 200);
    assert_eq!(served.answer().await.text(), "slept\n");
    let page = operator.send(Method::GET, "/metrics", &[], "").await.text();
    let displaced = page.lines().find_map(|line| {
        line.strip_prefix("wapo_client_connections_displaced_total{port=\"user\"} ")
    });
    assert!(displaced.unwrap().parse::<u64>().unwrap() > 0);
    drop(strangers);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_gets_its_answer_keeps_its_place_whatever_it_still_has_to_send() {
    let operator = Operator::with(|config| config.connections_max = 1).await;
    let app = operator.deploy(&guest("sdk-suite")).await;
    let address = operator.gateway();
    let mut served = Raw::connect(address).await;
    // The app does not look at the body, which does not come.
    served.post(&format!("/app/{app}/chunks/4/700"), 9).await;
    assert!(served.head().await.starts_with("http/1.1 200"));
    let newcomer = raw(address, "GET /health HTTP/1.1\r\nhost: h\r\n\r\n");
    let newcomer = tokio::spawn(within("a place", newcomer));
    let mut text = String::new();
    while !text.contains("3\n") {
        text += &served.line().await;
    }
    assert_eq!(newcomer.await.unwrap().status, 200, "when it is over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_body_is_read_on_and_is_no_head_of_the_next_request() {
    const BODY: usize = 20 << 20;
    const HEAD_TIME: Duration = Duration::from_millis(200);
    let operator = Operator::with(|config| config.timeouts.head = HEAD_TIME).await;
    let mut client = Raw::connect(operator.gateway()).await;
    client.post("/prpc/User.Query", BODY).await;
    assert_eq!(client.answer().await.status, 413);
    for _ in 0..2 {
        client.send(vec![b'x'; BODY / 2]).await;
        tokio::time::sleep(3 * HEAD_TIME).await;
        let used = figure(&operator, "used", "user", "head_bytes").await;
        assert_eq!(used, 0);
    }
    client.get("/health").await;
    assert_eq!(client.answer().await.status, 200);
}
