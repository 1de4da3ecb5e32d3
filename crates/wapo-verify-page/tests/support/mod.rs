//! Messages as the page makes them.

#![allow(
    dead_code,
    reason = "each binary of tests uses a part of what they share"
)]

use serde_json::{Value, json};

/// What a message has besides files: nothing is demanded, at a time.
pub(crate) fn head(now: u64) -> Value {
    json!({
        "now": now,
        "accept_simulator": false,
        "nonce": "",
        "app": "",
        "worker": "",
        "after": "",
        "last_seq": "",
        "until": "",
    })
}

/// The same, with the simulator.
pub(crate) fn accepting(now: u64) -> Value {
    with(head(now), "accept_simulator", true)
}

/// A head with another field.
pub(crate) fn with(mut head: Value, field: &str, value: impl Into<Value>) -> Value {
    head[field] = value.into();
    head
}

/// A message: role, name and content of each file.
pub(crate) fn message(mut head: Value, files: &[(&str, &str, &[u8])]) -> Vec<u8> {
    let list = files.iter();
    let list = list
        .map(|(role, name, content)| json!({"role": role, "name": name, "bytes": content.len()}));
    head["files"] = list.collect();
    let head = head.to_string();
    let length = u32::try_from(head.len()).expect("a short head");
    let mut message = length.to_le_bytes().to_vec();
    message.extend(head.as_bytes());
    for (_, _, content) in files {
        message.extend(*content);
    }
    message
}

/// The answer to a message, natively.
pub(crate) fn answer(message: &[u8]) -> Value {
    serde_json::from_str(&wapo_verify_page::answered(message)).expect("JSON")
}

/// The names of the checks that failed.
pub(crate) fn failed(answer: &Value) -> Vec<&str> {
    let checks = answer["checks"].as_array().expect("a report").iter();
    let failed = checks.filter(|check| check["outcome"] == "failed");
    failed.filter_map(|check| check["name"].as_str()).collect()
}
