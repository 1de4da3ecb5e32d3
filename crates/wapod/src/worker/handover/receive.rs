//! The worker's key goes to another worker: the side that has none yet.
//!
//! Makes a key for this one answer, a quote over it and over the nonce of the other
//! side, and asks. What comes is taken when the other side's evidence is what the
//! policy demands, was made for this request, and is of the very key that came: a
//! worker that does not know that key cannot have sent it. Called by `server`, at the
//! start and before anything but collateral is written.

use std::net::IpAddr;

use hyper::Uri;
use parity_scale_codec::Encode as _;
use wapo_crypto::handover::{Recipient, Sealed};
use wapo_crypto::{WorkerKey, report_data};
use wapo_rpc::client::Client;
use wapo_rpc::message::KeyHandoverArgs;
use wapo_rpc::statement::{self, Bounded, KeyHandover, KeyRequest, KeyRequestClaims};
use wapo_verify::{Context, Roots, worker};
use zeroize::Zeroizing;

use super::super::attester::SOFTWARE;
use super::super::collateral::Collateral;
use super::super::unix_s;
use super::{failures, parcel};
use crate::attestation::{self, Asker, Quoter};
use crate::config::{AdminToken, Config, HandoverPolicy, KeySource};
use crate::data_dir::DataDir;
use crate::limits::HANDOVER_REQUEST_LIFE;
use crate::store::KeyVersions;

/// What another worker has handed over.
pub(crate) struct Received {
    pub(crate) key: WorkerKey,
    pub(crate) versions: KeyVersions,
}

/// Takes the key of another worker.
///
/// # Errors
///
/// A text of one line. Nothing but collateral was written.
pub(crate) async fn receive(
    config: &Config,
    source: &KeySource,
    data: &DataDir,
) -> Result<Received, String> {
    let found = attestation::find(&config.attestation)?;
    let (Some(quoter), simulator) = found else {
        return Err(
            "this worker attests nothing, so nobody can know what it hands its key to".to_owned(),
        );
    };
    let pccs = config.attestation.pccs.as_deref();
    let file = Some(data.collateral_file());
    let maker = RequestMaker {
        quoter,
        collateral: Collateral::open(simulator, pccs, &config.trust_roots, file)?,
        host_controlled: &config.attestation.host_controlled,
    };
    let token = config.admin_token.as_ref();
    let received = ask(source, token, &maker).await?;
    tracing::warn!(
        worker = hex::encode(received.key.public()),
        from = source.url,
        "the key of another worker was taken over: that one has to be stopped"
    );
    Ok(received)
}

async fn ask(
    source: &KeySource,
    token: Option<&AdminToken>,
    maker: &RequestMaker<'_>,
) -> Result<Received, String> {
    check_way(&source.url, token)?;
    let token = token.map(|AdminToken(token)| token.as_str());
    let client = Client::with_trust(&source.url, token, source.trusted.as_ref());
    let client = client.map_err(|error| error.to_string())?;
    let said = |error: wapo_rpc::client::ClientError| error.to_string();
    let begun = client.key_handover(KeyHandoverArgs::default()).await;
    let nonce = begun.map_err(said)?.nonce.try_into();
    let nonce = nonce.map_err(|_| format!("{} gives a nonce of another length", source.url))?;
    let random: Zeroizing<[u8; 32]> = Zeroizing::new(rand::random());
    let recipient = Recipient::new(&random);
    let request = maker.make(recipient.public(), nonce).await?;
    let asked = KeyHandoverArgs {
        request: request.encode(),
    };
    let answer = client.key_handover(asked).await.map_err(said)?.handover;
    let policy = source.policy.clone();
    let now = unix_s();
    let open = move || open(&answer, &request, &recipient, &policy, now);
    let opened = tokio::task::spawn_blocking(open).await;
    opened.map_err(|_| "the answer was not looked at to its end".to_owned())?
}

