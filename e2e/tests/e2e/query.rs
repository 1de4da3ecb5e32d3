//! Queries: request and reply through the worker's RPC.

use e2e::{App, Daemon, guest, within};

async fn example() -> App {
    Daemon::start().await.deploy(guest("query")).await
}

async fn suite() -> App {
    Daemon::start().await.deploy(guest("sdk-suite")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_answers_queries() {
    let app = example().await;
    assert_eq!(app.ask("/").await, "ask /echo or /origin");
    assert_eq!(app.query("/echo", *b"payload").await.unwrap(), b"payload");
    assert_eq!(app.ask("/origin").await, "nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guests_error_reaches_who_asked() {
    let app = example().await;
    assert_eq!(app.query("/x", []).await.unwrap_err(), "no such path: /x");
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_are_bytes_of_any_size() {
    let app = suite().await;
    for size in [0, 1, 64, 16_384, 900_000] {
        let payload: Vec<u8> = (0..=255).cycle().take(size).collect();
        assert!(app.query("/echo", payload.clone()).await.unwrap() == payload);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_query_is_an_error() {
    let app = suite().await;
    let error = app.query("/drop", []).await.unwrap_err();
    assert_eq!(error, "the app gave no answer");
    assert_eq!(app.ask("/").await, "sdk-suite");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_takes_no_queries_says_so() {
    let app = Daemon::start().await.deploy(guest("hello-http")).await;
    let error = app.query("/", []).await.unwrap_err();
    assert!(error.contains("does not take"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_queries_than_fit_wait_or_are_refused() {
    let app = suite().await;
    app.ask("/").await;
    // Slow enough that queues fill: channel, inbox, and what the guest holds.
    let asking = (0..400).map(|_| {
        let app = app.clone();
        tokio::spawn(async move { app.query("/sleep/20", []).await })
    });
    let (mut answered, mut refused) = (0, 0);
    for asked in asking.collect::<Vec<_>>() {
        match within("an answer", asked).await.unwrap() {
            Ok(_) => answered += 1,
            Err(error) => {
                assert_eq!(error, "the app is busy");
                refused += 1;
            }
        }
    }
    assert_eq!(answered + refused, 400);
    assert!(answered >= 20, "{answered} answered");
    assert_eq!(app.ask("/").await, "sdk-suite", "it goes on");
}
