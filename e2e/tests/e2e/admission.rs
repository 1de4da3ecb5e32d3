//! Requests wait for their turn, in one queue of the app, and nobody works for
//! clients that have left.

use e2e::operator::{manifest, settings};
use e2e::{App, Daemon, Operator, client, guest, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use wapo_rpc::AppAddress;
use wapo_rpc::message::*;

async fn deploy(
    operator: &Operator,
    instances: u32,
    change: impl FnOnce(&mut DeployArgs),
) -> AppAddress {
    let app = guest("sdk-suite");
    let deploying = operator.deploy_with(&app, |wanted| {
        manifest(wanted).resizable = true;
        settings(wanted).instances = instances;
        change(wanted);
    });
    deploying.await
}

/// A request on a connection of its own.
async fn request(url: &str) -> TcpStream {
    let (host, path) = url
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    let mut stream = TcpStream::connect(host).await.unwrap();
    let text = format!("GET /{path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

/// Status and body of the answer.
async fn answer(mut stream: TcpStream) -> (String, String) {
    let mut answer = Vec::new();
    let read = within("an answer", stream.read_to_end(&mut answer)).await;
    read.unwrap();
    let text = String::from_utf8_lossy(&answer).into_owned();
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (text[9..12].to_owned(), body.to_owned())
}

/// Connections that all ask at the same time; all of them are answered.
async fn burst(url: &str, count: usize) {
    let mut asked = Vec::new();
    for _ in 0..count {
        asked.push(request(url).await);
    }
    let mut others = Vec::new();
    for stream in asked {
        let (status, body) = answer(stream).await;
        if status != "200" {
            others.push((status, body));
        }
    }
    assert!(
        others.is_empty(),
        "{} of {count}: {:?}",
        others.len(),
        others[0]
    );
}

async fn suite() -> App {
    let app = Daemon::start().await.deploy(guest("sdk-suite")).await;
    app.until("its channel", |status| status.takes_http).await;
    app
}

/// Makes the guest look at nothing for six seconds.
async fn keep_busy(app: &App) -> TcpStream {
    let busy = request(&app.url("busy/6000")).await;
    let taken = async {
        while app.usage().requests == 0 {
            tokio::task::yield_now().await;
        }
    };
    within("the request to be taken", taken).await;
    // To read a request takes some tens of gas; so much is work without an end.
    let before = app.usage().gas;
    let working = async {
        while app.usage().gas < before + 20_000 {
            tokio::task::yield_now().await;
        }
    };
    within("the work to begin", working).await;
    busy
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_waits_for_its_turn_and_none_of_it_is_refused() {
    let app = suite().await;
    burst(&app.url("count"), 1000).await;
    burst(&app.url("busy/4"), 1000).await;
    assert_eq!(app.usage().requests, 2000, "each was taken once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_spreads_over_the_instances() {
    let operator = Operator::start().await;
    let app = deploy(&operator, 4, |_| {}).await;
    let all = operator.until("all to take requests", app, |app| {
        app.instance_list.iter().all(|one| one.takes_http)
    });
    all.await;
    let mut waiting = Vec::new();
    for _ in 0..400 {
        waiting.push(request(&operator.app_url(app, "sleep/3000")).await);
    }
    let spread = operator.until("an even spread", app, |app| {
        app.instance_list.iter().all(|one| one.requests == 100)
    });
    spread.await;
    for stream in waiting {
        assert_eq!(answer(stream).await.0, "200");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_beyond_the_limit_of_an_app_is_refused_at_once() {
    let operator = Operator::start().await;
    let app = deploy(&operator, 1, |wanted| settings(wanted).requests_max = 10).await;
    let mut held = Vec::new();
    for _ in 0..10 {
        held.push(request(&operator.app_url(app, "sleep/3000")).await);
    }
    let full = operator.until("a full app", app, |app| app.instance_list[0].requests == 10);
    full.await;
    let refused = client::get(&operator.app_url(app, "")).await;
    refused.expect_status(503);
    assert_eq!(refused.header("retry-after"), Some("1"));
    for stream in held {
        assert_eq!(answer(stream).await.0, "200");
    }
    let served = client::get(&operator.app_url(app, "")).await;
    served.expect_status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_clients_that_left_reach_no_guest() {
    let app = suite().await;
    // The guest looks at nothing meanwhile.
    let busy = keep_busy(&app).await;
    let mut gone = Vec::new();
    for _ in 0..300 {
        gone.push(request(&app.url("count")).await);
    }
    app.until_requests(301).await;
    drop(gone);
    // Those in the app's queue, too, and while the guest looks at nothing.
    app.until_requests(1).await;
    assert_eq!(app.usage().requests, 1);
    assert_eq!(answer(busy).await.0, "200");
    burst(&app.url("count"), 20).await;
    assert_eq!(app.usage().requests, 21, "none of the 300 was taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_wait_have_their_turns_in_order() {
    let app = suite().await;
    let busy = keep_busy(&app).await;
    // More of them than an instance is given in advance.
    let mut waiting = Vec::new();
    for number in 0..200 {
        waiting.push(request(&app.url("count")).await);
        app.until_requests(2 + number).await;
    }
    assert_eq!(answer(busy).await.0, "200");
    for (number, stream) in waiting.into_iter().enumerate() {
        let body = answer(stream).await.1;
        let turn: usize = body.lines().last().unwrap().parse().unwrap();
        // A request that has been given room may be a moment late to use it.
        assert!(turn.abs_diff(number + 1) <= 64, "{number} was {turn}");
    }
}
