//! A DNS server on loopback that answers what a test tells it to.
//!
//! It knows A, AAAA and CNAME records and writes them by hand: the few bytes are
//! simpler than a library. It answers by UDP, and what is too long for it by TCP.
//! Names it does not know do not exist.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::AbortHandle;

const TYPE_A: u16 = 1;
const TYPE_CNAME: u16 = 5;
const TYPE_SOA: u16 = 6;
const TYPE_AAAA: u16 = 28;
const CLASS_IN: u16 = 1;
const HEADER_BYTES: usize = 12;
/// Longer answers go by TCP.
const UDP_BYTES_MAX: usize = 1200;

/// A question to the server.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Question {
    /// The name in lower case.
    pub name: String,
    /// Whether it is for IPv6 addresses.
    pub is_v6: bool,
}

/// What the server says.
#[derive(Clone, Default, Debug)]
pub struct Reply {
    /// Records of the answer.
    pub records: Vec<Record>,
    /// Whether there is no such name.
    pub is_missing: bool,
    /// How long the answer holds. Without it nothing remembers it.
    pub ttl_secs: u32,
}

/// A record of an answer.
#[derive(Clone, Debug)]
pub enum Record {
    /// An address of the name that was asked for.
    Address(IpAddr),
    /// An address of another name.
    AddressOf(String, IpAddr),
    /// A name is another name.
    Alias(String, String),
}

impl Reply {
    /// These addresses of the family that was asked for.
    pub fn of(question: &Question, addresses: &[IpAddr]) -> Self {
        let all = addresses.iter().copied();
        let fitting = all.filter(|ip| ip.is_ipv6() == question.is_v6);
        Self {
            records: fitting.map(Record::Address).collect(),
            ..Self::default()
        }
    }

    /// There is no such name.
    pub fn missing() -> Self {
        Self {
            is_missing: true,
            ..Self::default()
        }
    }
}

type Script = Arc<dyn Fn(&Question, usize) -> Option<Reply> + Send + Sync>;

/// A DNS server; it is gone when dropped.
pub struct Dns {
    address: SocketAddr,
    asked: Arc<Mutex<HashMap<Question, usize>>>,
    tasks: [AbortHandle; 2],
}

impl Dns {
    /// Serves these names.
    ///
    /// # Panics
    ///
    /// When no port is to be had.
    pub async fn serve(names: &[(&str, IpAddr)]) -> Self {
        let table = table(names);
        Self::scripted(move |question, _| Some(look_up(&table, question))).await
    }

    /// Serves these names, and never answers a question for IPv6 addresses.
    pub async fn serve_ipv4_only(names: &[(&str, IpAddr)]) -> Self {
        let table = table(names);
        Self::scripted(move |question, _| (!question.is_v6).then(|| look_up(&table, question)))
            .await
    }

