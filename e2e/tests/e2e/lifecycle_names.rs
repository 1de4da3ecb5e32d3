//! Host names and ports of apps, and how one app takes the place of another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use e2e::operator::{address, args, manifest};
use e2e::{Operator, guest, ports, within};
use wapo_rpc::AppAddress;
use wapo_rpc::message::*;

/// Deploys a variant of an app under a name, perhaps in the place of another.
async fn deploy(
    operator: &Operator,
    label: &str,
    name: &str,
    replaces: Option<AppAddress>,
) -> Result<(AppAddress, String), String> {
    let app = guest("query");
    operator.put_code(&app).await;
    let mut wanted = args(&app);
    manifest(&mut wanted).label = label.to_owned();
    wanted.name = name.to_owned();
    wanted.replaces = replaces.map(|app| app.0.to_vec()).unwrap_or_default();
    let deployed = operator.try_deploy(wanted).await;
    let deployed = deployed.map_err(|error| error.to_string())?;
    Ok((address(&deployed), deployed.name))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_app_has_the_name() {
    let operator = Operator::start().await;
    let (first, name) = deploy(&operator, "My App!", "", None).await.unwrap();
    assert_eq!(name, "my-app");
    let (second, name) = deploy(&operator, "my app", "", None).await.unwrap();
    assert_eq!(name, "", "a wish that nobody uttered");
    let error = deploy(&operator, "x", "my-app", None).await.unwrap_err();
    assert!(error.contains("`my-app` belongs to another app"), "{error}");
    assert_eq!(operator.apps().await.len(), 2);
    operator.remove(first).await;
    let (third, name) = deploy(&operator, "x", "my-app", None).await.unwrap();
    assert_eq!(name, "my-app", "it was free again");
    assert_eq!(operator.find(third).await.unwrap().name, "my-app");
    assert_eq!(operator.find(second).await.unwrap().name, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_a_label_of_a_host_name() {
    let operator = Operator::start().await;
    let base32 = AppAddress([7; 32]).to_base32();
    let long = "a".repeat(64);
    for bad in ["A", "a.b", "-a", "a-", "a b", "ä", &long, &base32] {
        let error = deploy(&operator, "x", bad, None).await.unwrap_err();
        assert!(error.contains(bad), "{error}");
    }
    assert!(operator.apps().await.is_empty());
    let longest = "a".repeat(63);
    let (_, name) = deploy(&operator, "x", &longest, None).await.unwrap();
    assert_eq!(name, longest);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_passes_to_the_app_that_takes_the_place() {
    let operator = Operator::start().await;
    let (first, _) = deploy(&operator, "one", "shop", None).await.unwrap();
    let (second, name) = deploy(&operator, "two", "shop", Some(first)).await.unwrap();
    assert_eq!(name, "shop");
    let apps = operator.apps().await;
    assert_eq!(apps.len(), 1);
    assert_eq!(
        (&apps[0].address[..], &apps[0].name[..]),
        (&second.0[..], "shop")
    );
    // Another name than the old app's: that one is free again.
    let (third, name) = deploy(&operator, "three", "store", Some(second))
        .await
        .unwrap();
    assert_eq!(name, "store");
    let (_, name) = deploy(&operator, "four", "shop", None).await.unwrap();
    assert_eq!(name, "shop");
    let error = deploy(&operator, "five", "shop", Some(third)).await;
    assert!(error.unwrap_err().contains("belongs to another app"));
    assert_eq!(operator.find(third).await.unwrap().name, "store");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_that_fails_leaves_the_old_app_alone() {
    let operator = Operator::start().await;
    let (old, _) = deploy(&operator, "old", "shop", None).await.unwrap();
    let mut wanted = args(&guest("query"));
    manifest(&mut wanted).code_hash = format!("sha256:{}", "00".repeat(32));
    wanted.name = "shop".to_owned();
    wanted.replaces = old.0.to_vec();
    assert!(operator.try_deploy(wanted).await.is_err());
    let info = operator.find(old).await.unwrap();
    assert_eq!(
        (info.name.as_str(), info.state.as_str()),
        ("shop", "running")
    );
    assert_eq!(operator.query(old, "/origin").await.unwrap(), "nobody");
}

/// An echo server on a port of its own.
async fn echo(operator: &Operator, port: u16, label: &str) -> DeployArgs {
    let mut app = guest("tcp-echo");
    app.listen_ports = ports::only(port);
    app.args = vec![format!("127.0.0.1:{port}")];
    app.label = label.to_owned();
    operator.put_code(&app).await;
    let mut wanted = args(&app);
    manifest(&mut wanted).resizable = true;
    wanted
}

/// Whether a connection is taken and answered.
async fn echoes(port: u16) -> std::io::Result<()> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"ping").await?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await?;
    assert_eq!(&answer, b"ping");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_of_an_app_share_its_port() {
    let operator = Operator::start().await;
    let port = ports::free();
    let app = operator.try_deploy(echo(&operator, port, "").await).await;
    let app = address(&app.unwrap());
    let resize = ResizeArgs {
        address: app.0.to_vec(),
        instances: 2,
    };
    operator.app_resize(resize).await.unwrap();
    let both = operator.until("both to listen", app, |app| {
        app.instance_list.len() == 2
            && app
                .instance_list
                .iter()
                .all(|one| !one.listening.is_empty())
    });
    both.await;
    for _ in 0..20 {
        within("an echo", echoes(port)).await.unwrap();
    }
    // Nobody else may have it: the other app fails, at once or a moment later.
    let other = echo(&operator, port, "other").await;
    match operator.try_deploy(other).await {
        Ok(deployed) => {
            let failed = |app: &AppInfo| app.state == "waiting" || app.state == "failed";
            let end = operator.until("its failure", address(&deployed), failed);
            end.await;
        }
        Err(error) => {
            let error = error.to_string();
            assert!(
                error.starts_with("instance stopped unexpectedly"),
                "{error}"
            );
        }
    }
    within("an echo", echoes(port)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_passes_to_the_app_that_takes_the_place_without_a_refusal() {
    let operator = Operator::start().await;
    let port = ports::free();
    let first = operator.try_deploy(echo(&operator, port, "0").await).await;
    let mut app = address(&first.unwrap());
    let listens = |app: &AppInfo| {
        app.instance_list
            .iter()
            .any(|one| !one.listening.is_empty())
    };
    operator.until("a listener", app, listens).await;
    let (stop, refused) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let knocking = {
        let (stop, refused) = (Arc::clone(&stop), Arc::clone(&refused));
        tokio::spawn(async move {
            let mut knocks = 0;
            while !stop.load(Ordering::Relaxed) {
                let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await;
                refused.fetch_add(usize::from(stream.is_err()), Ordering::Relaxed);
                knocks += 1;
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            knocks
        })
    };
    for number in 1..5 {
        let mut wanted = echo(&operator, port, &number.to_string()).await;
        wanted.replaces = app.0.to_vec();
        app = address(&operator.try_deploy(wanted).await.unwrap());
        assert_eq!(operator.apps().await.len(), 1);
    }
    operator.until("the last listener", app, listens).await;
    within("an echo", echoes(port)).await.unwrap();
    stop.store(true, Ordering::Relaxed);
    assert!(knocking.await.unwrap() > 0);
    assert_eq!(refused.load(Ordering::Relaxed), 0);
}
