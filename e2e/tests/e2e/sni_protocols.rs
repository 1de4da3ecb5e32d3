//! What is spoken on connections of the shared TLS port: a choice of the guest, or
//! all of it the guest's own.

use e2e::tls_port::alert;
use e2e::{Errno, Probe, TlsPort, within};
use rustls::AlertDescription;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_chooses_the_protocol_among_those_of_the_client() {
    let port = TlsPort::start().await;
    let probe = Probe::on(port.daemon(), |_| {}).await;
    let identity = port.authority().issue("shop.example");
    let identity = Some((identity.cert.as_str(), identity.key.as_str()));
    let protocols: [&[u8]; 2] = [b"h2", b"http/1.1"];
    let listener = probe.sni_listen("shop.example", identity, &protocols).await;
    let listener = listener.unwrap();
    /// What a client offers, and what is chosen.
    type Case<'a> = (&'a [&'a [u8]], Option<&'a [u8]>);
    let cases: [Case<'_>; 3] = [
        (&[b"http/1.1", b"h2"], Some(b"h2")),
        (&[b"spdy", b"http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ];
    for (offered, expected) in cases {
        let mut config = port.client();
        config.alpn_protocols = offered.iter().map(|one| one.to_vec()).collect();
        let client = port.connect_with("shop.example", config);
        let (client, stream) = tokio::join!(client, probe.tcp_accept_no_addr(listener));
        assert_eq!(client.unwrap().get_ref().1.alpn_protocol(), expected);
        let (name, protocol) = probe.stream_tls(stream.unwrap()).await.unwrap();
        assert_eq!(name.as_deref(), Some("shop.example"));
        assert_eq!(protocol.as_deref(), expected);
    }
    let mut config = port.client();
    config.alpn_protocols = vec![b"spdy".to_vec()];
    let refused = port.connect_with("shop.example", config).await.unwrap_err();
    let told = alert(&refused);
    assert_eq!(told, Some(AlertDescription::NoApplicationProtocol));
    // Names of protocols that are none, and too many of them.
    let long = [b'x'; 256];
    let many = vec![&b"x"[..]; 17];
    let bad: [&[&[u8]]; 3] = [&[b""], &[&long], &many];
    for protocols in bad {
        let refused = probe.sni_listen("shop.example", identity, protocols).await;
        assert_eq!(refused, Err(Errno::InvalidParameter));
    }
    assert_eq!(probe.stream_tls(listener).await, Err(Errno::Unsupported));
    assert_eq!(probe.stream_tls(7777).await, Err(Errno::NotFound));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_may_speak_tls_by_itself_and_gets_every_byte() {
    let port = TlsPort::start().await;
    let probe = Probe::on(port.daemon(), |app| app.label = "raw".to_owned()).await;
    // The operator has given the name to the app, by its label.
    let listener = probe.sni_listen("raw.localhost", None, &[]).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("raw.localhost").unwrap();
    let config = std::sync::Arc::new(port.client());
    let mut client = rustls::ClientConnection::new(config, name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    // More comes at once, and in between.
    hello.extend_from_slice(b"and more that the host cannot know");
    let mut tcp = TcpStream::connect(port.address()).await.unwrap();
    tcp.write_all(&hello).await.unwrap();
    let stream = probe.tcp_accept_no_addr(listener).await.unwrap();
    assert_eq!(
        probe.stream_tls(stream).await,
        Ok((Some("raw.localhost".to_owned()), None))
    );
    assert_eq!(probe.read_exact(stream, hello.len()).await, hello);
    tcp.write_all(b"question").await.unwrap();
    assert_eq!(probe.read_exact(stream, 8).await, b"question");
    probe.write_all(stream, b"not even TLS").await;
    probe.close(stream).await.unwrap();
    let mut all = Vec::new();
    within("the answer", tcp.read_to_end(&mut all))
        .await
        .unwrap();
    assert_eq!(all, b"not even TLS");
    // The same rules of ownership.
    let other = Probe::on(port.daemon(), |app| app.label = "other".to_owned()).await;
    let refused = other.sni_listen("raw.localhost", None, &[]).await;
    assert_eq!(refused, Err(Errno::Forbidden));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_certificate_a_name_is_to_be_had_where_the_operator_allows_it_only() {
    for verifies in [true, false] {
        let port = TlsPort::with(|config| {
            config.tls.as_mut().unwrap().verifies_certificates = verifies;
        })
        .await;
        let probe = Probe::on(port.daemon(), |app| app.label = "raw".to_owned()).await;
        let asked = probe.sni_listen("bank.example", None, &[]).await;
        if !verifies {
            assert!(asked.is_ok());
            continue;
        }
        assert_eq!(asked, Err(Errno::Forbidden));
        let (_, text) = probe.net_failure(u32::MAX).await.unwrap();
        assert!(text.contains("names that the operator has given"), "{text}");
        // It is still free for an app that can prove that it owns it, and then not
        // for less.
        let identity = port.authority().issue("bank.example");
        let identity = Some((identity.cert.as_str(), identity.key.as_str()));
        let listener = probe.sni_listen("bank.example", identity, &[]).await;
        let listener = listener.unwrap();
        let asked = probe.sni_listen("bank.example", None, &[]).await;
        assert_eq!(asked, Err(Errno::Forbidden));
        probe.close(listener).await.unwrap();
        assert!(probe.sni_listen("raw.localhost", None, &[]).await.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_never_gets_what_proves_a_name_to_an_authority() {
    const OF_AUTHORITIES: &[u8] = b"acme-tls/1";
    let port = TlsPort::with(|config| {
        config.tls.as_mut().unwrap().verifies_certificates = false;
    })
    .await;
    let probe = Probe::on(port.daemon(), |app| app.label = "raw".to_owned()).await;
    let identity = port.authority().issue("shop.example");
    let identity = Some((identity.cert.as_str(), identity.key.as_str()));
    let asked = probe.sni_listen("shop.example", identity, &[OF_AUTHORITIES]);
    assert_eq!(asked.await, Err(Errno::InvalidParameter));
    probe
        .sni_listen("shop.example", identity, &[])
        .await
        .unwrap();
    for name in ["raw.localhost", "raw.example"] {
        probe.sni_listen(name, None, &[]).await.unwrap();
    }
    // Whichever side terminates TLS, and whether or not the client knows other
    // protocols, too.
    for name in ["shop.example", "raw.localhost", "raw.example"] {
        for others in [&[][..], &[b"h2".to_vec()]] {
            let mut config = port.client();
            config.alpn_protocols = [others, &[OF_AUTHORITIES.to_vec()]].concat();
            let refused = port.connect_with(name, config).await.unwrap_err();
            let told = alert(&refused);
            assert_eq!(
                told,
                Some(AlertDescription::NoApplicationProtocol),
                "{name}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdk_offers_protocols_other_certificates_and_tls_by_the_program() {
    let port = TlsPort::start().await;
    let mut app = port.echo_app("shop.example");
    app.args = vec![
        "sni-facts=shop.example".to_owned(),
        // The name that it was given.
        "sni-raw=shop-example.localhost".to_owned(),
    ];
    let app = port.daemon().deploy(app).await;
    app.until("both names", |status| status.names.len() == 2)
        .await;
    for (offered, chosen) in [("h2", "Some(\"h2\")"), ("http/1.1", "Some(\"http/1.1\")")] {
        let mut config = port.client();
        config.alpn_protocols = vec![offered.as_bytes().to_vec()];
        let mut stream = port.connect_with("shop.example", config).await.unwrap();
        let mut text = String::new();
        let reading = stream.read_to_string(&mut text);
        within("what was agreed on", reading).await.unwrap();
        assert_eq!(text, format!("Some(\"shop.example\") {chosen}"));
    }
    let name = rustls::pki_types::ServerName::try_from("shop-example.localhost").unwrap();
    let config = std::sync::Arc::new(port.client());
    let mut client = rustls::ClientConnection::new(config, name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    let text = port.raw(&hello).await;
    let text = String::from_utf8_lossy(&text).into_owned();
    assert_eq!(text, "Some(\"shop-example.localhost\") None");
}
