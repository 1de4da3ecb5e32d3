//! Ed25519 (RFC 8032) and X25519 (RFC 7748), and their formats (RFC 8410).

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use rquickjs::{Ctx, Exception, FromJs, Value};
use rsa::pkcs8::spki::SubjectPublicKeyInfoRef;
use rsa::pkcs8::{ObjectIdentifier, PrivateKeyInfo};
use x25519_dalek::StaticSecret;
use zeroize::Zeroizing;

use super::{data, operation, other_kind};
use crate::engine::Failure;
use crate::native::random;

/// Bytes of a key of either kind.
const KEY_BYTES: usize = 32;

/// Before the 32 bytes in `PrivateKeyInfo` and `SubjectPublicKeyInfo`; the
/// object identifier's last byte is at [`OID_LAST_PRIVATE`] and so on.
const PRIVATE_PREFIX: [u8; 16] = [
    0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
];
const PUBLIC_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];
const OID_LAST_PRIVATE: usize = 11;
const OID_LAST_PUBLIC: usize = 8;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Ed25519,
    X25519,
}

impl<'js> FromJs<'js> for Kind {
    fn from_js(ctx: &Ctx<'js>, value: Value<'js>) -> rquickjs::Result<Self> {
        match String::from_js(ctx, value)?.as_str() {
            "Ed25519" => Ok(Self::Ed25519),
            "X25519" => Ok(Self::X25519),
            name => Err(Exception::throw_type(ctx, &format!("no curve {name:?}"))),
        }
    }
}

impl Kind {
    fn oid(self) -> ObjectIdentifier {
        match self {
            Self::Ed25519 => ObjectIdentifier::new_unwrap("1.3.101.112"),
            Self::X25519 => ObjectIdentifier::new_unwrap("1.3.101.110"),
        }
    }

    /// Last byte of its object identifier.
    fn oid_last(self) -> u8 {
        match self {
            Self::Ed25519 => 0x70,
            Self::X25519 => 0x6e,
        }
    }
}

pub(super) struct Private {
    kind: Kind,
    secret: Zeroizing<[u8; KEY_BYTES]>,
}

pub(super) struct Public {
    kind: Kind,
    bytes: [u8; KEY_BYTES],
}

fn not_a_key() -> Failure {
    data("not a key of this curve")
}

impl Private {
    pub(super) fn generate(kind: Kind) -> Result<Self, Failure> {
        let mut secret = Zeroizing::new([0; KEY_BYTES]);
        random::draw(secret.as_mut_slice())?;
        Ok(Self { kind, secret })
    }

    /// From the 32 bytes of a JWK.
    pub(super) fn from_bytes(kind: Kind, bytes: &[u8]) -> Result<Self, Failure> {
        let secret = <[u8; KEY_BYTES]>::try_from(bytes).map_err(|_| not_a_key())?;
        Ok(Self {
            kind,
            secret: Zeroizing::new(secret),
        })
    }

    pub(super) fn from_pkcs8(kind: Kind, der: &[u8]) -> Result<Self, Failure> {
        let info = PrivateKeyInfo::try_from(der).map_err(|_| not_a_key())?;
        if info.algorithm.oid != kind.oid() || info.algorithm.parameters.is_some() {
            return Err(not_a_key());
        }
        match info.private_key {
            [4, 0x20, secret @ ..] => Self::from_bytes(kind, secret),
            _ => Err(not_a_key()),
        }
    }

    pub(super) fn to_pkcs8(&self) -> Vec<u8> {
        let mut der = PRIVATE_PREFIX.to_vec();
        der[OID_LAST_PRIVATE] = self.kind.oid_last();
        der.extend_from_slice(self.secret.as_slice());
        der
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.secret.as_slice()
    }

    pub(super) fn public(&self) -> Public {
        let bytes = match self.kind {
            Kind::Ed25519 => SigningKey::from_bytes(&self.secret)
                .verifying_key()
                .to_bytes(),
            Kind::X25519 => {
                x25519_dalek::PublicKey::from(&StaticSecret::from(*self.secret)).to_bytes()
            }
        };
        Public {
            kind: self.kind,
            bytes,
        }
    }

    /// Signs with Ed25519.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Failure> {
        if self.kind != Kind::Ed25519 {
            return Err(other_kind());
        }
        let signature = SigningKey::from_bytes(&self.secret).sign(message);
        Ok(signature.to_bytes().to_vec())
    }

    /// The secret that X25519 agrees on.
    pub(super) fn agree(&self, public: &Public) -> Result<Vec<u8>, Failure> {
        if self.kind != Kind::X25519 || public.kind != Kind::X25519 {
            return Err(other_kind());
        }
        let shared = StaticSecret::from(*self.secret)
            .diffie_hellman(&x25519_dalek::PublicKey::from(public.bytes));
        if !shared.was_contributory() {
            return Err(operation("the other public key has a small order"));
        }
        Ok(shared.as_bytes().to_vec())
    }
}

impl Public {
    pub(super) fn from_bytes(kind: Kind, bytes: &[u8]) -> Result<Self, Failure> {
        let bytes = <[u8; KEY_BYTES]>::try_from(bytes).map_err(|_| not_a_key())?;
        Ok(Self { kind, bytes })
    }

    pub(super) fn from_spki(kind: Kind, der: &[u8]) -> Result<Self, Failure> {
        let info = SubjectPublicKeyInfoRef::try_from(der).map_err(|_| not_a_key())?;
        if info.algorithm.oid != kind.oid() || info.algorithm.parameters.is_some() {
            return Err(not_a_key());
        }
        let bytes = info.subject_public_key.as_bytes().ok_or_else(not_a_key)?;
        Self::from_bytes(kind, bytes)
    }

    pub(super) fn to_spki(&self) -> Vec<u8> {
        let mut der = PUBLIC_PREFIX.to_vec();
        der[OID_LAST_PUBLIC] = self.kind.oid_last();
        der.extend_from_slice(&self.bytes);
        der
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Verifies a signature of Ed25519. Points of a small order are refused,
    /// as the Web Cryptography API asks.
    pub(super) fn verify(&self, signature: &[u8], message: &[u8]) -> bool {
        let (Kind::Ed25519, Ok(key), Ok(signature)) = (
            self.kind,
            VerifyingKey::from_bytes(&self.bytes),
            Signature::from_slice(signature),
        ) else {
            return false;
        };
        key.verify_strict(message, &signature).is_ok()
    }
}
