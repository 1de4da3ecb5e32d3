//! Signed answers: whether the worker, or a certain app, said this to this request.
//!
//! A request with its answer in, checks out; called by `wapo verify answer`, by
//! `wapo query --verify` and by clients. The keys are taken from evidence, which
//! [`crate::app`] checks first. The time is an argument.

use wapo_crypto::derived_keys::verify_p256;
use wapo_rpc::AppAddress;
use wapo_rpc::signed_answer::file::Exchange;
use wapo_rpc::signed_answer::{
    self, APP, CONTENT_DIGEST, Found, KIND, Kind, RequestComponents, SESSION, UNSIGNED,
};
use wapo_rpc::statement::{AppClaims, AppEvidence, WorkerClaims};

use crate::app;
use crate::quote::Context;
use crate::text;
use crate::verdict::Verdict;

/// Bytes of a file with an exchange.
///
/// What is signed has 10 MiB at most, and hex twice that, beside a request and evidence.
pub const FILE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Seconds by which the clocks of worker and client may differ.
const CLOCK_SKEW_S: u64 = 60;

const SIGNED: &str =
    "Everything that has to be covered is: status, body, kind, app, session and the request.";
const BODY: &str = "The body is the one that was signed.";
const REQUEST: &str = "The answer is to the request as it was sent, and to no other.";
const KIND_: &str = "Who answers: the worker, the worker with a refusal, or the app; none of them can be taken for another.";
const KEY: &str = "The key is the one in the evidence, which shows whose it is.";
const SIGNATURE: &str = "The holder of the key gave this answer to this request. It does not prove that the answer is right: that depends on the app's code.";
const NONCE: &str = "The answer is to the request with this nonce. It is no old one if you drew the nonce yourself: in a file from another person the request is theirs, too.";
const TIME: &str = "The answer counts at this time, by the clocks of worker and client. The host may set the worker's.";
const IN_SESSION: &str = "It was said in the run of the worker that the evidence is of.";

/// Checks evidence, and with its keys an exchange. `wanted` is the app that was asked,
/// where that is known; `collateral` the verifier's own, in place of that which the
/// evidence carries. Who answered is there only when no check has failed.
pub fn verify(
    exchange: &Exchange,
    evidence: &AppEvidence,
    wanted: Option<AppAddress>,
    collateral: Option<&[u8]>,
    context: &Context<'_>,
) -> (Verdict, Option<Kind>) {
    let verified = app::verify(evidence, collateral, wanted, None, context);
    let mut verdict = verified.verdict;
    let worker = evidence.worker.worker_claims().ok();
    let (Some(claims), Some(worker)) = (verified.claims, worker) else {
        return (verdict, None);
    };
    let whose = Whose {
        worker: &worker,
        app: &claims,
    };
    let kind = checked(&mut verdict, exchange, whose, context.now);
    let kind = kind.filter(|_| verdict.is_good());
    (verdict, kind)
}

/// Whose answers count.
#[derive(Clone, Copy)]
struct Whose<'a> {
    worker: &'a WorkerClaims,
    app: &'a AppClaims,
}

fn checked(
    verdict: &mut Verdict,
    exchange: &Exchange,
    whose: Whose<'_>,
    now_s: u64,
) -> Option<Kind> {
    let part = exchange.signed_part();
    let request = match exchange.request.asked() {
        Ok(request) => request,
        Err(error) => {
            let error = text::printable(&error.to_string());
            verdict.failed("answer.request", error, REQUEST);
            return None;
        }
    };
    let found = match signed_answer::find(part, &request) {
        Ok(found) => found,
        Err(error) => {
            let error = text::printable(&error);
            let detail = match part.field(UNSIGNED) {
                Some(why) => format!("{error}; the worker says why: {}", text::printable(&why)),
                None => error,
            };
            verdict.failed("answer.signed", detail, SIGNED);
            return None;
        }
    };
    for name in [CONTENT_DIGEST, KIND, SESSION] {
        if part.field(name).is_none() {
            let detail = format!("the answer has no `{name}`, so that is not covered");
            verdict.failed("answer.signed", detail, SIGNED);
            return None;
        }
    }
    verdict.passed("answer.signed", "a signature covers what it has to", SIGNED);
    bodies(verdict, exchange, &request);
    let kind = part.field(KIND).as_deref().and_then(Kind::parse);
    let Some(kind) = kind else {
        verdict.failed("answer.kind", "the answer does not say who answers", KIND_);
        return None;
    };
    let key = key(verdict, kind, part.field(APP).as_deref(), whose)?;
    signature(verdict, &found, key);
    nonce(verdict, &found, exchange);
    time(verdict, &found, now_s);
    session(verdict, part.field(SESSION), whose.app);
    Some(kind)
}

