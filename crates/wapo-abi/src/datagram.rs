//! How datagrams lie side by side in one slice, as `udp_send` and `udp_recv` move them.
//!
//! Each is a header of [`HEADER_BYTES`] and its payload, the next one right behind it:
//!
//! ```text
//! 0  u32       bytes of the payload
//! 4  u8        kind of the address: 0 none, 4 IPv4, 6 IPv6
//! 5  u8        0
//! 6  u16       port
//! 8  [u8; 16]  address; of IPv4 the first four bytes, the others 0
//! 24 u32       scope of an IPv6 address, else 0
//! ```
//!
//! Numbers are little-endian, the address is in the order of the network. Used by
//! guest and host; no I/O.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// Bytes in front of each payload.
pub const HEADER_BYTES: usize = 28;

/// Bytes of the payload of a datagram, at most: 65,535 less the headers of IPv4 and
/// UDP (RFC 768, RFC 791).
pub const PAYLOAD_BYTES_MAX: usize = 65_507;

/// What stands in front of a payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DatagramHeader {
    /// Bytes of the payload.
    pub payload_bytes: u32,
    /// Where it goes to or comes from; `None` is the peer of a connected socket.
    pub peer: Option<SocketAddr>,
}

impl DatagramHeader {
    /// The header as it lies in the slice.
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&self.payload_bytes.to_le_bytes());
        let Some(peer) = self.peer else {
            return bytes;
        };
        bytes[6..8].copy_from_slice(&peer.port().to_le_bytes());
        match peer {
            SocketAddr::V4(peer) => {
                bytes[4] = 4;
                bytes[8..12].copy_from_slice(&peer.ip().octets());
            }
            SocketAddr::V6(peer) => {
                bytes[4] = 6;
                bytes[8..24].copy_from_slice(&peer.ip().octets());
                bytes[24..].copy_from_slice(&peer.scope_id().to_le_bytes());
            }
        }
        bytes
    }

    /// Reads a header; `None` for bytes that are none, such as unused fields that
    /// are not 0.
    pub fn from_bytes(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let [a, b, c, d, kind, _, e, f, address @ .., g, h, i, j] = bytes;
        let address: [u8; 16] = *address;
        let port = u16::from_le_bytes([*e, *f]);
        let scope = u32::from_le_bytes([*g, *h, *i, *j]);
        let peer = match kind {
            0 => None,
            4 => {
                let [a, b, c, d, ..] = address;
                let ip = IpAddr::V4(Ipv4Addr::new(a, b, c, d));
                Some(SocketAddr::new(ip, port))
            }
            6 => {
                let ip = Ipv6Addr::from(address);
                Some(SocketAddr::V6(SocketAddrV6::new(ip, port, 0, scope)))
            }
            _ => return None,
        };
        let header = Self {
            payload_bytes: u32::from_le_bytes([*a, *b, *c, *d]),
            peer,
        };
        (header.to_bytes() == *bytes).then_some(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_read_as_they_were_written() {
        for peer in [
            None,
            Some("192.0.2.7:53"),
            Some("[2001:db8::1]:65535"),
            Some("[fe80::1%3]:1"),
            Some("[::ffff:127.0.0.1]:0"),
        ] {
            let header = DatagramHeader {
                payload_bytes: 512,
                peer: peer.map(|text| text.parse().expect("an address")),
            };
            assert_eq!(DatagramHeader::from_bytes(&header.to_bytes()), Some(header));
        }
    }

    #[test]
    fn the_layout_is_that_of_the_contract() {
        let header = DatagramHeader {
            payload_bytes: 0x0102,
            peer: Some("1.2.3.4:5".parse().expect("an address")),
        };
        let mut expected = [0; HEADER_BYTES];
        expected[..12].copy_from_slice(&[2, 1, 0, 0, 4, 0, 5, 0, 1, 2, 3, 4]);
        assert_eq!(header.to_bytes(), expected);
    }

    #[test]
    fn bytes_that_are_no_header_are_refused() {
        let v4 = DatagramHeader {
            payload_bytes: 1,
            peer: Some("1.2.3.4:5".parse().expect("an address")),
        };
        for (at, value) in [
            (4, 1),
            (4, 5),
            (4, 255),
            (5, 1),
            (12, 1),
            (23, 1),
            (24, 1),
            (27, 9),
        ] {
            let mut bytes = v4.to_bytes();
            bytes[at] = value;
            assert_eq!(DatagramHeader::from_bytes(&bytes), None, "{value} at {at}");
        }
        // Without a kind there is neither port nor address.
        let mut bytes = v4.to_bytes();
        bytes[4] = 0;
        assert_eq!(DatagramHeader::from_bytes(&bytes), None);
    }
}
