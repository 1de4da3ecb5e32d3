//! What several test files need: vectors from files, bytes from text, query
//! signatures put together by hand.

#![allow(
    dead_code,
    reason = "each test file is a program of its own and uses a part"
)]

use parity_scale_codec::Encode;
use serde_json::Value;
use wapo_crypto::SignableQuery;

/// A query with its signature, and who signed it.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) address: Vec<u8>,
    pub(crate) path: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) encoded: Vec<u8>,
    pub(crate) now: u64,
    pub(crate) account: Vec<u8>,
}

impl Case {
    pub(crate) fn query(&self) -> SignableQuery<'_> {
        SignableQuery {
            address: &self.address,
            path: &self.path,
            payload: &self.payload,
        }
    }
}

/// The cases of `query_signatures.json`.
pub(crate) fn cases() -> Vec<Case> {
    let text = include_str!("../vectors/query_signatures.json");
    let values: Vec<Value> = serde_json::from_str(text).expect("JSON");
    let case = |value: &Value| Case {
        name: text_of(&value["name"]),
        address: bytes_of(&value["address"]),
        path: text_of(&value["path"]),
        payload: bytes_of(&value["payload"]),
        encoded: bytes_of(&value["encoded"]),
        now: value["now"].as_u64().expect("number"),
        account: bytes_of(&value["account"]),
    };
    values.iter().map(case).collect()
}

/// The vectors of `keys.json`.
pub(crate) fn keys() -> Value {
    serde_json::from_str(include_str!("../vectors/keys.json")).expect("JSON")
}

pub(crate) fn text_of(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

pub(crate) fn bytes_of(value: &Value) -> Vec<u8> {
    bytes(value.as_str().expect("text"))
}

pub(crate) fn array_of(value: &Value) -> [u8; 32] {
    bytes_of(value).try_into().expect("32 bytes")
}

pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex).expect("hex")
}

/// An encoded query signature by a root key.
pub(crate) fn by_root(scheme: u8, signature: &[u8], public_key: &[u8]) -> Vec<u8> {
    (1_u8, scheme, signature, 0_u8, public_key).encode()
}

/// The query that the vectors of Wapo 0.x sign.
pub(crate) const ECHO: SignableQuery<'_> = SignableQuery {
    address: &[0x11; 32],
    path: "/echo",
    payload: &[1, 2, 3],
};
