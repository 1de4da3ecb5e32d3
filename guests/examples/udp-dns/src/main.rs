//! A small DNS server: answers questions for A and AAAA records over UDP.
//!
//! The first argument is the address to listen on, each other one a record:
//! `name=address`. It knows nothing else and asks no other server.

use std::net::IpAddr;

use simple_dns::rdata::{A, AAAA, RData};
use simple_dns::{CLASS, Name, OPCODE, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE};
use wapo::net::{Datagrams, UdpSocket};

/// Longest answer without extensions (RFC 1035, section 2.3.4).
///
/// The source of a datagram may be forged; long answers would be a weapon.
const ANSWER_BYTES_MAX: usize = 512;

/// Seconds for which others may remember an answer.
const TTL: u32 = 60;

/// Room for a batch of questions.
const ROOM: usize = 128 * 1024;

/// A name in lower case, and one of its addresses.
type Record = (String, IpAddr);

#[wapo::main]
async fn main() -> Result<(), String> {
    wapo::log::init();
    let mut args = std::env::args().skip(1);
    let place = args.next().unwrap_or_else(|| "127.0.0.1:5353".to_owned());
    let records: Vec<Record> = args.map(|text| parse(&text)).collect::<Result<_, _>>()?;
    let socket = UdpSocket::bind(&place).await;
    let socket = socket.map_err(|error| error.to_string())?;
    log::info!("answering on {place} with {} records", records.len());

    let mut questions = Datagrams::with_room(ROOM);
    let mut answers = Datagrams::with_room(ROOM);
    loop {
        let received = socket.recv_batch(&mut questions).await;
        received.map_err(|error| format!("cannot receive: {error}"))?;
        for (peer, question) in questions.iter() {
            if let Some(answer) = answer(question, &records) {
                let pushed = answers.push(peer, &answer);
                pushed.map_err(|error| error.to_string())?;
            }
        }
        // A client that may not have its answer is no reason to end.
        while let Err(error) = socket.send_batch(&mut answers).await {
            log::warn!("cannot answer: {error}");
            answers.skip();
        }
        answers.clear();
    }
}

fn parse(text: &str) -> Result<Record, String> {
    let record = text.split_once('=').and_then(|(name, address)| {
        let address = address.parse().ok()?;
        Name::new(name).ok()?;
        Some((normal(name), address))
    });
    record.ok_or_else(|| format!("`{text}` is no record: write name=address"))
}

/// Names are equal in whatever case they are written.
fn normal(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// The answer to a question; none to what is no question.
fn answer(question: &[u8], records: &[Record]) -> Option<Vec<u8>> {
    let packet = Packet::parse(question).ok()?;
    if packet.has_flags(PacketFlag::RESPONSE) {
        return None;
    }
    let mut reply = Packet::new_reply(packet.id());
    *reply.opcode_mut() = packet.opcode();
    if packet.has_flags(PacketFlag::RECURSION_DESIRED) {
        reply.set_flags(PacketFlag::RECURSION_DESIRED);
    }
    let [asked] = packet.questions.as_slice() else {
        *reply.rcode_mut() = RCODE::FormatError;
        return reply.build_bytes_vec().ok();
    };
    reply.questions.push(asked.clone());
    if packet.opcode() != OPCODE::StandardQuery {
        *reply.rcode_mut() = RCODE::NotImplemented;
        return reply.build_bytes_vec().ok();
    }
    reply.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
    let name = normal(&asked.qname.to_string());
    let is_known = records.iter().any(|(own, _)| *own == name);
    if !is_known {
        *reply.rcode_mut() = RCODE::NameError;
    }
    for (_, address) in records.iter().filter(|(own, _)| *own == name) {
        let (kind, data) = match *address {
            IpAddr::V4(ip) => (TYPE::A, RData::A(A::from(ip))),
            IpAddr::V6(ip) => (TYPE::AAAA, RData::AAAA(AAAA::from(ip))),
        };
        if asked.qtype == QTYPE::TYPE(kind) || asked.qtype == QTYPE::ANY {
            let record = ResourceRecord::new(asked.qname.clone(), CLASS::IN, TTL, data);
            reply.answers.push(record);
        }
    }
    let whole = reply.build_bytes_vec_compressed().ok()?;
    if whole.len() <= ANSWER_BYTES_MAX {
        return Some(whole);
    }
    reply.answers.clear();
    reply.set_flags(PacketFlag::TRUNCATION);
    reply.build_bytes_vec().ok()
}
