//! Row `peers`: `Hello, World!` from servers that stand in front of others' programs, nginx
//! and haproxy, and say it themselves, beside hyper natively and the gateway: floors for
//! what a server in front of programs can take. 32 connections with keep-alive; rounds
//! alternate. A server that is not installed is left out, and the table says so.

use std::fs;
use std::process::Command;

use anyhow::Result;

use super::load::Contestant;
use crate::child::Server;
use crate::folder::Folder;
use crate::peer::Peer;
use crate::plan::Plan;
use crate::report::{Goal, Line, Report};
use crate::worker::free_addresses;

const ROW: &str = "peers";

pub(super) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let mut native = Server::start("native")?;
    let mut daemon = Server::start("daemon")?;
    let folder = Folder::make()?;
    let mut peers = Vec::new();
    for (name, started) in [
        ("nginx with one process", nginx(&folder)?),
        ("haproxy with two threads", haproxy(&folder)?),
    ] {
        match started {
            Some(peer) => peers.push((name, peer)),
            None => report.note(format!(
                "{ROW}: {name} is not installed (Debian: apt-get install nginx haproxy)"
            )),
        }
    }
    let routes = format!("http://{}/", native.ask_one("routes")?);
    let mut native = Contestant::new(native.id(), routes)?;
    let warm = daemon.ask_one("warm")?;
    let mut others = vec![("the gateway", Contestant::new(daemon.id(), warm)?)];
    for (name, peer) in &peers {
        others.push((name, Contestant::new(peer.id(), peer.url())?));
    }
    for _ in 0..plan.rounds {
        native.round(plan)?;
        for (_, one) in &mut others {
            one.round(plan)?;
        }
    }
    let native = native.achieved;
    for (name, Contestant { achieved, .. }) in others {
        report.add(Line {
            row: ROW,
            what: format!("hello on 32 connections from {name}, beside hyper"),
            beside: native.text(),
            ours: achieved.text(),
            value: achieved.cost() / native.cost(),
            unit: "× native, processor time",
            goal: Goal::None,
        });
    }
    Ok(())
}

/// Whether a program answers to this name.
fn is_installed(program: &str) -> bool {
    Command::new(program).arg("-v").output().is_ok()
}

fn nginx(folder: &Folder) -> Result<Option<Peer>> {
    if !is_installed("nginx") {
        return Ok(None);
    }
    let [address] = free_addresses()?;
    let path = folder.path().display();
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let places = kinds.map(|kind| format!("{kind}_temp_path {path}/{kind};"));
    let file = folder.path().join("nginx.conf");
    let text = format!(
        "daemon off; master_process off; pid {path}/nginx.pid;\n\
         error_log {path}/nginx.log crit;\n\
         events {{}}\n\
         http {{\n\
         access_log off; keepalive_requests 1000000000; {}\n\
         server {{ listen {address}; location / {{\n\
         default_type text/plain; return 200 'Hello, World!'; }} }}\n\
         }}\n",
        places.concat()
    );
    fs::write(&file, text)?;
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder.path()).arg("-c").arg(&file);
    Peer::start(command, address).map(Some)
}

fn haproxy(folder: &Folder) -> Result<Option<Peer>> {
    if !is_installed("haproxy") {
        return Ok(None);
    }
    let [address] = free_addresses()?;
    let file = folder.path().join("haproxy.cfg");
    let text = format!(
        "global\n nbthread 2\n maxconn 4096\n\
         defaults\n mode http\n timeout client 75s\n timeout server 75s\n timeout connect 5s\n\
         frontend hello\n bind {address}\n \
         http-request return status 200 content-type text/plain string \"Hello, World!\"\n"
    );
    fs::write(&file, text)?;
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(&file);
    Peer::start(command, address).map(Some)
}
