//! The digests of EIP-712: structured data that a wallet shows before it signs.
//!
//! Only for the two structures that there are, in version 4 of the wallets'
//! encoding. The descriptions are what the user reads and part of what is signed.
//! Called by `claim`.

use super::SignableQuery;
use super::wire::{CertificateBody, Scope};
use crate::hash::keccak_256;

/// Description of a query that a root key signs.
pub(super) const BY_ROOT: &str = "This is a query that would be sent to a Wapod App";
/// Description of a query that a certificate's key signs.
pub(super) const BY_CERTIFICATE: &str = "Authorized query that would be sent to a Wapod App";
const CERTIFICATE: &str = "This is a certificate that can be used to sign a query that would be \
                           sent to a Wapod App";

const DOMAIN_TYPE: &str = "EIP712Domain(string name,string version)";
const QUERY_TYPE: &str = "WapodQuery(string description,bytes address,string path,bytes payload)";
const CERTIFICATE_TYPE: &str = "Certificate(string description,bytes publicKey,\
                                string expirationTime,Scope[] scopes)\
                                Scope(bytes address,string[] paths)";
const SCOPE_TYPE: &str = "Scope(bytes address,string[] paths)";

/// What a wallet signs for a query.
pub(super) fn query_digest(description: &str, query: &SignableQuery<'_>) -> [u8; 32] {
    typed_data(structure(
        QUERY_TYPE,
        &[
            keccak_256(description.as_bytes()),
            keccak_256(query.address),
            keccak_256(query.path.as_bytes()),
            keccak_256(query.payload),
        ],
    ))
}

/// What a wallet signs for a certificate.
pub(super) fn certificate_digest(body: &CertificateBody) -> [u8; 32] {
    // Text, so that a wallet shows it as it is.
    let expiration = body.expiration_unix_secs.to_string();
    let scopes = body.scopes.as_slice().iter().map(scope);
    typed_data(structure(
        CERTIFICATE_TYPE,
        &[
            keccak_256(CERTIFICATE.as_bytes()),
            keccak_256(body.public_key.as_slice()),
            keccak_256(expiration.as_bytes()),
            array(scopes),
        ],
    ))
}

fn scope(scope: &Scope) -> [u8; 32] {
    let resources = scope.resources.as_slice().iter();
    let paths = resources.map(|resource| keccak_256(resource.as_str().as_bytes()));
    structure(
        SCOPE_TYPE,
        &[keccak_256(scope.app.as_slice()), array(paths)],
    )
}

fn typed_data(structure: [u8; 32]) -> [u8; 32] {
    keccak_256(&[b"\x19\x01", domain().as_slice(), &structure].concat())
}

fn domain() -> [u8; 32] {
    structure(DOMAIN_TYPE, &[keccak_256(b"Wapod Query"), keccak_256(b"1")])
}

/// The hash of a structure: that of its type, then those of its fields.
fn structure(type_text: &str, fields: &[[u8; 32]]) -> [u8; 32] {
    let type_hash = keccak_256(type_text.as_bytes());
    keccak_256(&[type_hash.as_slice(), fields.as_flattened()].concat())
}

fn array(items: impl Iterator<Item = [u8; 32]>) -> [u8; 32] {
    keccak_256(items.collect::<Vec<_>>().as_flattened())
}

#[cfg(test)]
mod tests {
    use parity_scale_codec::{Decode as _, Encode as _};

    use super::*;

    #[test]
    fn the_domain_is_that_of_existing_wallets_signatures() {
        let expected = "f5d9551439fce53f603b942ef5a3a829ee1b7b7a64711676d1f33fad5b08adf0";
        assert_eq!(hex::encode(domain()), expected);
    }

    #[test]
    fn digests_of_queries_are_those_that_wallets_signed() {
        let query = SignableQuery {
            address: &[0x12, 0x34],
            path: "/api/resource",
            payload: &[0xab, 0xcd, 0xef],
        };
        let echo = SignableQuery {
            address: &[0x11; 32],
            path: "/echo",
            payload: &[1, 2, 3],
        };
        for (description, query, digest) in [
            (
                BY_ROOT,
                query,
                "8f31aaf81a23eddb0159d9df75ac2ea287be9942243d2e3207ce7af962679f5e",
            ),
            (
                BY_CERTIFICATE,
                query,
                "95bcaa210855592982ef813b13e6e0c58f7ddf53c4fa414e5f3e3c1038769e2c",
            ),
            (
                BY_ROOT,
                echo,
                "cf42e0fb5fba5b08bd36fa90629bf8cf129a58390351232068f53bd43d11f900",
            ),
            (
                BY_CERTIFICATE,
                echo,
                "0def1f19bc644f978263034278b8332f69429674de64016c7610235e909bc127",
            ),
        ] {
            assert_eq!(hex::encode(query_digest(description, &query)), digest);
        }
    }

    #[test]
    fn the_digest_of_a_certificate_is_the_one_that_a_wallet_signed() {
        let scopes = vec![
            (vec![0x12_u8], vec!["/res1", "/res2"]),
            (vec![0x34], vec!["/res1"]),
        ];
        let encoded = (vec![0x12_u8, 0x34], 1_672_531_199_u64, scopes).encode();
        let body = CertificateBody::decode(&mut &*encoded).expect("body");
        let expected = "cc89112171164ff210b1d13b1e73ca565685882b00fec8ba5fcc2d728da18c99";
        assert_eq!(hex::encode(certificate_digest(&body)), expected);
    }
}
