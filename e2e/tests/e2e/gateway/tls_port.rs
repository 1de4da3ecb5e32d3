//! Names that apps leave to the gateway at the shared TLS port.

use std::sync::Arc;

use e2e::certificates::Tunnel;
use e2e::tls_port::{TlsPort, alert};
use e2e::{Authority, guest, within};
use hyper::Method;
use rustls::{AlertDescription, HandshakeKind};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use wapo_rpc::AppAddress;
use wapo_rpc::message::{DomainAddArgs, DomainRemoveArgs};
use wapod::AppConfig;

use super::frames::Frames;
use super::{Raw, RawAnswer};

const DOMAIN: &str = "apps.example";
const SHOP: &str = "shop.example.com";

/// A worker with a certificate for names below its base domain.
struct Place {
    port: TlsPort,
    _folder: TempDir,
}

impl Place {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Arc::new(Authority::new());
        let identity = authority.issue_names(&["*.apps.example", DOMAIN]);
        let files = identity.write(&folder.path().join("tls.pem"));
        let port = TlsPort::of(authority, |config| {
            config.base_domain = DOMAIN.to_owned();
            config.tls.as_mut().unwrap().certificate = Some(files);
        });
        Self {
            port: port.await,
            _folder: folder,
        }
    }

    async fn app(&self, label: &str) -> AppAddress {
        let config = AppConfig {
            label: label.to_owned(),
            ..guest("sdk-suite")
        };
        let operator = self.port.operator();
        let app = operator
            .deploy_with(&config, |args| args.name = label.to_owned())
            .await;
        operator
            .until("it takes requests", app, |info| {
                info.instance_list.iter().any(|one| one.takes_http)
            })
            .await;
        app
    }

    /// Binds a domain, with a certificate.
    async fn domain(&self, app: AppAddress, domain: &str) {
        let identity = self.port.authority().issue(domain);
        let args = DomainAddArgs {
            address: app.0.to_vec(),
            domain: domain.to_owned(),
            certificate: identity.cert,
            key: identity.key,
        };
        self.port.operator().domain_add(args).await.unwrap();
    }

    async fn tunnel(&self, name: &str, protocol: &str) -> Tunnel {
        let config = self.port.authority().client(&[protocol]);
        Tunnel::open(self.port.address(), name, config).await
    }

    /// Asks for a path of a host on a connection that was made for a name.
    async fn get(&self, name: &str, host: &str, path: &str) -> RawAnswer {
        let tunnel = self.tunnel(name, "http/1.1").await;
        let mut raw = Raw::connect(tunnel.address()).await;
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
        raw.send(request).await;
        raw.answer().await
    }

    async fn refusal(&self, name: &str) -> Option<AlertDescription> {
        let error = self.port.connect(name).await.expect_err(name);
        alert(&error)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_serves_no_name_is_served_as_at_the_gateway() {
    let place = Place::start().await;
    let app = place.app("one").await;
    place.domain(app, SHOP).await;
    let by_address = format!("{}.{DOMAIN}", app.to_base32());
    for host in ["one.apps.example", &by_address, SHOP] {
        let answer = place.get(host, host, "/?q").await;
        let seen = answer.text();
        assert_eq!(answer.status, 200, "{seen}");
        for line in [
            format!("GET https://{host}/?q\n"),
            "x-forwarded-proto: https\n".to_owned(),
            "x-forwarded-for: 127.0.0.1\n".to_owned(),
        ] {
            assert!(seen.contains(&line), "{line} in {seen}");
        }
    }
    // The worker itself, under the base domain.
    let path = format!("/app/{app}/status/204");
    assert_eq!(place.get(DOMAIN, DOMAIN, &path).await.status, 204);
    assert_eq!(place.get(DOMAIN, DOMAIN, "/health").await.status, 200);
    // In the other version of HTTP.
    let tunnel = place.tunnel(SHOP, "h2").await;
    let mut frames = Frames::connect(tunnel.address(), &[]).await;
    let stream = frames.request("GET", SHOP, "/status/204", &[], true).await;
    assert!(frames.answer(stream).await[0].has_status(204));

    let unknown = place.refusal("nobody.example").await;
    assert_eq!(unknown, Some(AlertDescription::UnrecognisedName));
    let page = place.port.operator().send(Method::GET, "/metrics", &[], "");
    let page = page.await.text();
    let served = "wapo_tls_connections_total{outcome=\"gateway\"} 6\n";
    assert!(page.contains(served), "{page}");
    assert!(page.contains("wapo_tls_certificate_not_after_seconds{port=\"tls\"}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_for_one_app_and_what_its_certificate_covers() {
    let place = Place::start().await;
    let one = place.app("one").await;
    let two = place.app("two").await;
    place.domain(one, SHOP).await;
    place.domain(two, "other.example.com").await;
    for (name, host, status) in [
        (SHOP, SHOP, 204),
        (SHOP, "SHOP.example.com.:443", 204),
        // The same app.
        (SHOP, "one.apps.example", 204),
        ("one.apps.example", SHOP, 204),
        // The certificate of the daemon is for both.
        ("one.apps.example", "two.apps.example", 204),
        ("one.apps.example", DOMAIN, 404),
        (SHOP, "two.apps.example", 421),
        (SHOP, "other.example.com", 421),
        (SHOP, DOMAIN, 421),
        (SHOP, "nobody.example", 421),
        (SHOP, "127.0.0.1", 421),
        (SHOP, "[::1]:443", 421),
        ("one.apps.example", "other.example.com", 421),
        ("one.apps.example", "a.b.apps.example", 421),
    ] {
        let answer = place.get(name, host, "/status/204").await;
        assert_eq!(answer.status, status, "{name} {host}: {}", answer.text());
    }
    // On one connection of HTTP/2, one after the other.
    let tunnel = place.tunnel(SHOP, "h2").await;
    let mut frames = Frames::connect(tunnel.address(), &[]).await;
    for (host, status) in [(SHOP, 204), ("other.example.com", 421), (SHOP, 204)] {
        let stream = frames.request("GET", host, "/status/204", &[], true).await;
        let answer = frames.answer(stream).await;
        let is_served = answer[0].has_status(204);
        assert_eq!(is_served, status == 204, "{host}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_the_gateways_only_while_no_guest_serves_it_and_there_is_a_certificate() {
    let place = Place::start().await;
    let operator = place.port.operator();
    let app = place.app("one").await;
    place.domain(app, SHOP).await;
    assert_eq!(place.get(SHOP, SHOP, "/status/204").await.status, 204);
    let args = DomainRemoveArgs {
        address: app.0.to_vec(),
        domain: SHOP.to_owned(),
    };
    assert!(operator.domain_remove(args).await.unwrap().value);
    let gone = place.refusal(SHOP).await;
    assert_eq!(gone, Some(AlertDescription::UnrecognisedName));
    // Without a certificate nobody can speak for it.
    let args = DomainAddArgs {
        address: app.0.to_vec(),
        domain: SHOP.to_owned(),
        ..DomainAddArgs::default()
    };
    operator.domain_add(args).await.unwrap();
    let none = place.refusal(SHOP).await;
    assert_eq!(none, Some(AlertDescription::InternalError));
    operator.remove(app).await;

    // A guest that has claimed a name has it, also when the operator binds it with a
    // certificate afterwards.
    let echo = operator.deploy(&place.port.echo_app(SHOP)).await;
    operator
        .until("it serves its name", echo, |info| {
            info.instance_list.iter().any(|one| one.phase == "running")
        })
        .await;
    within("the guest's answer", async {
        while !place
            .port
            .echo(SHOP, "hello")
            .await
            .is_ok_and(|back| back == "hello")
        {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    place.domain(echo, SHOP).await;
    assert_eq!(place.port.echo(SHOP, "again").await.unwrap(), "again");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_resumed_with_one_app_and_end_with_its_domain() {
    let place = Place::start().await;
    let [one, two] = [place.app("one").await, place.app("two").await];
    let identity = place.port.authority().issue(SHOP);
    let bind = |app: AppAddress| DomainAddArgs {
        address: app.0.to_vec(),
        domain: SHOP.to_owned(),
        certificate: identity.cert.clone(),
        key: identity.key.clone(),
    };
    let operator = place.port.operator();
    operator.domain_add(bind(one)).await.unwrap();
    let config = place.port.client();
    let visit = async || {
        let mut stream = place.port.connect_with(SHOP, config.clone()).await.unwrap();
        let request = format!("GET /status/204 HTTP/1.1\r\nhost: {SHOP}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        // Tickets come with the answer.
        let mut answer = [0; 12];
        let reading = stream.read_exact(&mut answer);
        within("an answer", reading).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 204");
        stream.get_ref().1.handshake_kind()
    };
    assert_eq!(visit().await, Some(HandshakeKind::Full));
    assert_eq!(visit().await, Some(HandshakeKind::Resumed));
    // The same name with the same certificate, of another app.
    let args = DomainRemoveArgs {
        address: one.0.to_vec(),
        domain: SHOP.to_owned(),
    };
    operator.domain_remove(args).await.unwrap();
    operator.domain_add(bind(two)).await.unwrap();
    assert_eq!(visit().await, Some(HandshakeKind::Full));
    assert_eq!(visit().await, Some(HandshakeKind::Resumed));
}
