//! Datagrams with a forged source, in a network where they arrive.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

use e2e::namespace::{Place, done, enter};
use e2e::probe::datagrams;
use e2e::{Daemon, Errno, Probe, ports, within};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

/// `SOCK_RAW`.
const RAW: i32 = 3;

/// More than any datagram here.
const ROOM: u32 = 100;

/// Sends datagrams from whatever address a test wants.
struct Forger(Socket);

impl Forger {
    fn new() -> Self {
        // The protocol 255 stands for: the header of IP is in the packet.
        let raw = Socket::new(Domain::IPV4, Type::from(RAW), Some(Protocol::from(255)));
        Self(raw.expect("root within the test's network"))
    }

    fn send(&self, from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) {
        let udp_len = u16::try_from(8 + payload.len()).unwrap();
        let mut packet = vec![0x45, 0];
        packet.extend((20 + udp_len).to_be_bytes());
        // No fragment, 64 hops, UDP; the kernel fills in the checksum.
        packet.extend([0, 0, 0, 0, 64, 17, 0, 0]);
        packet.extend(from.ip().octets());
        packet.extend(to.ip().octets());
        packet.extend(from.port().to_be_bytes());
        packet.extend(to.port().to_be_bytes());
        packet.extend(udp_len.to_be_bytes());
        // No checksum, as RFC 768 allows.
        packet.extend([0, 0]);
        packet.extend(payload);
        let sent = self.0.send_to(&packet, &SocketAddr::V4(to).into());
        assert_eq!(sent.expect("sent"), packet.len());
    }
}

fn v4(address: SocketAddr) -> SocketAddrV4 {
    match address {
        SocketAddr::V4(v4) => v4,
        SocketAddr::V6(v6) => panic!("{v6} is not IPv4"),
    }
}

/// Takes all that is there; the last one is the peer's.
async fn received_until(probe: &Probe, socket: u32, last: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while all.last().is_none_or(|one: &Vec<u8>| one != last) {
        let more = within("a datagram", probe.udp_recv(socket, ROOM)).await;
        all.extend(more.unwrap().into_iter().map(|(_, payload)| payload));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_made_up_is_heard_only_where_it_is_the_peers() {
    let test = "udp_spoofing::a_source_that_is_made_up_is_heard_only_where_it_is_the_peers";
    if enter(test, &[]) == Place::Outside {
        return;
    }
    let forger = Forger::new();
    let port = ports::free();
    let daemon = Daemon::start().await;
    let probe = Probe::on(&daemon, |app| {
        app.listen_ports = ports::only(port);
        app.egress = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let peer_at = v4(peer.local_addr().unwrap());
    let others = [
        SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 2), peer_at.port()),
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, peer_at.port() ^ 1),
        SocketAddrV4::new(Ipv4Addr::new(93, 184, 216, 34), peer_at.port()),
    ];

    // A client with a peer, and one that has sent to it.
    let connected = probe.udp_bind("127.0.0.1:0").await.unwrap();
    let target = peer_at.to_string();
    assert_eq!(probe.udp_connect(connected, &target).await, Ok(0));
    let hello = datagrams(&[(None, b"hello".to_vec())]);
    assert_eq!(probe.udp_send(connected, &hello).await, Ok(1));
    let free = probe.udp_bind("127.0.0.1:0").await.unwrap();
    assert_eq!(probe.send_to(free, peer_at.into(), b"hello").await, Ok(1));
    for socket in [connected, free] {
        let own = v4(probe.local_addr(socket).await.unwrap());
        for other in others {
            forger.send(other, own, b"made up");
        }
        // This one cannot be told from the peer's, and shows that the others arrived.
        forger.send(peer_at, own, b"as the peer");
        peer.send_to(b"end", own).await.unwrap();
        let received = received_until(&probe, socket, b"end").await;
        assert_eq!(received, [&b"as the peer"[..], b"end"]);
    }

    // A port receives from every address, and answers only where it may.
    let open = probe.udp_bind(&format!("127.0.0.1:{port}")).await.unwrap();
    let own = v4(probe.local_addr(open).await.unwrap());
    forger.send(others[2], own, b"made up");
    let received = within("it", probe.udp_recv(open, ROOM)).await.unwrap();
    let claimed = SocketAddr::V4(others[2]);
    assert_eq!(received, [(Some(claimed), b"made up".to_vec())]);
    for (target, expected) in [
        (IpAddr::from([10, 0, 0, 1]), Err(Errno::Forbidden)),
        (IpAddr::from([169, 254, 169, 254]), Err(Errno::Forbidden)),
    ] {
        let from = v4(SocketAddr::new(target, 53));
        forger.send(from, own, b"?");
        let received = within("it", probe.udp_recv(open, ROOM)).await.unwrap();
        assert_eq!(received[0].0, Some(SocketAddr::V4(from)));
        assert_eq!(probe.send_to(open, from.into(), b"!").await, expected);
    }
    done();
}
