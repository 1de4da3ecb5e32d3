//! Programs in JavaScript that own their networking: sockets, datagrams, and servers of
//! HTTP on ports and names of their own.

mod clients;
mod datagrams;
mod hostile;
mod own_http;
mod sockets;
mod tls;

use e2e::guests::root;
use e2e::{App, Daemon, ports};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use wapod::{AppConfig, Module};

/// A module in JavaScript, as an app that may listen on a port of loopback, which it
/// finds as the first of `scriptArgs`, and connect to loopback.
fn module(code: &str, port: u16) -> AppConfig {
    let engine = wapod::javascript::engine();
    let engine = engine.expect("build the engine first: cargo xtask guests");
    let program = Module::new(code.as_bytes().to_vec());
    let mut config = AppConfig::new(engine);
    let arguments = ["--module", &program.hash(), "--", &port.to_string()];
    config.args = arguments.map(str::to_owned).into();
    config.blobs = vec![program];
    config.listen_ports = ports::only(port);
    config.listen_on_loopback = true;
    config.egress = vec!["127.0.0.0/8".parse().unwrap()];
    config
}

/// An example that listens on a port.
fn example(name: &str, port: u16) -> AppConfig {
    let path = root().join("guests/wapo-js/examples").join(name);
    let code = std::fs::read_to_string(path.join("app.js")).unwrap();
    module(&code, port)
}

/// Starts a module and waits until it listens; gives its port.
async fn listening(code: &str) -> (App, u16) {
    let port = ports::free();
    let app = Daemon::start().await.deploy(module(code, port)).await;
    app.listening().await;
    (app, port)
}

/// Starts a module that answers requests of the gateway.
async fn serving(code: &str) -> (App, u16) {
    let port = ports::free();
    let app = Daemon::start().await.deploy(module(code, port)).await;
    (app, port)
}

async fn connect(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).await.unwrap()
}

/// Sends bytes as they are, and gives all that comes back until the end.
async fn exchange(port: u16, bytes: &[u8]) -> String {
    let mut stream = connect(port).await;
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = e2e::within("the end", stream.read_to_end(&mut answer)).await;
    // A client that is disconnected may find the connection reset.
    drop(read);
    String::from_utf8_lossy(&answer).into_owned()
}
