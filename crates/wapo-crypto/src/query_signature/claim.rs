//! What a signature is over: a query or a certificate, in each of the forms that
//! schemes sign.
//!
//! The first byte of the plain form says which of the three it is, and the typed
//! form names it in words, so that a signature for one never counts for another.
//! Called by the parent module and by `scheme`.

use parity_scale_codec::Encode as _;

use super::SignableQuery;
use super::eip712;
use super::wire::CertificateBody;

/// Something that a key may have signed.
pub(super) enum Claim<'a> {
    /// Another key may send queries for the signer.
    Certificate(&'a CertificateBody),
    /// A query of the signer.
    QueryByRoot(&'a SignableQuery<'a>),
    /// A query for whom the signer has a certificate of.
    QueryByCertificate(&'a SignableQuery<'a>),
}

impl Claim<'_> {
    /// A tag, then the encoding.
    pub(super) fn plain(&self) -> Vec<u8> {
        let (tag, encoded) = match self {
            Self::Certificate(body) => (0, body.encode()),
            Self::QueryByRoot(query) => (1, query.encode()),
            Self::QueryByCertificate(query) => (2, query.encode()),
        };
        [&[tag], encoded.as_slice()].concat()
    }

    /// The plain form as browser extensions wrap whatever they are asked to sign,
    /// so that it cannot be a transaction.
    pub(super) fn wrapped(&self) -> Vec<u8> {
        [b"<Bytes>", self.plain().as_slice(), b"</Bytes>"].concat()
    }

    /// The digest of the form that Ethereum wallets show field by field.
    pub(super) fn eip712_digest(&self) -> [u8; 32] {
        match self {
            Self::Certificate(body) => eip712::certificate_digest(body),
            Self::QueryByRoot(query) => eip712::query_digest(eip712::BY_ROOT, query),
            Self::QueryByCertificate(query) => eip712::query_digest(eip712::BY_CERTIFICATE, query),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_signed_behind_a_tag_that_says_by_whom() {
        let query = SignableQuery {
            address: &[0x11; 32],
            path: "/echo",
            payload: &[1, 2, 3],
        };
        let encoded = format!("80{}142f6563686f0c010203", "11".repeat(32));
        let plain = Claim::QueryByRoot(&query).plain();
        assert_eq!(hex::encode(plain), format!("01{encoded}"));
        let plain = Claim::QueryByCertificate(&query).plain();
        assert_eq!(hex::encode(plain), format!("02{encoded}"));
        let wrapped = Claim::QueryByRoot(&query).wrapped();
        assert!(wrapped.starts_with(b"<Bytes>\x01\x80\x11"));
        assert!(wrapped.ends_with(b"\x01\x02\x03</Bytes>"));
    }
}
