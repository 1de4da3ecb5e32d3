//! Clients that mean no good, and scripts that do not know better.

use std::time::{Duration, Instant};

use e2e::client::curl;
use e2e::{Daemon, ports, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{connect, exchange, listening, module};

/// A server with short timeouts, and few places.
const SERVER: &str = r#"
    import { serve } from "wapo:http";
    serve({ port: Number(scriptArgs[0]), maxConnections: 4, headTimeout: 600, idleTimeout: 600 }, async (request) => {
      switch (new URL(request.url).pathname) {
        case "/read": return new Response(String((await request.text()).length));
        case "/much": return new Response(new ReadableStream({ pull(controller) { controller.enqueue(new Uint8Array(65536)); } }));
        case "/short": return new Response(new ReadableStream({ start(controller) { controller.enqueue(new Uint8Array(3)); controller.close(); } }), { headers: { "content-length": "5" } });
        case "/lies": return new Response("body", { headers: { "content-length": "100", "transfer-encoding": "chunked" } });
        case "/odd": return new Response("body", { headers: { "x-odd": "\xe9\xff" } });
        case "/wait": return new Promise((resolve) => request.signal.addEventListener("abort", () => { console.log("left"); resolve(new Response("late")); }));
        default: return new Response("ok");
      }
    });
"#;

async fn is_served(port: u16) {
    let url = format!("http://127.0.0.1:{port}/");
    let printed = within("an answer", curl(&[&url])).await;
    assert_eq!(printed.out, "ok", "{}", printed.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_drip_their_heads_lose_their_places() {
    let (_app, port) = listening(SERVER).await;
    let mut drips = Vec::new();
    for number in 0..4 {
        drips.push(tokio::spawn(async move {
            let mut stream = connect(port).await;
            // One says nothing at all.
            let mut result = Ok(());
            while number > 0 && result.is_ok() {
                result = stream.write_all(b"G").await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            // A word about it, or none, and the end.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }));
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    // All places are taken; one is free as soon as they have had their time.
    is_served(port).await;
    for drip in drips {
        within("the end of a drip", drip).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_do_not_come_and_answers_that_nobody_takes_end() {
    let (_app, port) = listening(SERVER).await;
    let head = "POST /read HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhal";
    let answer = exchange(port, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
    // Four who ask for much and read nothing.
    let mut silent = Vec::new();
    for _ in 0..4 {
        let mut stream = connect(port).await;
        stream
            .write_all(b"GET /much HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        silent.push(stream);
    }
    is_served(port).await;
    for mut stream in silent {
        // What was on its way, and then no proper end.
        let mut all = Vec::new();
        let _ = within("the end", stream.read_to_end(&mut all)).await;
        assert!(!all.ends_with(b"0\r\n\r\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_none_are_refused() {
    let (_app, port) = listening(SERVER).await;
    let long = format!(
        "GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n",
        "y".repeat(200_000)
    );
    let many = format!(
        "GET / HTTP/1.1\r\nhost: a\r\n{}\r\n",
        "x: y\r\n".repeat(2_000)
    );
    let cases: &[(&str, &str)] = &[
        ("GET / HTTP/1.1\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nhost: a@b\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nhost: a/b\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nhost:\r\n\r\n", "400"),
        ("CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n", "400"),
        ("nonsense\r\n\r\n", "400"),
        (
            "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n",
            "400",
        ),
        (
            "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
            "",
        ),
        (&long, "431"),
        (&many, "431"),
        ("GET / HTTP/1.0\r\n\r\n", "200"),
        (
            "OPTIONS * HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
            "200",
        ),
        (
            "GET http://b/ HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
            "200",
        ),
    ];
    for (request, status) in cases {
        let answer = exchange(port, request.as_bytes()).await;
        let said = answer.split(' ').nth(1).unwrap_or_default();
        let about = &request[..request.len().min(60)];
        assert!(said == *status || status.is_empty(), "{about:?}: {answer}");
    }
    is_served(port).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_never_looks_like_another_one() {
    let (_app, port) = listening(SERVER).await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    let answer = exchange(port, get("/lies").as_bytes()).await;
    assert!(
        answer.ends_with("body") || answer.ends_with("4\r\nbody\r\n0\r\n\r\n"),
        "{answer}"
    );
    assert!(
        !(answer.contains("content-length") && answer.contains("transfer-encoding")),
        "{answer}"
    );
    let answer = exchange(port, get("/short").as_bytes()).await;
    assert!(answer.contains("content-length: 5"), "{answer}");
    assert!(answer.ends_with("\0\0\0"), "{answer}");
    let mut stream = connect(port).await;
    stream.write_all(get("/odd").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    within("the end", stream.read_to_end(&mut answer))
        .await
        .unwrap();
    assert!(
        answer.windows(9).any(|part| part == b"x-odd: \xe9\xff"),
        "{answer:?}"
    );
    is_served(port).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_is_told_to_the_handler() {
    let (app, port) = listening(SERVER).await;
    let mut stream = connect(port).await;
    stream
        .write_all(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(stream);
    app.expect_log("left").await;
    is_served(port).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_cannot_break_the_engine_with_sockets() {
    let code = r#"
        import * as sockets from "wapo:sockets";
        import { serve } from "wapo:http";
        const { connect, listen, udp } = sockets;
        const port = Number(scriptArgs[0]);
        const outcomes = [];
        const attempt = (action) => { try { const value = action(); value?.catch?.(() => {}); } catch { /* an exception is fine */ } };
        const odd = [undefined, null, 0, -1, NaN, Infinity, "", "x", Symbol("s"), 1n, {}, [], () => {}, new Proxy({}, { get() { throw 1; } }), { toString() { throw 2; } }];
        for (const value of odd) {
          for (const make of [connect, listen, udp, (v) => serve(v, () => {}), (v) => serve({ port: v }, () => {}), (v) => serve({ port }, v).close(),
            (v) => new sockets.Socket(v), (v) => new sockets.Listener(v), (v) => new sockets.UdpSocket(v),
            (v) => connect({ hostname: v, port: v }), (v) => connect("127.0.0.1:1", v), (v) => connect("127.0.0.1:1", { alpn: v, roots: v, certificate: v, key: v, sni: v, secureTransport: "on" }),
            (v) => listen({ port: v, backlog: v, alpn: v, keepAlive: v, certificate: v, key: v }), (v) => listen({ serverName: v, certificate: "a", key: "b", alpn: v }),
            (v) => udp({ port: v, hostname: v }), (v) => Wapo.httpsListen(v, () => {}), (v) => Wapo.httpsListen({ address: v }, v),
            (v) => sockets.Socket.prototype.close.call(v), (v) => Object.getOwnPropertyDescriptor(sockets.Socket.prototype, "readable").get.call(v),
          ]) attempt(() => make(value));
        }
        // A thousand at a time, all of them given up.
        for (let i = 0; i < 1000; i++) attempt(() => connect(`127.0.0.1:${port}`).close());
        const listener = listen({ port });
        for (let i = 0; i < 100; i++) listener.accept().catch(() => {});
        (async () => {
          const own = connect(listener.address), peer = own;
          const writer = own.writable.getWriter();
          for (const value of [1, "text", {}, null]) await writer.write(value).catch(() => {});
          const again = connect(listener.address);
          const bytes = new Uint8Array(10);
          const w = again.writable.getWriter();
          const written = w.write(bytes);
          bytes.buffer.transfer?.();
          await written.catch(() => {});
          again.readable.cancel().catch(() => {});
          again.close(); again.close();
          const shared = udp();
          attempt(() => shared.sendAll(1)); attempt(() => shared.sendAll([1, null, {}].map((data) => ({ data }))));
          await shared.sendAll(Array(2000).fill({ data: "x", address: "127.0.0.1:9" })).catch((error) => outcomes.push(error.name));
          shared.close(); shared.close();
          listener.close(); listener.close();
          outcomes.push("alive");
        })().catch((error) => outcomes.push(String(error)));
        export default { fetch: () => Response.json(outcomes) };
    "#;
    let port = ports::free();
    let app = Daemon::start().await.deploy(module(code, port)).await;
    let deadline = Instant::now() + e2e::TIMEOUT;
    loop {
        let answer = app.get("/").await.text();
        if answer.contains("alive") {
            assert_eq!(answer, r#"["RangeError","alive"]"#);
            return;
        }
        assert!(Instant::now() < deadline, "{answer} {:?}", app.log_lines());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
