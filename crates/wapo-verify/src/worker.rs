//! Evidence of a worker: a quote over its claims. Bytes in, checks out; called by
//! `wapo verify worker`, by [`crate::app`], and by a worker that is offered another one's key.
//!
//! The quote's report data is the hash of the claims, so what the claims say (above all
//! the worker's public key) was said by the program that the quote is about.

use parity_scale_codec::Codec;
use wapo_rpc::statement::{WorkerClaims, WorkerEvidence, decode};

use crate::policy::Policy;
use crate::quote::{self, Context};
use crate::text;
use crate::verdict::Verdict;

/// Seconds by which the worker's clock may be before the verifier's.
///
/// Clocks of machines that ask a time server are within a second; ones that were set
/// by hand are off by minutes. Evidence of a later future is refused: it would count
/// longer than the verifier allows.
pub const CLOCK_SKEW_MAX_S: u64 = 300;

const CLAIMS_PROVES: &str = "The claims are in the one form that they can have.";
const BINDING_PROVES: &str = "The program in the quote made these claims, among them the worker's public key: what that \
     key signs is that program's word.";
const TIME_PROVES: &str = "The evidence counts at the time of your clock. When it was made is the worker's word, and \
     its host can set the clock: only a nonce of yours proves that it is new.";
const NONCE_PROVES: &str =
    "The evidence was made after you drew the nonce, so it is not an old one that the host kept.";
const HOST_PROVES: &str =
    "The host decides no more than you allow. No measurement covers these settings.";
const WORKER_PROVES: &str = "The worker is one of those that you listed, by its key.";

/// A worker's evidence, as it was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedWorker {
    /// The checks.
    pub verdict: Verdict,
    /// The claims; absent where the quote is not over them. Believe them when the
    /// verdict is good.
    pub claims: Option<WorkerClaims>,
}

/// Checks a worker's evidence. `collateral` is the verifier's own, in place of that
/// which the evidence carries.
pub fn verify(
    evidence: &WorkerEvidence,
    collateral: Option<&[u8]>,
    context: &Context<'_>,
) -> VerifiedWorker {
    let carried = evidence.collateral.as_ref().map(|bytes| bytes.as_slice());
    let quoted = quote::verify(&evidence.quote, collateral.or(carried), context);
    let mut verdict = quoted.verdict;
    let claims: Option<WorkerClaims> = claims(&evidence.claims, &mut verdict);
    let Some(report_data) = quoted.report_data else {
        return VerifiedWorker {
            verdict,
            claims: None,
        };
    };
    if report_data != evidence.report_data() {
        let detail = format!(
            "the quote is over other data: {}, and these claims are {}",
            hex::encode(report_data),
            hex::encode(evidence.report_data())
        );
        verdict.failed("worker.binding", detail, BINDING_PROVES);
        return VerifiedWorker {
            verdict,
            claims: None,
        };
    }
    if let Some(claims) = &claims {
        let detail = format!(
            "worker {}, session {}, {}",
            hex::encode(claims.pubkey),
            hex::encode(claims.session),
            text::printable(&claims.software)
        );
        verdict.passed("worker.binding", detail, BINDING_PROVES);
        let life = Life {
            issued_at: claims.issued_at,
            expires_at: claims.expires_at,
            nonce: &claims.nonce,
        };
        life.check(["worker.time", "worker.nonce"], context, &mut verdict);
        demands(claims, context.policy, &mut verdict);
    }
    VerifiedWorker { verdict, claims }
}

/// Claims of a version and form that are known here.
pub(crate) trait Claims: Codec {
    /// The version that is known, which the first byte says.
    const VERSION: u8;
    /// The name of the check.
    const CHECK: &'static str;

    /// What is said of claims that can be read, behind their version.
    fn keys(&self) -> String;
}

impl Claims for WorkerClaims {
    const VERSION: u8 = Self::VERSION;
    const CHECK: &'static str = "worker.claims";

    fn keys(&self) -> String {
        format!("keys of version {}", self.key_version)
    }
}

/// Reads claims, the version first: what follows it has another form in others.
pub(crate) fn claims<C: Claims>(encoded: &[u8], verdict: &mut Verdict) -> Option<C> {
    let known = C::VERSION;
    let found = match encoded.first() {
        Some(version) if *version != known => Err(format!(
            "the claims are of version {version}, and version {known} is known; is there a newer `wapo`?"
        )),
        _ => decode::<C>(encoded).map_err(|error| format!("the claims cannot be read: {error}")),
    };
    let found = found.and_then(|claims| match claims.encode() == encoded {
        true => Ok(claims),
        false => Err("the claims are not written in the one form".to_owned()),
    });
    match found {
        Ok(claims) => {
            let detail = format!("version {known}, {}", claims.keys());
            verdict.passed(C::CHECK, detail, CLAIMS_PROVES);
            Some(claims)
        }
        Err(why) => {
            verdict.failed(C::CHECK, why, CLAIMS_PROVES);
            None
        }
    }
}

