//! Row `hostile-clients`: clients that send half of what they announced, take
//! nothing of what they asked for, or ask for what is dear. Measured are the
//! daemon's memory, the neighbour, and how soon an honest client is served.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};

use super::raw_http2::{PREFACE, get, ping, settings, settings_without_window};
use super::{Memory, NEIGHBOUR, Scene, report_neighbour, sampling_time};
use crate::client::Client;
use crate::guests;
use crate::plan::Plan;
use crate::report::{Goal, Line, Report, number};
use crate::worker::{Deploy, Worker, pause};

const ROW: &str = "hostile-clients";
/// The app whose answers are not read; another one than the neighbour.
const DOWNLOADS: &str = "downloads";
/// Priority of the hostile clients' threads.
const STRANGERS_NICENESS: i32 = 19;
/// Bytes of a body that is announced, and of which the last never comes.
const BODY_BYTES: usize = 10 << 20;
/// Connections that announce a body and send nothing: more than the daemon has.
const SILENT: usize = 4_100;
/// Time within which another client has to be served.
const SERVED_WITHIN: Duration = Duration::from_secs(30);
/// Time for a client to send what the daemon no longer takes.
const SEND_TIMEOUT: Duration = Duration::from_millis(500);

/// A hostile client: keeps its connections for as long as they are held.
struct Attack {
    what: &'static str,
    /// How much of the daemon's memory it may take, in bytes.
    budget_bytes: u64,
    begin: fn(SocketAddr, usize) -> Result<Vec<Held>>,
    count: usize,
}

/// A connection of a hostile client. Shut down when it is dropped, and not only
/// closed: a thread that still writes to a copy of it has to end.
struct Held(TcpStream);

impl Drop for Held {
    fn drop(&mut self) {
        // The daemon may have been first.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

const ATTACKS: &[Attack] = &[
    Attack {
        what: "150 calls of 10 MiB without their last byte",
        budget_bytes: wapod::limits::BODIES_BYTES_MAX,
        begin: unfinished_calls,
        count: 150,
    },
    Attack {
        what: "100 downloads of 10 MiB that nobody reads",
        budget_bytes: 100 * PER_STREAM_BYTES,
        begin: unread_downloads,
        count: 100,
    },
    Attack {
        what: "20 HTTP/2 connections without a window, 100 requests each",
        budget_bytes: 20 * 100 * PER_ANSWER_BYTES,
        begin: no_window,
        count: 20,
    },
    Attack {
        what: "4 HTTP/2 connections that send pings without end",
        budget_bytes: 4 * PER_STREAM_BYTES,
        begin: ping_flood,
        count: 4,
    },
];

/// What one stalled download may hold: two pipes, the socket's and hyper's buffers.
const PER_STREAM_BYTES: u64 = 512 * 1024;
/// What one answer of the daemon itself may hold, with its request.
const PER_ANSWER_BYTES: u64 = 16 * 1024;

pub(in crate::rows) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let attacks = if plan.smoke { 1 } else { ATTACKS.len() };
    for attack in ATTACKS.iter().take(attacks) {
        measure(attack, plan, report)?;
    }
    if plan.smoke {
        return Ok(());
    }
    served_beside_silence(report)?;
    dear_json(plan, report)
}

fn measure(attack: &Attack, plan: &Plan, report: &mut Report) -> Result<()> {
    let scene = Scene::open(plan, &["-m", "128m"])?;
    let wasm = guests::read(NEIGHBOUR)?;
    scene.worker.deploy(Deploy::new(DOWNLOADS, &wasm))?;
    let mut memory = Memory::begin(&scene.worker)?;
    let (samples, ()) = scene.beside(plan, |worker| {
        let connections = strangers(|| (attack.begin)(worker.user, attack.count))?;
        memory.watch(worker, sampling_time(plan))?;
        drop(connections);
        Ok(())
    })?;
    memory.settle(&scene.worker)?;
    memory.report(report, ROW, attack.what, attack.budget_bytes);
    report_neighbour(report, ROW, attack.what, &scene.idle, &samples);
    Ok(())
}

/// Does what strangers do, at a low priority: they have machines of their own.
fn strangers<T: Send>(act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let acting = scope.spawn(|| {
            let thread = rustix::thread::gettid();
            rustix::process::setpriority_process(Some(thread), STRANGERS_NICENESS)?;
            act()
        });
        acting.join().map_err(|_| anyhow!("the clients panicked"))?
    })
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).context("cannot connect")?;
    stream.set_write_timeout(Some(SEND_TIMEOUT))?;
    stream.set_read_timeout(Some(SEND_TIMEOUT))?;
    Ok(stream)
}

