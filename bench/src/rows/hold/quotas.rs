//! Row `quotas`: a neighbour beside an app that is at one of its quotas and asks for
//! more without end, a line for each quota.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use wapo_rpc::AppAddress;
use wapo_rpc::message::{AppSettings, StringPair};

use super::{NEIGHBOUR, Scene, report_neighbour, sampling_time};
use crate::guests as built;
use crate::plan::Plan;
use crate::report::Report;
use crate::worker::{Deploy, Worker, pause};

const ROW: &str = "quotas";
/// Priority of the clients' threads: their own delays are not what is measured.
const STRANGERS_NICENESS: i32 = 19;
/// Clients that ask for more than an app may have.
const CLIENTS: usize = 8;
/// Connections that a client keeps before it closes the oldest.
const KEPT: usize = 16;
/// Time between two requests, or connections, of a client.
const CLIENT_PAUSE: Duration = Duration::from_millis(2);
/// Bytes of a request's body.
const BODY_BYTES: usize = 64 << 10;
/// Time for an answer of an app that is slow because it has to be.
const CLIENT_TIMEOUT: Duration = Duration::from_millis(500);
/// Time in which an app that loops has used up its gas.
const GAS_TIMEOUT: Duration = Duration::from_secs(60);
/// Quotas that a smoke test tries.
const SMOKE_CASES: usize = 3;

