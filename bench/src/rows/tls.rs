//! Row `tls`: the TLS port that apps share, beside a bare tokio-rustls server.
//!
//! New handshakes per second (TLS 1.3, nothing is resumed) with one name and with
//! ten thousand; bytes that an echo brings back; memory of connections that say
//! nothing. Clients are threads of this process, the same for both; rounds
//! alternate.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use wapod::system::Capacity;

use crate::child::Server;
use crate::folder::Folder;
use crate::plan::Plan;
use crate::report::{Goal, Line, Report, number};
use crate::stats::median;

const ROW: &str = "tls";
/// Threads that make handshakes.
const CLIENTS: usize = 4;
/// Connections of the echo, a thread each.
const CONNECTIONS: usize = 4;
/// Bytes of one write.
const WRITE_BYTES: usize = 64 * 1024;
/// Names of one app; it cannot claim more than 1,024.
const NAMES_OF_APP: usize = 1_000;
/// Names that all clients ask for.
const NAME: &str = "one-0.bench.test";
/// What the host may keep for a connection that says nothing.
const IDLE_BYTES_MAX: f64 = 20.0 * 1024.0;
/// Time for a server to have taken the last connection.
const SETTLE: Duration = Duration::from_millis(500);

/// Certificate and key for all names, and who trusts them.
struct Identity {
    folder: Folder,
    client: Arc<ClientConfig>,
}

type TlsStream = StreamOwned<ClientConnection, TcpStream>;

pub(super) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let identity = Identity::make()?;
    let file = identity.folder.path().join("identity.pem");
    let file = file.to_str().context("a path")?;
    let mut native = Server::start("native")?;
    let bare = native.ask_one(&format!("tls-echo {file}"))?.parse()?;
    let mut wapo = Server::start("wapo")?;
    let port: SocketAddr = wapo.ask_one("tls")?.parse()?;
    wapo.ask(&format!("names one 1 {file}"))?;

    handshakes(plan, report, &identity, [bare, port], "with one name")?;
    let mut single = Server::start("native-one-thread")?;
    let one_thread = single.ask_one(&format!("tls-echo {file}"))?.parse()?;
    let servers = [(&native, bare), (&single, one_thread), (&wapo, port)];
    echoes(plan, report, &identity, servers)?;
    drop(single);
    idle(plan, report, &identity, (&mut wapo, port))?;

    let apps = if plan.smoke { 1 } else { 10 };
    let names = if plan.smoke { 100 } else { NAMES_OF_APP };
    for number in 0..apps {
        wapo.ask(&format!("names app{number} {names} {file}"))?;
    }
    let what = format!("with {} names", apps * names + 1);
    handshakes(plan, report, &identity, [bare, port], &what)
}

impl Identity {
    fn make() -> Result<Self> {
        let folder = Folder::make()?;
        let made = rcgen::generate_simple_self_signed(vec!["*.bench.test".to_owned()])?;
        let pem = [made.cert.pem(), made.signing_key.serialize_pem()].concat();
        std::fs::write(folder.path().join("identity.pem"), &pem)?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes())?)?;
        let provider = Arc::new(ring::default_provider());
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.resumption = Resumption::disabled();
        Ok(Self {
            folder,
            client: Arc::new(client),
        })
    }

    /// Makes a handshake.
    fn connect(&self, address: SocketAddr) -> Result<TlsStream> {
        connect(&self.client, address, NAME)
    }
}

fn connect(
    client: &Arc<ClientConfig>,
    address: SocketAddr,
    name: &'static str,
) -> Result<TlsStream> {
    let mut tcp = TcpStream::connect(address)?;
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut tls = ClientConnection::new(Arc::clone(client), ServerName::try_from(name)?)?;
    while tls.is_handshaking() {
        tls.complete_io(&mut tcp)?;
    }
    Ok(StreamOwned::new(tls, tcp))
}

fn handshakes(
    plan: &Plan,
    report: &mut Report,
    identity: &Identity,
    [bare, port]: [SocketAddr; 2],
    what: &str,
) -> Result<()> {
    let (mut native, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        native.push(rate(&identity.client, bare, NAME, plan.load)?);
        ours.push(rate(&identity.client, port, NAME, plan.load)?);
    }
    let (native, ours) = (median(&native), median(&ours));
    report.add(Line {
        row: ROW,
        what: format!("new TLS 1.3 handshakes {what}; native: bare tokio-rustls"),
        beside: format!("{} /s", number(native)),
        ours: format!("{} /s", number(ours)),
        value: ours / native,
        unit: "× native",
        goal: Goal::AtLeast(0.85),
    });
    Ok(())
}