/// Whether both bodies are those of the digests.
fn bodies(verdict: &mut Verdict, exchange: &Exchange, request: &RequestComponents) {
    let part = exchange.signed_part();
    let digest = signed_answer::content_digest(&exchange.answer.body);
    match part.field(CONTENT_DIGEST).as_deref() == Some(digest.as_str()) {
        true => verdict.passed("answer.body", digest, BODY),
        false => verdict.failed(
            "answer.body",
            format!("the body's digest is {digest}, another one was signed"),
            BODY,
        ),
    }
    let body = &exchange.request.body;
    match request.content_digest() {
        None if body.is_empty() => {
            verdict.passed("answer.request", "the request has no body", REQUEST)
        }
        None => verdict.failed(
            "answer.request",
            "the request's body has no digest, so the answer may be to another body",
            REQUEST,
        ),
        Some(field) if field == signed_answer::content_digest(body) => {
            verdict.passed(
                "answer.request",
                "the digest of the request's body is covered",
                REQUEST,
            );
        }
        Some(_) => verdict.failed(
            "answer.request",
            "the digest of the request is not that of its body",
            REQUEST,
        ),
    }
}

/// The key that has to have signed an answer of this kind.
fn key<'a>(
    verdict: &mut Verdict,
    kind: Kind,
    app: Option<&str>,
    whose: Whose<'a>,
) -> Option<&'a [u8]> {
    match (kind, app) {
        (Kind::App, Some(text)) if text.parse() != Ok(whose.app.address) => {
            let (text, wanted) = (text::printable(text), whose.app.address);
            let detail = format!("the answer is of the app {text}, not of {wanted}");
            verdict.failed("answer.kind", detail, KIND_);
            None
        }
        (Kind::App, Some(text)) => {
            verdict.passed("answer.kind", format!("the app {text} answers"), KIND_);
            Some(&whose.app.app_pubkey)
        }
        (Kind::App, None) => {
            verdict.failed(
                "answer.kind",
                "an app answers, and it is not said which",
                KIND_,
            );
            None
        }
        (Kind::Worker | Kind::Error, Some(_)) => {
            verdict.failed(
                "answer.kind",
                "the worker answers, in the name of an app",
                KIND_,
            );
            None
        }
        (Kind::Worker | Kind::Error, None) => {
            let detail = match kind {
                Kind::Error => "the worker says that the request could not be served",
                _ => "the worker answers",
            };
            verdict.passed("answer.kind", detail, KIND_);
            Some(&whose.worker.answer_pubkey)
        }
    }
}

fn signature(verdict: &mut Verdict, found: &Found, key: &[u8]) {
    let id = signed_answer::key_id(key);
    if found.parameters.key_id != id {
        let detail = format!("the key {} has signed, not {id}", found.parameters.key_id);
        return verdict.failed("answer.key", detail, KEY);
    }
    verdict.passed("answer.key", id, KEY);
    match verify_p256(key, found.base.as_bytes(), &found.signature) {
        true => verdict.passed("answer.signature", "the signature is good", SIGNATURE),
        false => verdict.failed(
            "answer.signature",
            "the signature is not one of this key over this answer",
            SIGNATURE,
        ),
    }
}

fn nonce(verdict: &mut Verdict, found: &Found, exchange: &Exchange) {
    match (exchange.nonce(), &found.parameters.nonce) {
        (None, _) => verdict.noted(
            "answer.nonce",
            "the request gave no nonce: the answer may be an old one to an equal request",
            NONCE,
        ),
        (Some(asked), Some(given)) if asked == *given => {
            verdict.passed("answer.nonce", "the answer has the request's nonce", NONCE);
        }
        (Some(_), _) => verdict.failed(
            "answer.nonce",
            "the answer does not have the request's nonce",
            NONCE,
        ),
    }
}

fn time(verdict: &mut Verdict, found: &Found, now_s: u64) {
    let (created, expires) = (found.parameters.created, found.parameters.expires);
    let detail = format!("signed at {created} s, counts until {expires} s, and it is {now_s} s");
    let is_now = created <= now_s.saturating_add(CLOCK_SKEW_S)
        && now_s <= expires.saturating_add(CLOCK_SKEW_S)
        && created <= expires;
    match is_now {
        true => verdict.passed("answer.time", detail, TIME),
        false => verdict.failed("answer.time", detail, TIME),
    }
}

fn session(verdict: &mut Verdict, named: Option<String>, app: &AppClaims) {
    let named = named.unwrap_or_default();
    match hex::encode(app.worker_session) == named {
        true => verdict.passed("answer.session", named, IN_SESSION),
        false => verdict.failed(
            "answer.session",
            format!("it is of another session, {}", text::printable(&named)),
            IN_SESSION,
        ),
    }
}
