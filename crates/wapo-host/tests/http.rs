//! HTTP exchanges from the embedder's side, with guests that make the calls of
//! the contract by hand.

mod support;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parity_scale_codec::{Decode as _, Encode as _};
use support::{Deaf, engine, start};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use wapo_host::{
    HttpCall, HttpExchange, InstanceConfig, InstanceHandle, Meter, RequestHead, Trailers,
};

/// A guest that takes requests one after the other, answers each with 200 and
/// an empty head, and then does what `SERVE` says until that returns 1.
///
/// Memory: 16 the head, 32 trailers, 0x400 the message, 0x800 answers, 0xc00
/// what was read, 0x1000 to 0x9000 bytes to write.
const GUEST: &str = r#"
        (data (i32.const 16) "\c8\00\00")
        (data (i32.const 32) "TRAILERS")
        (global $channel (mut i32) (i32.const -1))
        (global $reply (mut i32) (i32.const -1))
        (global $stream (mut i32) (i32.const -1))
        (global $step (mut i32) (i32.const 0))
        (func $call (param i32 i32 i32 i32 i32) (result i64)
          (call $fast (i32.const 0) (local.get 0) (local.get 1) (local.get 2)
            (local.get 3) (local.get 4)))
        (func $errno (param $result i64) (result i32)
          (if (result i32) (i64.eqz (i64.shr_u (local.get $result) (i64.const 32)))
            (then (i32.const 0)) (else (i32.wrap_i64 (local.get $result)))))
        ;; A slow call with one handle; its answer at $to. The length, or -errno.
        (func $ask (param $id i32) (param $handle i32) (param $more i32) (param $to i32) (result i32)
          (local $result i64)
          (local.set $result (call $slow (i32.const 0) (local.get $id) (local.get $handle)
            (local.get $more) (i32.const 0) (i32.const 0)))
          (if (call $errno (local.get $result))
            (then (return (i32.sub (i32.const 0) (call $errno (local.get $result))))))
          (drop (call $call (i32.const 0) (local.get $to) (i32.wrap_i64 (local.get $result))
            (i32.const 0) (i32.const 0)))
          (i32.wrap_i64 (local.get $result)))
        (func $close (param i32)
          (drop (call $call (i32.const 101) (local.get 0) (i32.const 0) (i32.const 0) (i32.const 0))))
        (func $emit (param $number i32)
          (i32.store (i32.const 0) (local.get $number))
          (drop (call $call (i32.const 243) (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 0))))
        ;; Writes to the response's body.
        (func $write (param $at i32) (param $len i32) (result i64)
          (call $call (i32.const 104) (i32.const -1) (global.get $stream)
            (local.get $at) (local.get $len)))
        ;; Reads the request's body: 0 is to be continued, -1 the end, else an error.
        (func $drain (result i32)
          (local $result i64) (local $errno i32)
          (loop $more
            (local.set $result (call $call (i32.const 103) (i32.const -1) (global.get $stream)
              (i32.const 0xc00) (i32.const 0x100)))
            (local.set $errno (call $errno (local.get $result)))
            (if (i32.eq (local.get $errno) (i32.const 11)) (then (return (i32.const 0))))
            (if (local.get $errno) (then (return (local.get $errno))))
            (if (i64.eqz (local.get $result)) (then (return (i32.const -1))))
            (br $more))
          (unreachable))
        (func $finish (result i64)
          (call $call (i32.const 303) (global.get $stream) (i32.const 32) (i32.const 10) (i32.const 0)))
        (func $abort (result i64)
          (call $call (i32.const 304) (global.get $stream) (i32.const 0) (i32.const 0) (i32.const 0)))
        (func $serve (result i32) SERVE)
        (func (export "wapo_poll") (result i32)
          (local $len i32)
          (if (i32.eq (global.get $channel) (i32.const -1)) (then
            (drop (call $ask (i32.const 240) (i32.const 4) (i32.const 0) (i32.const 0x400)))
            (global.set $channel (i32.load (i32.const 0x400)))))
          (loop $next
            (if (i32.eq (global.get $stream) (i32.const -1)) (then
              (local.set $len (call $ask (i32.const 102) (i32.const -1) (global.get $channel)
                (i32.const 0x400)))
              (if (i32.lt_s (local.get $len) (i32.const 0)) (then (return (i32.const 0))))
              (global.set $reply (i32.load (i32.add (local.get $len) (i32.const 0x3f8))))
              (global.set $stream (i32.load (i32.add (local.get $len) (i32.const 0x3fc))))
              (drop (call $call (i32.const 202) (global.get $reply) (i32.const 16) (i32.const 3)
                (i32.const 0)))))
            (if (i32.eqz (call $serve)) (then (return (i32.const 0))))
            (call $close (global.get $reply))
            (call $close (global.get $stream))
            (global.set $stream (i32.const -1))
            (br $next))
          (unreachable))"#;