/// Handshakes per second, over some threads.
pub(super) fn rate(
    client: &Arc<ClientConfig>,
    address: SocketAddr,
    name: &'static str,
    time: Duration,
) -> Result<f64> {
    let begun = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let client = Arc::clone(client);
            thread::spawn(move || {
                let mut count = 0_u32;
                while begun.elapsed() < time {
                    drop(connect(&client, address, name)?);
                    count += 1;
                }
                anyhow::Ok(count)
            })
        })
        .collect();
    let mut count = 0;
    for client in clients {
        count += client.join().map_err(|_| anyhow!("a client panicked"))??;
    }
    Ok(f64::from(count) / begun.elapsed().as_secs_f64())
}

fn echoes(
    plan: &Plan,
    report: &mut Report,
    identity: &Identity,
    servers: [(&Server, SocketAddr); 3],
) -> Result<()> {
    let mut all = [(); 3].map(|()| (Vec::new(), Vec::new()));
    for _ in 0..plan.rounds {
        for ((server, address), (rates, costs)) in servers.iter().zip(&mut all) {
            let before = server.cpu_time()?;
            let bytes = throughput(identity, *address, plan.load)?;
            let used = server.cpu_time()?.saturating_sub(before);
            rates.push(bytes);
            let megabytes = bytes / 1e6 * plan.load.as_secs_f64();
            costs.push(used.as_secs_f64() * 1e6 / megabytes);
        }
    }
    let [per_core, one_thread, ours] = all.map(|(rates, costs)| (median(&rates), median(&costs)));
    let text = |(rate, cost): (f64, f64)| {
        let (rate, cost) = (number(rate / 1e6), number(cost));
        format!("{rate} MB/s, {cost} µs of processor for a megabyte")
    };
    for (native, threads, goal) in [
        (per_core, "a thread per core", Goal::AtLeast(0.85)),
        (one_thread, "one thread, as a guest has", Goal::None),
    ] {
        report.add(Line {
            row: ROW,
            what: format!(
                "TLS echo, 64 KiB writes, 4 connections; native: bare tokio-rustls with {threads}"
            ),
            beside: text(native),
            ours: text(ours),
            value: ours.0 / native.0,
            unit: "× native",
            goal,
        });
    }
    Ok(())
}

/// Bytes per second that come back.
fn throughput(identity: &Identity, address: SocketAddr, time: Duration) -> Result<f64> {
    let mut streams = Vec::new();
    for _ in 0..CONNECTIONS {
        streams.push(identity.connect(address)?);
    }
    let begun = Instant::now();
    let clients: Vec<_> = streams
        .into_iter()
        .map(|stream| thread::spawn(move || echo(stream, begun + time)))
        .collect();
    let mut bytes = 0;
    for client in clients {
        bytes += client.join().map_err(|_| anyhow!("a client panicked"))??;
    }
    Ok(bytes as f64 / begun.elapsed().as_secs_f64())
}

fn echo(mut stream: TlsStream, end: Instant) -> Result<u64> {
    let sent: Vec<u8> = (0..=255).cycle().take(WRITE_BYTES).collect();
    let mut received = vec![0; WRITE_BYTES];
    let mut bytes = 0;
    while Instant::now() < end {
        stream.write_all(&sent)?;
        stream.flush()?;
        stream.read_exact(&mut received)?;
        bytes += WRITE_BYTES as u64;
    }
    ensure!(received == sent, "other bytes came back");
    Ok(bytes)
}

/// Memory of connections to one instance that say nothing. What the guest itself
/// keeps for them is not the host's.
fn idle(
    plan: &Plan,
    report: &mut Report,
    identity: &Identity,
    (wapo, port): (&mut Server, SocketAddr),
) -> Result<()> {
    let count = if plan.smoke { 100 } else { 8_000 };
    // As many files as this process may have.
    let files = Capacity::take().open_files;
    ensure!(files > 2 * count as u64, "{files} open files are too few");
    let mut open = Vec::new();
    // The first ones pay for what all share.
    for _ in 0..CLIENTS {
        open.push(identity.connect(port)?);
    }
    let memory = |wapo: &mut Server| -> Result<(u64, u64)> {
        crate::worker::pause(SETTLE);
        let of_guest = wapo.ask_one("guest-memory")?.parse()?;
        Ok((wapo.memory_bytes()?, of_guest))
    };
    let before = memory(wapo)?;
    while open.len() < count + CLIENTS {
        open.push(identity.connect(port)?);
    }
    let after = memory(wapo)?;
    let all = after.0.saturating_sub(before.0) as f64;
    let guests = after.1.saturating_sub(before.1) as f64;
    report.add(Line {
        row: ROW,
        what: format!("{count} idle TLS connections to one instance, of the host for each"),
        beside: String::new(),
        ours: format!(
            "{} MB in all, {} MB of them the guest's own",
            number(all / 1e6),
            number(guests / 1e6)
        ),
        value: (all - guests).max(0.0) / count as f64 / 1024.0,
        unit: "KiB",
        goal: Goal::AtMost(IDLE_BYTES_MAX / 1024.0),
    });
    Ok(())
}
