//! Row `udp echo`: a client keeps 32 datagrams of 512 bytes on their way to a guest
//! and back, over one socket, and to the same program natively. Rounds alternate.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::child::Server;
use crate::plan::Plan;
use crate::report::{Goal, Line, Report, number};
use crate::stats::median;

/// Bytes of a datagram.
const PAYLOAD_BYTES: usize = 512;
/// Datagrams on their way at a time; a receive queue holds some two hundred.
const WINDOW: u32 = 32;
/// Time after which those that have not come back are lost.
const TIMEOUT: Duration = Duration::from_millis(200);
/// Part of the datagrams that may be lost.
const LOST_MAX: f64 = 0.01;

pub(super) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let mut wapo = Server::start("wapo")?;
    let mut native = Server::start("native")?;
    let address = wapo.ask_one("listen udp")?.parse()?;
    let native_address = native.ask_one("udp")?.parse()?;
    let (mut ours, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        beside.push(packets(native_address, plan.load)?);
        ours.push(packets(address, plan.load)?);
    }
    let (ours, beside) = (median(&ours), median(&beside));
    report.add(Line {
        row: "udp echo",
        what: format!("UDP echo, {PAYLOAD_BYTES} bytes, one socket, {WINDOW} on their way"),
        beside: format!("{} packets/s", number(beside)),
        ours: format!("{} packets/s", number(ours)),
        value: ours / beside,
        unit: "× native",
        goal: Goal::AtLeast(0.60),
    });
    Ok(())
}

/// Datagrams per second that come back.
fn packets(address: SocketAddr, time: Duration) -> Result<f64> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    let sent = [7; PAYLOAD_BYTES];
    let mut received = [0; PAYLOAD_BYTES + 1];
    let begun = Instant::now();
    let (mut back, mut lost) = (0_u64, 0_u64);
    for _ in 0..WINDOW {
        socket.send(&sent)?;
    }
    while begun.elapsed() < time {
        match socket.recv(&mut received) {
            Ok(count) => {
                ensure!(received[..count] == sent, "other bytes came back");
                back += 1;
                socket.send(&sent)?;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                lost += u64::from(WINDOW);
                for _ in 0..WINDOW {
                    socket.send(&sent)?;
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    let all = (back + lost) as f64;
    ensure!(back > 0, "nothing came back");
    ensure!(
        lost as f64 <= all * LOST_MAX,
        "{lost} of {all} datagrams were lost"
    );
    Ok(back as f64 / begun.elapsed().as_secs_f64())
}