/// The guest that serves like this.
fn guest(serve: &str) -> String {
    let trailers = trailers("x-sum", "77").encode();
    let escaped: String = trailers
        .iter()
        .map(|byte| format!("\\{byte:02x}"))
        .collect();
    GUEST.replace("TRAILERS", &escaped).replace("SERVE", serve)
}

fn trailers(name: &str, value: &str) -> Trailers {
    vec![(name.to_owned(), value.to_owned())]
}

fn call(peer: Option<SocketAddr>) -> HttpCall {
    HttpCall {
        head: RequestHead::new("POST", &["http://host/"], 0),
        peer,
        has_body: true,
    }
}

/// Starts a guest and waits until it takes requests.
async fn serving(serve: &str) -> (InstanceHandle, Arc<Deaf>) {
    let (handle, embedder) = start(&engine(), &guest(serve), InstanceConfig::default()).await;
    let mut status = handle.status();
    let opens = status.wait_for(|status| status.takes_http);
    drop(within(opens).await.expect("the guest runs"));
    (handle, embedder)
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future)
        .await
        .expect("in time")
}

/// Reads the answer; its head is that of every guest here.
async fn answer(exchange: &mut HttpExchange) -> (Vec<u8>, Result<(), io::ErrorKind>) {
    let answer = within(exchange.response.answer()).await.expect("a head");
    assert_eq!((answer.head.status, answer.head.fields.len()), (200, 0));
    let mut body = Vec::new();
    let outcome = within(exchange.body.read_to_end(&mut body)).await;
    (body, outcome.map(drop).map_err(|error| error.kind()))
}

