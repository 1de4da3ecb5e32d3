//! Rules of an app that change while it runs.

use std::net::Ipv4Addr;
use std::time::Duration;

use e2e::{Errno, Operator, Probe, TIMEOUT, within};
use tokio::net::{TcpListener, UdpSocket};
use wapo_rpc::AppAddress;
use wapo_rpc::message::{AppEgressRules, AppSettings, AppSettingsSetArgs};

const DENIED: u8 = 9;

fn rules(allow: &[&str], deny: &[&str], only_allowed: bool) -> AppEgressRules {
    let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect();
    AppEgressRules {
        allow: texts(allow),
        deny: texts(deny),
        only_allowed,
    }
}

async fn set(
    operator: &Operator,
    app: AppAddress,
    egress: AppEgressRules,
) -> Result<AppSettings, String> {
    let args = AppSettingsSetArgs {
        address: app.0.to_vec(),
        quotas: Vec::new(),
        weight: 0,
        egress: Some(egress),
    };
    let answer = within("a change", operator.app_settings_set(args)).await;
    let answer = answer.map_err(|error| error.to_string())?;
    Ok(answer.settings.expect("settings"))
}

/// Connects by TCP; gives the stream.
async fn connect(probe: &Probe, port: u16) -> Result<u32, u8> {
    let connecting = match probe.tcp_connect("127.0.0.1", port.into()).await {
        Ok(connecting) => connecting,
        Err(Errno::Forbidden) => return Err(probe.net_failure(u32::MAX).await.unwrap().0),
        Err(errno) => panic!("{errno:?}"),
    };
    match probe.poll_res(connecting).await {
        Ok(stream) => Ok(stream),
        Err(_) => Err(probe.net_failure(connecting).await.unwrap().0),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_change_while_the_app_runs_and_what_is_dialled_then_is_judged_by_them() {
    let folder = tempfile::tempdir().unwrap();
    let operator = Operator::in_folder(folder.path()).await;
    let probe = Probe::on(operator.daemon(), |_| {}).await;
    let app = probe.app().handle().address();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let target = receiver.local_addr().unwrap();
    let socket = probe.udp_bind("127.0.0.1:0").await.unwrap();
    let send = || probe.send_to(socket, target, b"x");
    assert_eq!(connect(&probe, port).await, Err(DENIED));
    assert_eq!(send().await, Err(Errno::Forbidden));

    let open = rules(&["127.0.0.1"], &[], false);
    let shown = set(&operator, app, open).await.unwrap();
    assert_eq!(shown.egress, ["127.0.0.1"]);
    let stream = connect(&probe, port).await.expect("allowed");
    let (client, _) = within("it", listener.accept()).await.unwrap();
    assert_eq!(send().await, Ok(1));

    // What denies comes first, and what is connected stays so.
    let port_rule = format!("*:{port}");
    let closed = rules(&["127.0.0.1"], &[&port_rule, "127.0.0.1"], true);
    set(&operator, app, closed).await.unwrap();
    assert_eq!(connect(&probe, port).await, Err(DENIED));
    let refused = async {
        while send().await != Err(Errno::Forbidden) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let refused = tokio::time::timeout(TIMEOUT, refused).await;
    assert!(refused.is_ok(), "datagrams still go");
    probe.write_all(stream, b"still").await;
    let mut bytes = [0; 5];
    let read = async {
        use tokio::io::AsyncReadExt as _;
        let mut client = client;
        client.read_exact(&mut bytes).await.map(|_| bytes)
    };
    assert_eq!(&within("the bytes", read).await.unwrap(), b"still");
    let info = operator.find(app).await.unwrap();
    assert_eq!(info.usage.unwrap().starts, 1, "nothing was started again");
    let settings = info.settings.unwrap();
    assert_eq!(settings.egress_deny, [port_rule.as_str(), "127.0.0.1"]);
    assert!(settings.egress_only_allowed);
    drop(probe);
    operator.shutdown().await;

    let operator = Operator::in_folder(folder.path()).await;
    let settings = operator.find(app).await.unwrap().settings.unwrap();
    assert_eq!(settings.egress, ["127.0.0.1"]);
    assert_eq!(settings.egress_deny, [port_rule.as_str(), "127.0.0.1"]);
    assert!(settings.egress_only_allowed);
    operator.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_rule_changes_nothing_and_only_the_operator_changes_any() {
    let operator = Operator::start().await;
    let probe = Probe::on(operator.daemon(), |app| {
        app.egress = vec!["127.0.0.1".parse().unwrap()];
    })
    .await;
    let app = probe.app().handle().address();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let many: Vec<String> = (0..1001).map(|n| format!("n{n}.test")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (wrong, expected) in [
        (rules(&["not a/rule"], &[], false), "not a/rule"),
        (rules(&["a.test"], &["10.0.0.0/33"], false), "10.0.0.0/33"),
        (rules(&many, &[], false), "1001 egress rules are more than"),
    ] {
        let error = set(&operator, app, wrong).await.unwrap_err();
        assert!(error.contains(expected), "{error}");
        assert!(connect(&probe, port).await.is_ok());
    }
    let nobody = AppAddress([7; 32]);
    let error = set(&operator, nobody, rules(&[], &[], true)).await;
    assert!(error.unwrap_err().contains("not found"));
    // Quotas alone leave the rules.
    let args = AppSettingsSetArgs {
        address: app.0.to_vec(),
        quotas: Vec::new(),
        weight: 0,
        egress: None,
    };
    let answer = operator.app_settings_set(args).await.unwrap();
    assert_eq!(answer.settings.unwrap().egress, ["127.0.0.1/32"]);
    // The user port knows no such call.
    let path = operator.user_url("/prpc/Operation.AppSettingsSet?json");
    let body = format!(r#"{{"address": "0x{app}", "egress": {{"allow": ["*"]}}}}"#);
    let printed = e2e::client::curl(&["--data", &body, &path]).await;
    let info = operator.find(app).await.unwrap().settings.unwrap();
    assert_eq!(info.egress, ["127.0.0.1/32"], "{}", printed.out);
    // None at all closes what a rule had opened.
    set(&operator, app, AppEgressRules::default())
        .await
        .unwrap();
    assert_eq!(connect(&probe, port).await, Err(DENIED));
}
