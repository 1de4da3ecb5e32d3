//! Names on the shared TLS port over the life of apps: who has one, who gets it,
//! what clients notice of a replacement.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use e2e::operator::{address, args, manifest};
use e2e::tls_port::alert;
use e2e::{Authority, Errno, Operator, Probe, TlsPort, text_guest, within};
use hyper::Method;
use rustls::AlertDescription;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use wapo_rpc::AppAddress;
use wapo_rpc::message::*;
use wapod::AppConfig;

use crate::lifecycle_apps::SPINNING;

/// Waits until an app answers under a name.
async fn until_served(port: &TlsPort, name: &str) {
    let served = async {
        while port.echo(name, "hello").await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    within(name, served).await;
}

/// Deploys an app for requests that nobody has made yet.
async fn deploy(operator: &Operator, app: &AppConfig, old: Option<AppAddress>) -> DeployResponse {
    try_deploy(operator, app, old).await.unwrap()
}

async fn try_deploy(
    operator: &Operator,
    app: &AppConfig,
    old: Option<AppAddress>,
) -> Result<DeployResponse, wapo_rpc::client::ClientError> {
    operator.put_code(app).await;
    let mut wanted = args(app);
    wanted.replaces = old.map(|app| app.0.to_vec()).unwrap_or_default();
    operator.try_deploy(wanted).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_app_keeps_a_name_until_it_is_removed() {
    let port = TlsPort::start().await;
    let operator = port.operator();
    let mut first = port.echo_app("shop.example");
    // It crashes a moment later, and starts again.
    first.args.push("exit=300".to_owned());
    let first = address(&deploy(operator, &first, None).await);
    until_served(&port, "shop.example").await;
    let other = Probe::on(port.daemon(), |app| app.label = "other".to_owned()).await;
    let identity = port.authority().issue("shop.example");
    let claim = || other.tls_listen_sni("shop.example", (&identity.cert, &identity.key));
    let restarted = |info: &AppInfo| info.instance_list.iter().any(|one| one.restarts > 0);
    operator.until("a restart", first, restarted).await;
    for _ in 0..3 {
        assert_eq!(claim().await, Err(Errno::InvalidParameter));
    }
    // Also while it is stopped.
    operator.app_stop(first.into()).await.unwrap();
    assert_eq!(claim().await, Err(Errno::InvalidParameter));
    let refused = port.connect("shop.example").await.unwrap_err();
    assert_eq!(alert(&refused), Some(AlertDescription::InternalError));
    operator.remove(first).await;
    assert!(claim().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_apps_that_want_a_name_at_once_one_gets_it() {
    let port = TlsPort::start().await;
    let mut probes = Vec::new();
    for number in 0..4 {
        let label = |app: &mut AppConfig| app.label = format!("app-{number}");
        probes.push(Probe::on(port.daemon(), label).await);
    }
    let identity = port.authority().issue("shop.example");
    let claims = probes.iter().map(|probe| {
        let identity = (identity.cert.as_str(), identity.key.as_str());
        probe.tls_listen_sni("shop.example", identity)
    });
    let outcomes = futures_util::future::join_all(claims).await;
    let winners = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(winners, 1, "{outcomes:?}");
}

/// Clients that connect all the time.
struct Clients {
    is_over: Arc<AtomicBool>,
    asking: Vec<tokio::task::JoinHandle<(u32, Vec<String>)>>,
}

impl Clients {
    fn start(port: &Arc<TlsPort>, name: &'static str) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let clients = (0..4).map(|_| {
            let (told, port) = (Arc::clone(&is_over), Arc::clone(port));
            tokio::spawn(async move {
                let (mut served, mut refused) = (0, Vec::new());
                while !told.load(Ordering::Relaxed) {
                    match port.echo(name, "hello").await {
                        Ok(text) if text == "hello" => served += 1,
                        other => refused.push(format!("{other:?}")),
                    }
                }
                (served, refused)
            })
        });
        let asking = clients.collect();
        Self { is_over, asking }
    }

    async fn expect_content(self) {
        self.is_over.store(true, Ordering::Relaxed);
        for client in self.asking {
            let (served, refused) = within("the last answer", client).await.unwrap();
            assert!(served > 0);
            assert!(refused.is_empty(), "{refused:?} beside {served} good ones");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_refuses_no_client() {
    let port = Arc::new(TlsPort::start().await);
    let operator = port.operator();
    let app = port.echo_app("shop.example");
    let mut old = address(&deploy(operator, &app, None).await);
    until_served(&port, "shop.example").await;
    let clients = Clients::start(&port, "shop.example");
    for number in 0..3 {
        let mut app = port.echo_app("shop.example");
        app.label = format!("version-{number}");
        old = address(&deploy(operator, &app, Some(old)).await);
    }
    clients.expect_content().await;
    assert_eq!(operator.apps().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_does_not_serve_the_name_leaves_the_old_one_as_it_was() {
    let port = Arc::new(TlsPort::start().await);
    let operator = port.operator();
    let app = port.echo_app("shop.example");
    let old = address(&deploy(operator, &app, None).await);
    until_served(&port, "shop.example").await;
    let clients = Clients::start(&port, "shop.example");
    let mut other = port.echo_app("new.example");
    other.label = "new".to_owned();
    let refused = try_deploy(operator, &other, Some(old)).await.unwrap_err();
    let text = refused.to_string();
    assert!(
        text.contains("does not serve shop.example by TLS"),
        "{text}"
    );
    clients.expect_content().await;
    // What only that version served is free again.
    let refused = port.connect("new.example").await.unwrap_err();
    assert_eq!(alert(&refused), Some(AlertDescription::UnrecognisedName));
    let next = deploy(operator, &port.echo_app("new.example"), None).await;
    until_served(&port, "new.example").await;
    assert_ne!(address(&next), old);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_is_removed_while_it_is_replaced_leaves_its_name_to_the_next() {
    let port = TlsPort::start().await;
    let operator = port.operator();
    let named = |label: &str| {
        let mut app = port.echo_app("shop.localhost");
        app.label = label.to_owned();
        let mut wanted = args(&app);
        wanted.name = "shop".to_owned();
        (app, wanted)
    };
    let (app, wanted) = named("first");
    operator.put_code(&app).await;
    let old = address(&operator.try_deploy(wanted).await.unwrap());
    until_served(&port, "shop.localhost").await;
    let (_, mut wanted) = named("second");
    wanted.replaces = old.0.to_vec();
    let removing = async {
        // The next one serves the name, and is watched.
        let both = async { while operator.apps().await.len() < 2 {} };
        let _ = tokio::time::timeout(Duration::from_millis(600), both).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        operator.app_remove(old.into()).await
    };
    let (deployed, _) = tokio::join!(operator.try_deploy(wanted), removing);
    deployed.unwrap();
    until_served(&port, "shop.localhost").await;
    let apps = operator.apps().await;
    assert_eq!(apps.len(), 1);
    assert_eq!(apps[0].name, "shop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_fails_takes_no_name_from_one_that_does_not_run() {
    let port = TlsPort::start().await;
    let operator = port.operator();
    let app = port.echo_app("shop.example");
    let old = address(&deploy(operator, &app, None).await);
    until_served(&port, "shop.example").await;
    operator.app_stop(old.into()).await.unwrap();
    // It asks for the name, and ends in failure while it is watched.
    let mut next = port.echo_app("shop.example");
    next.label = "next".to_owned();
    next.args.push("exit=100".to_owned());
    try_deploy(operator, &next, Some(old)).await.unwrap_err();
    let other = Probe::on(port.daemon(), |app| app.label = "other".to_owned()).await;
    let identity = port.authority().issue("shop.example");
    let claim = other.tls_listen_sni("shop.example", (&identity.cert, &identity.key));
    assert_eq!(claim.await, Err(Errno::InvalidParameter));
    operator.app_start(old.into()).await.unwrap();
    until_served(&port, "shop.example").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_connection_starts_an_app_on_demand() {
    let port = TlsPort::start().await;
    let operator = port.operator();
    // The name that it was deployed with is its own before it runs.
    let app = port.echo_app("shop.localhost");
    operator.put_code(&app).await;
    let mut wanted = args(&app);
    wanted.name = "shop".to_owned();
    manifest(&mut wanted).on_demand = true;
    let deployed = address(&operator.try_deploy(wanted).await.unwrap());
    let info = operator.find(deployed).await.unwrap();
    assert_eq!(info.instance_list.len(), 0);
    assert_eq!(port.echo("shop.localhost", "hello").await.unwrap(), "hello");
    let info = operator.find(deployed).await.unwrap();
    assert_eq!(info.instance_list.len(), 1);
    // Nobody else may have it.
    let other = Probe::on(port.daemon(), |app| app.label = "other".to_owned()).await;
    let identity = port.authority().issue("shop.localhost");
    for name in ["shop.localhost", "other-shop.localhost", "a.shop.localhost"] {
        let refused = other.tls_listen_sni(name, (&identity.cert, &identity.key));
        assert_eq!(refused.await, Err(Errno::InvalidParameter), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_on_demand_stays_for_a_while_after_its_last_connection() {
    let port = TlsPort::start().await;
    let operator = port.operator();
    let app = port.echo_app("shop.localhost");
    operator.put_code(&app).await;
    let mut wanted = args(&app);
    wanted.name = "shop".to_owned();
    manifest(&mut wanted).on_demand = true;
    let deployed = address(&operator.try_deploy(wanted).await.unwrap());
    let client = port.connect("shop.localhost").await.unwrap();
    // Longer than it stays without a use.
    tokio::time::sleep(wapod::limits::ON_DEMAND_LINGER + Duration::from_secs(2)).await;
    drop(client);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let info = operator.find(deployed).await.unwrap();
    assert_eq!(info.instance_list.len(), 1);
    assert_eq!(port.echo("shop.localhost", "hello").await.unwrap(), "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bounded_number_of_connections_waits_for_an_app_that_starts() {
    let port = TlsPort::start().await;
    let operator = port.operator();
    // It never comes to ask for its name.
    let app = text_guest(SPINNING);
    operator.put_code(&app).await;
    let mut wanted = args(&app);
    wanted.name = "spinning".to_owned();
    manifest(&mut wanted).on_demand = true;
    operator.try_deploy(wanted).await.unwrap();
    let neighbour = deploy(operator, &port.echo_app("shop.example"), None).await;
    assert!(!neighbour.address.is_empty());
    until_served(&port, "shop.example").await;
    let port = Arc::new(port);
    let mut parked = tokio::task::JoinSet::new();
    for _ in 0..wapod::limits::PARKED_OF_APP_MAX {
        let port = Arc::clone(&port);
        parked.spawn(async move { port.connect("spinning.localhost").await });
    }
    let all = format!(
        "wapo_tls_waiting{{state=\"parked\"}} {}",
        wapod::limits::PARKED_OF_APP_MAX
    );
    let waiting = async {
        loop {
            let figures = port.operator().send(Method::GET, "/metrics", &[], "");
            if figures.await.text().contains(&all) {
                return;
            }
        }
    };
    within("all of them", waiting).await;
    let refused = port.connect("spinning.localhost").await.unwrap_err();
    assert_eq!(alert(&refused), Some(AlertDescription::InternalError));
    assert_eq!(port.echo("shop.example", "hello").await.unwrap(), "hello");
    assert!(parked.try_join_next().is_none(), "the others wait");
    while let Some(ended) = within("their end", parked.join_next()).await {
        let refused = ended.unwrap().unwrap_err();
        assert_eq!(alert(&refused), Some(AlertDescription::InternalError));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_waits_until_an_app_has_come_to_ask_for_the_name() {
    let port = TlsPort::start().await;
    let operator = port.operator();
    let mut app = port.echo_app("shop.localhost");
    app.args.insert(0, "wait=500".to_owned());
    operator.put_code(&app).await;
    let mut wanted = args(&app);
    wanted.name = "shop".to_owned();
    manifest(&mut wanted).on_demand = true;
    let deployed = address(&operator.try_deploy(wanted).await.unwrap());
    assert_eq!(port.echo("shop.localhost", "hello").await.unwrap(), "hello");
    operator.app_stop(deployed.into()).await.unwrap();
    assert_eq!(port.echo("shop.localhost", "again").await.unwrap(), "again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_can_have_an_instance_of_its_own() {
    let port = TlsPort::start().await;
    let operator = port.operator();
    let app = port.echo_app("shop.example");
    operator.put_code(&app).await;
    let mut wanted = args(&app);
    wanted.reuse_instances = false;
    let deployed = address(&operator.try_deploy(wanted).await.unwrap());
    until_served(&port, "shop.example").await;
    let instances = |count| move |info: &AppInfo| info.instance_list.len() == count;
    operator.until("the first", deployed, instances(1)).await;
    let one = port.connect("shop.example").await.unwrap();
    let other = port.connect("shop.example").await.unwrap();
    operator.until("one each", deployed, instances(3)).await;
    drop(one);
    operator.until("its end", deployed, instances(2)).await;
    drop(other);
    operator.until("both ends", deployed, instances(1)).await;
}

/// An app with two instances that tell their numbers under a name.
async fn two_instances(port: &TlsPort, name: &str) -> AppAddress {
    let operator = port.operator();
    let mut app = port.echo_app(name);
    app.args = vec![format!("sni-number={name}")];
    operator.put_code(&app).await;
    let mut wanted = args(&app);
    manifest(&mut wanted).resizable = true;
    let deployed = address(&operator.try_deploy(wanted).await.unwrap());
    let resize = ResizeArgs {
        address: deployed.0.to_vec(),
        instances: 2,
    };
    operator.app_resize(resize).await.unwrap();
    let serve = |info: &AppInfo| {
        let serving = info.instance_list.iter().filter(|one| one.takes_http);
        // Before they take requests they have asked for the name.
        serving.count() == 2
    };
    operator.until("two that serve", deployed, serve).await;
    deployed
}

/// A connection, and the number of the instance that has it.
async fn visit(port: &TlsPort, name: &str) -> (TlsStream<TcpStream>, [u8; 16]) {
    let mut stream = port.connect(name).await.unwrap();
    let mut number = [0; 16];
    let reading = stream.read_exact(&mut number);
    within("a number", reading).await.unwrap();
    (stream, number)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_instances_the_least_busy_gets_the_next_connection() {
    let port = TlsPort::start().await;
    two_instances(&port, "shop.example").await;
    let mut held = Vec::new();
    for round in 0..5 {
        let (one, first) = visit(&port, "shop.example").await;
        let (other, second) = visit(&port, "shop.example").await;
        assert_ne!(first, second, "in round {round}");
        held.extend([one, other]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_is_busy_loses_its_connections_to_the_other_in_time() {
    let port = TlsPort::start().await;
    let app = two_instances(&port, "shop.example").await;
    let url = port.operator().app_url(app, "/busy/8000");
    let busy = tokio::spawn(async move { e2e::client::get(&url).await });
    let at_work = |info: &AppInfo| info.instance_list.iter().any(|one| one.requests == 1);
    port.operator().until("its request", app, at_work).await;
    let mut held = Vec::new();
    for _ in 0..6 {
        held.push(visit(&port, "shop.example").await);
    }
    // One may have come before the instance was busy.
    let numbers: Vec<_> = held[1..].iter().map(|(_, number)| number).collect();
    assert!(numbers.iter().all(|one| *one == numbers[0]), "{numbers:?}");
    assert!(!busy.is_finished(), "nobody has waited for it");
    busy.await.unwrap().expect_status(200);
}

/// A port whose daemon remembers what it was told.
async fn in_folder(authority: &Arc<Authority>, path: &Path) -> TlsPort {
    let remember = |config: &mut wapod::Config| config.data_dir = Some(path.to_owned());
    TlsPort::of(Arc::clone(authority), remember).await
}

/// Whether another app may have a name.
async fn claims(port: &TlsPort, label: &str, name: &str) -> Result<u32, Errno> {
    let other = Probe::on(port.daemon(), |app| app.label = label.to_owned()).await;
    let identity = port.authority().issue(name);
    other
        .tls_listen_sni(name, (&identity.cert, &identity.key))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_keeps_the_names_that_it_has_asked_for_over_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Arc::new(Authority::new());
    let port = in_folder(&authority, folder.path()).await;
    let operator = port.operator();
    let first = address(&deploy(operator, &port.echo_app("shop.example"), None).await);
    until_served(&port, "shop.example").await;
    // One that is started by requests, and has come to ask for its name.
    let app = port.echo_app("demand.example");
    operator.put_code(&app).await;
    let mut wanted = args(&app);
    manifest(&mut wanted).on_demand = true;
    let on_demand = address(&operator.try_deploy(wanted).await.unwrap());
    let url = operator.app_url(on_demand, "/status/204");
    e2e::client::get(&url).await.expect_status(204);
    until_served(&port, "demand.example").await;
    // One that has closed its listener.
    let closing = Probe::on(port.daemon(), |app| app.label = "closing".to_owned()).await;
    let identity = authority.issue("closed.example");
    let listening = closing.tls_listen_sni("closed.example", (&identity.cert, &identity.key));
    closing.close(listening.await.unwrap()).await.unwrap();
    drop(closing);
    operator.app_stop(first.into()).await.unwrap();
    port.shutdown().await;

    let port = in_folder(&authority, folder.path()).await;
    let operator = port.operator();
    for name in ["shop.example", "demand.example"] {
        let refused = claims(&port, name, name).await;
        assert_eq!(refused, Err(Errno::InvalidParameter), "{name}");
    }
    assert!(claims(&port, "free", "closed.example").await.is_ok());
    // A connection starts it: its names are known before it runs.
    assert_eq!(port.echo("demand.example", "hi").await.unwrap(), "hi");
    operator.app_start(first.into()).await.unwrap();
    until_served(&port, "shop.example").await;
    // The version that takes its place has the name, and keeps it.
    let mut next = port.echo_app("shop.example");
    next.label = "next".to_owned();
    let second = address(&deploy(operator, &next, Some(first)).await);
    operator.app_stop(second.into()).await.unwrap();
    operator.remove(on_demand).await;
    port.shutdown().await;

    let port = in_folder(&authority, folder.path()).await;
    let refused = claims(&port, "third", "shop.example").await;
    assert_eq!(refused, Err(Errno::InvalidParameter));
    assert!(claims(&port, "fourth", "demand.example").await.is_ok());
    port.operator().remove(second).await;
    assert!(claims(&port, "fifth", "shop.example").await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_written_down_while_the_daemon_runs() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Arc::new(Authority::new());
    let port = in_folder(&authority, folder.path()).await;
    let probe = Probe::on(port.daemon(), |app| app.label = "first".to_owned()).await;
    let identity = authority.issue("written.example");
    let listening = probe.tls_listen_sni("written.example", (&identity.cert, &identity.key));
    listening.await.unwrap();
    // A daemon that is killed from now on has it.
    let written = async {
        loop {
            let bytes = std::fs::read(folder.path().join("state.redb")).unwrap();
            if bytes.windows(15).any(|name| name == b"written.example") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within("the name to be written down", written).await;
}