    /// Answers what `script` says to a question that was asked so often before; to
    /// none where it says none.
    ///
    /// # Panics
    ///
    /// When no port is to be had.
    pub async fn scripted(
        script: impl Fn(&Question, usize) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        let (udp, tcp) = sockets().await;
        let address = udp.local_addr().expect("bound");
        let asked = Arc::new(Mutex::new(HashMap::new()));
        let server = Server {
            script: Arc::new(script),
            asked: Arc::clone(&asked),
        };
        let tasks = [
            tokio::spawn(server.clone().serve_udp(udp)).abort_handle(),
            tokio::spawn(server.serve_tcp(tcp)).abort_handle(),
        ];
        Self {
            address,
            asked,
            tasks,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many questions there were for the IPv4 addresses of a name.
    ///
    /// # Panics
    ///
    /// When the server has.
    pub fn asked_for_v4(&self, name: &str) -> usize {
        let question = Question {
            name: name.to_owned(),
            is_v6: false,
        };
        let asked = self.asked.lock().expect("not poisoned");
        asked.get(&question).copied().unwrap_or_default()
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// The same port of UDP and TCP.
async fn sockets() -> (UdpSocket, TcpListener) {
    for _ in 0..100 {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let udp = udp.expect("a port");
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().expect("bound")).await {
            return (udp, tcp);
        }
    }
    panic!("no port is free for both UDP and TCP");
}

type Table = HashMap<String, Vec<IpAddr>>;

fn table(names: &[(&str, IpAddr)]) -> Table {
    let mut table = Table::new();
    for (name, ip) in names {
        table.entry((*name).to_owned()).or_default().push(*ip);
    }
    table
}

fn look_up(table: &Table, question: &Question) -> Reply {
    match table.get(&question.name) {
        Some(addresses) => Reply::of(question, addresses),
        None => Reply::missing(),
    }
}

#[derive(Clone)]
struct Server {
    script: Script,
    asked: Arc<Mutex<HashMap<Question, usize>>>,
}

impl Server {
    async fn serve_udp(self, socket: UdpSocket) {
        let mut packet = [0; 512];
        while let Ok((len, client)) = socket.recv_from(&mut packet).await {
            let Some(mut reply) = self.answer(&packet[..len]) else {
                continue;
            };
            if reply.len() > UDP_BYTES_MAX {
                let end = question_end(&reply).expect("the question was read before");
                reply.truncate(end);
                // No records, and the bit that says that there would be some.
                reply[2] |= 2;
                reply[6..HEADER_BYTES].fill(0);
            }
            // A client that is gone needs no answer.
            let _ = socket.send_to(&reply, client).await;
        }
    }

    async fn serve_tcp(self, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let server = self.clone();
            tokio::spawn(async move {
                // A client that is gone needs no answer.
                let _ = server.serve_stream(stream).await;
            });
        }
    }

    async fn serve_stream(self, mut stream: TcpStream) -> std::io::Result<()> {
        loop {
            let mut packet = vec![0; stream.read_u16().await?.into()];
            stream.read_exact(&mut packet).await?;
            if let Some(reply) = self.answer(&packet) {
                let len = u16::try_from(reply.len()).expect("a test's answer fits");
                stream.write_all(&len.to_be_bytes()).await?;
                stream.write_all(&reply).await?;
            }
        }
    }

    /// The reply to a packet with one question.
    fn answer(&self, packet: &[u8]) -> Option<Vec<u8>> {
        let (name, end) = read_name(packet)?;
        let kind = u16::from_be_bytes(packet.get(end..end + 2)?.try_into().ok()?);
        let question = Question {
            name,
            is_v6: match kind {
                TYPE_A => false,
                TYPE_AAAA => true,
                _ => return None,
            },
        };
        let before = {
            let mut asked = self.asked.lock().expect("not poisoned");
            let count = asked.entry(question.clone()).or_default();
            *count += 1;
            *count - 1
        };
        let reply = (self.script)(&question, before)?;
        Some(encode(packet, end + 4, &question, &reply))
    }
}

fn encode(packet: &[u8], question_end: usize, question: &Question, reply: &Reply) -> Vec<u8> {
    let has_soa = reply.records.is_empty() && reply.ttl_secs > 0;
    let mut bytes = packet[..2].to_vec();
    // Response, authoritative, recursion available; "no such name" is 3.
    bytes.extend([0x85, if reply.is_missing { 0x83 } else { 0x80 }]);
    let records = u16::try_from(reply.records.len()).expect("a test's answer fits");
    for count in [1, records, u16::from(has_soa), 0] {
        bytes.extend(count.to_be_bytes());
    }
    bytes.extend(&packet[HEADER_BYTES..question_end]);
    let mut record = |name: Vec<u8>, kind: u16, data: Vec<u8>| {
        bytes.extend(name);
        bytes.extend(kind.to_be_bytes());
        bytes.extend(CLASS_IN.to_be_bytes());
        bytes.extend(reply.ttl_secs.to_be_bytes());
        let len = u16::try_from(data.len()).expect("short");
        bytes.extend(len.to_be_bytes());
        bytes.extend(data);
    };
    for one in &reply.records {
        match one {
            Record::Address(ip) => address(&mut record, &question.name, *ip),
            Record::AddressOf(name, ip) => address(&mut record, name, *ip),
            Record::Alias(name, other) => record(write_name(name), TYPE_CNAME, write_name(other)),
        }
    }
    if has_soa {
        // Server and mailbox are the root; of the numbers only the last counts here.
        let mut data = vec![0, 0];
        for number in [1, 1, 1, 1, reply.ttl_secs] {
            data.extend(number.to_be_bytes());
        }
        record(vec![0], TYPE_SOA, data);
    }
    bytes
}

fn address(record: &mut impl FnMut(Vec<u8>, u16, Vec<u8>), name: &str, ip: IpAddr) {
    match ip {
        IpAddr::V4(v4) => record(write_name(name), TYPE_A, v4.octets().to_vec()),
        IpAddr::V6(v6) => record(write_name(name), TYPE_AAAA, v6.octets().to_vec()),
    }
}

fn write_name(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).expect("a short label"));
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

fn question_end(packet: &[u8]) -> Option<usize> {
    let (_, end) = read_name(packet)?;
    Some(end + 4)
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
