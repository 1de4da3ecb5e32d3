//! Bytes as JSON: `0x` and lower-case hex.
//!
//! Reading is more generous than writing, because clients are: any number of
//! leading `0x`, none included, and both cases. Used by the serde attributes of
//! `message`.

use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer, Serializer};

pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("0x{}", hex::encode(bytes)))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
    parse(&text).map_err(D::Error::custom)
}

/// Reads hex digits after any number of `0x`.
pub(crate) fn parse(text: &str) -> Result<Vec<u8>, String> {
    let mut digits = text;
    while let Some(rest) = digits.strip_prefix("0x") {
        digits = rest;
    }
    hex::decode(digits).map_err(|error| match error {
        hex::FromHexError::OddLength => {
            format!(
                "bytes are pairs of hex digits, this text has {} digits",
                digits.len()
            )
        }
        other => format!("bytes are written as hex digits: {other}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_prefixes_is_fine() {
        for text in ["00ff", "0x00ff", "0x0x00FF"] {
            assert_eq!(parse(text), Ok(vec![0, 0xff]), "{text}");
        }
        assert_eq!(parse(""), Ok(vec![]));
        assert_eq!(parse("0x"), Ok(vec![]));
    }

    #[test]
    fn errors_say_what_is_wrong() {
        assert!(parse("0x123").expect_err("odd").contains("3 digits"));
        assert!(parse("0Xab").expect_err("capital").contains("'X'"));
    }
}
