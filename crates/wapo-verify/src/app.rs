//! Evidence of an app: from the quote over the worker's key to the app's claims. Bytes
//! in, checks out; called by `wapo verify app`.
//!
//! Also from a certificate that carries the evidence in an extension: then the app's key
//! is that of the certificate, so a server that proves to have it, as in TLS, is
//! that app in that enclave.

use wapo_rpc::AppAddress;
use wapo_rpc::statement::{
    AppClaims, AppEvidence, CERTIFICATE_EXTENSION_OID, Statement as _, StatementError, decode,
};
use x509_cert::Certificate;
use x509_cert::der::{Decode as _, Encode as _};

use crate::policy::{AppRule, Policy};
use crate::quote::Context;
use crate::text;
use crate::verdict::Verdict;
use crate::worker::{self, Claims, Life, claims};

/// Bytes of a certificate that carries evidence, at most.
///
/// Evidence that is as long as each of its parts may be has some 400 KiB, and what else is
/// in a certificate is short. A reader of certificates need not look at more.
pub const CERTIFICATE_BYTES_MAX: usize = 512 * 1024;

const SIGNATURE_PROVES: &str = "The worker in the quote said this of the app: its code, arguments, environment, limits and \
     key. It runs what has this hash; what that does, its source tells.";
const SESSION_PROVES: &str = "The claims are of the same run of the worker as the quote.";
const ADDRESS_PROVES: &str =
    "The evidence is of the app that was asked for, and not of another one of the same worker.";
const APP_PROVES: &str =
    "The app is the one that you meant, by code and arguments, and not another of this worker.";
const KEY_PROVES: &str = "Who proves to have the key of this certificate, as a TLS server does in its handshake, is this \
     app in this enclave: the connection ends there and nowhere before.";

/// An app's evidence, as it was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedApp {
    /// The checks.
    pub verdict: Verdict,
    /// The claims; absent where the worker did not sign them. Believe them when the
    /// verdict is good.
    pub claims: Option<AppClaims>,
}

/// Evidence from a certificate, and the key that the certificate is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Carried {
    /// The evidence.
    pub evidence: AppEvidence,
    /// The key, in DER (RFC 5480).
    pub key: Vec<u8>,
}

/// A certificate without evidence.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoEvidence {
    /// Not in DER, or too long.
    #[error("the certificate cannot be read: {0}")]
    Unreadable(String),
    /// No such extension.
    #[error(
        "the certificate carries no evidence (extension {0}): the server is not an attested app, or has another \
         certificate for this name"
    )]
    Absent(String),
    /// The extension is not what it should be.
    #[error("the evidence in the certificate cannot be read: {0}")]
    Evidence(#[from] StatementError),
}

/// Reads the evidence of a certificate, in DER.
///
/// # Errors
///
/// [`NoEvidence`]
pub fn from_certificate(der: &[u8]) -> Result<Carried, NoEvidence> {
    if der.len() > CERTIFICATE_BYTES_MAX {
        let text = format!(
            "{} bytes, and at most {CERTIFICATE_BYTES_MAX} are read",
            der.len()
        );
        return Err(NoEvidence::Unreadable(text));
    }
    let unreadable = |error: x509_cert::der::Error| NoEvidence::Unreadable(error.to_string());
    let certificate = Certificate::from_der(der).map_err(unreadable)?;
    let tbs = certificate.tbs_certificate();
    let name = CERTIFICATE_EXTENSION_OID
        .map(|arc| arc.to_string())
        .join(".");
    let mut found = tbs
        .extensions()
        .into_iter()
        .flatten()
        .filter(|extension| extension.extn_id.to_string() == name);
    let extension = found
        .next()
        .ok_or_else(|| NoEvidence::Absent(name.clone()))?;
    if found.next().is_some() {
        return Err(NoEvidence::Unreadable("evidence twice".to_owned()));
    }
    Ok(Carried {
        evidence: decode(extension.extn_value.as_bytes())?,
        key: tbs.subject_public_key_info().to_der().map_err(unreadable)?,
    })
}

