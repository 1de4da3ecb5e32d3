//! Host names as TLS has them, and patterns that cover one label.
//!
//! One form for one name: in lower case, without a dot at the end, in ASCII. The
//! same rules for what a client sends, a guest asks for and an operator writes, so
//! that equal names are equal bytes. Stricter than the TLS library, never laxer:
//! what is a name here can be the name of a certificate.

use std::borrow::Borrow;
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use crate::limits::{LABEL_BYTES_MAX, NAME_BYTES_MAX};

/// A host name.
///
/// Labels of letters, digits, hyphens (at neither end) and underscores, which the
/// domain name system has in names that are no hosts' and clients ask for all the
/// same. Names in other scripts have their ASCII form, `xn--…`, in TLS. A dot at
/// the end says that the name is complete; RFC 6066 has names without it, some
/// clients send it, and it is left out.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerName(Box<str>);

/// Why something is no host name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NameError {
    /// Nothing, or a dot.
    #[error("the name is empty")]
    Empty,
    /// It does not fit into the domain name system.
    #[error("the name is longer than {NAME_BYTES_MAX} characters")]
    TooLong,
    /// It is in a script that names in TLS are not written in.
    #[error("the name is not in ASCII: write it in its `xn--` form")]
    NotAscii,
    /// An address, or what programs take for one.
    #[error("an address is no name")]
    IsAddress,
    /// Labels.
    #[error(
        "a name has labels of 1 to {LABEL_BYTES_MAX} letters, digits, - and _, with no - at either end"
    )]
    Malformed,
}

impl ServerName {
    /// Reads a name.
    ///
    /// # Errors
    ///
    /// [`NameError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NameError> {
        let bytes = bytes.strip_suffix(b".").unwrap_or(bytes);
        if bytes.is_empty() {
            return Err(NameError::Empty);
        }
        if bytes.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong);
        }
        let text = str::from_utf8(bytes).ok().filter(|text| text.is_ascii());
        let text = text.ok_or(NameError::NotAscii)?;
        if text.trim_matches(['[', ']']).parse::<Ipv6Addr>().is_ok() {
            return Err(NameError::IsAddress);
        }
        if !text.split('.').all(is_label) {
            return Err(NameError::Malformed);
        }
        if text.rsplit('.').next().is_some_and(is_number) {
            return Err(NameError::IsAddress);
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without its first label; `None` when it has no other.
    pub fn parent(&self) -> Option<&str> {
        self.0.split_once('.').map(|(_, parent)| parent)
    }

    /// Whether it is below a domain, by any number of labels.
    pub fn is_below(&self, domain: &Self) -> bool {
        let labels = self.0.strip_suffix(&*domain.0);
        labels.is_some_and(|labels| labels.ends_with('.'))
    }
}

fn is_label(label: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=LABEL_BYTES_MAX).contains(&label.len())
        && label.bytes().all(is_allowed)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Whether a label is a number to programs that read addresses: a name that ends
/// in one is an address of IPv4 to them, in one of its many spellings.
fn is_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x");
    match hex.or_else(|| label.strip_prefix("0X")) {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

impl FromStr for ServerName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::from_bytes(text.as_bytes())
    }
}

impl Borrow<str> for ServerName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerName({self})")
    }
}

/// One name, or all names that have one label more than another.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Pattern {
    /// This name.
    Exact(ServerName),
    /// `*.example.com`: each name of one label before this one, as certificates
    /// have it (RFC 9525, section 6.3).
    Wildcard(ServerName),
}

impl Pattern {
    /// Whether a name is meant.
    pub fn covers(&self, name: &ServerName) -> bool {
        match self {
            Self::Exact(own) => own == name,
            Self::Wildcard(parent) => name.parent() == Some(parent.as_str()),
        }
    }
}

impl From<ServerName> for Pattern {
    fn from(name: ServerName) -> Self {
        Self::Exact(name)
    }
}

