//! TLS: clients, STARTTLS, names on the shared port, ports of the app's own.

use std::sync::Arc;

use e2e::certificates::{Authority, Identity};
use e2e::{Daemon, TlsPort, ports, within};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use wapod::AppConfig;

use super::module;

/// Connects by TLS in the ways that there are; answers what came of it.
const CLIENT: &str = r#"
    import { connect } from "wapo:sockets";
    const { ROOTS } = Wapo.env;
    const encode = (text) => new TextEncoder().encode(text);
    async function talk(socket, text) {
      const { alpn } = await socket.opened;
      const writer = socket.writable.getWriter();
      await writer.write(encode(text));
      const { value } = await socket.readable.getReader().read();
      await socket.close();
      return `${new TextDecoder().decode(value)} ${alpn} ${socket.secureTransport} ${socket.upgraded}`;
    }
    async function starttls(address) {
      const plain = connect(address, { secureTransport: "starttls" });
      const writer = plain.writable.getWriter(), reader = plain.readable.getReader();
      await writer.write(encode("STARTTLS\n"));
      const { value } = await reader.read();
      if (new TextDecoder().decode(value) !== "go\n") throw new Error("no go");
      const waiting = reader.read();
      const secure = plain.startTls({ roots: ROOTS });
      let again = "nothing";
      try { plain.startTls(); } catch (error) { again = error.name; }
      const answer = await talk(secure, "hello");
      return `${answer}, before: ${plain.upgraded} ${(await waiting).done} ${await plain.closed} ${again}`;
    }
    export default { async fetch(request) {
      const { searchParams } = new URL(request.url), address = searchParams.get("to");
      try {
        switch (searchParams.get("how")) {
          case "on": return new Response(await talk(connect(address, { secureTransport: "on", roots: ROOTS, alpn: ["own/1"] }), "hello"));
          case "untrusted": return new Response(await talk(connect(address, { secureTransport: "on" }), "hello"));
          case "sni": return new Response(await talk(connect(address, { secureTransport: "on", roots: ROOTS, sni: "other.test" }), "hello"));
          case "starttls": return new Response(await starttls(address));
          case "too late": connect(address).startTls();
        }
      } catch (error) {
        return new Response(`${error.name} ${error.code}`);
      }
    } };
"#;

fn client(authority: &Authority) -> AppConfig {
    let mut config = module(CLIENT, ports::free());
    config.env = vec![("ROOTS".to_owned(), authority.pem().to_owned())];
    config
}

/// Answers connections: with TLS at once, or after a line that asks for it.
async fn server(identity: &Identity, is_plain_first: bool) -> u16 {
    let acceptor = identity.acceptor();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let mut tcp = BufReader::new(tcp);
            if is_plain_first {
                let mut line = String::new();
                tcp.read_line(&mut line).await.unwrap();
                assert_eq!(line, "STARTTLS\n");
                tcp.write_all(b"go\n").await.unwrap();
            }
            let Ok(mut stream) = acceptor.accept(tcp).await else {
                continue;
            };
            let mut said = [0; 5];
            stream.read_exact(&mut said).await.unwrap();
            stream.write_all(b"secret").await.unwrap();
            // Until the client has closed.
            let _ = stream.read_u8().await;
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_speak_tls_from_the_start_or_later() {
    let authority = Authority::new();
    let here = authority.issue("127.0.0.1");
    let app = Daemon::start().await.deploy(client(&authority)).await;
    let ask = async |how: &str, port: u16| {
        app.get(&format!("/?how={how}&to=127.0.0.1:{port}"))
            .await
            .text()
    };
    let port = server(&here, false).await;
    assert_eq!(ask("on", port).await, "secret null on false");
    assert_eq!(ask("untrusted", port).await, "SocketError tls");
    assert_eq!(ask("sni", port).await, "SocketError tls", "another name");
    let port = server(&authority.issue("other.test"), false).await;
    assert_eq!(ask("sni", port).await, "secret null on false");
    assert_eq!(ask("on", port).await, "SocketError tls");
    let port = server(&here, true).await;
    let expected = "secret null on false, before: true true undefined TypeError";
    assert_eq!(ask("starttls", port).await, expected);
    assert_eq!(ask("too%20late", port).await, "TypeError undefined");
}

/// Says hello to a client of TLS and what was agreed on.
const SERVER: &str = r#"
    import { listen } from "wapo:sockets";
    const { CERT: certificate, KEY: key, NAME } = Wapo.env;
    const options = NAME ? { serverName: NAME, alpn: ["own/2", "own/1"] } : { port: Number(scriptArgs[0]) };
    for await (const socket of listen({ ...options, certificate, key })) (async () => {
      const { alpn, serverName, remoteAddress } = await socket.opened;
      const text = `${alpn} ${serverName} ${socket.secureTransport} ${remoteAddress !== null}`;
      const writer = socket.writable.getWriter();
      await writer.write(new TextEncoder().encode(text));
      await socket.close();
    })().catch((error) => console.log(`a client: ${error.code}`));
"#;

fn tls_server(identity: Identity, port: u16, name: &str) -> AppConfig {
    let mut config = module(SERVER, port);
    let Identity { cert, key } = identity;
    let env = [("CERT", cert), ("KEY", key), ("NAME", name.to_owned())];
    config.env = env.map(|(name, value)| (name.to_owned(), value)).into();
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn names_on_the_shared_port_are_served_with_a_choice_of_protocols() {
    let port = TlsPort::start().await;
    let identity = port.authority().issue("shop.example");
    let app = tls_server(identity, ports::free(), "shop.example");
    let app = port.daemon().deploy(app).await;
    app.until("the name", |status| !status.names.is_empty())
        .await;
    let mut config = port.client();
    config.alpn_protocols = vec![b"own/1".to_vec()];
    let mut client = port.connect_with("shop.example", config).await.unwrap();
    let mut said = String::new();
    within("the end", client.read_to_string(&mut said))
        .await
        .unwrap();
    assert_eq!(said, "own/1 shop.example on true");
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_of_the_apps_own_speak_tls_and_clients_that_do_not_hold_nobody_up() {
    let authority = Authority::new();
    let port = ports::free();
    let app = tls_server(authority.issue("own.test"), port, "");
    let app = Daemon::start().await.deploy(app).await;
    app.listening().await;
    // One says nothing, one speaks no TLS.
    let silent = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut noise = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    noise.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut client = within("TLS", authority.connect("own.test", tcp))
        .await
        .unwrap();
    let mut said = String::new();
    within("the end", client.read_to_string(&mut said))
        .await
        .unwrap();
    assert_eq!(said, "null own.test on true");
    app.expect_log("a client: tls").await;
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_a_tls_port_serves_no_names() {
    let authority = Authority::new();
    let app = tls_server(
        authority.issue("shop.example"),
        ports::free(),
        "shop.example",
    );
    let app = Daemon::start().await.deploy(app).await;
    app.expect_log("cannot serve shop.example by TLS").await;
    let name = ServerName::try_from("shop.example").unwrap();
    let connector = TlsConnector::from(Arc::clone(&authority.client(&[])));
    let tcp = TcpStream::connect(app.gateway()).await.unwrap();
    assert!(connector.connect(name, tcp).await.is_err());
}
