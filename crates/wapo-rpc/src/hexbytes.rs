//! Bytes as text: `0x` and lower-case hex.
//!
//! Reading is more generous than writing, because people are: without `0x` too, and both
//! cases. Used by the serde attributes of `message`, where clients may write any number of
//! `0x`, by `usage_file`, `wapo-verify` and the `wapo` command.

use data_encoding::HEXLOWER_PERMISSIVE;
use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer, Serializer};

/// Writes bytes.
pub fn to_hex(bytes: impl AsRef<[u8]>) -> String {
    format!("0x{}", hex::encode(bytes))
}

/// Reads bytes, with or without `0x`.
///
/// # Errors
///
/// What is wrong with the text.
pub fn from_hex(text: &str) -> Result<Vec<u8>, String> {
    decode(text.strip_prefix("0x").unwrap_or(text))
}

pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&to_hex(bytes))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
    parse(&text).map_err(D::Error::custom)
}

/// The same for a list of byte strings.
pub(crate) mod list {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Item(#[serde(with = "super")] Vec<u8>);

    #[derive(Serialize)]
    #[serde(transparent)]
    struct Shown<'a>(#[serde(serialize_with = "shown")] &'a [u8]);

    fn shown<S: Serializer>(bytes: &&[u8], serializer: S) -> Result<S::Ok, S::Error> {
        super::serialize(bytes, serializer)
    }

    pub(crate) fn serialize<S: Serializer>(
        list: &[Vec<u8>],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(list.iter().map(|bytes| Shown(bytes)))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Vec<u8>>, D::Error> {
        let list = Vec::<Item>::deserialize(deserializer)?;
        Ok(list.into_iter().map(|item| item.0).collect())
    }
}

/// Reads hex digits after any number of `0x`.
pub(crate) fn parse(text: &str) -> Result<Vec<u8>, String> {
    let mut digits = text;
    while let Some(rest) = digits.strip_prefix("0x") {
        digits = rest;
    }
    decode(digits)
}

fn decode(digits: &str) -> Result<Vec<u8>, String> {
    // `hex::decode` would let the result grow byte by byte.
    let mut bytes = vec![0; digits.len() / 2];
    // A request by path has an address in hex, and this library reads it faster. What is
    // wrong with a text the other one says.
    let is_even = digits.len().is_multiple_of(2);
    if is_even
        && HEXLOWER_PERMISSIVE
            .decode_mut(digits.as_bytes(), &mut bytes)
            .is_ok()
    {
        return Ok(bytes);
    }
    let decoded = hex::decode_to_slice(digits, &mut bytes);
    decoded.map(|()| bytes).map_err(|error| match error {
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
    fn what_people_write_has_one_prefix_at_most() {
        for text in ["00ff", "0x00FF"] {
            assert_eq!(from_hex(text), Ok(vec![0, 0xff]), "{text}");
        }
        assert_eq!(to_hex([0, 0xff]), "0x00ff");
        for text in ["0x0x00", "0X00", " 00", "0x0", "xy"] {
            assert!(from_hex(text).is_err(), "{text}");
        }
    }

    #[test]
    fn errors_say_what_is_wrong() {
        assert!(parse("0x123").expect_err("odd").contains("3 digits"));
        assert!(parse("0Xab").expect_err("capital").contains("'X'"));
    }
}
