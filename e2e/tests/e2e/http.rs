//! Web requests through the gateway to guests.

use e2e::{App, Daemon, client, guest, within};
use hyper::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

async fn suite() -> App {
    Daemon::start().await.deploy(guest("sdk-suite")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_answers_web_requests() {
    let app = Daemon::start().await.deploy(guest("hello-http")).await;
    app.get("/").await.expect_text("Hello, World!\n");
    app.get("/Ada").await.expect_text("Hello, Ada!\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_app_answers_at_the_root() {
    let daemon = Daemon::with(|config| {
        config.apps = vec![guest("hello-http")];
        config.root_app = true;
    })
    .await;
    let url = format!("http://{}/you", daemon.running().user_address());
    client::get(&url).await.expect_text("Hello, you!\n");
    daemon.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_arrives_as_it_was_sent() {
    let app = suite().await;
    for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let url = app.url("/?a=b&c");
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let answer = client::send(method.clone(), &url, Vec::new()).await;
        answer.expect_status(200);
        let first = answer.text().lines().next().unwrap().to_owned();
        assert!(first.starts_with(method.as_str()), "{first}");
        assert!(first.ends_with("/?a=b&c"), "{first}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_go_through_in_both_directions() {
    let app = suite().await;
    for size in [0, 1, 1_000, 70_000, 3_000_000] {
        let body: Vec<u8> = (0..=250).cycle().take(size).collect();
        let answer = app.post("/echo", body.clone()).await;
        answer.expect_status(200);
        assert!(answer.body == body, "{size}");
    }
    let collected = app.post("/collect/100000", vec![1; 100_000]).await;
    collected.expect_text("100000 bytes\n");
    let answer = app.post("/collect/1000", vec![1; 100_000]).await;
    answer.expect_status(413);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_may_answer_before_it_has_read() {
    let app = suite().await;
    let answer = app.post("/early", vec![0; 4 << 20]).await;
    answer.expect_status(413);
    assert_eq!(answer.text(), "no thanks\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_streams() {
    let app = suite().await;
    let answer = app.get("/chunks/5/1").await;
    answer.expect_text("0\n1\n2\n3\n4\n");
    let big = app.get("/big/5000000").await;
    assert_eq!(big.expect_status(200).body.len(), 5_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_an_error() {
    let app = suite().await;
    let broken = client::try_send(Method::GET, &app.url("/break/3/1"), Vec::new()).await;
    assert!(broken.is_err(), "{broken:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_headers_go_through() {
    let app = suite().await;
    for status in [200, 204, 301, 404, 418, 500, 503] {
        app.get(&format!("/status/{status}"))
            .await
            .expect_status(status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_pass_where_no_other_app_is() {
    let daemon = Daemon::with(|config| {
        config.apps = vec![guest("sdk-suite")];
        config.root_app = true;
    })
    .await;
    let root = format!("http://{}", daemon.running().user_address());
    let app = daemon.running().apps()[0].address();
    for (url, expected) in [
        (format!("{root}/cookies"), 2),
        // Apps share the host, so one could read what another has set.
        (format!("{}cookies", daemon.running().app_url(app)), 0),
    ] {
        let answer = client::get(&url).await;
        let cookies = answer.headers.iter();
        let count = cookies.filter(|(name, _)| name == "set-cookie").count();
        assert_eq!(count, expected, "{url}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_gives_no_answer_is_a_bad_gateway() {
    let app = suite().await;
    app.get("/drop").await.expect_status(502);
    app.get("/echo").await.expect_status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_takes_no_web_requests_is_unavailable() {
    let app = Daemon::start().await.deploy(guest("query")).await;
    app.get("/").await.expect_status(503);
    let url = app.url("/").replace("/app/", "/app/00");
    client::get(&url).await.expect_status(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_upgraded() {
    let app = suite().await;
    let gateway = app.gateway();
    let path = app.url("/upgrade");
    let path = path.split_once(&gateway.to_string()).unwrap().1;
    let mut stream = TcpStream::connect(gateway).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {gateway}\r\nconnection: keep-alive, Upgrade\r\nupgrade: echo\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    let reading = async {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
    };
    within("the head", reading).await;
    assert!(
        head.starts_with(b"HTTP/1.1 101"),
        "{}",
        String::from_utf8_lossy(&head)
    );
    stream.write_all(b"through the tunnel").await.unwrap();
    let mut back = [0; 18];
    within("the echo", stream.read_exact(&mut back))
        .await
        .unwrap();
    assert_eq!(&back, b"through the tunnel");
    stream.shutdown().await.unwrap();
    assert_eq!(within("the end", stream.read(&mut back)).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_at_a_time_are_answered() {
    let app = Daemon::start().await.deploy(guest("hello-http")).await;
    let asking = (0..200).map(|number| {
        let app = app.clone();
        tokio::spawn(async move {
            let answer = app.get(&format!("/{number}")).await;
            (number, answer)
        })
    });
    let mut answered = 0;
    for asked in asking.collect::<Vec<_>>() {
        let (number, answer) = asked.await.unwrap();
        answer.expect_text(&format!("Hello, {number}!\n"));
        answered += 1;
    }
    assert_eq!(answered, 200);
}
