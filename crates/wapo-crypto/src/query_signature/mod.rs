//! Who sent a query: signatures by users' keys and wallets.
//!
//! A query may be signed by a *root* key, or by a key that a root key has given a
//! *certificate*: until a time, for some apps and paths. Either way the root key's
//! account is what the app is told. The time is an argument; replays are not
//! recognised, because nothing in the signed data could tell them apart.
//!
//! `wire` decodes, `claim` has the bytes that are signed, `scheme` the nine kinds
//! of signatures, `eip712` what wallets show. Called by the RPC.

mod claim;
mod eip712;
mod scheme;
mod wire;

use parity_scale_codec::{DecodeAll as _, Encode};

use self::claim::Claim;
use self::scheme::Scheme;
use self::wire::{Certificate, CertificateBody, QuerySignature, Signer};
use crate::limits::ENCODED_SIGNATURE_BYTES_MAX;

/// A query as it is signed: exactly the bytes of the request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode)]
pub struct SignableQuery<'a> {
    /// The app's address.
    pub address: &'a [u8],
    /// Path within the app.
    pub path: &'a str,
    /// What the app is sent.
    pub payload: &'a [u8],
}

/// Who sent a query, as the app is told.
///
/// The public key for keys of 32 bytes, a hash of the others, and for Ethereum
/// the address with `@evm_address` behind it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Account(pub [u8; 32]);

/// Why a signature does not count. The texts may be shown to remote clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum QuerySignatureError {
    /// Not the encoding of a query signature, or a part of it is too long.
    #[error("DecodeFailed")]
    DecodeFailed,
    /// A number that stands for no scheme.
    #[error("InvalidSignatureType")]
    InvalidSignatureType,
    /// Not a key of this scheme.
    #[error("InvalidPublicKey")]
    InvalidPublicKey,
    /// Of another key, over something else, or malformed.
    #[error("InvalidSignature")]
    InvalidSignature,
    /// The certificate was valid, but not any more.
    #[error("CertificateExpired")]
    CertificateExpired,
    /// The certificate is for other apps or paths.
    #[error("CertificateOutOfScope")]
    CertificateOutOfScope,
}

/// Finds out who signed a query: `None` if nobody claims to have.
///
/// `encoded` is SCALE of an optional query signature; no bytes at all mean none.
///
/// # Errors
///
/// [`QuerySignatureError`] if the claimed account has not signed it, or
/// had no right to.
pub fn verify(
    query: &SignableQuery<'_>,
    encoded: &[u8],
    now_unix_secs: u64,
) -> Result<Option<Account>, QuerySignatureError> {
    if encoded.is_empty() {
        return Ok(None);
    }
    if encoded.len() > ENCODED_SIGNATURE_BYTES_MAX {
        return Err(QuerySignatureError::DecodeFailed);
    }
    let decoded = Option::<QuerySignature>::decode_all(&mut &*encoded)
        .map_err(|_| QuerySignatureError::DecodeFailed)?;
    let Some(signature) = decoded else {
        return Ok(None);
    };
    let scheme = Scheme::try_from(signature.scheme)?;
    let bytes = signature.signature.as_slice();
    match &signature.signer {
        Signer::Root { public_key } => scheme
            .verify(&Claim::QueryByRoot(query), public_key.as_slice(), bytes)
            .map(Some),
        Signer::Certificate(certificate) => {
            let body = &certificate.body;
            // What is cheap to check goes first.
            check_use(body, query, now_unix_secs)?;
            let account = verify_certificate(certificate)?;
            let claim = Claim::QueryByCertificate(query);
            scheme.verify(&claim, body.public_key.as_slice(), bytes)?;
            Ok(Some(account))
        }
    }
}

/// Whether a root key signed the certificate, and which.
///
/// There is exactly one such signature: the encoding has no room for a chain.
fn verify_certificate(certificate: &Certificate) -> Result<Account, QuerySignatureError> {
    let root = &certificate.signature;
    Scheme::try_from(root.scheme)?.verify(
        &Claim::Certificate(&certificate.body),
        root.public_key.as_slice(),
        root.signature.as_slice(),
    )
}

/// Whether the certificate is for this query, at this time.
fn check_use(
    body: &CertificateBody,
    query: &SignableQuery<'_>,
    now_unix_secs: u64,
) -> Result<(), QuerySignatureError> {
    if now_unix_secs > body.expiration_unix_secs {
        return Err(QuerySignatureError::CertificateExpired);
    }
    let covered = body.scopes.as_slice().iter().any(|scope| {
        let mut resources = scope.resources.as_slice().iter();
        scope.app.as_slice() == query.address
            && resources.any(|resource| covers(resource.as_str(), query.path))
    });
    covered
        .then_some(())
        .ok_or(QuerySignatureError::CertificateOutOfScope)
}

