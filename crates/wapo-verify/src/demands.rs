//! What a verifier demands, in the words that people write: policies, nonces, times, keys,
//! places in a chain. Text in, values out; called by `wapo verify` and by
//! `wapo-verify-page`.

use chrono::DateTime;
use wapo_rpc::hexbytes::from_hex;
use wapo_rpc::limits::EVIDENCE_NONCE_BYTES_MAX;

use crate::policy::Policy;

/// Bytes of a policy.
///
/// A person writes it: the longest have some hundred lines.
pub const POLICY_BYTES_MAX: usize = 1024 * 1024;

/// Reads a policy: TOML, or JSON in a file whose name ends in `.json`.
///
/// # Errors
///
/// What is wrong with it, and where.
pub fn policy(name: &str, content: &[u8]) -> Result<Policy, String> {
    let text = std::str::from_utf8(content).map_err(|_| "it is no text".to_owned())?;
    let is_json = name
        .rsplit_once('.')
        .is_some_and(|(_, ending)| ending == "json");
    if is_json {
        serde_json::from_str(text).map_err(|error| error.to_string())
    } else {
        toml::from_str(text).map_err(|error| error.to_string())
    }
}

/// A nonce, from hex digits.
///
/// # Errors
///
/// It is none.
pub fn nonce(text: &str) -> Result<Vec<u8>, String> {
    let bytes = from_hex(text)?;
    match bytes.len() {
        1..=EVIDENCE_NONCE_BYTES_MAX => Ok(bytes),
        length => Err(format!(
            "a nonce has 1 to {EVIDENCE_NONCE_BYTES_MAX} bytes, not {length}"
        )),
    }
}

/// Refuses demands of a bare quote that nothing in it could meet: what has no effect would
/// seem to have one.
///
/// # Errors
///
/// Which, and where it counts.
pub fn of_quote(policy: &Policy, nonce: Option<&[u8]>) -> Result<(), String> {
    let demanded = [
        (nonce.is_some(), "a nonce"),
        (policy.age_max_s.is_some(), "the policy's `age_max_s`"),
        (!policy.workers.is_empty(), "the policy's `workers`"),
        (
            policy.host_controlled.is_some(),
            "the policy's `host_controlled`",
        ),
        (!policy.apps.is_empty(), "the policy's `apps`"),
    ];
    match demanded.iter().find(|(is_there, _)| *is_there) {
        None => Ok(()),
        Some((_, what)) => Err(format!(
            "a bare quote says nothing of {what}: verify evidence, or leave it out"
        )),
    }
}

/// A time in unix seconds: a number, or as RFC 3339 has it.
///
/// # Errors
///
/// It is none, or before 1970.
pub fn time(text: &str) -> Result<u64, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    let date = DateTime::parse_from_rfc3339(text)
        .map_err(|_| "neither seconds since 1970 nor as 2026-06-01T12:00:00Z")?;
    u64::try_from(date.timestamp()).map_err(|_| "before 1970".to_owned())
}

/// A public key of a worker, or a hash: 64 hex digits.
///
/// # Errors
///
/// It is something else.
pub fn key(text: &str) -> Result<[u8; 32], String> {
    let bytes = from_hex(text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| format!("`{text}` is not 64 hex digits"))
}

/// A report that is known: its number and hash, with a colon between.
///
/// # Errors
///
/// It is something else.
pub fn link(text: &str) -> Result<(u64, [u8; 32]), String> {
    let (seq, hash) = text
        .split_once(':')
        .ok_or_else(|| format!("`{text}` is not a number and a hash, with a colon between"))?;
    let seq = seq
        .parse()
        .map_err(|_| format!("`{seq}` is not a number"))?;
    Ok((seq, key(hash)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_nonces_have_one_meaning() {
        assert_eq!(time("1780272000"), Ok(1_780_272_000));
        assert_eq!(time("2026-06-01T00:00:00Z"), Ok(1_780_272_000));
        assert_eq!(time("2026-06-01T02:00:00+02:00"), Ok(1_780_272_000));
        for text in ["", "tomorrow", "-1", "1969-01-01T00:00:00Z"] {
            assert!(time(text).is_err(), "{text}");
        }
        assert_eq!(nonce("0x0aff"), Ok(vec![10, 255]));
        for text in ["", "0", "xy", &"00".repeat(65)] {
            assert!(nonce(text).is_err(), "{text}");
        }
        let hash = "0b".repeat(32);
        assert_eq!(link(&format!("7:0x{hash}")), Ok((7, [11; 32])));
        for text in ["", "7", "x:00", "7:00", &hash] {
            assert!(link(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_policy_is_of_the_kind_that_its_name_says() {
        let accepting = Policy {
            accept_simulator: true,
            ..Policy::default()
        };
        let toml = b"accept_simulator = true\n";
        let json = br#"{"accept_simulator": true}"#;
        assert_eq!(policy("policy.toml", toml), Ok(accepting.clone()));
        assert_eq!(policy("policy", toml), Ok(accepting.clone()));
        assert_eq!(policy("policy.json", json), Ok(accepting));
        assert!(policy("policy.json", toml).is_err());
        assert!(policy("policy.toml", b"\xff").is_err());
        // Deep nesting is a mistake like others, and not the end of the stack.
        let deep = "[".repeat(500_000);
        assert!(policy("policy.json", deep.as_bytes()).is_err());
        assert!(policy("policy.toml", format!("tcb = {deep}").as_bytes()).is_err());
    }
}
