//! The two ways to write a message: protobuf and JSON.
//!
//! Protobuf is the default. JSON is chosen by the URL (`?json`) or by the
//! content type of the request. In JSON, missing fields have their default,
//! unknown ones are ignored, and a message may also be an array of its fields.
//! Knows no HTTP library: what decides arrives as text.

use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits::URL_QUERY_BYTES_MAX;
use crate::message::ErrorMessage;

/// How the body of a call and of its answer is written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Encoding {
    /// A proto3 message.
    Protobuf,
    /// The same message as JSON.
    Json,
}

/// A body that is no such message.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("DecodeError({0})")]
pub struct DecodeError(String);

impl Encoding {
    /// Decides by the URL's query part and the content type of a request.
    ///
    /// # Errors
    ///
    /// The value of `json` when it is neither yes nor no.
    pub fn choose(url_query: Option<&str>, content_type: Option<&str>) -> Result<Self, String> {
        if let Some(json) = url_query.and_then(json_flag) {
            return match json {
                "" | "true" | "on" | "yes" => Ok(Self::Json),
                "false" | "off" | "no" => Ok(Self::Protobuf),
                other => Err(other.to_owned()),
            };
        }
        let media = content_type.and_then(|text| text.split(';').next());
        let is_json = media.is_some_and(|m| m.trim().eq_ignore_ascii_case("application/json"));
        Ok(if is_json { Self::Json } else { Self::Protobuf })
    }

    /// Reads a message. An empty JSON text is the default message.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] with the position or field that is wrong.
    pub fn decode<M>(self, body: &[u8]) -> Result<M, DecodeError>
    where
        M: Message + DeserializeOwned + Default,
    {
        match self {
            Self::Protobuf => M::decode(body).map_err(|error| DecodeError(error.to_string())),
            Self::Json if body.trim_ascii().is_empty() => Ok(M::default()),
            Self::Json => {
                serde_json::from_slice(body).map_err(|error| DecodeError(error.to_string()))
            }
        }
    }

    /// Writes a message.
    pub fn encode<M: Message + Serialize>(self, message: &M) -> Vec<u8> {
        match self {
            Self::Protobuf => message.encode_to_vec(),
            // Our messages have string keys only, so this cannot fail.
            Self::Json => serde_json::to_vec(message).unwrap_or_default(),
        }
    }

    /// Writes the body that reports a failure.
    pub fn encode_error(self, message: &str) -> Vec<u8> {
        match self {
            Self::Protobuf => ErrorMessage {
                message: message.to_owned(),
            }
            .encode_to_vec(),
            Self::Json => format!("{:#}", serde_json::json!({ "error": message })).into_bytes(),
        }
    }

    /// Content type of an answer.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/octet-stream",
            Self::Json => "application/json",
        }
    }
}

/// The value of `json` in a URL's query part, empty when it has none.
fn json_flag(url_query: &str) -> Option<&str> {
    if url_query.len() > URL_QUERY_BYTES_MAX {
        return None;
    }
    url_query.split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name == "json").then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{QueryArgs, QueryResponse, WorkerInfo};

    fn from_json(text: &str) -> Result<QueryArgs, DecodeError> {
        Encoding::Json.decode(text.as_bytes())
    }

    #[test]
    fn url_decides_before_content_type() {
        let json = Some("application/JSON; charset=utf-8");
        assert_eq!(Encoding::choose(None, None), Ok(Encoding::Protobuf));
        assert_eq!(Encoding::choose(None, json), Ok(Encoding::Json));
        assert_eq!(Encoding::choose(Some("a=1&json"), None), Ok(Encoding::Json));
        assert_eq!(Encoding::choose(Some("json=yes"), None), Ok(Encoding::Json));
        let off = Encoding::choose(Some("json=off"), json);
        assert_eq!(off, Ok(Encoding::Protobuf));
        assert_eq!(
            Encoding::choose(Some("jsonx"), None),
            Ok(Encoding::Protobuf)
        );
        assert_eq!(
            Encoding::choose(Some("json=maybe"), None),
            Err("maybe".into())
        );
    }

    #[test]
    fn protobuf_is_the_documented_layout() {
        let args = QueryArgs {
            address: vec![0x11; 2],
            path: "/a".into(),
            payload: vec![1, 2],
            encoded_signature: vec![],
        };
        let bytes = Encoding::Protobuf.encode(&args);
        assert_eq!(hex::encode(&bytes), "0a02111112022f611a020102");
        assert_eq!(Encoding::Protobuf.decode(&bytes), Ok(args));
        let cut = Encoding::Protobuf.decode::<QueryArgs>(&bytes[..3]);
        assert!(
            cut.expect_err("cut")
                .to_string()
                .starts_with("DecodeError(")
        );
    }

    #[test]
    fn json_takes_objects_arrays_and_gaps() {
        let expected = QueryArgs {
            address: vec![0xab],
            path: "/p".into(),
            ..QueryArgs::default()
        };
        for text in [
            r#"{"address":"0xab","path":"/p"}"#,
            r#"{"path":"/p","address":"AB","unknown":[1]}"#,
            r#"["0x0xab","/p"]"#,
            r#"["0xab","/p","0x",""]"#,
        ] {
            assert_eq!(from_json(text), Ok(expected.clone()), "{text}");
        }
        assert_eq!(from_json(" \n"), Ok(QueryArgs::default()));
        assert_eq!(from_json("{}"), Ok(QueryArgs::default()));
        for text in [
            "[",
            r#"{"address":null}"#,
            r#"{"path":1}"#,
            r#"{"address":"0x1"}"#,
        ] {
            assert!(from_json(text).is_err(), "{text}");
        }
    }

    #[test]
    fn json_answers_look_as_clients_expect() {
        let answer = QueryResponse {
            output: vec![0, 255],
        };
        assert_eq!(Encoding::Json.encode(&answer), br#"{"output":"0x00ff"}"#);
        let error = String::from_utf8(Encoding::Json.encode_error("no \"app\"")).expect("text");
        assert_eq!(error, "{\n  \"error\": \"no \\\"app\\\"\"\n}");
        let protobuf = Encoding::Protobuf.encode_error("ab");
        assert_eq!(hex::encode(protobuf), "0a026162");
        let info = Encoding::Json.encode(&WorkerInfo::default());
        let info = String::from_utf8(info).expect("text");
        assert!(info.starts_with(r#"{"pubkey":"0x","deployed_apps":0,"running_instances":0,"vm"#));
        assert!(info.contains(r#""memory_usage":null"#));
    }
}