/// Whether a resource is this path or, if it ends in `/*`, one of those below.
fn covers(resource: &str, path: &str) -> bool {
    if resource == path {
        return true;
    }
    resource
        .strip_suffix('*')
        .filter(|prefix| prefix.ends_with('/'))
        .and_then(|prefix| path.strip_prefix(prefix))
        .is_some_and(stays_below)
}

/// Whether no app, however it reads paths, takes this one for a way upwards.
fn stays_below(path: &str) -> bool {
    let plain = path
        .to_ascii_lowercase()
        .replace("%2e", ".")
        .replace("%2f", "/")
        .replace("%5c", "/");
    !plain
        .split(['/', '\\', '?', '#', ';'])
        .any(|segment| matches!(segment, "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_covers_itself_and_with_a_star_what_is_below() {
        for (resource, path) in [
            ("/a", "/a"),
            ("/a/*", "/a/b"),
            ("/a/*", "/a/b/c"),
            ("/a/*", "/a/"),
            ("/a/*", "/a/*"),
            ("/a/*", "/a/..b/.c/d."),
            ("/*", "/anything"),
            ("", ""),
        ] {
            assert!(covers(resource, path), "{resource} {path}");
        }
    }

    #[test]
    fn a_resource_covers_nothing_beside_or_above() {
        for (resource, path) in [
            ("/a", "/a/"),
            ("/a", "/A"),
            ("/a", "/ab"),
            ("/a/*", "/a"),
            ("/a/*", "/ab"),
            ("/a*", "/ab"),
            ("*", "/a"),
            ("*", "a"),
            ("", "/"),
            ("/a/*/c", "/a/b/c"),
            ("/a/**", "/a/b"),
            ("/a/*", "/a/../b"),
            ("/a/*", "/a/b/.."),
            ("/a/*", "/a/./b"),
            ("/a/*", "/a/%2e%2E/b"),
            ("/a/*", "/a/.%2e%2fb"),
            ("/a/*", "/a/b\\..\\..\\c"),
            ("/a/*", "/a/..?x=1"),
            ("/a/*", "//a/b"),
        ] {
            assert!(!covers(resource, path), "{resource} {path}");
        }
    }

    /// A session key's certificate by a root key, both sr25519.
    const CHAIN: &str = concat!(
        "01010101d67d525a0c3f3a78bb0f9852658aad8d4ce612edc72fa41b389277037b91b44e",
        "aa9b04cb61147d6f74ae77918833c20ffac5596b5dc8617fd59751b71b31b984",
        "0180ea3021db7da7831e0d5ed7e60a8102d2d721bcca88adb03ee992f4dec3baee3e",
        "01000000000000000480",
        "2222222222222222222222222222222222222222222222222222222222222222",
        "04082f78",
        "0101016e9df97809f716c5fe095cf98aa283d115bee6f56636850755dc2afbe50cb542",
        "f0289bbb3d3a64da246b435cf3c4b49702361c36598acc7a77b8f4cd6489018f",
        "80c2e2bd71e04a6af2897c3414d6fd403477245060fd22daaa412ff51b83c0c22e",
    );

    #[test]
    fn sound_signatures_do_not_make_an_expired_or_foreign_certificate_count() {
        let encoded = hex::decode(CHAIN).expect("hex");
        let query = SignableQuery {
            address: &[0x11; 32],
            path: "/echo",
            payload: &[1, 2, 3],
        };
        let signed = QuerySignature::decode_all(&mut &encoded[1..]).expect("signature");
        let Signer::Certificate(certificate) = &signed.signer else {
            panic!("a certificate");
        };
        let root = verify_certificate(certificate).expect("sound");
        assert_eq!(root.0[..4], [0xc2, 0xe2, 0xbd, 0x71]);
        let session = certificate.body.public_key.as_slice();
        let claim = Claim::QueryByCertificate(&query);
        let by_session = Scheme::Sr25519.verify(&claim, session, signed.signature.as_slice());
        assert!(by_session.is_ok());

        let expired = verify(&query, &encoded, 2);
        assert_eq!(expired, Err(QuerySignatureError::CertificateExpired));
        let elsewhere = verify(&query, &encoded, 1);
        assert_eq!(elsewhere, Err(QuerySignatureError::CertificateOutOfScope));
    }
}