/// What the guest has emitted: one number each.
async fn emitted(embedder: &Deaf, count: usize) -> Vec<i32> {
    let coming = async {
        while embedder.output.lock().expect("output").len() < 4 * count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    within(coming).await;
    let output = embedder.output.lock().expect("output");
    let numbers = output
        .chunks(4)
        .map(|bytes| bytes.try_into().expect("four"));
    numbers.map(i32::from_le_bytes).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_go_both_ways() {
    // Asks for trailers too early, reads the body, sends back the trailers as
    // they came, asks again, and ends with its own, twice.
    let (handle, embedder) = serving(
        r#"(local $read i32) (local $len i32)
        (if (i32.eqz (global.get $step)) (then
          (call $emit (call $ask (i32.const 302) (global.get $stream) (i32.const 0) (i32.const 0x800)))
          (global.set $step (i32.const 1))))
        (local.set $read (call $drain))
        (if (i32.eqz (local.get $read)) (then (return (i32.const 0))))
        (call $emit (local.get $read))
        (local.set $len (call $ask (i32.const 302) (global.get $stream) (i32.const 0) (i32.const 0x800)))
        (drop (call $write (i32.const 0x800) (local.get $len)))
        (call $emit (call $ask (i32.const 302) (global.get $stream) (i32.const 0) (i32.const 0x800)))
        (call $emit (call $errno (call $finish)))
        (call $emit (call $errno (call $finish)))
        (i32.const 1)"#,
    )
    .await;
    let mut exchange = handle.http(call(None)).expect("room");
    exchange.body.write_all(b"a body").await.expect("room");
    let sent = trailers("checksum", "0123");
    // The guest asks once before the end.
    emitted(&embedder, 1).await;
    assert!(exchange.body.writer().finish_with_trailers(sent.clone()));
    let (body, outcome) = answer(&mut exchange).await;
    assert_eq!(outcome, Ok(()));
    assert_eq!(Trailers::decode(&mut body.as_slice()), Ok(sent));
    let received = exchange.body.reader().take_trailers();
    assert_eq!(received, trailers("x-sum", "77"));
    // CONDITION_ERROR, the end, END_OF_FILE, all well, IO_ERROR.
    assert_eq!(emitted(&embedder, 5).await, [-18, -1, -12, 0, 9]);
    let usage = handle.meter().read();
    assert_eq!(usage.network_ingress_bytes, 6 + 12);
    assert_eq!(usage.network_egress_bytes, body.len() as u64 + 128 + 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_that_are_none_are_refused() {
    // Bytes that do not decode, bytes behind the end, and too many.
    let (handle, embedder) = serving(
        r#"(call $emit (call $errno (call $call (i32.const 303) (global.get $stream)
             (i32.const 32) (i32.const 9) (i32.const 0))))
           (call $emit (call $errno (call $call (i32.const 303) (global.get $stream)
             (i32.const 32) (i32.const 11) (i32.const 0))))
           (call $emit (call $errno (call $call (i32.const 303) (global.get $stream)
             (i32.const 0x1000) (i32.const 16385) (i32.const 0))))
           (call $emit (call $errno (call $call (i32.const 303) (global.get $reply)
             (i32.const 32) (i32.const 10) (i32.const 0))))
           (i32.const 1)"#,
    )
    .await;
    let mut exchange = handle.http(call(None)).expect("room");
    assert_eq!(answer(&mut exchange).await, (Vec::new(), Ok(())));
    assert_eq!(exchange.body.reader().take_trailers(), []);
    assert_eq!(emitted(&embedder, 4).await, [3, 3, 3, 8]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_may_know_the_peer() {
    let (handle, _) = serving(
        r#"(drop (call $write (i32.const 0x800)
             (call $ask (i32.const 305) (global.get $stream) (i32.const 0) (i32.const 0x800))))
           (i32.const 1)"#,
    )
    .await;
    for peer in [None, Some("10.1.2.3:99"), Some("[fe80::1]:0")] {
        let peer = peer.map(|text| text.parse::<SocketAddr>().expect("an address"));
        let mut exchange = handle.http(call(peer)).expect("room");
        let (body, outcome) = answer(&mut exchange).await;
        assert_eq!(outcome, Ok(()));
        let told = Option::<String>::decode(&mut body.as_slice());
        assert_eq!(told, Ok(peer.map(|address| address.to_string())));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_answer_is_an_error_to_the_client() {
    // Writes a part, aborts, and finds that nothing goes any more.
    let (handle, embedder) = serving(
        r#"(drop (call $write (i32.const 0x1000) (i32.const 7)))
           (call $emit (call $errno (call $abort)))
           (call $emit (call $errno (call $write (i32.const 0x1000) (i32.const 7))))
           (call $emit (call $drain))
           (call $emit (call $errno (call $finish)))
           (call $emit (call $errno (call $abort)))
           (i32.const 1)"#,
    )
    .await;
    let mut exchange = handle.http(call(None)).expect("room");
    let (body, outcome) = answer(&mut exchange).await;
    assert_eq!(body, [0; 7], "what was written before");
    assert_eq!(outcome, Err(io::ErrorKind::ConnectionAborted));
    assert!(exchange.body.write_all(b"x").await.is_err());
    assert_eq!(emitted(&embedder, 5).await, [0, 9, 9, 9, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_a_guest_that_dies_is_an_error_to_the_client() {
    for dies in [
        "unreachable",
        "(global.set $step (i32.const 9)) (i32.const 0)",
    ] {
        // The second one is stopped while its answer is on its way.
        let serve = format!("(drop (call $write (i32.const 0x1000) (i32.const 7))) {dies}");
        let (handle, _) = serving(&serve).await;
        let mut exchange = handle.http(call(None)).expect("room");
        within(exchange.response.answer()).await.expect("a head");
        let mut part = [0; 7];
        within(exchange.body.read_exact(&mut part))
            .await
            .expect("a part");
        handle.stop();
        let lost = within(exchange.body.read_u8()).await.expect_err("a loss");
        assert_eq!(lost.kind(), io::ErrorKind::ConnectionAborted);
        assert!(exchange.body.write_all(b"x").await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_in_mid_body_is_an_error_to_the_guest() {
    let (handle, embedder) = serving(
        r#"(local $read i32)
        (local.set $read (call $drain))
        (if (i32.eqz (local.get $read)) (then (return (i32.const 0))))
        (call $emit (local.get $read))
        (call $emit (call $ask (i32.const 302) (global.get $stream) (i32.const 0) (i32.const 0x800)))
        (i32.const 1)"#,
    )
    .await;
    let mut exchange = handle.http(call(None)).expect("room");
    within(exchange.response.answer()).await.expect("a head");
    exchange.body.write_all(b"a part").await.expect("room");
    drop(exchange);
    assert_eq!(
        emitted(&embedder, 2).await,
        [9, -18],
        "IO_ERROR, no trailers"
    );

    let mut exchange = handle.http(call(None)).expect("room");
    exchange.body.write_all(b"a part").await.expect("room");
    exchange.body.shutdown().await.expect("an end");
    assert_eq!(answer(&mut exchange).await, (Vec::new(), Ok(())));
    assert_eq!(emitted(&embedder, 4).await[2..], [-1, -12], "an end");

    // Only the request breaks off; the client still gets the answer.
    let exchange = handle.http(call(None)).expect("room");
    let (mut reader, writer) = exchange.body.into_split();
    drop(writer);
    assert_eq!(emitted(&embedder, 6).await[4..], [9, -18]);
    assert_eq!(
        within(reader.read_u8()).await.map_err(|error| error.kind()),
        Err(io::ErrorKind::UnexpectedEof),
        "an orderly end"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_in_mid_answer_is_an_error_to_the_guest() {
    // Writes until it fails.
    let (handle, embedder) = serving(
        r#"(local $errno i32)
        (loop $more
          (local.set $errno (call $errno (call $write (i32.const 0x1000) (i32.const 0x8000))))
          (if (i32.eq (local.get $errno) (i32.const 11)) (then (return (i32.const 0))))
          (if (local.get $errno) (then
            (call $emit (local.get $errno))
            (call $emit (call $errno (call $finish)))
            (return (i32.const 1))))
          (br $more))
        (unreachable)"#,
    )
    .await;
    let mut exchange = handle.http(call(None)).expect("room");
    within(exchange.response.answer()).await.expect("a head");
    within(exchange.body.read_u8()).await.expect("a part");
    drop(exchange);
    assert_eq!(emitted(&embedder, 2).await, [9, 9]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_calls_of_an_exchange_need_one() {
    // A timer, and a handle that is none.
    let config = InstanceConfig {
        meter: Arc::new(Meter::default()),
        ..InstanceConfig::default()
    };
    let (handle, embedder) = start(
        &engine(),
        r#"(func $emit (param $result i64)
             (i32.store (i32.const 0) (i32.wrap_i64 (local.get $result)))
             (drop (call $fast (i32.const 0) (i32.const 243) (i32.const 0) (i32.const 4)
               (i32.const 0) (i32.const 0))))
           (func $all (param $handle i32)
             (call $emit (call $slow (i32.const 0) (i32.const 302) (local.get $handle)
               (i32.const 0) (i32.const 0) (i32.const 0)))
             (call $emit (call $fast (i32.const 0) (i32.const 303) (local.get $handle)
               (i32.const 16) (i32.const 1) (i32.const 0)))
             (call $emit (call $fast (i32.const 0) (i32.const 304) (local.get $handle)
               (i32.const 0) (i32.const 0) (i32.const 0)))
             (call $emit (call $slow (i32.const 0) (i32.const 305) (local.get $handle)
               (i32.const 0) (i32.const 0) (i32.const 0))))
           (func (export "wapo_poll") (result i32)
             (drop (call $fast (i32.const 0) (i32.const 201) (i32.const 10) (i32.const 0)
               (i32.const 0) (i32.const 0)))
             (call $all (i32.const 0))
             (call $all (i32.const 1))
             (i32.const 1))"#,
        config,
    )
    .await;
    assert_eq!(emitted(&embedder, 8).await, [8, 8, 8, 8, 7, 7, 7, 7]);
    drop(handle);
}

/// A guest that waits is woken for what comes while it is about to wait, or no request
/// of a client that is alone would be answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_request_is_missed_that_comes_while_the_guest_goes_to_rest() {
    let (handle, _) = serving("(i32.const 1)").await;
    let handle = Arc::new(handle);
    let ask = async |handle: Arc<InstanceHandle>| {
        for _ in 0..5_000 {
            let mut exchange = handle.http(call(None)).expect("room");
            within(exchange.response.answer()).await.expect("a head");
        }
    };
    // Alone, then two that meet.
    tokio::spawn(ask(Arc::clone(&handle))).await.expect("all");
    let both = [(); 2].map(|()| tokio::spawn(ask(Arc::clone(&handle))));
    for one in both {
        one.await.expect("all");
    }
}
