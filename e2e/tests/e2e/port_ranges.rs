//! Ports that an operator grants to an app: several ranges, and nobody else's.

use e2e::operator::{args, settings};
use e2e::{Errno, Operator, Probe, fixture, guest, ports};
use wapod::{AppConfig, PortRanges};

const LISTEN_DENIED: u8 = 12;

/// Two ports that are free and next to none of each other.
fn two_ports() -> [u16; 2] {
    let first = ports::free();
    loop {
        let second = ports::free();
        if first.abs_diff(second) > 1 {
            return [first, second];
        }
    }
}

fn config(label: &str, ports: Option<&PortRanges>) -> AppConfig {
    let mut config = fixture("probe");
    config.label = label.to_owned();
    config.listen_ports = ports.cloned();
    config
}

async fn probe(operator: &Operator, label: &str, ports: Option<&PortRanges>) -> Probe {
    Probe::of(operator.daemon().deploy(config(label, ports)).await)
}

/// Cannot listen on a port, of TCP or UDP, because it was granted to another.
async fn assert_closed(probe: &Probe, port: u16) {
    for address in ["127.0.0.1", "0.0.0.0", "[::]"] {
        let address = format!("{address}:{port}");
        for refused in [
            probe.tcp_listen(&address, None).await,
            probe.udp_bind(&address).await,
        ] {
            assert_eq!(refused, Err(Errno::Io), "{address}");
            let (kind, text) = probe.net_failure(u32::MAX).await.unwrap();
            assert_eq!(kind, LISTEN_DENIED, "{text}");
            assert!(text.contains("granted this port to another app"), "{text}");
        }
    }
}

async fn listen(probe: &Probe, port: u16) {
    let address = format!("127.0.0.1:{port}");
    let listener = probe.tcp_listen(&address, None).await;
    let listener = listener.expect("TCP");
    let socket = probe.udp_bind(&address).await.expect("UDP");
    probe.close(listener).await.unwrap();
    probe.close(socket).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_that_an_app_is_granted_are_closed_to_all_others() {
    let folder = tempfile::tempdir().unwrap();
    let worker: PortRanges = "1024..65535".parse().unwrap();
    let start = || {
        Operator::with(|config| {
            config.data_dir = Some(folder.path().to_owned());
            config.listen_ports = Some(worker.clone());
        })
    };
    let operator = start().await;
    let [one, two] = two_ports();
    let free = ports::free();
    let granted: PortRanges = format!("{one},{two}").parse().unwrap();
    let holder = probe(&operator, "holder", Some(&granted)).await;
    let other = probe(&operator, "other", None).await;
    for port in [one, two] {
        assert_closed(&other, port).await;
        listen(&holder, port).await;
        // Neither when nobody listens there any more.
        assert_closed(&other, port).await;
    }
    listen(&other, free).await;
    let outside = holder.tcp_listen(&format!("127.0.0.1:{free}"), None).await;
    assert_eq!(outside, Err(Errno::Forbidden));
    let (_, text) = holder.net_failure(u32::MAX).await.unwrap();
    assert!(text.contains(&granted.to_string()), "{text}");
    let address = holder.app().handle().address();
    let shown = async |operator: &Operator| {
        let info = operator.find(address).await.unwrap();
        info.settings.unwrap().listen_ports
    };
    assert_eq!(shown(&operator).await, granted.to_string());
    drop((holder, other));
    operator.shutdown().await;

    // A restart keeps them, whether the app runs or not.
    let operator = start().await;
    assert_eq!(shown(&operator).await, granted.to_string());
    let late = probe(&operator, "late", None).await;
    assert_closed(&late, one).await;
    assert_closed(&late, two).await;
    operator.remove(address).await;
    listen(&late, one).await;
    listen(&late, two).await;
    drop(late);
    operator.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_has_the_ports_that_it_is_granted_and_the_old_ones_come_free() {
    let operator = Operator::start().await;
    let [one, two] = two_ports();
    let app = guest("query");
    let grant = async |label: &str, port: u16, replaces: Option<wapo_rpc::AppAddress>| {
        let change = |wanted: &mut wapo_rpc::message::DeployArgs| {
            let manifest = wanted.manifest.as_mut().unwrap();
            manifest.label = label.to_owned();
            settings(wanted).listen_ports = port.to_string();
            wanted.replaces = replaces.map(|old| old.0.to_vec()).unwrap_or_default();
        };
        operator.deploy_with(&app, change).await
    };
    let old = grant("first", one, None).await;
    let both: PortRanges = format!("{one},{two}").parse().unwrap();
    // One that is granted the same ports shares the right, and gets them when free.
    let second = probe(&operator, "second", Some(&both)).await;
    listen(&second, one).await;
    let stranger = Probe::of(
        operator
            .daemon()
            .deploy(config("stranger", Some(&PortRanges::from(ports::free()))))
            .await,
    );
    let refused = stranger.tcp_listen(&format!("127.0.0.1:{one}"), None).await;
    assert_eq!(refused, Err(Errno::Forbidden), "not in its own ranges");
    let new = grant("second-version", two, Some(old)).await;
    assert!(operator.find(old).await.is_none() && operator.find(new).await.is_some());
    listen(&second, two).await;
    // What is no range is refused, and nothing was granted by it.
    let mut wanted = args(&app);
    settings(&mut wanted).listen_ports = "1,2..,3".to_owned();
    let error = operator.try_deploy(wanted).await.unwrap_err().to_string();
    assert!(error.contains("2.."), "{error}");
}
