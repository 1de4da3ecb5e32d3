//! Headers of the PROXY protocol, versions 1 and 2: bytes in, the client's address out.
//!
//! A proxy that passes bytes on says in front of them whose bytes they are
//! (<https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>). Only what a proxy
//! that the operator trusts has sent is given to this module: a header is a claim that
//! nothing proves. No I/O here; [`read`](crate::net::proxied::read) reads one from a
//! connection. Strict: a header is right as a whole or refused, and nothing is guessed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// Bytes of a header of version 1 with its line end, at most (section 2.1).
pub const V1_BYTES_MAX: usize = 107;

/// Bytes of a header of version 2, at most.
///
/// As many as fit into the smallest segment that TCP has to take (section 2.2): the
/// longest addresses take 232, the rest is room for what proxies like to add. Without
/// a limit the field for the length would allow 64 KiB.
pub const V2_BYTES_MAX: usize = 536;

/// Bytes of a header of either version, at most.
pub const HEADER_BYTES_MAX: usize = V2_BYTES_MAX;

const V1_BEGIN: &[u8] = b"PROXY ";
const V2_BEGIN: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version and command, family and protocol, and the length of the rest.
const V2_FIXED: usize = V2_BEGIN.len() + 4;

/// What a header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProxyHeader {
    /// The client; `None` when the proxy speaks for itself (`LOCAL`, `UNKNOWN`) or
    /// the client has no address of the Internet.
    pub client: Option<SocketAddr>,
    /// Bytes that it takes; those of the client begin behind it.
    pub bytes: usize,
}

/// Why bytes are no header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HeaderError {
    /// They begin with something else.
    #[error("no PROXY header in front")]
    NoHeader,
    /// A line of version 1 that is longer, or is not of the form that the protocol
    /// demands.
    #[error("a bad PROXY header of version 1")]
    BadLine,
    /// Version 2 with an unknown version, command or family, or too few bytes of
    /// addresses.
    #[error("a bad PROXY header of version 2")]
    BadBinary,
    /// More than [`V2_BYTES_MAX`].
    #[error("a PROXY header of more than {V2_BYTES_MAX} bytes")]
    TooLong,
}

/// Reads the header at the begin of a connection; `None` when more bytes have to
/// come, of which all so far are part of it.
///
/// # Errors
///
/// [`HeaderError`], as soon as no more bytes could make it one.
pub fn parse(bytes: &[u8]) -> Result<Option<ProxyHeader>, HeaderError> {
    if begins(bytes, V2_BEGIN) {
        return binary(bytes);
    }
    if begins(bytes, V1_BEGIN) {
        return line(bytes);
    }
    Err(HeaderError::NoHeader)
}

/// Whether the bytes, as far as they are there, begin like this.
fn begins(bytes: &[u8], begin: &[u8]) -> bool {
    let both = bytes.len().min(begin.len());
    bytes[..both] == begin[..both]
}

fn line(bytes: &[u8]) -> Result<Option<ProxyHeader>, HeaderError> {
    let looked_at = &bytes[..bytes.len().min(V1_BYTES_MAX)];
    let Some(end) = looked_at.windows(2).position(|two| two == b"\r\n") else {
        return match bytes.len() < V1_BYTES_MAX {
            true => Ok(None),
            false => Err(HeaderError::BadLine),
        };
    };
    let text = looked_at.get(V1_BEGIN.len()..end);
    let text = text.and_then(|text| std::str::from_utf8(text).ok());
    let client = text.and_then(claim).ok_or(HeaderError::BadLine)?;
    Ok(Some(ProxyHeader {
        client,
        bytes: end + 2,
    }))
}

/// What a line of version 1 says behind its first word.
fn claim(text: &str) -> Option<Option<SocketAddr>> {
    let mut words = text.split(' ');
    let kind = words.next()?;
    if kind == "UNKNOWN" {
        // Whatever follows is to be ignored.
        return Some(None);
    }
    let (source, target) = (words.next()?, words.next()?);
    let source_port = port(words.next()?)?;
    // The daemon's own port says nothing, and has to be one.
    port(words.next()?)?;
    let ip: IpAddr = match kind {
        "TCP4" => both::<Ipv4Addr>(source, target)?.into(),
        "TCP6" => both::<Ipv6Addr>(source, target)?.into(),
        _ => return None,
    };
    let client = SocketAddr::new(ip, source_port);
    words.next().is_none().then_some(Some(client))
}

/// The first of two addresses, if both are some.
fn both<T: FromStr>(source: &str, target: &str) -> Option<T> {
    target.parse::<T>().ok()?;
    source.parse().ok()
}

