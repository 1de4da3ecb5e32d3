//! Digests (FIPS 180-4) and HMAC (RFC 2104).

use hmac::{Hmac, Mac};
use rquickjs::{Ctx, Exception, FromJs, Value};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq;

/// A hash function of the Web Cryptography API.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl<'js> FromJs<'js> for Hash {
    fn from_js(ctx: &Ctx<'js>, value: Value<'js>) -> rquickjs::Result<Self> {
        match String::from_js(ctx, value)?.as_str() {
            "SHA-1" => Ok(Self::Sha1),
            "SHA-256" => Ok(Self::Sha256),
            "SHA-384" => Ok(Self::Sha384),
            "SHA-512" => Ok(Self::Sha512),
            name => Err(Exception::throw_type(ctx, &format!("no hash {name:?}"))),
        }
    }
}

/// Evaluates an expression with the type of a hash function.
macro_rules! with_hash {
    ($hash:expr, $kind:ident => $body:expr) => {
        match $hash {
            Hash::Sha1 => {
                type $kind = ::sha1::Sha1;
                $body
            }
            Hash::Sha256 => {
                type $kind = ::sha2::Sha256;
                $body
            }
            Hash::Sha384 => {
                type $kind = ::sha2::Sha384;
                $body
            }
            Hash::Sha512 => {
                type $kind = ::sha2::Sha512;
                $body
            }
        }
    };
}
pub(super) use with_hash;

impl Hash {
    /// Bytes of a digest.
    pub(super) fn size(self) -> usize {
        with_hash!(self, D => D::output_size())
    }
}

/// Digest of all the bytes.
pub(super) fn digest(hash: Hash, bytes: &[u8]) -> Vec<u8> {
    match hash {
        Hash::Sha1 => Sha1::digest(bytes).to_vec(),
        Hash::Sha256 => Sha256::digest(bytes).to_vec(),
        Hash::Sha384 => Sha384::digest(bytes).to_vec(),
        Hash::Sha512 => Sha512::digest(bytes).to_vec(),
    }
}

/// HMAC of all the bytes.
pub(super) fn hmac(hash: Hash, key: &[u8], bytes: &[u8]) -> Vec<u8> {
    with_hash!(hash, D => {
        match Hmac::<D>::new_from_slice(key) {
            Ok(mac) => mac.chain_update(bytes).finalize().into_bytes().to_vec(),
            // A key of HMAC has any length.
            Err(_) => Vec::new(),
        }
    })
}

/// Compares in a time that tells nothing but the lengths.
pub(super) fn verify_hmac(hash: Hash, key: &[u8], signature: &[u8], bytes: &[u8]) -> bool {
    hmac(hash, key, bytes).ct_eq(signature).into()
}
