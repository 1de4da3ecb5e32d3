//! The message without fields.
//!
//! Its JSON is `null`, but clients send `{}` or `[]` as well, so it is written
//! by hand.

use std::fmt;

use prost::Message;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Nothing: no bytes in protobuf, `null` in JSON.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Empty {}

impl Serialize for Empty {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for Empty {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Nothing)
    }
}

struct Nothing;

impl<'de> Visitor<'de> for Nothing {
    type Value = Empty;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("null or an empty object")
    }

    fn visit_unit<E>(self) -> Result<Empty, E> {
        Ok(Empty {})
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Empty, A::Error> {
        // As in every message, unknown fields are ignored.
        while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Empty {})
    }

    /// A message may be an array of its fields; this one has none.
    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Empty, A::Error> {
        Ok(Empty {})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_as_null_and_read_from_everything_without_content() {
        assert_eq!(serde_json::to_string(&Empty {}).expect("json"), "null");
        for text in ["null", "{}", r#"{"unknown":[1]}"#, "[]"] {
            assert!(serde_json::from_str::<Empty>(text).is_ok(), "{text}");
        }
        for text in ["1", "\"\"", "true", "[1]", "{"] {
            assert!(serde_json::from_str::<Empty>(text).is_err(), "{text}");
        }
    }
}
