//! HTTP on ports and names of the program's own: `Wapo.httpsListen`, and `serve` of
//! `wapo:http`.

use e2e::client::curl;
use e2e::{Daemon, TlsPort, ports, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{connect, exchange, listening, module};

/// As programs for Wapo 0.x were written.
const CALLBACKS: &str = r#"
    const config = Wapo.env.NAME
      ? { serverName: Wapo.env.NAME, certificateChain: Wapo.env.CERT, privateKey: Wapo.env.KEY }
      : { address: `127.0.0.1:${scriptArgs[0]}` };
    const header = (request, name) => request.headers.find(([known]) => known === name)?.[1];
    globalThis.id = Wapo.httpsListen({ ...config, maxConnections: 100 }, (request) => {
      switch (request.url) {
        case "/throws": throw new Error("a secret");
        case "/raw":
          Wapo.httpsSendResponseHeadRaw(request.opaqueResponseTx, "HTTP/1.1 201 Created\r\nX-Own: yes");
          return Wapo.streamClose(Wapo.streamOpenWrite(request.opaqueOutputStream));
        case "/upgrade":
          Wapo.httpsSendResponseHead(request.opaqueResponseTx, { status: 101, headers: { connection: "Upgrade", upgrade: "shout" } });
          const writer = Wapo.streamOpenWrite(request.opaqueOutputStream);
          Wapo.streamOpenRead(request.opaqueInputStream, (command, data) => {
            if (command === "data") Wapo.streamWriteChunk(writer, Wapo.utf8Decode(data).toUpperCase(), () => {});
            else Wapo.streamClose(writer);
          });
          return;
        case "/echo":
          Wapo.httpsSendResponseHead(request.opaqueResponseTx, { status: 200, headers: [["x-method", request.method]] });
          return Wapo.streamBridge({ input: request.opaqueInputStream, output: request.opaqueOutputStream });
        case "/stop":
          Wapo.close(id);
        default: {
          Wapo.httpsSendResponseHead(request.opaqueResponseTx, { status: 200, headers: {} });
          const writer = Wapo.streamOpenWrite(request.opaqueOutputStream);
          Wapo.streamWriteChunk(writer, `${request.url} ${header(request, "x-odd")?.length} ${header(request, "host")}`, () => {});
          Wapo.streamClose(writer);
        }
      }
    });
"#;

#[tokio::test(flavor = "multi_thread")]
async fn callbacks_of_wapo_0_answer_on_a_port() {
    let (app, port) = listening(CALLBACKS).await;
    let url = |path: &str| format!("http://127.0.0.1:{port}{path}");
    let printed = curl(&[&url("/a?b"), &url("/c")]).await;
    let expected = format!("/a?b undefined 127.0.0.1:{port}/c undefined 127.0.0.1:{port}");
    assert_eq!(printed.out, expected, "{}", printed.err);
    // Two requests on one connection.
    assert!(!printed.err.contains("refused"));
    let body = "x".repeat(300_000);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body");
    std::fs::write(&file, &body).unwrap();
    let data = format!("@{}", file.display());
    let printed = curl(&["--data-binary", &data, &url("/echo")]).await;
    assert!(printed.out == body, "{} bytes", printed.out.len());
    let printed = curl(&["--include", &url("/raw")]).await;
    assert!(
        printed.out.starts_with("HTTP/1.1 201 Created\r\n"),
        "{}",
        printed.out
    );
    assert!(printed.out.contains("x-own: yes"), "{}", printed.out);
    // What a callback throws costs its request, and the client is told nothing of it.
    let printed = curl(&["--include", &url("/throws")]).await;
    assert!(printed.out.starts_with("HTTP/1.1 500"), "{}", printed.out);
    assert!(!printed.out.contains("secret"), "{}", printed.out);
    app.expect_log("a secret").await;
    // Bytes beyond ASCII in a header ended the instance once.
    let odd = b"GET /odd HTTP/1.1\r\nhost: a\r\nx-odd: caf\xe9 \xff\r\nconnection: close\r\n\r\n";
    let answer = exchange(port, odd).await;
    assert!(answer.contains("/odd 6 a"), "{answer}");
    // Closed, the place is free again and the program over.
    let printed = curl(&[&url("/stop")]).await;
    assert!(printed.out.starts_with("/stop"), "{}", printed.out);
    app.exited().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_may_change_to_a_protocol_of_the_programs_own() {
    let (app, port) = listening(CALLBACKS).await;
    let head = "GET /upgrade HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: shout\r\n\r\n";
    // What comes with the head is not lost.
    let mut stream = connect(port).await;
    stream
        .write_all(format!("{head}quiet ").as_bytes())
        .await
        .unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"QUIET ") {
        answer.push(within("the answer", stream.read_u8()).await.unwrap());
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    stream.write_all(b"words").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = String::new();
    within("the end", stream.read_to_string(&mut rest))
        .await
        .unwrap();
    assert_eq!(rest, "WORDS");
    // Answered otherwise, it stays in HTTP.
    let head = head
        .replace("/upgrade", "/plain")
        .replace("connection: Upgrade", "connection: close, upgrade");
    let answer = exchange(port, head.as_bytes()).await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("/plain"),
        "{answer}"
    );
    assert_eq!(app.status().restarts, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn callbacks_of_wapo_0_answer_for_a_name() {
    let port = TlsPort::start().await;
    let identity = port.authority().issue("old.example");
    let mut config = module(CALLBACKS, ports::free());
    let env = [
        ("NAME", "old.example".to_owned()),
        ("CERT", identity.cert),
        ("KEY", identity.key),
    ];
    config.env = env.map(|(name, value)| (name.to_owned(), value)).into();
    let app = port.daemon().deploy(config).await;
    app.until("the name", |status| !status.names.is_empty())
        .await;
    let mut client = port.connect("old.example").await.unwrap();
    let request = b"GET /x HTTP/1.1\r\nhost: old.example\r\nconnection: close\r\n\r\n";
    client.write_all(request).await.unwrap();
    let mut answer = String::new();
    within("the answer", client.read_to_string(&mut answer))
        .await
        .unwrap();
    assert!(answer.contains("/x undefined old.example"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_answer_for_a_name_and_on_a_port() {
    let code = r#"
        import { serve } from "wapo:http";
        const { CERT: certificate, KEY: key } = Wapo.env;
        const handler = { async fetch(request, env, ctx) {
          const url = new URL(request.url);
          if (url.pathname === "/throws") throw new Error("a secret");
          return Response.json({ url: request.url, method: request.method, body: await request.text(), env: env.KEY === key, ctx: typeof ctx.waitUntil });
        } };
        serve({ serverName: "new.example", certificate, key }, handler);
        const server = serve({ port: Number(scriptArgs[0]), maxConnections: 5 }, (request) => {
          if (new URL(request.url).pathname === "/stop") server.close();
          return handler.fetch(request, Wapo.env, {});
        });
        console.log(`on ${server.address}`);
    "#;
    let port = TlsPort::start().await;
    let identity = port.authority().issue("new.example");
    let own = ports::free();
    let mut config = module(code, own);
    config.env = vec![
        ("CERT".to_owned(), identity.cert),
        ("KEY".to_owned(), identity.key),
    ];
    let app = port.daemon().deploy(config).await;
    app.expect_log(&format!("on 127.0.0.1:{own}")).await;
    let mut client = port.connect("new.example").await.unwrap();
    for _ in 0..2 {
        let request = b"POST /x?y HTTP/1.1\r\nhost: new.example\r\ncontent-length: 2\r\n\r\nhi";
        client.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            answer.push(within("the answer", client.read_u8()).await.unwrap());
        }
        let answer = String::from_utf8(answer).unwrap();
        let expected = r#"{"url":"https://new.example/x?y","method":"POST","body":"hi","env":true,"ctx":"function"}"#;
        assert!(answer.ends_with(expected), "{answer}");
        assert!(
            answer.contains("content-type: application/json"),
            "{answer}"
        );
    }
    let url = format!("http://127.0.0.1:{own}/stop");
    let printed = curl(&[&url]).await;
    assert!(
        printed.out.contains(&format!("\"url\":\"{url}\"")),
        "{}",
        printed.out
    );
    // The port is free again, the name is still served.
    let taken = async || {
        tokio::net::TcpListener::bind(("127.0.0.1", own))
            .await
            .is_err()
    };
    while taken().await {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let request = b"GET /throws HTTP/1.1\r\nhost: new.example\r\nconnection: close\r\n\r\n";
    client.write_all(request).await.unwrap();
    let mut answer = String::new();
    within("the answer", client.read_to_string(&mut answer))
        .await
        .unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 500") && !answer.contains("secret"),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn websockets_are_served_on_a_port_of_the_programs_own() {
    let code = r#"
        import { serve } from "wapo:http";
        const port = Number(scriptArgs[0]);
        serve({ port }, (request) => {
          const [client, server] = Object.values(new WebSocketPair());
          server.accept();
          server.addEventListener("message", ({ data }) => server.send(`you said ${data}`));
          return new Response(null, { status: 101, webSocket: client });
        });
        export default { fetch: () => new Promise((resolve) => {
          const socket = new WebSocket(`ws://127.0.0.1:${port}/`), heard = [];
          let sent = -1, before = -1;
          socket.onopen = () => {
            socket.send("äöü");
            before = socket.bufferedAmount;
            socket.send("x".repeat(100_000));
            sent = socket.bufferedAmount;
          };
          socket.onmessage = ({ data }) => {
            heard.push(data.length);
            if (heard.length === 2) resolve(Response.json({ heard, before, sent, after: socket.bufferedAmount }));
          };
          socket.onerror = () => resolve(new Response("failed"));
        }) };
    "#;
    let (app, _) = listening(code).await;
    let answer = app.get("/").await.text();
    let expected = r#"{"heard":[12,100009],"before":6,"sent":100006,"after":0}"#;
    assert_eq!(answer, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_an_error_with_a_code() {
    let code = r#"
        import { serve } from "wapo:http";
        import { listen } from "wapo:sockets";
        const port = Number(scriptArgs[0]);
        const thrown = (action) => { try { action(); return "nothing"; } catch (error) { return `${error.name} ${error.code}`; } };
        const listener = listen({ port });
        export default { fetch: () => Response.json([
          thrown(() => serve({ port }, () => {})), thrown(() => serve({ port: 70000 }, () => {})), thrown(() => serve({ port }, {})),
          thrown(() => serve({ port, certificate: "x", key: "y" }, () => {})), thrown(() => serve({ port, key: "y" }, () => {})),
          thrown(() => Wapo.httpsListen({ address: "nowhere" }, () => {})), thrown(() => Wapo.httpsListen({}, () => {})),
        ]) };
    "#;
    let port = ports::free();
    let taken = tokio::net::TcpListener::bind(("127.0.0.1", port))
        .await
        .unwrap();
    let code = code.replace("const listener = listen({ port });", "");
    let app = Daemon::start().await.deploy(module(&code, port)).await;
    let answer = app.get("/").await.text();
    drop(taken);
    let expected = r#"["SocketError in-use","TypeError undefined","TypeError undefined","SocketError invalid","TypeError undefined","TypeError invalid","TypeError undefined"]"#;
    assert_eq!(answer, expected);
}