fn call_head(method: &str, length: usize) -> String {
    format!("POST /prpc/{method} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n")
}

fn unfinished_calls(address: SocketAddr, count: usize) -> Result<Vec<Held>> {
    let body = vec![0; BODY_BYTES - 1];
    let mut connections = Vec::new();
    for _ in 0..count {
        let mut stream = connect(address)?;
        // A daemon that takes no more refuses, and the rest cannot be sent.
        let _ = stream
            .write_all(call_head("User.Query", BODY_BYTES).as_bytes())
            .and_then(|()| stream.write_all(&body));
        connections.push(Held(stream));
    }
    Ok(connections)
}

fn unread_downloads(address: SocketAddr, count: usize) -> Result<Vec<Held>> {
    let mut connections = Vec::new();
    for _ in 0..count {
        let mut stream = connect(address)?;
        let head = format!("GET /download HTTP/1.1\r\nhost: {DOWNLOADS}.localhost\r\n\r\n");
        let _ = stream.write_all(head.as_bytes());
        connections.push(Held(stream));
    }
    Ok(connections)
}

fn no_window(address: SocketAddr, count: usize) -> Result<Vec<Held>> {
    let mut connections = Vec::new();
    for _ in 0..count {
        let mut stream = connect(address)?;
        let mut bytes = [PREFACE, &settings_without_window()].concat();
        for number in 0..100 {
            bytes.extend(get(1 + 2 * number, "x", "/nosuch"));
        }
        let _ = stream.write_all(&bytes);
        connections.push(Held(stream));
    }
    Ok(connections)
}

fn ping_flood(address: SocketAddr, count: usize) -> Result<Vec<Held>> {
    let pings = ping().repeat(10_000);
    let mut connections = Vec::new();
    for _ in 0..count {
        let mut stream = connect(address)?;
        let mut flooding = stream.try_clone()?;
        let bytes = [PREFACE, &settings()].concat();
        let _ = stream.write_all(&bytes);
        let pings = pings.clone();
        // Ends when either side closes the connection, or the daemon takes no more.
        thread::spawn(move || while flooding.write_all(&pings).is_ok() {});
        connections.push(Held(stream));
    }
    Ok(connections)
}

/// How long an honest client waits while more connections than the daemon has
/// announce a body and send nothing.
fn served_beside_silence(report: &mut Report) -> Result<()> {
    let worker = Worker::start(&["-m", "128m"])?;
    let mut silent = Vec::new();
    for _ in 0..SILENT {
        let Ok(mut stream) = connect(worker.user) else {
            break;
        };
        let _ = stream.write_all(call_head("User.Info", 100).as_bytes());
        silent.push(stream);
    }
    let begun = Instant::now();
    while !is_served(worker.user) {
        if begun.elapsed() > 2 * SERVED_WITHIN {
            break;
        }
        pause(Duration::from_millis(100));
    }
    let took = begun.elapsed().as_secs_f64();
    report.add(Line {
        row: ROW,
        what: format!(
            "an honest client is served beside {} that send nothing",
            silent.len()
        ),
        beside: String::new(),
        ours: format!("after {} s", number(took)),
        value: took,
        unit: "s",
        goal: Goal::AtMost(SERVED_WITHIN.as_secs_f64()),
    });
    Ok(())
}

fn is_served(address: SocketAddr) -> bool {
    let ask = || -> Result<()> {
        let mut stream = connect(address)?;
        stream.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer)?;
        if &answer != b"HTTP/1.1 200" {
            bail!("another answer");
        }
        Ok(())
    };
    ask().is_ok()
}

/// The neighbour while four clients have 10 MiB of JSON decoded, again and again.
fn dear_json(plan: &Plan, report: &mut Report) -> Result<()> {
    let scene = Scene::open(plan, &["-m", "128m"])?;
    let numbers = "[0],".repeat((BODY_BYTES - 100) / 4);
    let body = format!("{{\"address\":\"00\",\"payload\":[{}[0]]}}", numbers);
    let (samples, ()) = scene.beside(plan, |worker| {
        let end = Instant::now() + sampling_time(plan);
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let (body, address) = (body.clone(), worker.user);
                thread::spawn(move || {
                    while Instant::now() < end {
                        // What it is answered does not matter here.
                        if let Ok(mut client) = Client::connect(address) {
                            let _ = client.post("/prpc/User.Query?json", body.as_bytes());
                        }
                    }
                })
            })
            .collect();
        for client in clients {
            let _ = client.join();
        }
        Ok(())
    })?;
    let what = "4 clients with 10 MiB of JSON";
    report_neighbour(report, ROW, what, &scene.idle, &samples);
    Ok(())
}