/// A port without a sign or zeros in front.
fn port(text: &str) -> Option<u16> {
    let number: u16 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn binary(bytes: &[u8]) -> Result<Option<ProxyHeader>, HeaderError> {
    const LOCAL: u8 = 0x20;
    const PROXY: u8 = 0x21;
    let Some(fixed) = bytes.first_chunk::<V2_FIXED>() else {
        let command = bytes.get(V2_BEGIN.len());
        return match command.is_none_or(|byte| matches!(*byte, LOCAL | PROXY)) {
            true => Ok(None),
            false => Err(HeaderError::BadBinary),
        };
    };
    let [.., command, family, high, low] = *fixed;
    if !matches!(command, LOCAL | PROXY) {
        return Err(HeaderError::BadBinary);
    }
    let rest_bytes = usize::from(u16::from_be_bytes([high, low]));
    let all_bytes = V2_FIXED + rest_bytes;
    if all_bytes > V2_BYTES_MAX {
        return Err(HeaderError::TooLong);
    }
    // Of a connection that the proxy has made for itself the addresses are skipped,
    // whatever they are.
    let address_bytes = match (command, family) {
        (LOCAL, _) | (_, 0x00) => 0,
        (_, 0x11) => 12,
        (_, 0x21) => 36,
        (_, 0x31) => 216,
        // Datagrams do not arrive over a connection.
        _ => return Err(HeaderError::BadBinary),
    };
    if rest_bytes < address_bytes {
        return Err(HeaderError::BadBinary);
    }
    let Some(rest) = bytes.get(V2_FIXED..all_bytes) else {
        return Ok(None);
    };
    let client = match (address_bytes, rest) {
        (12, [a, b, c, d, _, _, _, _, high, low, ..]) => {
            let ip = Ipv4Addr::new(*a, *b, *c, *d);
            Some(SocketAddr::new(
                ip.into(),
                u16::from_be_bytes([*high, *low]),
            ))
        }
        (36, _) => {
            let ip = rest.first_chunk::<16>().map(|ip| Ipv6Addr::from(*ip));
            let port = rest
                .get(32..34)
                .map(|port| u16::from_be_bytes([port[0], port[1]]));
            ip.zip(port)
                .map(|(ip, port)| SocketAddr::new(ip.into(), port))
        }
        _ => None,
    };
    Ok(Some(ProxyHeader {
        client,
        bytes: all_bytes,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<SocketAddr> {
        Some(text.parse().expect("an address"))
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
        [V2_BEGIN, &[command, family], &length, rest].concat()
    }

    fn v4_addresses() -> Vec<u8> {
        vec![192, 0, 2, 7, 10, 0, 0, 1, 0x30, 0x39, 0x01, 0xbb]
    }

    fn v6_addresses() -> Vec<u8> {
        let source: Ipv6Addr = "2001:db8::7".parse().expect("an address");
        let target = Ipv6Addr::LOCALHOST;
        let ports = [0x30, 0x39, 0x01, 0xbb];
        [&source.octets()[..], &target.octets(), &ports].concat()
    }

    /// Headers that are right, and what they say.
    fn good() -> Vec<(Vec<u8>, Option<SocketAddr>)> {
        let long = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        let longest = format!("PROXY UNKNOWN {long} {long} 65535 65535\r\n");
        assert_eq!(
            longest.len(),
            V1_BYTES_MAX,
            "the worst case of the protocol"
        );
        let client = address("192.0.2.7:12345");
        let line = |text: &str, client| (text.as_bytes().to_vec(), client);
        let mut with_more = v4_addresses();
        with_more.extend([0x04; 500]);
        let mut unix = vec![b'/'; 216];
        unix.extend([0x04, 0, 1, 0]);
        vec![
            line("PROXY TCP4 192.0.2.7 10.0.0.1 12345 443\r\n", client),
            line(
                "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
                address("255.255.255.255:65535"),
            ),
            line(
                "PROXY TCP6 2001:db8::7 ::1 12345 443\r\n",
                address("[2001:db8::7]:12345"),
            ),
            line(
                &format!("PROXY TCP6 {long} {long} 65535 65535\r\n"),
                address("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"),
            ),
            line(
                "PROXY TCP4 192.0.2.7 10.0.0.1 0 0\r\n",
                address("192.0.2.7:0"),
            ),
            line("PROXY UNKNOWN\r\n", None),
            line("PROXY UNKNOWN whatever  this is\r\n", None),
            line(&longest, None),
            (v2(0x21, 0x11, &v4_addresses()), client),
            (v2(0x21, 0x11, &with_more), client),
            (
                v2(0x21, 0x21, &v6_addresses()),
                address("[2001:db8::7]:12345"),
            ),
            (v2(0x21, 0x31, &unix), None),
            (v2(0x21, 0x00, &[]), None),
            (v2(0x21, 0x00, &[9; 100]), None),
            (v2(0x20, 0x00, &[]), None),
            (v2(0x20, 0x11, &v4_addresses()), None),
            // Of a check of health the family does not matter.
            (v2(0x20, 0xff, &[9; 3]), None),
        ]
    }

    #[test]
    fn headers_say_who_the_client_is_however_they_are_cut() {
        for (header, client) in good() {
            let shown = String::from_utf8_lossy(&header).into_owned();
            for cut in 0..header.len() {
                assert_eq!(parse(&header[..cut]), Ok(None), "{shown:?} up to {cut}");
            }
            let expected = ProxyHeader {
                client,
                bytes: header.len(),
            };
            assert_eq!(parse(&header), Ok(Some(expected)), "{shown:?}");
            // What follows is the client's, whatever it is.
            for more in [b"GET / HTTP/1.1\r\n".as_slice(), b"\r\n", &header] {
                let all = [header.as_slice(), more].concat();
                assert_eq!(parse(&all), Ok(Some(expected)), "{shown:?} and more");
            }
        }
    }

    #[test]
    fn lines_that_are_not_of_the_form_are_refused() {
        for text in [
            "PROXY TCP4 192.0.2.7 10.0.0.1 12345\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 12345 443 \r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 12345 443 1\r\n",
            "PROXY TCP4  192.0.2.7 10.0.0.1 12345 443\r\n",
            "PROXY  TCP4 192.0.2.7 10.0.0.1 12345 443\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 +12345 443\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 012345 443\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 65536 443\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 -1 443\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 1 \r\n",
            "PROXY TCP4 192.0.2.007 10.0.0.1 1 2\r\n",
            "PROXY TCP4 192.0.2 10.0.0.1 1 2\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP4 192.0.2.7 ::1 1 2\r\n",
            "PROXY TCP6 192.0.2.7 10.0.0.1 1 2\r\n",
            "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
            "PROXY TCP5 192.0.2.7 10.0.0.1 1 2\r\n",
            "PROXY UDP4 192.0.2.7 10.0.0.1 1 2\r\n",
            "PROXY tcp4 192.0.2.7 10.0.0.1 1 2\r\n",
            "PROXY UNKNOWNS\r\n",
            "PROXY \r\n",
            "PROXY TCP4 192.0.2.7\t10.0.0.1 1 2\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 1 2\n\r\n",
        ] {
            assert_eq!(
                parse(text.as_bytes()),
                Err(HeaderError::BadLine),
                "{text:?}"
            );
        }
        let no_text = [b"PROXY TCP4 \xff".as_slice(), b"\r\n"].concat();
        assert_eq!(parse(&no_text), Err(HeaderError::BadLine));
        let endless = [V1_BEGIN, &[b'1'; 200]].concat();
        assert_eq!(parse(&endless[..V1_BYTES_MAX - 1]), Ok(None));
        assert_eq!(parse(&endless[..V1_BYTES_MAX]), Err(HeaderError::BadLine));
        // One byte more than the longest.
        let long = format!("PROXY UNKNOWN {}\r\n", "1".repeat(V1_BYTES_MAX - 15));
        assert_eq!(parse(long.as_bytes()), Err(HeaderError::BadLine));
    }

    #[test]
    fn binary_headers_that_are_not_of_the_form_are_refused() {
        for (command, family) in [
            (0x11, 0x11),
            (0x31, 0x11),
            (0x22, 0x11),
            (0x2f, 0x11),
            (0x00, 0x11),
            // Datagrams, and families that there are none of.
            (0x21, 0x12),
            (0x21, 0x22),
            (0x21, 0x32),
            (0x21, 0x10),
            (0x21, 0x41),
            (0x21, 0x01),
            (0x21, 0xff),
        ] {
            let header = v2(command, family, &[0; 216]);
            let refused = Err(HeaderError::BadBinary);
            assert_eq!(parse(&header), refused, "{command:#x} {family:#x}");
        }
        for (family, least) in [(0x11, 12), (0x21, 36), (0x31, 216)] {
            let header = v2(0x21, family, &vec![0; least - 1]);
            assert_eq!(parse(&header), Err(HeaderError::BadBinary));
        }
        let longest = v2(0x21, 0x11, &[0; V2_BYTES_MAX - V2_FIXED]);
        assert!(matches!(parse(&longest), Ok(Some(_))));
        let longer = v2(0x21, 0x11, &[0; V2_BYTES_MAX - V2_FIXED + 1]);
        // Before its bytes are waited for.
        assert_eq!(parse(&longer[..V2_FIXED]), Err(HeaderError::TooLong));
        assert_eq!(parse(&v2(0x20, 0, &[0; 60_000])), Err(HeaderError::TooLong));
    }

    #[test]
    fn anything_else_is_told_at_its_first_byte() {
        for text in [
            b"GET / HTTP/1.1\r\n".as_slice(),
            b"PRI * HTTP/2.0\r\n",
            b"\x16\x03\x01",
            b"\r\n\r\n\r\n",
            b"PROXYTCP4",
            b"proxy TCP4",
            b"\0",
        ] {
            assert_eq!(parse(text), Err(HeaderError::NoHeader), "{text:?}");
        }
        assert_eq!(parse(b""), Ok(None));
    }
}
