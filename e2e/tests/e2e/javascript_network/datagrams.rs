//! UDP by `wapo:sockets`.

use std::collections::BTreeSet;

use e2e::{Daemon, ports, within};
use tokio::net::UdpSocket;

use super::{example, module, serving};

#[tokio::test(flavor = "multi_thread")]
async fn the_example_answers_datagrams() {
    let port = ports::free();
    let app = Daemon::start()
        .await
        .deploy(example("udp-echo", port))
        .await;
    app.expect_log("listening on 127.0.0.1:").await;
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(("127.0.0.1", port)).await.unwrap();
    for length in [0, 1, 1_400, 9_000] {
        let sent = vec![7; length];
        client.send(&sent).await.unwrap();
        let mut back = vec![0; 65_536];
        let count = within("the answer", client.recv(&mut back)).await.unwrap();
        assert!(back[..count] == sent, "{length}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_allowed_does_not_end_the_example() {
    let port = ports::free();
    let mut config = example("udp-echo", port);
    config.egress = Vec::new();
    let app = Daemon::start().await.deploy(config).await;
    app.expect_log("listening on 127.0.0.1:").await;
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for _ in 0..2 {
        client.send_to(b"hello", ("127.0.0.1", port)).await.unwrap();
    }
    app.expect_log("no answer for 127.0.0.1:").await;
    assert_eq!(app.status().restarts, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_sends_to_its_peer_or_to_many_and_hears_of_refusals() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let code = r#"
        import { SocketError, udp } from "wapo:sockets";
        const text = (bytes) => new TextDecoder().decode(bytes);
        const codeOf = async (promise) => {
          try { await promise; return "nothing"; } catch (error) { return error instanceof SocketError ? error.code : error.name; }
        };
        export default { async fetch(request) {
          const address = new URL(request.url).searchParams.get("to");
          const socket = udp();
          await socket.connect(address);
          await socket.send("one");
          await socket.sendAll([{ data: "two" }, { data: new Uint8Array([51]) }]);
          const back = [];
          while (back.length < 3) for (const { data, address } of await socket.receiveAll()) back.push(`${text(data)} ${address}`);
          const other = udp();
          const denied = await codeOf(other.send("x", "10.1.2.3:9"));
          const none = await codeOf(other.send("x"));
          const long = await codeOf(other.send(new Uint8Array(70000), address));
          const bad = await codeOf(other.send("x", "nobody"));
          const port = await codeOf((async () => udp({ port: 1 }))());
          const waiting = codeOf(other.receive());
          other.close();
          return Response.json({ back: back.sort(), denied, none, long, bad, port, closed: await waiting, after: await codeOf(other.send("x", address)) });
        } };
    "#;
    let (app, _) = serving(code).await;
    let echo = tokio::spawn(async move {
        let mut buffer = [0; 100];
        loop {
            let (count, peer) = server.recv_from(&mut buffer).await.unwrap();
            server.send_to(&buffer[..count], peer).await.unwrap();
        }
    });
    let answer = app.get(&format!("/?to={address}")).await.text();
    echo.abort();
    let answer: serde_json::Value = serde_json::from_str(&answer).expect(&answer);
    let back = ["one", "two", "3"].map(|text| format!("{text} {address}"));
    let back: Vec<_> = back
        .into_iter()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let expected = serde_json::json!({
        "back": back, "denied": "denied", "none": "failed", "long": "invalid",
        "bad": "invalid", "port": "denied", "closed": "closed", "after": "closed",
    });
    assert_eq!(answer, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_datagrams_keeps_nobody_waiting() {
    let code = r#"
        import { udp } from "wapo:sockets";
        let count = 0;
        (async () => { for await (const { data } of udp({ port: Number(scriptArgs[0]) })) count += data.length > 0; })();
        export default { fetch: () => new Response(String(count)) };
    "#;
    let port = ports::free();
    let app = Daemon::start().await.deploy(module(code, port)).await;
    app.get("/").await.expect_text("0");
    let flood = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let flooding = tokio::spawn(async move {
        loop {
            // What does not fit is lost, and so it is meant to be.
            let _ = flood.send_to(&[1; 1_000], ("127.0.0.1", port)).await;
            tokio::task::yield_now().await;
        }
    });
    let mut seen = 0;
    while seen < 1_000 {
        seen = app.get("/").await.text().parse().unwrap();
    }
    flooding.abort();
}