impl FromStr for Pattern {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let Some(parent) = text.strip_prefix("*.") else {
            return text.parse().map(Self::Exact);
        };
        let parent: ServerName = parent.parse()?;
        // Otherwise no name would be short enough.
        match parent.0.len() + "a.".len() <= NAME_BYTES_MAX {
            true => Ok(Self::Wildcard(parent)),
            false => Err(NameError::TooLong),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => write!(f, "{name}"),
            Self::Wildcard(parent) => write!(f, "*.{parent}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ServerName {
        text.parse().expect(text)
    }

    #[test]
    fn equal_names_are_equal_bytes() {
        for (text, expected) in [
            ("shop.example.com", "shop.example.com"),
            ("Shop.EXAMPLE.Com", "shop.example.com"),
            ("shop.example.com.", "shop.example.com"),
            ("localhost", "localhost"),
            ("_dmarc.my_host.example", "_dmarc.my_host.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("1.2.3.a4", "1.2.3.a4"),
            ("0x.example", "0x.example"),
            ("a--b.0-1.c", "a--b.0-1.c"),
        ] {
            assert_eq!(name(text).as_str(), expected);
            assert_eq!(name(expected), name(text));
        }
    }

    #[test]
    fn addresses_are_no_names_however_they_are_spelt() {
        for text in [
            "127.0.0.1",
            "127.0.0.1.",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0x7f.0.0.0x1",
            "0X7F.1",
            "0x",
            "1.2.3.0x",
            "::1",
            "[::1]",
            "::ffff:127.0.0.1",
            "fe80::1",
            "a.example.5",
        ] {
            assert_eq!(
                text.parse::<ServerName>(),
                Err(NameError::IsAddress),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let label = "a".repeat(64);
        for text in [
            "a b.example",
            "a..example",
            "..",
            ".example",
            "example..",
            "-a.example",
            "a-.example",
            "a.-",
            "*.example.com",
            "a*.example.com",
            "a/b",
            "a:443",
            "fe80::1%eth0",
            "user@example.com",
            "a\0.example",
            "a\n",
            label.as_str(),
        ] {
            assert_eq!(
                text.parse::<ServerName>(),
                Err(NameError::Malformed),
                "{text}"
            );
        }
        for text in ["", "."] {
            assert_eq!(text.parse::<ServerName>(), Err(NameError::Empty), "{text}");
        }
        for bytes in ["bücher.example".as_bytes(), b"b\xfccher.example", b"\xff"] {
            assert_eq!(ServerName::from_bytes(bytes), Err(NameError::NotAscii));
        }
    }

    #[test]
    fn a_name_has_at_most_253_characters_and_the_dot_at_its_end() {
        let label = "a".repeat(61);
        let long = [label.as_str(); 4].join(".") + ".bcdef";
        assert_eq!(long.len(), 253);
        assert_eq!(name(&format!("{long}.")).as_str(), long);
        let longer = format!("{long}g");
        assert_eq!(longer.parse::<ServerName>(), Err(NameError::TooLong));
    }

    #[test]
    fn below_means_with_labels_before_it() {
        let domain = name("apps.example.com");
        for below in ["a.apps.example.com", "a.b.apps.example.com"] {
            assert!(name(below).is_below(&domain), "{below}");
        }
        for other in [
            "apps.example.com",
            "myapps.example.com",
            "example.com",
            "a.apps.example.org",
        ] {
            assert!(!name(other).is_below(&domain), "{other}");
        }
    }

    #[test]
    fn a_wildcard_covers_one_label() {
        let pattern: Pattern = "*.Example.COM.".parse().expect("a pattern");
        assert_eq!(pattern, Pattern::Wildcard(name("example.com")));
        assert_eq!(pattern.to_string(), "*.example.com");
        for (text, is_covered) in [
            ("a.example.com", true),
            ("xn--bcher-kva.example.com", true),
            ("example.com", false),
            ("a.b.example.com", false),
            ("aexample.com", false),
            ("a.example.org", false),
        ] {
            assert_eq!(pattern.covers(&name(text)), is_covered, "{text}");
        }
        let exact: Pattern = "a.example.com".parse().expect("a pattern");
        assert!(exact.covers(&name("A.example.com")) && !exact.covers(&name("example.com")));
    }

    #[test]
    fn a_star_stands_for_a_whole_first_label() {
        for text in ["*", "*.", "**.example.com", "a.*.example.com", "*.*.com"] {
            assert!(text.parse::<Pattern>().is_err(), "{text}");
        }
        let address = "*.0.0.1".parse::<Pattern>();
        assert_eq!(address, Err(NameError::IsAddress));
        let label = "a".repeat(61);
        let long = [label.as_str(); 4].join(".") + ".bcdef";
        assert_eq!(
            format!("*.{long}").parse::<Pattern>(),
            Err(NameError::TooLong)
        );
    }
}
