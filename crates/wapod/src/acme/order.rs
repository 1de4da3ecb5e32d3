//! One certificate: an order, the proof that its name leads here, the certificate.
//!
//! RFC 8555 through `instant-acme`. Waits are bounded; a future that is dropped leaves an
//! order behind that the server forgets. Called by the parent module, one at a time.

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Error, Identifier, NewOrder, Order, OrderStatus,
    RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;
use wapo_sni::ServerName;
use zeroize::Zeroizing;

use crate::edge::{Certificates, ChallengeGuard};
use crate::limits::ACME_ORDER_TIMEOUT;
use crate::tls_files::identity;

/// Pause before the first look at what has become of an order.
const FIRST_LOOK: Duration = Duration::from_millis(250);

/// Kinds of errors about how often we ask, in the words of the protocol.
const RATE_LIMITED: &str = "urn:ietf:params:acme:error:rateLimited";
const ACCOUNT_GONE: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// A certificate that was issued.
pub(super) struct Issued {
    /// Chain and key.
    pub(super) pem: Zeroizing<String>,
    pub(super) certificate: CertifiedKey,
}

/// Why there is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Failure {
    /// For the operator.
    pub(super) text: String,
    pub(super) kind: FailureKind,
}

/// Whose fault it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FailureKind {
    /// That of the name: it does not lead here, or may not have a certificate.
    Name,
    /// That of the server, the way to it, or our asking too often.
    Server,
    /// The server does not know the account any more.
    Account,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Api(problem) => match problem.r#type.as_deref() {
                Some(RATE_LIMITED) => FailureKind::Server,
                Some(ACCOUNT_GONE) => FailureKind::Account,
                _ if problem.status.is_some_and(|status| status >= 500) => FailureKind::Server,
                _ => FailureKind::Name,
            },
            _ => FailureKind::Server,
        };
        Self {
            text: text_of(&error),
            kind,
        }
    }
}

/// An error and its causes in one line, cut: a server chose the words.
fn text_of(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    if let Error::Other(inner) = error {
        cause = inner.source();
    }
    while let Some(inner) = cause {
        text += &format!(": {inner}");
        cause = inner.source();
    }
    let printable = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    printable.take(400).collect()
}

/// How names are proven, the preferred way first.
pub(super) type Ways = Vec<ChallengeType>;

/// Gets a certificate for a name.
///
/// # Errors
///
/// [`Failure`]
pub(super) async fn issue(
    account: &Account,
    name: &ServerName,
    ways: &Ways,
    certificates: &Arc<Certificates>,
) -> Result<Issued, Failure> {
    let identifiers = [Identifier::Dns(name.to_string())];
    let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
    let retries = RetryPolicy::new()
        .initial_delay(FIRST_LOOK)
        .timeout(ACME_ORDER_TIMEOUT);
    if order.state().status == OrderStatus::Pending {
        let guards = prove(&mut order, name, ways, certificates).await?;
        let status = order.poll_ready(&retries).await;
        drop(guards);
        match status {
            Ok(OrderStatus::Ready | OrderStatus::Valid) => {}
            Ok(_) => return Err(refused(&mut order, name).await),
            // An order that has become invalid says so in this way, too.
            Err(Error::Api(problem)) => {
                let text = refused(&mut order, name).await.text;
                let failure = Failure::from(Error::Api(problem));
                return Err(Failure { text, ..failure });
            }
            Err(error) => return Err(error.into()),
        }
    }
    let key = KeyPair::generate().map_err(no_request)?;
    let mut params = CertificateParams::new(vec![name.to_string()]).map_err(no_request)?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key).map_err(no_request)?;
    order.finalize_csr(request.der()).await?;
    let chain = order.poll_certificate(&retries).await?;
    let key = Zeroizing::new(key.serialize_pem());
    let certificate = identity(chain.as_bytes(), key.as_bytes()).map_err(|error| Failure {
        text: format!("the server's answer cannot be used: {error}"),
        kind: FailureKind::Server,
    })?;
    let pem = Zeroizing::new([chain.trim_end(), "\n", &key].concat());
    Ok(Issued { pem, certificate })
}

fn no_request(error: rcgen::Error) -> Failure {
    Failure {
        text: format!("no request can be made for it: {error}"),
        kind: FailureKind::Name,
    }
}

/// Lets the authority look at the name. It is answered until the guards are dropped.
async fn prove(
    order: &mut Order,
    name: &ServerName,
    ways: &Ways,
    certificates: &Arc<Certificates>,
) -> Result<Vec<ChallengeGuard>, Failure> {
    let mut guards = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        match authorization.status {
            AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Pending => {}
            other => {
                return Err(Failure {
                    text: format!("the server has an authorization that is {other:?}"),
                    kind: FailureKind::Name,
                });
            }
        }
        let offered = |way: &&ChallengeType| {
            let mut offered = authorization.challenges.iter();
            offered.any(|challenge| challenge.r#type == **way)
        };
        let way = ways.iter().find(offered).cloned();
        let challenge = way.clone().and_then(|way| authorization.challenge(way));
        let (Some(way), Some(mut challenge)) = (way, challenge) else {
            return Err(Failure {
                text: "the server takes no proof that this worker can give: HTTP-01 needs a user port without TLS".to_owned(),
                kind: FailureKind::Name,
            });
        };
        let answer = challenge.key_authorization();
        guards.push(match way {
            ChallengeType::TlsAlpn01 => {
                let certificate = tls_answer(name, answer.digest().as_ref())?;
                certificates.answer_tls(name.clone(), certificate)
            }
            _ => certificates.answer_http(name.clone(), &challenge.token, answer.as_str()),
        });
        challenge.set_ready().await?;
    }
    Ok(guards)
}

/// The certificate that an authority is shown (RFC 8737, section 3).
fn tls_answer(name: &ServerName, digest: &[u8]) -> Result<CertifiedKey, Failure> {
    let key = KeyPair::generate().map_err(no_request)?;
    let mut params = CertificateParams::new(vec![name.to_string()]).map_err(no_request)?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key).map_err(no_request)?;
    let unusable = |text: String| Failure {
        text,
        kind: FailureKind::Server,
    };
    // Not read as others are: it has a part that is critical and that nobody else knows.
    let key = PrivateKeyDer::try_from(key.serialize_der());
    let key = key.map_err(|error| unusable(error.to_owned()))?;
    let signer = any_supported_type(&key).map_err(|error| unusable(error.to_string()))?;
    Ok(CertifiedKey::new(vec![certificate.der().clone()], signer))
}

/// What the authority says about a name that it did not accept.
async fn refused(order: &mut Order, name: &ServerName) -> Failure {
    let mut text = format!("the authority did not find this worker under {name}");
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let Ok(state) = authorization.refresh().await else {
            continue;
        };
        for challenge in &state.challenges {
            if let Some(problem) = &challenge.error {
                let problem = text_of(&Error::Api(problem.clone()));
                text += &format!("; {:?}: {problem}", challenge.r#type);
            }
        }
    }
    Failure {
        text,
        kind: FailureKind::Name,
    }
}
