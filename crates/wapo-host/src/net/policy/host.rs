//! A host as a guest or an operator wrote it, in the one form that everything
//! else sees: rules, the resolver, proxies.
//!
//! Libraries disagree about `127.1`, `0x7f000001` and `１２７.0.0.1`. Where one reader
//! takes a text for a name and the next for an address, a check of the first says
//! nothing about what the second reaches. So a text is read once, here, and every
//! spelling of an address is that address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use idna::AsciiDenyList;

/// Bytes of a host name and of one of its labels (RFC 1035, section 2.3.4).
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// Bytes of a text that is looked at. A name of 253 bytes can be written with
/// characters that take four bytes each and mean one.
const TEXT_BYTES_MAX: usize = 4 * NAME_BYTES_MAX;

/// A host to connect to.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Host {
    /// An address, however it was written.
    Address(IpAddr),
    /// A name: lower case, ASCII (IDN as `xn--`), without the root's dot.
    Name(String),
}

/// A text that is neither an address nor a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("neither an address nor a host name")]
pub struct NoHost;

impl Host {
    /// Reads a host: an address in any spelling of `inet_aton` or of IPv6 (with or
    /// without brackets; a zone is left out), or a name, which may end with a dot.
    ///
    /// As in the URL standard, a name whose last label is a number is an IPv4
    /// address or nothing.
    ///
    /// # Errors
    ///
    /// [`NoHost`].
    pub fn parse(text: &str) -> Result<Self, NoHost> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Address(address));
        }
        if text.len() > TEXT_BYTES_MAX {
            return Err(NoHost);
        }
        if text.contains(':') {
            return v6(text).map(|address| Self::Address(address.into()));
        }
        let name = match text.is_ascii() {
            true => text.to_ascii_lowercase(),
            false => idna::domain_to_ascii_cow(text.as_bytes(), AsciiDenyList::EMPTY)
                .map_err(|_| NoHost)?
                .into_owned(),
        };
        let name = name.strip_suffix('.').unwrap_or(&name);
        let last = name.rsplit('.').next().unwrap_or_default();
        if is_number(last) {
            return v4(name).map(|address| Self::Address(address.into()));
        }
        match name.len() <= NAME_BYTES_MAX && name.split('.').all(is_label) {
            true => Ok(Self::Name(name.to_owned())),
            false => Err(NoHost),
        }
    }

    /// The name, if it is one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Address(_) => None,
            Self::Name(name) => Some(name),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

fn is_label(label: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (1..=LABEL_BYTES_MAX).contains(&label.len()) && label.bytes().all(is_plain)
}

/// An IPv6 address in brackets or with a zone, which says through which interface
/// and nothing about where to.
fn v6(text: &str) -> Result<Ipv6Addr, NoHost> {
    let inner = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let inner = inner.unwrap_or(text);
    let address = inner.split_once('%').map_or(inner, |(address, _)| address);
    address.parse().map_err(|_| NoHost)
}

/// Whether a label is written as a number.
fn is_number(label: &str) -> bool {
    let is_decimal = !label.is_empty() && label.bytes().all(|b| b.is_ascii_digit());
    is_decimal || number(label).is_some()
}

/// A number as C writes it: decimal, octal behind `0`, hexadecimal behind `0x`.
fn number(text: &str) -> Option<u64> {
    let (digits, radix) = match text.strip_prefix("0x") {
        Some("") => return Some(0),
        Some(hex) => (hex, 16),
        None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        None => (text, 10),
    };
    // The standard library would take a sign.
    let is_plain = digits.bytes().all(|b| b.is_ascii_hexdigit());
    is_plain.then(|| u64::from_str_radix(digits, radix).ok())?
}

/// An IPv4 address of one to four numbers, of which the last fills the rest.
fn v4(text: &str) -> Result<Ipv4Addr, NoHost> {
    let numbers: Option<Vec<u64>> = text.split('.').take(5).map(number).collect();
    let numbers = numbers.ok_or(NoHost)?;
    let Some((last, front @ ([] | [_] | [_, _] | [_, _, _]))) = numbers.split_last() else {
        return Err(NoHost);
    };
    if front.iter().any(|number| *number > 255) || *last >= 1 << (8 * (4 - front.len())) {
        return Err(NoHost);
    }
    let high = front.iter().zip([24, 16, 8]);
    let bits = high.fold(*last, |bits, (number, shift)| bits | number << shift);
    let bits = u32::try_from(bits).map_err(|_| NoHost)?;
    Ok(Ipv4Addr::from_bits(bits))
}

