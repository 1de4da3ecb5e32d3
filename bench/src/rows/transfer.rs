//! Row `transfer`: 10 MiB up and 10 MiB down through the daemon's gateway, beside
//! hyper natively, over one connection. Rounds alternate. The daemon's memory is
//! read before and after: bodies are streamed.

use std::time::Instant;

use anyhow::Result;

use super::load::Spent;
use crate::child::Server;
use crate::client::{Client, split_url};
use crate::plan::Plan;
use crate::report::{Goal, Line, Report, number};
use crate::stats::median;

/// Bytes of a transfer, as in the guest.
const BYTES: usize = 10 << 20;
/// Transfers of a round.
const TRANSFERS: usize = 20;

/// Moves a body so many times, and gives the bytes per second.
type Transfer = fn(&mut Client, &str, &[u8], usize) -> Result<f64>;

pub(super) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let mut native_server = Server::start("native")?;
    let native = native_server.ask_one("routes")?.parse()?;
    let mut daemon = Server::start("daemon")?;
    let url = daemon.ask_one("warm")?;
    let (address, app) = split_url(&url)?;
    let count = if plan.smoke { 1 } else { TRANSFERS };
    let sent = vec![7; BYTES];
    let mut to_daemon = Client::connect(address)?;
    let mut to_native = Client::connect(native)?;
    upload(&mut to_daemon, app, &sent, 1)?;
    download(&mut to_daemon, app, &sent, 1)?;
    let before = daemon.memory_bytes()?;
    let transfers: [(&str, Transfer); 2] = [("up", upload), ("down", download)];
    for (what, transfer) in transfers {
        let run = |client: &mut Client, base: &str| transfer(client, base, &sent, count);
        let (mut ours, mut beside) = (Vec::new(), Vec::new());
        let (mut our_time, mut native_time) = (Spent::default(), Spent::default());
        for _ in 0..plan.rounds {
            beside.push(native_time.during(&native_server, || run(&mut to_native, "/"))?);
            ours.push(our_time.during(&daemon, || run(&mut to_daemon, app))?);
        }
        let requests = plan.rounds * count;
        let (ours, beside) = (median(&ours), median(&beside));
        let grown = daemon.memory_bytes()?.saturating_sub(before);
        report.add(Line {
            row: "transfer",
            what: format!(
                "10 MiB {what} through the gateway, one connection; memory grew by {} MB",
                number(grown as f64 / 1e6)
            ),
            beside: format!(
                "{} MB/s, {} each",
                number(beside / 1e6),
                native_time.each(requests)
            ),
            ours: format!(
                "{} MB/s, {} each",
                number(ours / 1e6),
                our_time.each(requests)
            ),
            value: ours / beside,
            unit: "× native",
            goal: Goal::AtLeast(0.6),
        });
    }
    Ok(())
}

fn upload(client: &mut Client, base: &str, sent: &[u8], count: usize) -> Result<f64> {
    let begun = Instant::now();
    for _ in 0..count {
        let answer = client.post(&format!("{base}upload"), sent)?;
        anyhow::ensure!(answer == BYTES.to_string().as_bytes(), "another count");
    }
    Ok((count * BYTES) as f64 / begun.elapsed().as_secs_f64())
}

fn download(client: &mut Client, base: &str, _: &[u8], count: usize) -> Result<f64> {
    let begun = Instant::now();
    for _ in 0..count {
        let answer = client.get(&format!("{base}download"))?;
        anyhow::ensure!(answer.len() == BYTES, "{} bytes came", answer.len());
    }
    Ok((count * BYTES) as f64 / begun.elapsed().as_secs_f64())
}
