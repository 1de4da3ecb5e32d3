//! The worker's key goes to another worker: the side that has it.
//!
//! Only to what the policy names that the worker was started with, for a request with a
//! quote over a nonce that was given for it a moment ago, and encrypted to the key in that
//! quote, so the operator between the two learns nothing. Every refusal is logged. The side
//! that asks is in `receive`; what is encrypted, in `parcel`. Called by `api`.

mod parcel;
mod receive;

use parity_scale_codec::Encode as _;
use tokio::time::Instant;
use wapo_crypto::handover;
use wapo_rpc::statement::{self, Bounded, KeyHandover, KeyRequest, KeyRequestClaims};
use wapo_verify::handover::{VerifiedRequest, verify};
use wapo_verify::{Context, Roots, Verdict};

use super::{Worker, unix_s};
use crate::attestation::Asker;
use crate::config::HandoverPolicy;
use crate::error::AppError;

pub(crate) use receive::{Received, receive};

impl Worker {
    /// Gives a nonce for a request. It takes the place of the one before.
    ///
    /// # Errors
    ///
    /// [`AppError::Refused`] when the worker does not hand over its key.
    pub(crate) fn handover_nonce(&self) -> Result<[u8; 32], AppError> {
        self.handovers.policy().map_err(refused)?;
        let nonce = rand::random();
        self.handovers.give(nonce, Instant::now());
        Ok(nonce)
    }

    /// Hands the key to the worker that a request is of, and gives the encoded answer.
    ///
    /// # Errors
    ///
    /// [`AppError::Refused`] with each check that failed. The log has it as well.
    ///
    /// # Cancel safety
    ///
    /// The nonce of the request is used up.
    pub(crate) async fn hand_over(&self, request: &[u8]) -> Result<Vec<u8>, AppError> {
        let _turn = self.handovers.turn.lock().await;
        self.answer(request).await.map_err(refused)
    }

    async fn answer(&self, request: &[u8]) -> Result<Vec<u8>, String> {
        let policy = self.handovers.policy()?.clone();
        let unreadable = |error| format!("the request cannot be read: {error}");
        let request: KeyRequest = statement::decode(request).map_err(unreadable)?;
        let claims = request.request_claims().map_err(unreadable)?;
        self.handovers.take(&claims.nonce, Instant::now())?;
        let hash = request.hash();
        let is_simulated = request.quote.is_simulated();
        let now = unix_s();
        let nonce = claims.nonce;
        let verify = move || verified(&request, &policy, nonce, now);
        let verified = tokio::task::spawn_blocking(verify).await;
        let (claims, program) = verified.map_err(|_| AppError::Interrupted.to_string())??;
        // The versions that go are those of the evidence.
        let _no_rotation = self.rotating.lock().await;
        let evidence = self
            .attester
            .worker_evidence(hash.to_vec(), Asker::Worker)
            .await
            .map_err(|error| error.to_string())?;
        if is_simulated && !evidence.evidence.quote.is_simulated() {
            return Err("a simulator gets no key of a worker on hardware".to_owned());
        }
        let plaintext = parcel::pack(self.identity.key(), &self.attester.keys());
        let sealed = handover::seal(&claims.recipient, &hash, &plaintext, rand::random());
        let sealed = sealed.map_err(|error| error.to_string())?;
        let answer = KeyHandover {
            evidence: evidence.evidence.clone(),
            encapsulated: sealed.encapsulated,
            sealed: Bounded::new(sealed.ciphertext).map_err(|error| error.to_string())?,
        };
        tracing::warn!(
            recipient = hex::encode(claims.recipient),
            program,
            "the worker's key was handed to another worker: stop this one before that one serves"
        );
        Ok(answer.encode())
    }
}

/// The claims of a request that the policy accepts, and what made it.
fn verified(
    request: &KeyRequest,
    policy: &HandoverPolicy,
    nonce: [u8; 32],
    now: u64,
) -> Result<(KeyRequestClaims, String), String> {
    let roots = Roots::default();
    let context = Context {
        now,
        roots: &roots,
        policy: policy.policy(),
        nonce: Some(&nonce),
    };
    let VerifiedRequest { verdict, claims } = verify(request, &context);
    let failed = failures(&verdict);
    match claims {
        Some(claims) if verdict.is_good() => Ok((claims, program(&verdict))),
        _ => Err(format!(
            "the requesting worker must not have the key (key-to-policy): {failed}"
        )),
    }
}

/// The checks that failed, in one line.
fn failures(verdict: &Verdict) -> String {
    let lines = verdict
        .failures()
        .map(|check| format!("{}: {}", check.name, check.detail));
    let lines: Vec<_> = lines.collect();
    lines.join("; ")
}

/// Which program a quote is of.
fn program(verdict: &Verdict) -> String {
    let mut checks = verdict.checks.iter();
    let found = checks.find(|check| check.name == "quote.program");
    found.map(|check| check.detail.clone()).unwrap_or_default()
}

fn refused(reason: String) -> AppError {
    tracing::warn!(reason, "the worker's key was not handed over");
    AppError::Refused(reason)
}