/// Ends of names that no public name has: of machines and of networks of one's own.
///
/// RFC 6761, 6762, 8375, 9476; `internal` is reserved by ICANN, the others were not
/// delegated because so many networks use them.
const PRIVATE_ENDS: &[&str] = &[
    "local",
    "localhost",
    "localdomain",
    "internal",
    "intranet",
    "private",
    "corp",
    "home",
    "home.arpa",
    "lan",
    // Names of services in clusters.
    "cluster",
    "consul",
    "docker",
    "svc",
    "alt",
    "invalid",
    "in-addr.arpa",
    "ip6.arpa",
];

/// Whether a name may belong to a host of the public internet: it has more than one
/// label and none of the ends of private networks. The name of such a host may still
/// resolve to a private address.
pub(super) fn looks_public(name: &str) -> bool {
    let is_below = |end: &&str| {
        name.strip_suffix(*end)
            .is_some_and(|front| front.is_empty() || front.ends_with('.'))
    };
    name.contains('.') && !PRIVATE_ENDS.iter().any(is_below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_an_address_is_that_address() {
        let loopback = [
            "127.0.0.1",
            "127.0.0.1.",
            "127.1",
            "127.0.1",
            "2130706433",
            "017700000001",
            "0x7f000001",
            "0X7F.0X0.0x0.0X1",
            "0x7f.1",
            "0177.0.0.01",
            "0177.0x0.1",
            "１２７.0.0.1",
            "127。0。0。1",
            "①②⑦.0.0.1",
            "0x7f.0.0.1.",
        ];
        for text in loopback {
            let address = Host::Address(Ipv4Addr::LOCALHOST.into());
            assert_eq!(Host::parse(text), Ok(address), "{text}");
        }
        for text in ["::1", "[::1]", "::1%lo", "[::1%25lo]", "0:0:0:0:0:0:0:1"] {
            let address = Host::Address(Ipv6Addr::LOCALHOST.into());
            assert_eq!(Host::parse(text), Ok(address), "{text}");
        }
        assert_eq!(Host::parse("0"), Host::parse("0.0.0.0"));
        assert_eq!(Host::parse("0x"), Host::parse("0.0.0.0"));
        assert_eq!(Host::parse("4294967295"), Host::parse("255.255.255.255"));
    }

    #[test]
    fn names_have_one_form() {
        for (text, name) in [
            ("Example.COM", "example.com"),
            ("example.com.", "example.com"),
            ("Bücher.example", "xn--bcher-kva.example"),
            ("ｌｏｃａｌｈｏｓｔ", "localhost"),
            ("ⓛⓞⓒⓐⓛⓗⓞⓢⓣ", "localhost"),
            ("under_score.test", "under_score.test"),
            ("1.2.3.4.example", "1.2.3.4.example"),
            ("0x7f.example", "0x7f.example"),
        ] {
            assert_eq!(Host::parse(text), Ok(Host::Name(name.to_owned())), "{text}");
        }
    }

    #[test]
    fn the_rest_is_nothing() {
        let long = format!("{}.com", "a".repeat(64));
        for text in [
            "",
            ".",
            "..",
            "a..b",
            "a b",
            "a\0b",
            "127.0.0.1..",
            "256.0.0.1",
            "127.0.0.256",
            "1.2.3.4.5",
            "08.0.0.1",
            "example.1",
            "example.0x1",
            "4294967296",
            "99999999999999999999",
            "[::1",
            "::1]",
            "[127.0.0.1]",
            "::1.",
            "1.2.3.4:80",
            "http://a",
            "user@host",
            "127.0.0.1%lo",
            "127.0.0.1/8",
            long.as_str(),
            "\u{1F980}\u{0}.test",
        ] {
            assert_eq!(Host::parse(text), Err(NoHost), "{text:?}");
        }
    }

    #[test]
    fn names_of_private_networks_do_not_look_public() {
        for name in [
            "example.com",
            "a.b.example",
            "hidden.onion",
            "site.i2p",
            "notlocal.com",
        ] {
            assert!(looks_public(name), "{name}");
        }
        for name in [
            "db",
            "localhost",
            "a.localhost",
            "printer.local",
            "x.internal",
            "home.arpa",
            "kubernetes.default.svc",
            "db.service.consul",
        ] {
            assert!(!looks_public(name), "{name}");
        }
    }
}
