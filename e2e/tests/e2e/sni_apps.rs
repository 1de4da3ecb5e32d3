//! Names on the shared TLS port over the life of apps: who has one, who gets it,
//! what clients notice of a replacement.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use e2e::operator::{address, args, manifest};
use e2e::tls_port::alert;
use e2e::{Errno, Operator, Probe, TlsPort, text_guest, within};
use hyper::Method;
use rustls::AlertDescription;
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
        text.contains("serves shop.example by TLS: not yet"),
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
