//! A verdict and the facts behind it as JSON, in the form that docs/verifying.md has.
//!
//! For programs, and for the page that verifies in a browser. The facts are what was
//! claimed, in its own words; they count when the verdict is good. Nothing is checked
//! here. Called by `wapo verify … --json` and by `wapo-verify-page`.

use serde_json::{Value, json};
use wapo_crypto::report_data::REPORT_DATA_BYTES;
use wapo_rpc::hexbytes::to_hex;
use wapo_rpc::signed_answer::Kind;
use wapo_rpc::signed_answer::file::Exchange;
use wapo_rpc::statement::{AppClaims, WorkerClaims};

use crate::usage::Bill;
use crate::verdict::Verdict;

/// A verdict with its facts.
pub fn report(verdict: &Verdict, facts: &Value) -> Value {
    let checks: Vec<_> = verdict
        .checks
        .iter()
        .map(|check| {
            json!({
                "name": check.name,
                "outcome": check.outcome.word(),
                "detail": check.detail,
                "proves": check.proves,
            })
        })
        .collect();
    json!({ "good": verdict.is_good(), "checks": checks, "facts": facts })
}

/// What a worker claims.
pub fn worker(claims: &WorkerClaims) -> Value {
    let host_controlled: Vec<_> = claims
        .host_controlled
        .iter()
        .map(|name| name.as_str())
        .collect();
    json!({
        "pubkey": hex::encode(claims.pubkey),
        "query_pubkey": hex::encode(claims.query_pubkey),
        "answer_pubkey": hex::encode(claims.answer_pubkey.as_slice()),
        "session": hex::encode(claims.session),
        "software": claims.software.as_str(),
        "host_controlled": host_controlled,
        "key_version": claims.key_version,
        "issued_at": claims.issued_at,
        "expires_at": claims.expires_at,
        "nonce": hex::encode(claims.nonce.as_slice()),
    })
}

/// What a worker claims of an app.
pub fn app(claims: &AppClaims) -> Value {
    let args: Vec<_> = claims.args.iter().map(|arg| arg.as_str()).collect();
    json!({
        "worker": hex::encode(claims.worker),
        "worker_session": hex::encode(claims.worker_session),
        "address": format!("0x{}", claims.address),
        "deployment": hex::encode(claims.deployment),
        "code_hash": claims.code_hash.as_str(),
        "args": args,
        "env_hash": hex::encode(claims.env_hash),
        "label": claims.label.as_str(),
        "limits": {
            "memory_bytes": claims.limits.memory_bytes,
            "instances": claims.limits.instances,
            "gas_max": claims.limits.gas_max,
        },
        "key_version": claims.key_version,
        "app_pubkey": hex::encode(claims.app_pubkey.as_slice()),
        "issued_at": claims.issued_at,
        "expires_at": claims.expires_at,
        "nonce": hex::encode(claims.nonce.as_slice()),
    })
}

/// What a bill says.
pub fn bill(bill: &Bill) -> Value {
    json!({
        "worker": to_hex(bill.worker),
        "app": bill.app.map(|app| to_hex(app.0)),
        "reports": bill.reports,
        "sessions": bill.sessions,
        "first_seq": bill.first.seq,
        "last_seq": bill.last.seq,
        "last_hash": to_hex(bill.last.hash()),
        "deployments": bill.deployments.len(),
    })
}

/// Who answered, and what was asked, in a good exchange.
pub fn answer(exchange: &Exchange, kind: Kind) -> Value {
    json!({
        "kind": kind.name(),
        "status": exchange.answer.status,
        "url": exchange.request.url,
        "received_at": exchange.received_at,
    })
}

/// What a quote is about.
pub fn quote(report_data: Option<[u8; REPORT_DATA_BYTES]>) -> Value {
    json!({ "report_data": report_data.map(hex::encode) })
}