/// From when to when claims count, and what makes them new.
pub(crate) struct Life<'a> {
    pub(crate) issued_at: u64,
    pub(crate) expires_at: u64,
    pub(crate) nonce: &'a [u8],
}

impl Life<'_> {
    /// Checks the dates, then the nonce. `names` are those of the two checks.
    pub(crate) fn check(
        &self,
        names: [&'static str; 2],
        context: &Context<'_>,
        verdict: &mut Verdict,
    ) {
        let [time, nonce] = names;
        let dates = format!(
            "issued {}, counts until {}",
            text::date(self.issued_at),
            text::date(self.expires_at)
        );
        let now = context.now;
        let age_max_s = context.policy.age_max_s;
        let age_s = now.saturating_sub(self.issued_at);
        if self.issued_at > now.saturating_add(CLOCK_SKEW_MAX_S) {
            let detail = format!("{dates}: of the future, at {}", text::date(now));
            verdict.failed(time, detail, TIME_PROVES);
        } else if self.expires_at < now || self.expires_at < self.issued_at {
            let detail = format!(
                "{dates}: expired, at {}; ask the worker again",
                text::date(now)
            );
            verdict.failed(time, detail, TIME_PROVES);
        } else if let Some(max) = age_max_s.filter(|max| age_s > *max) {
            let detail = format!("{dates}: {age_s} s old, and the policy allows {max} s");
            verdict.failed(time, detail, TIME_PROVES);
        } else {
            verdict.passed(time, dates, TIME_PROVES);
        }
        match context.nonce {
            Some(demanded) if demanded == self.nonce => {
                let detail = format!("yours, {}", hex::encode(demanded));
                verdict.passed(nonce, detail, NONCE_PROVES);
            }
            Some(demanded) => {
                let detail = format!(
                    "the evidence has {}, and yours is {}",
                    shown(self.nonce),
                    shown(demanded)
                );
                verdict.failed(nonce, detail, NONCE_PROVES);
            }
            None => {
                let detail = "none was demanded: the evidence may be as old as its dates allow";
                verdict.noted(nonce, detail, NONCE_PROVES);
            }
        }
    }
}

fn shown(nonce: &[u8]) -> String {
    if nonce.is_empty() {
        "none".to_owned()
    } else {
        hex::encode(nonce)
    }
}

fn demands(claims: &WorkerClaims, policy: &Policy, verdict: &mut Verdict) {
    let key = hex::encode(claims.pubkey);
    if policy
        .workers
        .iter()
        .any(|worker| worker.0 == claims.pubkey)
    {
        verdict.passed(
            "worker.key",
            format!("{key}, which is listed"),
            WORKER_PROVES,
        );
    } else if !policy.workers.is_empty() {
        let detail = format!("{key} is not in the policy's `workers`");
        verdict.failed("worker.key", detail, WORKER_PROVES);
    }
    let settings = claims.host_controlled.iter().map(|name| name.as_str());
    host("worker.host_controlled", settings, policy, verdict);
}

/// What the host decides, against what the policy lets it.
pub(crate) fn host<'a>(
    name: &'static str,
    settings: impl Iterator<Item = &'a str> + Clone,
    policy: &Policy,
    verdict: &mut Verdict,
) {
    let all = || list(settings.clone());
    match &policy.host_controlled {
        None => verdict.noted(name, format!("the host decides: {}", all()), HOST_PROVES),
        Some(allowed) => {
            let is_open = |setting: &&str| allowed.iter().all(|name| name != setting);
            let open: Vec<_> = settings.clone().filter(is_open).collect();
            if open.is_empty() {
                verdict.passed(name, format!("the host decides: {}", all()), HOST_PROVES);
            } else {
                let open = list(open.into_iter());
                let detail = format!(
                    "the host decides {open}, which the policy's `host_controlled` does not allow"
                );
                verdict.failed(name, detail, HOST_PROVES);
            }
        }
    }
}

fn list<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<_> = words.map(text::printable).collect();
    if words.is_empty() {
        "nothing".to_owned()
    } else {
        words.join(", ")
    }
}