/// The app that asks for more.
#[derive(Clone, Copy)]
enum Greedy {
    /// The guest itself: these instructions, again and again. The first listener, if
    /// there is one, is handle 0.
    Guest(&'static str),
    /// Clients that connect to a port of the guest, which accepts what it may.
    Connecting(&'static str),
    /// Clients that send requests through the gateway.
    Requesting,
    /// An operator who deploys it again whenever it has ended: it loops.
    Deploying,
}

/// A quota, and how it is reached.
struct Case {
    quotas: &'static [(&'static str, &'static str)],
    greedy: Greedy,
}

const LISTEN: &str = "(drop (call $fast (i32.const 0) (i32.const 210) (i32.const 2048) (i32.const 64) (i32.const 0) (i32.const 0)))";
const TIMER: &str = "(drop (call $fast (i32.const 0) (i32.const 201) (i32.const -1) (i32.const 0) (i32.const 0) (i32.const 0)))";

const CASES: &[Case] = &[
    Case {
        quotas: &[("cpu", "0.1")],
        greedy: Greedy::Guest(""),
    },
    Case {
        quotas: &[("connections-in", "16")],
        greedy: Greedy::Connecting(
            "(if (i32.eqz (global.get $turn)) (then (global.set $turn (i32.const 1)) (drop (call $fast (i32.const 0) (i32.const 210) (i32.const 2048) (i32.const 64) (i32.const 0) (i32.const 0)))))
             (drop (call $fast (i32.const 0) (i32.const 212) (i32.const -1) (i32.const 0) (i32.const 0) (i32.const 0)))",
        ),
    },
    Case {
        quotas: &[("requests", "2"), ("egress-per-second", "1K")],
        greedy: Greedy::Requesting,
    },
    Case {
        quotas: &[("gas-per-second", "10000")],
        greedy: Greedy::Guest(""),
    },
    Case {
        quotas: &[("gas", "200000")],
        greedy: Greedy::Deploying,
    },
    Case {
        quotas: &[("connections-out", "16")],
        greedy: Greedy::Guest(
            "(drop (call $fast (i32.const 0) (i32.const 213) (i32.const 1024) (i32.const 9) (global.get $port) (i32.const 0)))",
        ),
    },
    Case {
        quotas: &[("listeners", "1")],
        greedy: Greedy::Guest(LISTEN),
    },
    Case {
        quotas: &[("descriptors", "2")],
        greedy: Greedy::Guest(LISTEN),
    },
    Case {
        quotas: &[("handles", "100")],
        greedy: Greedy::Guest(TIMER),
    },
    Case {
        quotas: &[("timers", "100")],
        greedy: Greedy::Guest(TIMER),
    },
    Case {
        quotas: &[("memory", "32M")],
        greedy: Greedy::Guest("(drop (memory.grow (i32.const 64)))"),
    },
    Case {
        quotas: &[("host-memory", "1M")],
        greedy: Greedy::Guest(
            "(drop (call $fast (i32.const 0) (i32.const 243) (i32.const 0) (i32.const 1048576) (i32.const 0) (i32.const 0)))",
        ),
    },
    Case {
        // A record that fits, and one that does not.
        quotas: &[("storage", "48K")],
        greedy: Greedy::Guest(
            "(drop (call $slow (i32.const 0) (i32.const 261) (i32.const 0) (i32.const 32768) (i32.const 0) (i32.const 0)))
             (drop (call $slow (i32.const 0) (i32.const 261) (i32.const 0) (i32.const 65536) (i32.const 0) (i32.const 0)))",
        ),
    },
    Case {
        quotas: &[("ingress-per-second", "64K")],
        greedy: Greedy::Requesting,
    },
    Case {
        quotas: &[("egress-per-second", "1K")],
        greedy: Greedy::Requesting,
    },
];

pub(in crate::rows) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let count = if plan.smoke { SMOKE_CASES } else { CASES.len() };
    for case in CASES.iter().take(count) {
        let scene = Scene::open(plan, &["-m", "128m", "-l", "1024..65535"])?;
        let (samples, ()) = scene.beside(plan, |worker| beside(plan, worker, case))?;
        let quotas = case.quotas.iter();
        let quotas = quotas.map(|(name, value)| format!("{name}={value}"));
        let what = format!("an app at {}", quotas.collect::<Vec<_>>().join(" and "));
        report_neighbour(report, ROW, &what, &scene.idle, &samples);
        scene.worker.terminate()?;
        scene.worker.ended()?;
    }
    Ok(())
}

/// Lets an app be at its quota for a while.
///
/// # Errors
///
/// The app never was at one of its quotas: then nothing was measured.
fn beside(plan: &Plan, worker: &Worker, case: &Case) -> Result<()> {
    let begun = Instant::now();
    let sink = TcpListener::bind("127.0.0.1:0")?;
    let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let wasm = match case.greedy {
        Greedy::Guest(body) | Greedy::Connecting(body) => {
            wat::parse_str(text(body, free, sink.local_addr()?.port()))?
        }
        Greedy::Requesting => built::read(NEIGHBOUR)?,
        Greedy::Deploying => wat::parse_str(text("", free, sink.local_addr()?.port()))?,
    };
    let pair = |(key, value): &(&str, &str)| StringPair {
        key: (*key).to_owned(),
        value: (*value).to_owned(),
    };
    let mut deploy = Deploy::new("greedy", &wasm);
    deploy.settings = AppSettings {
        quotas: case.quotas.iter().map(pair).collect(),
        egress: vec!["127.0.0.0/8".to_owned()],
        restart_always: true,
        ..AppSettings::default()
    };
    if matches!(case.greedy, Greedy::Deploying) {
        return deploy_again_and_again(worker, &deploy, sampling_time(plan));
    }
    // A guest that loops takes half of the time to be deployed.
    let app = worker.deploy(deploy)?;
    let time = sampling_time(plan).saturating_sub(begun.elapsed());
    let time = time.max(sampling_time(plan) / 2);
    let strangers = match case.greedy {
        Greedy::Requesting => {
            let path = Worker::path(app);
            Strangers::start(worker.user, move |address, _| request(address, &path))
        }
        Greedy::Connecting(_) => Strangers::start(free, connect),
        _ => Strangers::default(),
    };
    pause(time);
    let reached = case
        .quotas
        .iter()
        .try_for_each(|(name, _)| was_reached(worker, app, name));
    strangers.finish()?;
    reached
}

/// Makes sure that an app was at a quota and wanted more.
fn was_reached(worker: &Worker, app: AppAddress, name: &str) -> Result<()> {
    let times = worker.quota(app, name)?.refused;
    ensure!(
        times > 0,
        "the app never reached its quota `{name}`: nothing is measured"
    );
    Ok(())
}

/// Deploys an app that uses up its gas in its first poll: it is not deployed, or on a
/// slow machine stops a moment later.
fn deploy_again_and_again(worker: &Worker, what: &Deploy<'_>, time: Duration) -> Result<()> {
    let begun = Instant::now();
    let mut times = 0_u32;
    while begun.elapsed() < time || times < 2 {
        times += 1;
        let app = match worker.deploy(what.clone()) {
            Ok(app) => app,
            Err(refused) => {
                let refused = refused.to_string();
                ensure!(refused.contains("gas used up"), "another reason: {refused}");
                continue;
            }
        };
        let deadline = Instant::now() + GAS_TIMEOUT;
        loop {
            let gas = worker.quota(app, "gas")?;
            if gas.used >= gas.max {
                break;
            }
            ensure!(Instant::now() < deadline, "the gas is never used up");
            pause(CLIENT_PAUSE);
        }
        worker.remove(app)?;
    }
    Ok(())
}

/// The guest that does this without end, with an address to listen on and a port
/// that another program listens on.
fn text(body: &str, listen: SocketAddr, sink: u16) -> String {
    let address = listen.to_string();
    // As SCALE has a short text: its length, four times, and the bytes.
    let length = 4 * address.len();
    format!(
        r#"(module
  (import "wapo" "ocall_fast_return" (func $fast (param i32 i32 i32 i32 i32 i32) (result i64)))
  (import "wapo" "ocall" (func $slow (param i32 i32 i32 i32 i32 i32) (result i64)))
  (memory (export "memory") 64)
  (data (i32.const 1024) "127.0.0.1")
  (data (i32.const 2048) "\{length:02x}{address}\00")
  (global $port i32 (i32.const {sink}))
  (global $turn (mut i32) (i32.const 0))
  (func (export "wapo_poll") (result i32)
    (loop $for_ever {body} (br $for_ever))
    (i32.const 0)))"#
    )
}

