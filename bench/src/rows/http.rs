//! Row `http`: HTTP/1.1 with keep-alive over 32 connections to a guest's own
//! port, beside hyper natively with the same handler; neither has limits of time.
//! Rounds alternate.

use anyhow::Result;

use super::load::Achieved;
use crate::child::Server;
use crate::client::Client;
use crate::guests;
use crate::plan::Plan;
use crate::report::{Goal, Line, Report};

/// The same guest, built with the published SDK of Wapo 0.x.
const COMPATIBLE: &str = "compat-v0";

/// A server, the guest or native code in it, and what it achieved.
struct Contestant<'a> {
    sdk: &'static str,
    bound: f64,
    server: &'a Server,
    address: String,
    achieved: Achieved,
}

impl Contestant<'_> {
    fn round(&mut self, plan: &Plan) -> Result<()> {
        let url = format!("http://{}/", self.address);
        self.achieved.round(self.server.id(), &url, plan)
    }
}

pub(super) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let mut wapo = Server::start("wapo")?;
    let mut native_server = Server::start("native")?;
    let native = native_server.ask_one("hello")?;
    let mut guests = vec![("our SDK", 0.82, wapo.ask_one("listen hello")?)];
    if guests::path(COMPATIBLE).exists() {
        let address = wapo.ask_one(&format!("listen {COMPATIBLE}"))?;
        guests.push(("the published SDK of Wapo 0.x", 0.62, address));
    } else {
        report.note(format!(
            "http: {COMPATIBLE}.wasm is not built, so its row is missing"
        ));
    }
    let contestant = |sdk, bound, server, address| Contestant {
        sdk,
        bound,
        server,
        address,
        achieved: Achieved::default(),
    };
    let mut native = contestant("", 0.0, &native_server, native);
    let mut guests: Vec<_> = guests
        .into_iter()
        .map(|(sdk, bound, address)| contestant(sdk, bound, &wapo, address))
        .collect();
    for guest in &guests {
        let same = Client::connect(guest.address.parse()?)?.get("/")?
            == Client::connect(native.address.parse()?)?.get("/")?;
        anyhow::ensure!(same, "the servers answer differently");
    }
    for _ in 0..plan.rounds {
        native.round(plan)?;
        for guest in &mut guests {
            guest.round(plan)?;
        }
    }
    for guest in &guests {
        report.add(Line {
            row: "http",
            what: format!(
                "HTTP/1.1 keep-alive, 32 connections, guest's own port, {}",
                guest.sdk
            ),
            beside: native.achieved.text(),
            ours: guest.achieved.text(),
            value: guest.achieved.rate() / native.achieved.rate(),
            unit: "× native",
            goal: Goal::AtLeast(guest.bound),
        });
    }
    Ok(())
}
