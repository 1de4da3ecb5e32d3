//! Certificates by ACME, of an authority that runs on this machine: Debian's `pebble`.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use e2e::certificates::Identity;
use e2e::certificates::gullible_client;
use e2e::client::curl;
use e2e::dns::Dns;
use e2e::operator::Operator;
use e2e::{Authority, guest, ports, within};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_rustls::TlsConnector;
use wapo_rpc::AppAddress;
use wapo_rpc::message::DomainAddArgs;
use wapod::{AcmeSettings, AppConfig, TlsSettings};

/// What to do without the authority. The tests fail then; they are not left out.
const ADVICE: &str =
    "tests of ACME need pebble: run `cargo xtask setup`, or `apt-get install pebble`";
const SHOP: &str = "shop.example.com";
const RETRY: Duration = Duration::from_secs(1);

/// An authority, a name server that it asks, and ports for the worker at which it looks.
struct Place {
    folder: TempDir,
    authority: Authority,
    _dns: Dns,
    pebble: Child,
    directory_url: String,
    user: u16,
    tls: u16,
}

impl Place {
    /// `looks_over_tls` says whether the authority finds the worker that way.
    async fn start(looks_over_tls: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let dns = Dns::serve(&[(SHOP, here), ("apps.example", here)]).await;
        let [listen, management, user, tls, nobody] = [0; 5].map(|_| ports::free());
        let Identity { cert, key } = authority.issue("127.0.0.1");
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("cert.pem"), cert).unwrap();
        std::fs::write(path("key.pem"), key).unwrap();
        let config = serde_json::json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{listen}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": path("cert.pem"),
            "privateKey": path("key.pem"),
            "httpPort": user,
            "tlsPort": if looks_over_tls { tls } else { nobody },
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
        }});
        std::fs::write(path("pebble.json"), config.to_string()).unwrap();
        let pebble = Command::new("pebble")
            .arg("-config")
            .arg(path("pebble.json"))
            .arg("-dnsserver")
            .arg(dns.address().to_string())
            .env("PEBBLE_VA_NOSLEEP", "1")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{ADVICE} ({error})"));
        let place = Self {
            directory_url: format!("https://127.0.0.1:{listen}/dir"),
            folder,
            authority,
            _dns: dns,
            pebble,
            user,
            tls,
        };
        let up = async {
            while curl(&["-kf", &place.directory_url]).await.code != Some(0) {
                sleep(Duration::from_millis(50)).await;
            }
        };
        within("the authority", up).await;
        place
    }

    fn data(&self) -> &Path {
        self.folder.path()
    }

    async fn worker(&self) -> Operator {
        self.worker_of(&self.directory_url).await
    }

    /// A worker that asks the authority behind this URL.
    async fn worker_of(&self, directory_url: &str) -> Operator {
        Operator::with(|config| {
            config.data_dir = Some(self.data().join("data"));
            config.address = ([127, 0, 0, 1], self.user).into();
            config.tls = Some(TlsSettings {
                address: ([127, 0, 0, 1], self.tls).into(),
                verifies_certificates: true,
                certificate: None,
            });
            config.acme = Some(AcmeSettings {
                directory_url: directory_url.to_owned(),
                contact: Some("operator@example.com".to_owned()),
                roots: vec![self.authority.root()],
                app_names: false,
                retry: RETRY,
            });
        })
        .await
    }

    /// The certificate under a name at the TLS port, if there is one.
    async fn certificate(&self, name: &str) -> Option<Vec<u8>> {
        let address = SocketAddr::from(([127, 0, 0, 1], self.tls));
        let tcp = TcpStream::connect(address).await.ok()?;
        // Each authority of the test makes its own root.
        let config = gullible_client(rustls::ALL_VERSIONS);
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp);
        let stream = stream.await.ok()?;
        let chain = stream.get_ref().1.peer_certificates()?;
        Some(chain.first()?.to_vec())
    }

    /// Sends the authority's process a signal.
    async fn signal(&self, name: &str) {
        let id = self.pebble.id().unwrap().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status().await;
        assert!(sent.unwrap().success());
    }

    async fn until_certified(&self, name: &str, is_right: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        within(name, async {
            loop {
                if let Some(certificate) = self.certificate(name).await
                    && is_right(&certificate)
                {
                    return certificate;
                }
                sleep(Duration::from_millis(100)).await;
            }
        })
        .await
    }
}

async fn app(operator: &Operator) -> AppAddress {
    let config = AppConfig {
        label: "one".to_owned(),
        ..guest("sdk-suite")
    };
    operator.deploy(&config).await
}

async fn add(operator: &Operator, app: AppAddress, domain: &str) {
    let args = DomainAddArgs {
        address: app.0.to_vec(),
        domain: domain.to_owned(),
        ..DomainAddArgs::default()
    };
    operator.domain_add(args).await.unwrap();
}