/// Whether the token may go this way: the other side gets it before it is verified, and
/// so does every party in between that can read it.
fn check_way(url: &str, token: Option<&AdminToken>) -> Result<(), String> {
    let uri: Uri = url.parse().map_err(|_| format!("{url} is not a URL"))?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let ip: Option<IpAddr> = host.parse().ok();
    let stays_here = host == "localhost" || ip.is_some_and(|ip| ip.is_loopback());
    if token.is_none() || stays_here || uri.scheme_str() == Some("https") {
        return Ok(());
    }
    Err(format!(
        "{url} would get the admin token, which could be read on the way: use https, or a tunnel to this machine"
    ))
}

/// Makes requests.
struct RequestMaker<'a> {
    quoter: Quoter,
    collateral: Collateral,
    host_controlled: &'a [String],
}

impl RequestMaker<'_> {
    async fn make(&self, recipient: [u8; 32], nonce: [u8; 32]) -> Result<KeyRequest, String> {
        let long = |error: statement::TooLong| error.to_string();
        let now = unix_s();
        let names = self.host_controlled.iter().cloned().map(Bounded::new);
        let names = names.collect::<Result<_, _>>().map_err(long)?;
        let claims = KeyRequestClaims {
            version: KeyRequestClaims::VERSION,
            recipient,
            nonce,
            software: Bounded::new(SOFTWARE.to_owned()).map_err(long)?,
            host_controlled: Bounded::new(names).map_err(long)?,
            issued_at: now,
            expires_at: now + HANDOVER_REQUEST_LIFE.as_secs(),
        };
        let claims = claims.encode();
        let data = report_data::for_key_request(&claims);
        let quote = self.quoter.quote(data, Asker::Worker).await;
        let quote = quote.map_err(|error| error.to_string())?;
        // Now, because nobody has had time to fetch it before.
        self.collateral.renew(&quote, now).await;
        Ok(KeyRequest {
            collateral: self.collateral.of(&quote, now),
            claims: Bounded::new(claims).map_err(long)?,
            quote,
        })
    }
}

/// Takes what was answered, if it is from whom the policy names.
fn open(
    answer: &[u8],
    request: &KeyRequest,
    recipient: &Recipient,
    policy: &HandoverPolicy,
    now: u64,
) -> Result<Received, String> {
    let answer: KeyHandover =
        statement::decode(answer).map_err(|error| format!("the answer cannot be read: {error}"))?;
    let hash = request.hash();
    let roots = Roots::default();
    let context = Context {
        now,
        roots: &roots,
        policy: policy.policy(),
        nonce: Some(&hash),
    };
    if answer.evidence.quote.is_simulated() && !request.quote.is_simulated() {
        return Err("a worker on hardware takes no key of a simulator".to_owned());
    }
    let verified = worker::verify(&answer.evidence, None, &context);
    let claims = match verified.claims {
        Some(claims) if verified.verdict.is_good() => claims,
        _ => {
            let failed = failures(&verified.verdict);
            return Err(format!(
                "the other worker is not who may give a key (key-from-policy): {failed}"
            ));
        }
    };
    let sealed = Sealed {
        encapsulated: answer.encapsulated,
        ciphertext: answer.sealed.into_inner(),
    };
    let opened = recipient.open(&hash, &sealed);
    let opened = opened.map_err(|error| format!("the key cannot be decrypted: {error}"))?;
    let (key, versions) = parcel::unpack(&opened)?;
    if versions.worker() != claims.key_version {
        return Err(format!(
            "the keys that came have version {}, and the evidence version {}",
            versions.worker(),
            claims.key_version
        ));
    }
    if key.public() != claims.pubkey {
        return Err(format!(
            "the key that came is {}, and the evidence is of {}",
            hex::encode(key.public()),
            hex::encode(claims.pubkey)
        ));
    }
    Ok(Received { key, versions })
}

#[cfg(test)]
mod tests;
