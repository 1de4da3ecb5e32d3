//! Connections of HTTP/1.1 without requests: the daemon keeps little for them, and they go
//! on as if nothing had happened.

use std::time::Duration;

use e2e::{App, Daemon, Operator, guest};
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep, timeout};
use wapod::limits::REST_AFTER;

use super::https::Secure;
use super::{Raw, all_over, hang, path, suite};

/// Time after which every connection without requests rests.
const RESTED: Duration = REST_AFTER
    .saturating_mul(2)
    .saturating_add(Duration::from_millis(500));

/// A request for another protocol.
fn switch(app: &App) -> String {
    let to = path(app, "/upgrade");
    format!("GET {to} HTTP/1.1\r\nhost: h\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_has_rested_goes_on() {
    let app = suite().await;
    let mut client = Raw::connect(app.gateway()).await;
    let to = path(&app, "/echo");
    // A head that comes in two parts, the second one after the rest has begun.
    let request = format!("POST {to} HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\nbody");
    let (first, second) = request.split_at(20);
    for part in [request.as_str(), first] {
        client.send(part).await;
        if part == first {
            sleep(RESTED).await;
            client.send(second).await;
        }
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "body"));
    }
    // Two requests at once, then another protocol.
    sleep(RESTED).await;
    client.send(request.repeat(2)).await;
    for _ in 0..2 {
        assert_eq!(client.answer().await.text(), "body");
    }
    sleep(RESTED).await;
    client.send(switch(&app)).await;
    let head = client.head().await;
    assert!(head.starts_with("http/1.1 101"), "{head}");
    // A tunnel does not rest.
    for said in ["hello", "again"] {
        client.send(said).await;
        assert_eq!(client.exactly(5).await, said.as_bytes());
        sleep(RESTED).await;
    }
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.rest().await, (Vec::new(), true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_with_tls_that_has_rested_goes_on_and_ends_in_order() {
    let secure = Secure::start().await;
    let tunnel = secure.tunnel("http/1.1").await;
    let mut client = Raw::connect(tunnel.address()).await;
    let get = format!(
        "GET /status/200 HTTP/1.1\r\nhost: {}\r\n\r\n",
        secure.host()
    );
    for _ in 0..2 {
        client.send(&get).await;
        assert_eq!(client.answer().await.status, 200);
        sleep(RESTED).await;
    }
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.rest().await, (Vec::new(), true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_takes_long_and_an_answer_that_is_not_read_are_no_rest() {
    let operator = Operator::start().await;
    let app = operator.deploy(&guest("sdk-suite")).await;
    let mut waits = hang(&operator, app).await;
    let answered = timeout(RESTED, waits.head()).await;
    assert!(answered.is_err(), "the connection has ended");

    const LENGTH: usize = 8 << 20;
    let mut reads_late = Raw::connect(operator.gateway()).await;
    reads_late.get(&format!("/app/{app}/big/{LENGTH}")).await;
    let to = format!("/app/{app}/echo");
    let mut writes_late = Raw::connect(operator.gateway()).await;
    writes_late.post(&to, 4).await;
    writes_late.send("ab").await;
    sleep(RESTED).await;
    writes_late.send("cd").await;
    assert_eq!(writes_late.answer().await.text(), "abcd");
    assert_eq!(reads_late.answer().await.body.len(), LENGTH);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_rests_is_closed_when_it_was_idle_for_the_whole_time() {
    let idle = RESTED + REST_AFTER;
    let daemon = Daemon::with(|config| {
        config.timeouts.idle = idle;
        config.timeouts.head = idle;
    })
    .await;
    let app = daemon.deploy(guest("hello-http")).await;
    let mut client = Raw::connect(app.gateway()).await;
    client.get("/health").await;
    assert_eq!(client.answer().await.status, 200);
    let begun = Instant::now();
    assert_eq!(client.rest().await, (Vec::new(), true));
    let took = begun.elapsed();
    assert!(took >= idle.mul_f32(0.9) && took < idle * 2, "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_rest_do_not_hold_up_the_end_of_the_daemon() {
    let operator = Operator::start().await;
    let mut client = Raw::connect(operator.gateway()).await;
    client.get("/health").await;
    assert_eq!(client.answer().await.status, 200);
    sleep(RESTED).await;
    let begun = Instant::now();
    operator.shutdown().await;
    assert!(begun.elapsed() < RESTED, "{:?}", begun.elapsed());
    assert_eq!(client.rest().await, (Vec::new(), true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_that_fails_leaves_nothing_behind() {
    let app = suite().await;
    // Some leave before the answer is written, some before the app has the request.
    for number in 0..60 {
        let mut client = Raw::connect(app.gateway()).await;
        client.send(switch(&app)).await;
        sleep(Duration::from_micros(number * 20)).await;
        client.stream.set_zero_linger().unwrap();
    }
    all_over(&app).await;
}
