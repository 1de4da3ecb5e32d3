//! Row `tcp echo`: a client writes 64 KiB, reads them back, and again, over
//! four connections with a thread each, to a guest, to two of them, and to the same
//! program natively, with a thread per core and with one, as an instance has. Rounds
//! alternate.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};

use crate::child::Server;
use crate::plan::Plan;
use crate::report::{Goal, Line, Report, number};
use crate::stats::median;

/// Bytes of one write.
const WRITE_BYTES: usize = 64 * 1024;
/// Connections at a time.
const CONNECTIONS: usize = 4;

pub(super) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let mut wapo = Server::start("wapo")?;
    let mut native = Server::start("native")?;
    let mut single = Server::start("native-one-thread")?;
    let address: SocketAddr = wapo.ask_one("listen echo")?.parse()?;
    let other: SocketAddr = wapo.ask_one("listen echo")?.parse()?;
    let native: SocketAddr = native.ask_one("echo")?.parse()?;
    let single: SocketAddr = single.ask_one("echo")?.parse()?;
    let [mut one, mut two, mut per_core, mut one_thread] = [const { Vec::new() }; 4];
    for _ in 0..plan.rounds {
        per_core.push(throughput(&[native], plan.load)?);
        one.push(throughput(&[address], plan.load)?);
        two.push(throughput(&[address, other], plan.load)?);
        one_thread.push(throughput(&[single], plan.load)?);
    }
    let [one, two] = [median(&one), median(&two)];
    let [per_core, one_thread] = [median(&per_core), median(&one_thread)];
    let threads = "native with a thread per core";
    for (ours, what, beside, goal) in [
        (
            two,
            format!("two instances; {threads}"),
            per_core,
            Goal::AtLeast(0.85),
        ),
        (
            one,
            format!("one instance; {threads}"),
            per_core,
            Goal::AtLeast(0.80),
        ),
        (
            one,
            "one instance; native with one thread, as it has".to_owned(),
            one_thread,
            Goal::None,
        ),
    ] {
        report.add(Line {
            row: "tcp echo",
            what: format!("TCP echo, 64 KiB writes, 4 connections, {what}"),
            beside: format!("{} MB/s", number(beside / 1e6)),
            ours: format!("{} MB/s", number(ours / 1e6)),
            value: ours / beside,
            unit: "× native",
            goal,
        });
    }
    Ok(())
}

/// Bytes per second that come back from all of these together.
fn throughput(addresses: &[SocketAddr], time: Duration) -> Result<f64> {
    let begun = Instant::now();
    let in_turn = addresses.iter().copied().cycle().take(CONNECTIONS);
    let clients: Vec<_> = in_turn
        .map(|address| thread::spawn(move || echo(address, begun + time)))
        .collect();
    let mut bytes = 0;
    for client in clients {
        bytes += client.join().map_err(|_| anyhow!("a client panicked"))??;
    }
    Ok(bytes as f64 / begun.elapsed().as_secs_f64())
}

fn echo(address: SocketAddr, end: Instant) -> Result<u64> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let sent: Vec<u8> = (0..=255).cycle().take(WRITE_BYTES).collect();
    let mut received = vec![0; WRITE_BYTES];
    let mut bytes = 0;
    while Instant::now() < end {
        stream.write_all(&sent)?;
        stream.read_exact(&mut received)?;
        bytes += WRITE_BYTES as u64;
    }
    ensure!(received == sent, "other bytes came back");
    Ok(bytes)
}
