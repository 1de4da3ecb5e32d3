//! One UDP port, several instances: side by side, one after the other, and leaving.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use e2e::operator::{address, args, manifest, settings};
use e2e::{Operator, guest, ports, within};
use wapo_rpc::AppAddress;
use wapo_rpc::message::*;

/// The suite with this argument, which may have the port and send to loopback.
async fn version(operator: &Operator, label: &str, argument: &str, port: u16) -> DeployArgs {
    let mut app = guest("sdk-suite");
    label.clone_into(&mut app.label);
    app.args = vec![argument.to_owned()];
    app.listen_ports = ports::only(port);
    operator.put_code(&app).await;
    let mut wanted = args(&app);
    wanted.name = "echo".to_owned();
    settings(&mut wanted).egress = vec!["127.0.0.0/8".to_owned()];
    manifest(&mut wanted).resizable = true;
    wanted
}

async fn deploy(operator: &Operator, wanted: DeployArgs) -> AppAddress {
    address(&operator.try_deploy(wanted).await.unwrap())
}

/// A client that waits for each answer before it asks again.
struct Customer {
    socket: UdpSocket,
    at: SocketAddr,
}

impl Customer {
    fn of(at: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        Self { socket, at }
    }

    fn ask(&self, number: u32) {
        let asked = number.to_le_bytes();
        self.socket.send_to(&asked, self.at).unwrap();
        let mut answer = [0; 8];
        let count = self.socket.recv(&mut answer);
        let count = count.unwrap_or_else(|error| panic!("{number}: {error}"));
        assert_eq!(answer[..count], asked);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_share_a_port_and_each_datagram_has_one_answer() {
    let operator = Operator::start().await;
    let port = ports::free();
    let listen = format!("listen-udp=127.0.0.1:{port}");
    let mut wanted = version(&operator, "shared", &listen, port).await;
    settings(&mut wanted).instances = 3;
    let app = deploy(&operator, wanted).await;
    let at: SocketAddr = ([127, 0, 0, 1], port).into();
    let all = operator.until("all instances", app, |app| {
        let listening = |one: &&InstanceInfo| one.listening_udp == [at.to_string()];
        app.instance_list.iter().filter(listening).count() == 3
    });
    all.await;
    let asking = tokio::task::spawn_blocking(move || {
        let customer = Customer::of(at);
        (0..200).for_each(|number| customer.ask(number));
        // Nothing was answered twice.
        customer.socket.set_nonblocking(true).unwrap();
        assert!(customer.socket.recv(&mut [0; 8]).is_err());
    });
    within("the answers", asking).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_takes_the_port_over_and_no_datagram_is_lost() {
    let operator = Operator::start().await;
    let port = ports::free();
    let listen = format!("listen-udp=127.0.0.1:{port}");
    let wanted = version(&operator, "old", &listen, port).await;
    let old = deploy(&operator, wanted).await;
    let at: SocketAddr = ([127, 0, 0, 1], port).into();
    let is_over = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&is_over);
    let asking = tokio::task::spawn_blocking(move || {
        let customer = Customer::of(at);
        let mut number = 0;
        while !told.load(Ordering::Relaxed) {
            customer.ask(number);
            number += 1;
        }
        number
    });
    // One that does not have the port is no replacement.
    let mut without = version(&operator, "without", "wait=0", port).await;
    without.replaces = old.0.to_vec();
    let error = operator.try_deploy(without).await.unwrap_err().to_string();
    let missing = format!("does not listen on {at}, UDP");
    assert!(error.contains(&missing), "{error}");

    let mut wanted = version(&operator, "new", &listen, port).await;
    wanted.replaces = old.0.to_vec();
    let new = deploy(&operator, wanted).await;
    let apps = operator.apps().await;
    assert_eq!((apps.len(), &apps[0].address), (1, &new.0.to_vec()));
    tokio::time::sleep(Duration::from_millis(100)).await;
    is_over.store(true, Ordering::Relaxed);
    let answered = within("the last answer", asking).await.unwrap();
    assert!(answered > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_app_cannot_have_the_port() {
    let operator = Operator::start().await;
    let port = ports::free();
    let listen = format!("listen-udp=127.0.0.1:{port}");
    let first = deploy(&operator, version(&operator, "first", &listen, port).await).await;
    for address in ["127.0.0.1", "0.0.0.0", "[::]"] {
        let listen = format!("listen-udp={address}:{port}");
        let mut wanted = version(&operator, address, &listen, port).await;
        wanted.name = String::new();
        let second = deploy(&operator, wanted).await;
        let failed = operator.until("its failure", second, |app| {
            app.reason.contains("code") || app.instance_list.iter().any(|one| one.restarts > 0)
        });
        failed.await;
        let app = operator.apps().await;
        let app = app.iter().find(|app| app.address == second.0).unwrap();
        let listening = app.instance_list.iter().map(|one| one.listening_udp.len());
        assert_eq!(listening.sum::<usize>(), 0, "{address}");
        operator.app_stop(second.into()).await.unwrap();
    }
    let at: SocketAddr = ([127, 0, 0, 1], port).into();
    let asking = tokio::task::spawn_blocking(move || Customer::of(at).ask(1));
    within("the answer", asking).await.unwrap();
    // When the first one is gone any app may have it.
    operator.app_stop(first.into()).await.unwrap();
    assert!(UdpSocket::bind(at).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_crashed_has_its_port_again() {
    let operator = Operator::start().await;
    let port = ports::free();
    let listen = format!("listen-udp=127.0.0.1:{port}");
    let app = deploy(&operator, version(&operator, "crash", &listen, port).await).await;
    assert!(operator.query(app, "/trap").await.is_err());
    let at: SocketAddr = ([127, 0, 0, 1], port).into();
    let again = operator.until("the port", app, |app| {
        let one = &app.instance_list[0];
        one.restarts == 1 && one.listening_udp == [at.to_string()]
    });
    again.await;
    let asking = tokio::task::spawn_blocking(move || Customer::of(at).ask(1));
    within("the answer", asking).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_leaves_gets_a_moment_to_answer() {
    let operator = Operator::start().await;
    let port = ports::free();
    let listen = format!("listen-udp-slow=127.0.0.1:{port}");
    let wanted = version(&operator, "slow", &listen, port).await;
    let app = deploy(&operator, wanted).await;
    let at: SocketAddr = ([127, 0, 0, 1], port).into();
    let customer = Customer::of(at);
    customer.socket.send_to(b"hello", at).unwrap();
    let received = operator.until("the question", app, |app| {
        app.usage
            .as_ref()
            .is_some_and(|usage| usage.network_ingress > 0)
    });
    received.await;
    let stopping = operator.app_stop(app.into());
    within("the app to stop", stopping).await.unwrap();
    let mut answer = [0; 8];
    assert_eq!(customer.socket.recv(&mut answer).unwrap(), 5);
}