async fn figure(operator: &Operator, line: &str) -> u64 {
    let page = operator.send(Method::GET, "/metrics", &[], "").await.text();
    let value = page.lines().find_map(|one| one.strip_prefix(line));
    let value = value.unwrap_or_else(|| panic!("{line} in {page}"));
    value.trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_gets_a_certificate_over_the_tls_port_which_outlives_server_and_restart() {
    let mut place = Place::start(true).await;
    let operator = place.worker().await;
    let one = app(&operator).await;
    assert_eq!(place.certificate(SHOP).await, None);
    add(&operator, one, SHOP).await;
    let issued = place.until_certified(SHOP, |_| true).await;
    let good = "wapo_acme_certificates_total{outcome=\"issued\"} ";
    assert_eq!(figure(&operator, good).await, 1);
    operator.shutdown().await;

    // What it has is kept and used while the authority is away.
    place.pebble.kill().await.unwrap();
    let operator = place.worker().await;
    let kept = place.until_certified(SHOP, |_| true).await;
    assert_eq!(kept, issued);
    let acme = place.data().join("data/acme");
    for file in std::fs::read_dir(&acme).unwrap() {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "nobody else reads it");
    }
    add(&operator, one, "other.example.com").await;
    let failed = "wapo_acme_certificates_total{outcome=\"failed\"} ";
    within("an attempt", async {
        while figure(&operator, failed).await == 0 {
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_eq!(place.certificate(SHOP).await, Some(issued));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_one_proof_fails_the_other_one_is_given_and_a_name_that_leads_elsewhere_gets_none() {
    let place = Place::start(false).await;
    let operator = place.worker().await;
    let one = app(&operator).await;
    add(&operator, one, "nowhere.example.com").await;
    add(&operator, one, SHOP).await;
    // The first attempt for each is over TLS, where the authority finds nobody.
    place.until_certified(SHOP, |_| true).await;
    assert_eq!(place.certificate("nowhere.example.com").await, None);
    let failures = "wapo_acme_failures{name=\"nowhere.example.com\"} ";
    assert!(figure(&operator, failures).await > 0);
    assert_eq!(
        figure(&operator, "wapo_acme_failures{name=\"shop.example.com\"} ").await,
        0
    );
    // Pauses outlive a restart.
    let kept = place.data().join("data/acme/nowhere.example.com.failed");
    assert!(kept.exists());
    // Paths of the authority are the app's otherwise.
    let url = operator.user_url("/.well-known/acme-challenge/token");
    let host = format!("host: {SHOP}");
    let answer = curl(&["-H", &host, "-w", "%{http_code}", "-o", "/dev/null", &url]).await;
    assert_eq!(answer.out, "404");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_certificate_is_served_until_a_new_one_is_there() {
    let place = Place::start(true).await;
    let expired = place.authority.issue_expired(SHOP);
    let acme = place.data().join("data/acme");
    std::fs::create_dir_all(&acme).unwrap();
    let pem = format!("{}{}", expired.cert, expired.key);
    std::fs::write(acme.join(format!("{SHOP}.pem")), pem).unwrap();
    // The authority answers nobody meanwhile.
    place.signal("STOP").await;
    let operator = place.worker().await;
    let one = app(&operator).await;
    add(&operator, one, SHOP).await;
    let before = place.until_certified(SHOP, |_| true).await;
    let old = CertificateDer::from_pem_slice(expired.cert.as_bytes()).unwrap();
    assert_eq!(before, old.as_ref());
    place.signal("CONT").await;
    let renewed = place.until_certified(SHOP, |now| *now != *before).await;
    let line = "wapo_acme_certificate_not_after_seconds{name=\"shop.example.com\"} ";
    assert!(figure(&operator, line).await > 1_700_000_000);
    assert_eq!(place.certificate(SHOP).await, Some(renewed));
}

/// An authority that takes no orders for an hour; its URL.
async fn busy_authority(authority: &Authority, tasks: &mut JoinSet<()>) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let base = format!("https://{}", listener.local_addr().unwrap());
    let acceptor = authority.issue("127.0.0.1").acceptor();
    let own = base.clone();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((tcp, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(tcp).await else {
                continue;
            };
            let base = own.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = busy(&base, request.uri().path());
                async move { Ok::<_, Infallible>(answer) }
            });
            let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            connections.spawn(async move { drop(serving.await) });
        }
    });
    format!("{base}/dir")
}

/// What it answers.
fn busy(base: &str, path: &str) -> Response<Full<Bytes>> {
    let directory = serde_json::json!({
        "newNonce": format!("{base}/nonce"),
        "newAccount": format!("{base}/account"),
        "newOrder": format!("{base}/order"),
        "revokeCert": format!("{base}/revoke"),
        "keyChange": format!("{base}/key"),
    });
    let refusal = serde_json::json!({
        "type": "urn:ietf:params:acme:error:rateLimited",
        "detail": "too many certificates already issued",
        "status": 429,
    });
    let answer = Response::builder().header("replay-nonce", "abc");
    let (answer, body) = match path {
        "/dir" => (answer, directory.to_string()),
        "/account" => {
            let url = format!("{base}/account/1");
            (answer.status(201).header("location", url), "{}".to_owned())
        }
        "/order" => (
            answer.status(429).header("retry-after", "3600"),
            refusal.to_string(),
        ),
        _ => (answer, String::new()),
    };
    answer.body(Full::new(Bytes::from(body))).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_says_how_long_to_wait_is_not_asked_before() {
    let place = Place::start(true).await;
    let mut tasks = JoinSet::new();
    let busy = busy_authority(&place.authority, &mut tasks).await;
    let operator = place.worker_of(&busy).await;
    let one = app(&operator).await;
    add(&operator, one, SHOP).await;
    let failed = "wapo_acme_certificates_total{outcome=\"failed\"} ";
    within("the first attempt", async {
        while figure(&operator, failed).await == 0 {
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    // Without that it would have been asked again by now, also for other names.
    add(&operator, one, "other.example.com").await;
    sleep(3 * RETRY).await;
    assert_eq!(figure(&operator, failed).await, 1);
    assert_eq!(place.certificate(SHOP).await, None);
}
