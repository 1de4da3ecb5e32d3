//! A network of the test's own, from which no packet leaves.
//!
//! A test that needs one runs itself again within `unshare --net`. There every address
//! of the internet is this machine (`ip route add local`), so that a connection that
//! should have been refused arrives at the test, wherever it was sent to.

use std::process::Command;

/// Set for a test that runs within its network.
const INSIDE: &str = "WAPO_E2E_NAMESPACE";

/// What a test inside prints when it has done its work: the tests of a binary that
/// know no such name are none, and succeed.
const DONE: &str = "the test in its own network is done";

/// Where the process is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// In the network of its own, which is set up: the test is to be done here, and
    /// [`done`] to be called.
    Inside,
    /// The test has been done, inside.
    Outside,
}

/// Runs a test in a network of its own, with these addresses on its loopback device
/// besides those that it has.
///
/// # Panics
///
/// When the test fails, or when no network can be made: nothing is skipped.
pub fn enter(test: &str, addresses: &[&str]) -> Place {
    if is_inside() {
        set_up(addresses);
        return Place::Inside;
    }
    let this = std::env::current_exe().expect("this executable");
    let mut command = Command::new("unshare");
    command.arg("--net");
    if !is_root() {
        command.arg("--map-root-user");
    }
    command.arg("--").arg(this);
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    command.env(INSIDE, "1");
    let output = command.output().unwrap_or_else(|error| {
        panic!("`unshare` (util-linux) cannot be run, and this test needs it: {error}")
    });
    let said = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains(DONE),
        "{test} in a network of its own ({}; it needs root or user namespaces):\n{said}\n{stderr}",
        output.status
    );
    Place::Outside
}

/// Says that a test inside has come to its end.
pub fn done() {
    #[allow(clippy::print_stdout, reason = "the process outside reads it")]
    {
        println!("{DONE}");
    }
}

fn is_inside() -> bool {
    #[allow(
        clippy::disallowed_methods,
        reason = "arguments of a test's process are names of tests"
    )]
    let mark = std::env::var_os(INSIDE);
    mark.is_some()
}

fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    uid.and_then(|uid| uid.split_whitespace().nth(1)) == Some("0")
}

fn set_up(addresses: &[&str]) {
    ip(&["link", "set", "lo", "up"]);
    ip(&["route", "add", "local", "0.0.0.0/0", "dev", "lo"]);
    ip(&["-6", "route", "add", "local", "::/0", "dev", "lo"]);
    for address in addresses {
        let mut line = vec!["address", "add", address, "dev", "lo"];
        if address.contains(':') {
            line.push("nodad");
        }
        ip(&line);
    }
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output();
    let output = output.unwrap_or_else(|error| {
        panic!("`ip` (iproute2) cannot be run, and this test needs it: {error}")
    });
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "ip {}: {stderr}",
        arguments.join(" ")
    );
}
