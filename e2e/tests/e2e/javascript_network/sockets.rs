//! TCP: clients and servers by `wapo:sockets`.

use std::time::Duration;

use e2e::{Daemon, ports, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{connect, example, exchange, listening, serving};

/// More than all buffers between two ends hold.
const MUCH_BYTES: usize = 64 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_an_echo_serves_many_clients() {
    let port = ports::free();
    let app = Daemon::start()
        .await
        .deploy(example("tcp-echo", port))
        .await;
    app.listening().await;
    let mut clients = Vec::new();
    for number in 0..20_u8 {
        clients.push(tokio::spawn(async move {
            let (mut reader, mut writer) = connect(port).await.into_split();
            let sent: Vec<u8> = (0..300_000_u32)
                .map(|at| number ^ at.to_le_bytes()[1])
                .collect();
            let expected = sent.clone();
            let writing = tokio::spawn(async move {
                writer.write_all(&sent).await.unwrap();
                writer.shutdown().await.unwrap();
            });
            let mut back = Vec::new();
            reader.read_to_end(&mut back).await.unwrap();
            writing.await.unwrap();
            assert!(back == expected, "client {number}");
        }));
    }
    for client in clients {
        within("a client", client).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_holds_its_own_writer_up() {
    let code = r#"
        import { listen } from "wapo:sockets";
        let taken = 0;
        (async () => {
          for await (const socket of listen({ port: Number(scriptArgs[0]) })) {
            const writer = socket.writable.getWriter();
            (async () => {
              for (const piece = new Uint8Array(65536);;) {
                await writer.ready;
                writer.write(piece).then(() => { taken += piece.length; }, () => {});
              }
            })().catch(() => {});
          }
        })();
        export default { fetch: () => new Response(String(taken)) };
    "#;
    let (app, port) = listening(code).await;
    let silent = connect(port).await;
    let taken = async || -> usize { app.get("/").await.text().parse().unwrap() };
    let mut last = usize::MAX;
    // Until nothing more goes.
    loop {
        let now = taken().await;
        assert!(now < MUCH_BYTES, "{now}");
        if now == last && now > 0 {
            break;
        }
        last = now;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // Another client is served, and the first one goes on when it reads.
    let mut other = connect(port).await;
    within("a byte", other.read_u8()).await.unwrap();
    let mut silent = silent;
    let mut piece = vec![0; last + (4 << 20)];
    within("more", silent.read_exact(&mut piece)).await.unwrap();
    drop((silent, other));
    app.get("/").await.expect_status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_never_reads_holds_its_client_up() {
    let code = r#"
        import { listen } from "wapo:sockets";
        const kept = [];
        (async () => {
          for await (const socket of listen({ port: Number(scriptArgs[0]) })) kept.push(socket);
        })();
        export default { fetch: () => new Response(String(kept.length)) };
    "#;
    let (app, port) = listening(code).await;
    let mut flood = connect(port).await;
    let piece = vec![7; 1 << 20];
    let mut sent = 0;
    while let Ok(written) = tokio::time::timeout(Duration::from_secs(2), flood.write(&piece)).await
    {
        sent += written.unwrap();
        assert!(sent < MUCH_BYTES, "{sent} bytes went where nobody reads");
    }
    assert_eq!(app.get("/").await.text(), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_in_javascript_talks_and_learns_its_addresses() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let code = r#"
        import { connect } from "wapo:sockets";
        export default { async fetch(request) {
          const address = new URL(request.url).searchParams.get("to");
          const socket = connect(address);
          const { remoteAddress, localAddress, alpn } = await socket.opened;
          const writer = socket.writable.getWriter();
          await writer.write(new TextEncoder().encode("hello"));
          await writer.close();
          const answer = await new Response(socket.readable).text();
          await socket.closed;
          return Response.json({ answer, remoteAddress, localAddress, alpn, transport: socket.secureTransport });
        } };
    "#;
    let (app, _) = serving(code).await;
    let serving = tokio::spawn(async move {
        let (mut stream, peer) = server.accept().await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        stream
            .write_all(format!("you said {said}").as_bytes())
            .await
            .unwrap();
        peer
    });
    let answer = app.get(&format!("/?to={address}")).await.text();
    let peer = within("the server", serving).await.unwrap();
    let expected = format!(
        r#"{{"answer":"you said hello","remoteAddress":"{address}","localAddress":"{peer}","alpn":null,"transport":"off"}}"#
    );
    assert_eq!(answer, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_have_a_code_and_the_operators_no_is_one_of_them() {
    let code = r#"
        import { SocketError, connect, listen } from "wapo:sockets";
        const nobody = Number(scriptArgs[0]);
        async function codeOf(address) {
          const socket = connect(address);
          try {
            await socket.opened;
            return "opened";
          } catch (error) {
            const again = await socket.closed.catch((error) => error);
            const read = await socket.readable.getReader().read().catch((error) => error);
            const written = await socket.writable.getWriter().write(new Uint8Array(1)).catch((error) => error);
            if (!(error instanceof SocketError) || !(error instanceof TypeError)) return `no SocketError: ${error}`;
            if (error !== again || error !== read || error !== written) return `not the same: ${again} ${read} ${written}`;
            return error.code;
          }
        }
        const thrown = (action) => { try { action(); return "nothing"; } catch (error) { return `${error.name} ${error.code}`; } };
        export default { fetch: async () => Response.json({
          refused: await codeOf(`127.0.0.1:${nobody}`),
          denied: await codeOf({ hostname: "10.1.2.3", port: 80 }),
          name: thrown(() => connect("nonsense")),
          port: thrown(() => connect("a:99999")),
          none: thrown(() => connect()),
          transport: thrown(() => connect("a:1", { secureTransport: "perhaps" })),
          listen: thrown(() => listen({ port: 1 })),
          nothing: thrown(() => listen({})),
          name_only: thrown(() => listen({ serverName: "a.test" })),
          both: thrown(() => listen({ serverName: "a.test", port: 1 })),
        }) };
    "#;
    let (app, _) = serving(code).await;
    let answer = app.get("/").await.text();
    let answer: serde_json::Value = serde_json::from_str(&answer).expect(&answer);
    let expected = serde_json::json!({
        "refused": "refused",
        "denied": "denied",
        "name": "SocketError invalid",
        "port": "SocketError invalid",
        "none": "TypeError undefined",
        "transport": "TypeError undefined",
        "listen": "SocketError denied",
        "nothing": "TypeError undefined",
        "name_only": "TypeError undefined",
        "both": "TypeError undefined",
    });
    assert_eq!(answer, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_of_the_peer_ends_both_directions_unless_half_open_is_allowed() {
    let code = r#"
        import { listen } from "wapo:sockets";
        const allowHalfOpen = scriptArgs[1] === "half";
        const encode = (text) => new TextEncoder().encode(text);
        for await (const socket of listen({ port: Number(scriptArgs[0]), allowHalfOpen })) (async () => {
          const writer = socket.writable.getWriter();
          for await (const chunk of socket.readable);
          await new Promise((resolve) => setTimeout(resolve, 50));
          await writer.write(encode("after your end"));
          await writer.close();
        })().catch(() => {});
    "#;
    for (mode, expected) in [("half", "after your end"), ("whole", "")] {
        let port = ports::free();
        let mut config = super::module(code, port);
        config.args.push(mode.to_owned());
        let app = Daemon::start().await.deploy(config).await;
        app.listening().await;
        let mut stream = connect(port).await;
        stream.write_all(b"hello").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut said = String::new();
        within("the end", stream.read_to_string(&mut said))
            .await
            .unwrap();
        assert_eq!(said, expected, "{mode}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_sends_what_was_written_and_ends_those_who_wait() {
    let code = r#"
        import { listen } from "wapo:sockets";
        const listener = listen({ port: Number(scriptArgs[0]) });
        for await (const socket of listener) {
          const reading = socket.readable.getReader().read();
          socket.writable.getWriter().write(new TextEncoder().encode("goodbye"));
          await socket.close();
          const { done } = await reading;
          listener.close();
          const over = await listener.accept().catch((error) => error.code);
          console.log(`read done: ${done}, then: ${over}`);
        }
        console.log("no more clients");
    "#;
    let (app, port) = listening(code).await;
    assert_eq!(exchange(port, b"").await, "goodbye");
    app.expect_log("read done: true, then: closed").await;
    app.expect_log("no more clients").await;
    // Nothing of it runs any more.
    app.exited().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_nobody_has_any_more_is_closed() {
    let code = r#"
        import { listen } from "wapo:sockets";
        (async () => { for await (const socket of listen({ port: Number(scriptArgs[0]) })); })();
        // Gives the collector a reason.
        setInterval(() => { for (let i = 0; i < 1000; i++) { const a = {}, b = { a }; a.b = b; } }, 20);
    "#;
    let (_app, port) = listening(code).await;
    let mut stream = connect(port).await;
    // What waits for the next one has still the last one.
    let _others = [connect(port).await, connect(port).await];
    let mut rest = Vec::new();
    // An end or a reset.
    let _ = within("the end", stream.read_to_end(&mut rest)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_may_use_more_time_in_all_than_one_request_may() {
    let code = r#"
        import { listen } from "wapo:sockets";
        async function serve() {
          for await (const socket of listen({ port: Number(scriptArgs[0]) })) {
            for (const begin = Date.now(); Date.now() - begin < 150;);
            socket.close();
          }
        }
        export default { fetch(request, env, ctx) {
          ctx.waitUntil(serve());
          return new Response("begun");
        } };
    "#;
    let port = ports::free();
    let mut config = super::module(code, port);
    config.env = vec![("WAPO_JS_REQUEST_CPU_MS".to_owned(), "400".to_owned())];
    let app = Daemon::start().await.deploy(config).await;
    app.get("/").await.expect_text("begun");
    app.listening().await;
    for _ in 0..8 {
        assert_eq!(exchange(port, b"").await, "");
    }
    assert!(
        app.log_lines()
            .iter()
            .all(|line| !line.text.contains("stopped"))
    );
}
