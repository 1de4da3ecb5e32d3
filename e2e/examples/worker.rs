//! A throw-away worker for programs that test it from outside, or for a look at
//! the console: `cargo run -p e2e --example worker`.
//!
//! Deploys the console's sample and the guests that its arguments name, prints one
//! line of JSON with where the sample is, and runs until its standard input ends or
//! it is asked to exit. Keeps nothing. Used by `cargo xtask ci`; no test uses it.

#![allow(clippy::expect_used, reason = "a tool for tests fails by panicking")]
#![allow(clippy::print_stdout, reason = "what starts it reads where it is")]

use std::time::Duration;

use e2e::{Daemon, guest, guests, text_guest};
use tokio::io::{AsyncReadExt as _, stdin};
use wapod::TlsSettings;

/// Pause after which a request is given up that comes without its end: programs
/// that send all sorts of input must not wait long for an answer.
const DRAIN_GRACE: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() {
    let daemon = Daemon::with(|config| {
        config.admin_address = Some(([127, 0, 0, 1], 0).into());
        config.drain_grace = DRAIN_GRACE;
        config.tls = Some(TlsSettings {
            address: ([127, 0, 0, 1], 0).into(),
            // Certificates of examples sign themselves.
            verifies_certificates: false,
            certificate: None,
        });
    })
    .await;
    let sample = guests::root().join("crates/wapod/console/sample.wat");
    let sample = std::fs::read_to_string(sample).expect("the sample is there");
    let mut config = text_guest(&sample);
    config.label = "sample".to_owned();
    let app = daemon.deploy(config).await;
    for name in std::env::args().skip(1) {
        let mut config = guest(&name);
        config.label.clone_from(&name);
        daemon.deploy(config).await;
    }
    let running = daemon.running();
    let admin = running.admin_address().expect("an admin port");
    let tls = running.tls_address().expect("a TLS port");
    println!(
        r#"{{"admin":"http://{admin}","user":"http://{}","tls":"{tls}","app":"0x{}"}}"#,
        running.user_address(),
        app.handle().address(),
    );
    let mut input = stdin();
    let mut ignored = [0; 64];
    let ended = async { while input.read(&mut ignored).await.is_ok_and(|bytes| bytes > 0) {} };
    tokio::select! {
        () = ended => {}
        () = running.exit_requested() => {}
    }
    // Reading from the standard input would hold the runtime's end up.
    std::process::exit(0);
}
