//! A DNS server on loopback that answers what a test tells it to.
//!
//! It knows A and AAAA records and writes them by hand: the few bytes are
//! simpler than a library. Names it does not know do not exist.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::net::UdpSocket;
use tokio::task::AbortHandle;

const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const HEADER_BYTES: usize = 12;
/// Answers are valid for no time, so that nothing remembers them.
const TTL_SECS: u32 = 0;

/// A DNS server; it is gone when dropped.
pub struct Dns {
    address: SocketAddr,
    task: AbortHandle,
}

impl Dns {
    /// Serves these names.
    ///
    /// # Panics
    ///
    /// When no port is to be had.
    pub async fn serve(names: &[(&str, IpAddr)]) -> Self {
        Self::answering(names, |_| true).await
    }

    /// Serves these names, and never answers a question for IPv6 addresses.
    pub async fn serve_ipv4_only(names: &[(&str, IpAddr)]) -> Self {
        Self::answering(names, |kind| kind != TYPE_AAAA).await
    }

    async fn answering(names: &[(&str, IpAddr)], answers: fn(u16) -> bool) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("port");
        let address = socket.local_addr().expect("bound");
        let mut table: HashMap<String, Vec<IpAddr>> = HashMap::new();
        for (name, ip) in names {
            table.entry((*name).to_owned()).or_default().push(*ip);
        }
        let task = tokio::spawn(async move {
            let mut packet = [0; 512];
            while let Ok((len, client)) = socket.recv_from(&mut packet).await {
                if kind_of(&packet[..len]).is_some_and(answers)
                    && let Some(reply) = answer(&packet[..len], &table)
                {
                    // A client that is gone needs no answer.
                    let _ = socket.send_to(&reply, client).await;
                }
            }
        });
        Self {
            address,
            task: task.abort_handle(),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The reply to a packet with one question.
fn answer(packet: &[u8], table: &HashMap<String, Vec<IpAddr>>) -> Option<Vec<u8>> {
    let (name, end) = read_name(packet)?;
    let question = packet.get(HEADER_BYTES..end + 4)?;
    let kind = kind_of(packet)?;
    let known = table.get(&name);
    let found: Vec<IpAddr> = known
        .into_iter()
        .flatten()
        .filter(|ip| (kind == TYPE_A && ip.is_ipv4()) || (kind == TYPE_AAAA && ip.is_ipv6()))
        .copied()
        .collect();
    let mut reply = packet.get(..2)?.to_vec();
    // Response, authoritative, recursion available; "no such name" is 3.
    reply.extend([0x85, if known.is_some() { 0x80 } else { 0x83 }]);
    reply.extend([0, 1, 0, u8::try_from(found.len()).ok()?, 0, 0, 0, 0]);
    reply.extend(question);
    for ip in found {
        let bytes = match ip {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        // A pointer to the question's name, the type, class IN.
        reply.extend([0xc0, 0x0c]);
        reply.extend(kind.to_be_bytes());
        reply.extend([0, 1]);
        reply.extend(TTL_SECS.to_be_bytes());
        reply.extend(u16::try_from(bytes.len()).ok()?.to_be_bytes());
        reply.extend(bytes);
    }
    Some(reply)
}

/// The kind of records that a packet with one question asks for.
fn kind_of(packet: &[u8]) -> Option<u16> {
    let (_, end) = read_name(packet)?;
    Some(u16::from_be_bytes([
        *packet.get(end)?,
        *packet.get(end + 1)?,
    ]))
}

/// The name after the header and where it ends.
fn read_name(packet: &[u8]) -> Option<(String, usize)> {
    let mut at = HEADER_BYTES;
    let mut labels = Vec::new();
    loop {
        let len = usize::from(*packet.get(at)?);
        at += 1;
        if len == 0 {
            return Some((labels.join("."), at));
        }
        let label = packet.get(at..at + len)?;
        labels.push(String::from_utf8_lossy(label).to_lowercase());
        at += len;
    }
}
