//! The contract as text, one fact a line.
//!
//! Compared with `abi.snap` by the test beside this folder and appended to it
//! by `cargo xtask codegen`, which includes this file. Left out is what may
//! still change without breaking a guest: names of arguments, documentation,
//! and which errors a call answers with (guests accept any number).

use wapo_abi::{CALLS, CallInfo, Cap, Excess, errno};

/// Every fact that a released guest relies on.
pub(crate) fn contract() -> Vec<String> {
    let mut lines = shape();
    lines.extend(errno::ALL.iter().map(|errno| {
        let (name, _) = errno.describe().unwrap_or(("?", ""));
        format!("errno {} {name}", errno.0)
    }));
    lines.extend(CALLS.iter().map(call));
    lines.extend(CALLS.iter().flat_map(caps));
    lines
}

/// Names and sizes that both sides hold to.
fn shape() -> Vec<String> {
    use wapo_abi::*;
    vec![
        format!("import fast {IMPORT_MODULE}.{IMPORT_FAST} (i32 x 6) -> i64"),
        format!("import slow {IMPORT_MODULE}.{IMPORT_SLOW} (i32 x 6) -> i64"),
        format!("import fast {LEGACY_IMPORT_MODULE}.{LEGACY_IMPORT_FAST} (i32 x 6) -> i64"),
        format!("import slow {LEGACY_IMPORT_MODULE}.{LEGACY_IMPORT_SLOW} (i32 x 6) -> i64"),
        format!("export poll {POLL_EXPORT} () -> i32"),
        format!("export poll {LEGACY_POLL_EXPORT} () -> i32"),
        format!("export memory {MEMORY_EXPORT}"),
        format!("limit handles {HANDLES_MAX}"),
        format!("limit channel {CHANNEL_CAPACITY}"),
        format!("limit slots {}", wire::SLOTS),
        format!("datagram header {}", datagram::HEADER_BYTES),
        format!("datagram payload {}", datagram::PAYLOAD_BYTES_MAX),
        format!("call {GET_RETURN} get_return fast (bytes_mut) -> size, gas 0"),
    ]
}

fn call(call: &CallInfo) -> String {
    let kinds: Vec<String> = call.args.iter().map(|arg| spaced(arg.kind)).collect();
    let mode = match (call.mode.is_fast(), call.mode.encodes_input()) {
        (true, false) => "fast",
        (true, true) => "fast_encoded",
        // Whether the host may take its time is invisible to the guest.
        (false, _) => "slow",
    };
    let gas = call.gas;
    let per_byte = match gas.per_bytes {
        0 => String::new(),
        per_bytes => format!(" + len * {per_bytes} / {}", gas.bytes),
    };
    format!(
        "call {} {} {mode} ({}) -> {}, gas {}{per_byte}",
        call.id,
        call.name,
        kinds.join(", "),
        spaced(call.result),
        gas.base,
    )
}

/// How long a slice may be; lines of their own, since the rows are older.
fn caps(call: &CallInfo) -> Vec<String> {
    let args = call
        .args
        .iter()
        .filter_map(|arg| Some((arg.kind, arg.cap?)));
    let input = call.input_cap.map(|cap| ("input", cap));
    let line = |(what, cap): (&str, Cap)| {
        let excess = match cap.excess {
            Excess::Cut => "cut".to_owned(),
            Excess::Refused(errno) => format!("else {}", errno.0),
        };
        format!("cap {} {what} {} {excess}", call.id, cap.bytes)
    };
    args.chain(input).map(line).collect()
}

/// A type with the blanks that people put. How many `stringify!` leaves is not
/// promised and differs between compilers.
pub(crate) fn spaced(kind: &str) -> String {
    let dense: String = kind.split_whitespace().collect();
    dense.replace(',', ", ").replace(';', "; ")
}
