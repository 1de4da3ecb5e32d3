//! The encoding of query signatures, with a bound on everything that has a length.
//!
//! SCALE, as Wapo 0.x has it. Nothing is judged here: numbers of schemes, keys
//! and signatures are what the sender wrote. Called by the parent module; the
//! body of a certificate is encoded again by `claim`, because that is what was
//! signed.

use parity_scale_codec::{Compact, Decode, Encode, Error, Input, Output};

use crate::limits::{
    PUBLIC_KEY_BYTES_MAX, RESOURCE_BYTES_MAX, RESOURCES_MAX, SCOPE_APP_BYTES_MAX, SCOPES_MAX,
    SIGNATURE_BYTES_MAX,
};

type PublicKeyBytes = List<u8, PUBLIC_KEY_BYTES_MAX>;
type SignatureBytes = List<u8, SIGNATURE_BYTES_MAX>;

#[derive(Decode, Debug)]
pub(super) struct QuerySignature {
    pub(super) scheme: u8,
    pub(super) signature: SignatureBytes,
    pub(super) signer: Signer,
}

#[derive(Decode, Debug)]
pub(super) enum Signer {
    #[codec(index = 0)]
    Root { public_key: PublicKeyBytes },
    #[codec(index = 1)]
    Certificate(Certificate),
}

#[derive(Decode, Debug)]
pub(super) struct Certificate {
    pub(super) body: CertificateBody,
    pub(super) signature: CertificateSignature,
}

/// What a root key signs: this key may send these queries until then.
#[derive(Decode, Encode, Debug)]
pub(super) struct CertificateBody {
    pub(super) public_key: PublicKeyBytes,
    pub(super) expiration_unix_secs: u64,
    pub(super) scopes: List<Scope, SCOPES_MAX>,
}

#[derive(Decode, Encode, Debug)]
pub(super) struct Scope {
    pub(super) app: List<u8, SCOPE_APP_BYTES_MAX>,
    pub(super) resources: List<Text<RESOURCE_BYTES_MAX>, RESOURCES_MAX>,
}

/// A root key's signature. The signer is a key and cannot be a certificate.
#[derive(Decode, Debug)]
pub(super) struct CertificateSignature {
    pub(super) scheme: u8,
    pub(super) signature: SignatureBytes,
    pub(super) public_key: PublicKeyBytes,
}

/// At most `MAX` items. The count is checked before anything is read for it.
#[derive(Debug)]
pub(super) struct List<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> List<T, MAX> {
    pub(super) fn as_slice(&self) -> &[T] {
        &self.0
    }
}

impl<T: Decode, const MAX: usize> Decode for List<T, MAX> {
    fn decode<I: Input>(input: &mut I) -> Result<Self, Error> {
        let Compact(count) = Compact::<u32>::decode(input)?;
        if usize::try_from(count).is_ok_and(|count| count <= MAX) {
            let items = (0..count).map(|_| T::decode(input));
            Ok(Self(items.collect::<Result<_, _>>()?))
        } else {
            Err(Error::from("too many items"))
        }
    }
}

impl<T: Encode, const MAX: usize> Encode for List<T, MAX> {
    fn encode_to<O: Output + ?Sized>(&self, output: &mut O) {
        self.0.encode_to(output);
    }
}

/// Text of at most `MAX` bytes.
#[derive(Debug)]
pub(super) struct Text<const MAX: usize>(String);

impl<const MAX: usize> Text<MAX> {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> Decode for Text<MAX> {
    fn decode<I: Input>(input: &mut I) -> Result<Self, Error> {
        let List(bytes) = List::<u8, MAX>::decode(input)?;
        let text = String::from_utf8(bytes).map_err(|_| Error::from("not UTF-8"))?;
        Ok(Self(text))
    }
}

impl<const MAX: usize> Encode for Text<MAX> {
    fn encode_to<O: Output + ?Sized>(&self, output: &mut O) {
        self.0.encode_to(output);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_as_many_items_as_its_limit_and_not_one_more() {
        let full = vec![7_u8; 128].encode();
        let decoded = List::<u8, 128>::decode(&mut &*full).expect("full");
        assert_eq!(decoded.encode(), full);
        assert!(List::<u8, 127>::decode(&mut &*full).is_err());
        // A count that would be 4 GiB is refused before the items are looked for.
        let huge = Compact(u32::MAX).encode();
        assert!(List::<u8, 128>::decode(&mut &*huge).is_err());
    }

    #[test]
    fn text_is_utf_8() {
        assert!(Text::<9>::decode(&mut &*vec![0xff_u8].encode()).is_err());
        let text = Text::<9>::decode(&mut &*"grün".encode()).expect("text");
        assert_eq!(text.as_str(), "grün");
        assert_eq!(text.encode(), "grün".encode());
    }
}
