//! Queries: request and reply through the worker's RPC.

use e2e::{App, Daemon, client, guest, within};

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
    assert!(error.contains("takes no requests of this kind"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_ends_its_guest_is_never_to_be_asked_again() {
    for path in ["/panic/why", "/trap", "/exit/0", "/exit/3"] {
        let app = suite().await;
        let url = format!("http://{}/prpc/User.Query?json", app.gateway());
        let address = app.handle().address();
        let body = format!(r#"{{"address":"{address}","path":"{path}"}}"#);
        let answer = client::post(&url, body).await;
        answer.expect_status(400);
        assert!(answer.text().contains("the app gave no answer"), "{path}");
        assert_eq!(answer.header("retry-after"), None, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_queries_than_an_instance_is_given_wait_for_their_turn() {
    let app = suite().await;
    app.ask("/").await;
    // Each keeps the whole guest busy.
    let asking = (0..400).map(|_| {
        let app = app.clone();
        tokio::spawn(async move { app.query("/spin/5", []).await })
    });
    for asked in asking.collect::<Vec<_>>() {
        within("an answer", asked).await.unwrap().unwrap();
    }
    assert_eq!(app.ask("/").await, "sdk-suite", "it goes on");
}