/// Connections that a client keeps.
type Kept = Vec<TcpStream>;

/// Clients that go on until they are told to stop.
#[derive(Default)]
struct Strangers {
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Strangers {
    fn start(
        address: SocketAddr,
        step: impl FnMut(SocketAddr, &mut Kept) + Clone + Send + 'static,
    ) -> Self {
        let is_over = Arc::<AtomicBool>::default();
        let threads = (0..CLIENTS).map(|_| {
            let (is_over, mut step) = (Arc::clone(&is_over), step.clone());
            thread::spawn(move || {
                let thread = Some(rustix::thread::gettid());
                let _ = rustix::process::setpriority_process(thread, STRANGERS_NICENESS);
                let mut kept = Kept::new();
                while !is_over.load(Ordering::Relaxed) {
                    step(address, &mut kept);
                    pause(CLIENT_PAUSE);
                }
            })
        });
        let threads = threads.collect();
        Self { is_over, threads }
    }

    fn finish(self) -> Result<()> {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().map_err(|_| anyhow!("a client panicked"))?;
        }
        Ok(())
    }
}

/// Sends a request with a body, and waits a little for the answer; whatever it is.
fn request(address: SocketAddr, path: &str) {
    let exchange = || -> std::io::Result<()> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(CLIENT_TIMEOUT))?;
        stream.set_write_timeout(Some(CLIENT_TIMEOUT))?;
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: {BODY_BYTES}\r\n\r\n"
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(&vec![b'x'; BODY_BYTES])?;
        let mut answer = [0; 1024];
        while stream.read(&mut answer)? > 0 {}
        Ok(())
    };
    // Being refused, or too slow, is what is wanted.
    let _ = exchange();
}

/// Connects, and keeps some of the connections.
fn connect(address: SocketAddr, kept: &mut Kept) {
    // The queue of the listener may be full.
    if let Ok(stream) = TcpStream::connect_timeout(&address, CLIENT_TIMEOUT) {
        kept.push(stream);
    }
    if kept.len() > KEPT {
        kept.remove(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_greedy_guest_is_a_module() {
        let address = SocketAddr::from(([127, 0, 0, 1], 40_000));
        for case in CASES {
            if let Greedy::Guest(body) | Greedy::Connecting(body) = case.greedy {
                let outcome = wat::parse_str(text(body, address, 1));
                assert!(outcome.is_ok(), "{:?}: {outcome:?}", case.quotas);
            }
        }
    }

    #[test]
    fn there_is_a_line_for_every_quota() {
        let all = wapod::QuotaKind::ALL.iter();
        for name in all.map(|kind| kind.name()) {
            let mut quotas = CASES.iter().flat_map(|case| case.quotas);
            assert!(quotas.any(|(known, _)| *known == name), "{name}");
        }
    }
}
