//! Row `https`: `Hello, World!` through the daemon's gateway with TLS, beside the same
//! without. Two daemons of the same build, one warm instance each, 32 connections with
//! keep-alive, HTTP/1.1, a certificate with a key of P-256; rounds alternate. The client,
//! which shares the machine, has the other half of the work of TLS: what TLS takes from
//! a native server of hyper, with the same client, is measured in the same rounds.

use anyhow::Result;

use super::load::Achieved;
use crate::child::Server;
use crate::folder::Folder;
use crate::plan::Plan;
use crate::report::{Goal, Line, Report};

const ROW: &str = "https";

/// A server without TLS and the same with it.
struct Pair {
    bare: (Server, String),
    secure: (Server, String),
    without: Achieved,
    with: Achieved,
}

impl Pair {
    fn new(bare: (Server, String), secure: (Server, String)) -> Self {
        Self {
            bare,
            secure,
            without: Achieved::default(),
            with: Achieved::default(),
        }
    }

    fn ours() -> Result<Self> {
        let mut bare = Server::start("daemon")?;
        let mut secure = Server::start("daemon")?;
        secure.ask_one("https")?;
        let bare_url = bare.ask_one("warm")?;
        let secure_url = secure.ask_one("warm")?;
        Ok(Self::new((bare, bare_url), (secure, secure_url)))
    }

    fn native(folder: &Folder) -> Result<Self> {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()])?;
        let pem = [made.cert.pem(), made.signing_key.serialize_pem()].concat();
        let file = folder.path().join("identity.pem");
        std::fs::write(&file, pem)?;
        let mut bare = Server::start("native")?;
        let mut secure = Server::start("native")?;
        let bare_url = format!("http://{}/", bare.ask_one("routes")?);
        let address = secure.ask_one(&format!("tls-routes {}", file.display()))?;
        Ok(Self::new(
            (bare, bare_url),
            (secure, format!("https://{address}/")),
        ))
    }

    fn round(&mut self, plan: &Plan) -> Result<()> {
        let (server, url) = &self.bare;
        self.without.round(server.id(), url, plan)?;
        let (server, url) = &self.secure;
        self.with.round(server.id(), url, plan)
    }

    /// What is left of the rate.
    fn left(&self) -> f64 {
        self.with.rate() / self.without.rate()
    }
}

pub(super) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let folder = Folder::make()?;
    let (mut ours, mut native) = (Pair::ours()?, Pair::native(&folder)?);
    for _ in 0..plan.rounds {
        ours.round(plan)?;
        native.round(plan)?;
    }
    report.add(Line {
        row: ROW,
        what: "hello over HTTPS through the gateway, 32 connections keep-alive".to_owned(),
        beside: format!("{} without TLS", ours.without.text()),
        ours: ours.with.text(),
        value: ours.left(),
        unit: "× without TLS",
        goal: Goal::AtLeast(0.9),
    });
    report.add(Line {
        row: ROW,
        what: "the same of hyper, natively".to_owned(),
        beside: format!("{} without TLS", native.without.text()),
        ours: format!("natively {}", native.with.text()),
        value: native.left(),
        unit: "× without TLS",
        goal: Goal::None,
    });
    report.add(Line {
        row: ROW,
        what: "what TLS adds to a request's processor time; native: hyper".to_owned(),
        beside: format!("{:.2} µs", native.with.cost() - native.without.cost()),
        ours: format!("{:.2} µs", ours.with.cost() - ours.without.cost()),
        value: ours.left() / native.left(),
        unit: "× what it leaves of the native rate",
        goal: Goal::None,
    });
    Ok(())
}