/// Checks an app's evidence. `collateral` is the verifier's own, in place of that which
/// the evidence carries; `asked` is the app that a worker was asked for, where one was;
/// `key` is the one that was seen in use, where there is one.
pub fn verify(
    evidence: &AppEvidence,
    collateral: Option<&[u8]>,
    asked: Option<AppAddress>,
    key: Option<&[u8]>,
    context: &Context<'_>,
) -> VerifiedApp {
    // A nonce is in the claims of both, so that neither half is an old one.
    let verified = worker::verify(&evidence.worker, collateral, context);
    let mut verdict = verified.verdict;
    let claims: Option<AppClaims> = claims(&evidence.claims, &mut verdict);
    let (Some(worker), Some(claims)) = (verified.claims, claims) else {
        return VerifiedApp {
            verdict,
            claims: None,
        };
    };
    let purpose = AppClaims::CONTENT_TYPE;
    let is_signed = wapo_crypto::verify(
        &worker.pubkey,
        purpose,
        &evidence.claims,
        &evidence.signature,
    );
    if !is_signed || claims.worker != worker.pubkey {
        let detail = format!(
            "the claims are not signed by the worker of the quote, {}",
            hex::encode(worker.pubkey)
        );
        verdict.failed("app.signature", detail, SIGNATURE_PROVES);
        return VerifiedApp {
            verdict,
            claims: None,
        };
    }
    verdict.passed("app.signature", describe(&claims), SIGNATURE_PROVES);
    if claims.worker_session == worker.session {
        let detail = format!("session {}", hex::encode(worker.session));
        verdict.passed("app.session", detail, SESSION_PROVES);
    } else {
        let detail = "the worker has begun another session since it said this";
        verdict.failed("app.session", detail, SESSION_PROVES);
    }
    let life = Life {
        issued_at: claims.issued_at,
        expires_at: claims.expires_at,
        nonce: &claims.nonce,
    };
    life.check(["app.time", "app.nonce"], context, &mut verdict);
    if let Some(asked) = asked {
        of_address(&claims, asked, &mut verdict);
    }
    demands(&claims, context.policy, &mut verdict);
    if let Some(key) = key {
        of_key(&claims, key, &mut verdict);
    }
    VerifiedApp {
        verdict,
        claims: Some(claims),
    }
}

impl Claims for AppClaims {
    const VERSION: u8 = Self::VERSION;
    const CHECK: &'static str = "app.claims";

    fn keys(&self) -> String {
        format!("key of version {}", self.key_version)
    }
}

fn describe(claims: &AppClaims) -> String {
    let args: Vec<_> = claims.args.iter().map(|arg| text::printable(arg)).collect();
    format!(
        "app {} ({}), code {}, arguments {args:?}, environment {}, {} bytes of memory, {} instances",
        claims.address,
        text::printable(&claims.label),
        text::printable(&claims.code_hash),
        hex::encode(claims.env_hash),
        claims.limits.memory_bytes,
        claims.limits.instances
    )
}

fn demands(claims: &AppClaims, policy: &Policy, verdict: &mut Verdict) {
    const NAME: &str = "app.program";
    let is_args = |args: &Vec<String>| {
        args.len() == claims.args.len()
            && args
                .iter()
                .zip(claims.args.iter())
                .all(|(demanded, actual)| *demanded == **actual)
    };
    let matches = |rule: &AppRule| {
        rule.address
            .is_none_or(|address| address.0 == claims.address.0)
            && rule
                .code_hash
                .as_ref()
                .is_none_or(|hash| *hash == *claims.code_hash)
            && rule.args.as_ref().is_none_or(is_args)
            && rule.env_hash.is_none_or(|hash| hash.0 == claims.env_hash)
    };
    let address = claims.address;
    if policy.apps.iter().any(matches) {
        verdict.passed(NAME, format!("app {address} is in the policy"), APP_PROVES);
    } else if policy.apps.is_empty() {
        let detail = "ANY app passes, as the policy lists none in `apps`";
        verdict.noted(NAME, detail, APP_PROVES);
    } else {
        let detail = format!(
            "no entry of the policy's `apps` is like app {address}: {}",
            describe(claims)
        );
        verdict.failed(NAME, detail, APP_PROVES);
    }
}

fn of_address(claims: &AppClaims, asked: AppAddress, verdict: &mut Verdict) {
    const NAME: &str = "app.address";
    let address = claims.address;
    if address == asked {
        let detail = format!("app {address}, which was asked for");
        verdict.passed(NAME, detail, ADDRESS_PROVES);
    } else {
        let detail = format!("the evidence is of app {address}, and app {asked} was asked for");
        verdict.failed(NAME, detail, ADDRESS_PROVES);
    }
}

fn of_key(claims: &AppClaims, key: &[u8], verdict: &mut Verdict) {
    const NAME: &str = "app.key";
    if key == claims.app_pubkey.as_slice() {
        let detail = "the certificate is for the app's own key";
        verdict.passed(NAME, detail, KEY_PROVES);
    } else {
        let detail = "the certificate carries the evidence of an app, and is for another key: the evidence was copied";
        verdict.failed(NAME, detail, KEY_PROVES);
    }
}
