//! Floods of datagrams in both directions: neighbours go on.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use e2e::{App, Daemon, guest, ports, within};

/// Answers of the neighbour that are waited for.
const ANSWERS: u32 = 50;

/// Longest time for all of them, on a machine that is busy with other things, too.
const BEARABLE: Duration = Duration::from_secs(15);

/// How often the test looks at the socket at least, however fast the flood is.
const LOOKS: u32 = 20;

/// Bytes that may wait at a UDP socket, by the contract: what Linux makes of a receive
/// buffer of 128 KiB, and the longest datagram beyond it.
const QUEUED_MAX: u64 = 2 * 128 * 1024 + 2 * 64 * 1024;

/// Bytes that the kernel keeps for the sockets of a UDP port over IPv4.
fn queued(port: u16) -> u64 {
    let table = std::fs::read_to_string("/proc/net/udp").unwrap();
    let at = format!(":{port:04X}");
    let sockets = table.lines().skip(1).filter_map(|line| {
        let mut columns = line.split_whitespace().skip(1);
        let is_here = columns.next()?.ends_with(&at);
        // The peer and the state stand before the queues, out and in.
        let (_, received) = columns.nth(2)?.split_once(':')?;
        is_here.then(|| u64::from_str_radix(received, 16).ok())?
    });
    sockets.sum()
}

/// Sends datagrams to an address as fast as it can, until it is dropped.
struct Flood {
    is_over: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    sending: Option<JoinHandle<()>>,
}

impl Flood {
    fn start(to: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let (is_over, sent) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (told, count) = (Arc::clone(&is_over), Arc::clone(&sent));
        let sending = std::thread::spawn(move || {
            let payload = [7; 512];
            while !told.load(Ordering::Relaxed) {
                if socket.send_to(&payload, to).is_ok() {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Self {
            is_over,
            sent,
            sending: Some(sending),
        }
    }

    fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(sending) = self.sending.take() {
            sending.join().expect("the flood did not panic");
        }
    }
}

/// The suite beside a neighbour.
async fn beside_a_neighbour() -> (Daemon, App, SocketAddr, App) {
    let port = ports::free();
    let daemon = Daemon::start().await;
    let mut config = guest("sdk-suite");
    config.listen_ports = ports::only(port);
    config.args = vec![format!("listen-udp=127.0.0.1:{port}")];
    config.egress = vec!["127.0.0.0/8".parse().unwrap()];
    let suite = daemon.deploy(config).await;
    suite.expect_log("ready").await;
    let neighbour = daemon.deploy(guest("hello-http")).await;
    neighbour.get("/").await.expect_text("Hello, World!\n");
    (daemon, suite, ([127, 0, 0, 1], port).into(), neighbour)
}

/// The neighbour answers, one request after the other.
async fn expect_answers(neighbour: &App) {
    let begun = Instant::now();
    for _ in 0..ANSWERS {
        neighbour.get("/").await.expect_text("Hello, World!\n");
    }
    let took = begun.elapsed();
    assert!(took < BEARABLE, "{ANSWERS} answers took {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_at_one_socket_starves_no_neighbour_and_takes_no_memory() {
    let (daemon, suite, at, neighbour) = beside_a_neighbour().await;
    let before = daemon.running().guest_memory_bytes();
    let ingress = |app: &App| app.usage().network_ingress_bytes;
    let flood = Flood::start(at);
    expect_answers(&neighbour).await;
    // Until far more has come than a socket keeps, and datagrams were seen to wait: they do not
    // wait at the moments at which the guest has just read all of them.
    let most = AtomicU64::new(0);
    let enough = async {
        for looks in 1.. {
            most.fetch_max(queued(at.port()), Ordering::Relaxed);
            let is_seen = looks >= LOOKS && most.load(Ordering::Relaxed) > 0;
            if is_seen && flood.sent() >= 20_000 && ingress(&suite) >= 1 << 20 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within("the flood to pass", enough).await;
    let most = most.into_inner();
    assert!((1..=QUEUED_MAX).contains(&most), "{most} bytes waited");
    assert_eq!(daemon.running().guest_memory_bytes(), before);
    // The guest itself answers others meanwhile.
    assert_eq!(suite.ask("/").await, "sdk-suite");
    drop(flood);
    // And is there when it is over.
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let answered = (0..30).any(|_| {
        client.send_to(b"still there?", at).unwrap();
        client.recv(&mut [0; 100]).is_ok()
    });
    assert!(answered, "no echo after the flood");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_floods_starves_no_neighbour() {
    let (_daemon, suite, _, neighbour) = beside_a_neighbour().await;
    // Its datagrams are dropped by the kernel: nobody takes them.
    let sink = UdpSocket::bind("127.0.0.1:0").unwrap();
    let path = format!("/udp/flood/{}", sink.local_addr().unwrap());
    let flooding = {
        let suite = suite.clone();
        tokio::spawn(async move { suite.query(&path, []).await })
    };
    let begun = async {
        while suite.usage().network_egress_bytes < 100_000 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    within("the flood to begin", begun).await;
    expect_answers(&neighbour).await;
    let flooded = within("the end of the flood", flooding).await.unwrap();
    assert_eq!(flooded.unwrap(), b"flooded");
    // 160,000 datagrams with their headers.
    let egress = suite.usage().network_egress_bytes;
    assert_eq!(egress, 5_000 * 32 * (512 + 28));
}
