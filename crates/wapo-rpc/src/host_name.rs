//! Names under which browsers reach an app: one label below the worker's base
//! domain.
//!
//! Either a name that the worker gave, or the app's address in base32, which is
//! as long as a label may be and no name can take. Used by the daemon's gateway
//! and by code that prints URLs.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, BASE32_NOPAD_NOCASE};

use crate::manifest::AppAddress;

/// Bytes of a label, as the domain name system has it.
const LABEL_BYTES_MAX: usize = 63;

/// A valid label of a host name, in lower case.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName(String);

/// Text that is no host name label.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HostNameError {
    /// Letters, digits, hyphens.
    #[error("`{0}` is no name for a host: use 1 to 63 of a-z, 0-9 and -, with no - at either end")]
    Malformed(String),
    /// It would hide an app.
    #[error("`{0}` is the address of an app, choose another name")]
    IsAddress(String),
}

impl HostName {
    /// Makes a name of any text: what a label cannot have becomes a hyphen.
    /// `None` when nothing remains.
    pub fn from_label(label: &str) -> Option<Self> {
        let mut name = String::new();
        for character in label.chars().map(|c| c.to_ascii_lowercase()) {
            if character.is_ascii_alphanumeric() {
                name.push(character);
            } else if !name.is_empty() && !name.ends_with('-') {
                name.push('-');
            }
        }
        name.truncate(LABEL_BYTES_MAX);
        name.trim_end_matches('-').parse().ok()
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = HostNameError;

    fn from_str(text: &str) -> Result<Self, HostNameError> {
        let fits = (1..=LABEL_BYTES_MAX).contains(&text.len());
        let is_valid = fits
            && text
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
            && !text.starts_with('-')
            && !text.ends_with('-');
        if !is_valid {
            return Err(HostNameError::Malformed(text.to_owned()));
        }
        if AppAddress::from_base32(text).is_some() {
            return Err(HostNameError::IsAddress(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostName({self})")
    }
}

impl AppAddress {
    /// The address as a host name label: base32 of RFC 4648, in lower case and
    /// without padding, 52 characters.
    pub fn to_base32(&self) -> String {
        BASE32_NOPAD.encode(&self.0).to_ascii_lowercase()
    }

    /// Reads such a label, in any case.
    pub fn from_base32(text: &str) -> Option<Self> {
        let bytes = BASE32_NOPAD_NOCASE.decode(text.as_bytes()).ok()?;
        Self::from_bytes(&bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_label_of_the_domain_name_system() {
        let longest = "a".repeat(63);
        for name in ["a", "0", "my-app-2", "a--b", longest.as_str()] {
            assert_eq!(name.parse::<HostName>().expect(name).as_str(), name);
        }
        let long = "a".repeat(64);
        for name in ["", "-a", "a-", "A", "a.b", "a_b", "ä", " a", long.as_str()] {
            let error = name.parse::<HostName>().expect_err(name);
            assert_eq!(error, HostNameError::Malformed(name.into()));
        }
    }

    #[test]
    fn any_label_with_a_letter_or_digit_becomes_a_name() {
        for (label, name) in [
            ("Test App", "test-app"),
            ("  Hello,   World! ", "hello-world"),
            ("my_app.v2", "my-app-v2"),
            ("Café", "caf"),
            ("--x--", "x"),
        ] {
            let made = HostName::from_label(label).expect(label);
            assert_eq!(made.as_str(), name);
        }
        let long = HostName::from_label(&format!("{} b", "a".repeat(62))).expect("long");
        assert_eq!(long.as_str(), "a".repeat(62));
        for label in ["", "...", "日本"] {
            assert_eq!(HostName::from_label(label), None, "{label}");
        }
    }

    #[test]
    fn an_address_is_a_label_too_and_no_name_takes_it() {
        let address = AppAddress([0x5a; 32]);
        let label = address.to_base32();
        assert_eq!(label.len(), 52);
        assert!(
            label
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'))
        );
        assert_eq!(AppAddress::from_base32(&label), Some(address));
        let capital = label.to_ascii_uppercase();
        assert_eq!(AppAddress::from_base32(&capital), Some(address));
        let error = label.parse::<HostName>().expect_err("address");
        assert_eq!(error, HostNameError::IsAddress(label.clone()));
        assert_eq!(HostName::from_label(&label), None);
        let padded = format!("{label}====");
        for other in ["", "my-app", &label[1..], padded.as_str()] {
            assert_eq!(AppAddress::from_base32(other), None, "{other}");
        }
        // RFC 4648: 32 zero bytes, and one bit that is no part of them.
        let zero = "a".repeat(52);
        assert_eq!(AppAddress::from_base32(&zero), Some(AppAddress([0; 32])));
        assert_eq!(
            AppAddress::from_base32(&format!("{}b", "a".repeat(51))),
            None
        );
    }
}
