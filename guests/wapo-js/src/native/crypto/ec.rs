//! The curves of NIST: ECDSA (FIPS 186-5) and ECDH (SP 800-56A), and the
//! formats of their keys (SEC 1, RFC 5480, RFC 5915).

use rquickjs::{Ctx, Exception, FromJs, Value};
use zeroize::Zeroizing;

use super::digest::{Hash, digest};
use super::{data, operation, other_kind};
use crate::engine::Failure;
use crate::native::random::HostRandom;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

impl<'js> FromJs<'js> for Curve {
    fn from_js(ctx: &Ctx<'js>, value: Value<'js>) -> rquickjs::Result<Self> {
        match String::from_js(ctx, value)?.as_str() {
            "P-256" => Ok(Self::P256),
            "P-384" => Ok(Self::P384),
            "P-521" => Ok(Self::P521),
            name => Err(Exception::throw_type(ctx, &format!("no curve {name:?}"))),
        }
    }
}

impl Curve {
    fn ops(self) -> &'static dyn Ops {
        match self {
            Self::P256 => &P256,
            Self::P384 => &P384,
            Self::P521 => &P521,
        }
    }
}

/// A private key: its number, in as many bytes as the curve's field has.
pub(super) struct Private {
    curve: Curve,
    number: Zeroizing<Vec<u8>>,
}

/// A public key: a point of the curve in the uncompressed form of SEC 1.
#[derive(PartialEq, Eq)]
pub(super) struct Public {
    curve: Curve,
    point: Vec<u8>,
}

fn not_a_key() -> Failure {
    data("not a key of this curve")
}

impl Private {
    pub(super) fn generate(curve: Curve) -> Self {
        Self {
            curve,
            number: curve.ops().generate(),
        }
    }

    pub(super) fn from_pkcs8(curve: Curve, der: &[u8]) -> Result<Self, Failure> {
        let number = curve.ops().number_of_pkcs8(der).ok_or_else(not_a_key)?;
        Ok(Self { curve, number })
    }

    pub(super) fn to_pkcs8(&self) -> Result<Vec<u8>, Failure> {
        let der = self.curve.ops().to_pkcs8(&self.number);
        der.ok_or_else(|| operation("the key could not be exported"))
    }

    /// From the members of a JWK, each of its full length.
    pub(super) fn from_parts(
        curve: Curve,
        x: &[u8],
        y: &[u8],
        number: Zeroizing<Vec<u8>>,
    ) -> Result<Self, Failure> {
        let given = Public::from_parts(curve, x, y)?;
        if number.len() != curve.ops().field_bytes() {
            return Err(not_a_key());
        }
        let key = Self { curve, number };
        if key.public()? != given {
            return Err(data("the private key does not belong to the public one"));
        }
        Ok(key)
    }

    pub(super) fn number(&self) -> &[u8] {
        &self.number
    }

    pub(super) fn public(&self) -> Result<Public, Failure> {
        let point = self.curve.ops().point(&self.number);
        Ok(Public {
            curve: self.curve,
            point: point.ok_or_else(not_a_key)?,
        })
    }

    pub(super) fn sign(&self, hash: Hash, message: &[u8]) -> Result<Vec<u8>, Failure> {
        let ops = self.curve.ops();
        let digest = fitted(&digest(hash, message), ops.field_bytes());
        let signature = ops.sign(&self.number, &digest);
        signature.ok_or_else(|| operation("the message could not be signed"))
    }

    /// The x coordinate of the point that both sides agree on.
    pub(super) fn agree(&self, public: &Public) -> Result<Vec<u8>, Failure> {
        if self.curve != public.curve {
            return Err(other_kind());
        }
        let shared = self.curve.ops().agree(&self.number, &public.point);
        shared.ok_or_else(|| operation("the keys agree on nothing"))
    }
}

impl Public {
    /// From the form of SEC 1, compressed or not.
    pub(super) fn from_raw(curve: Curve, bytes: &[u8]) -> Result<Self, Failure> {
        let point = curve.ops().point_of_sec1(bytes).ok_or_else(not_a_key)?;
        Ok(Self { curve, point })
    }

    pub(super) fn from_spki(curve: Curve, der: &[u8]) -> Result<Self, Failure> {
        let point = curve.ops().point_of_spki(der).ok_or_else(not_a_key)?;
        Ok(Self { curve, point })
    }

    pub(super) fn from_parts(curve: Curve, x: &[u8], y: &[u8]) -> Result<Self, Failure> {
        let length = curve.ops().field_bytes();
        if x.len() != length || y.len() != length {
            return Err(not_a_key());
        }
        Self::from_raw(curve, &[&[4], x, y].concat())
    }

    pub(super) fn raw(&self) -> &[u8] {
        &self.point
    }

    pub(super) fn to_spki(&self) -> Result<Vec<u8>, Failure> {
        let der = self.curve.ops().to_spki(&self.point);
        der.ok_or_else(|| operation("the key could not be exported"))
    }

    /// The coordinates.
    pub(super) fn parts(&self) -> (&[u8], &[u8]) {
        self.point[1..].split_at(self.curve.ops().field_bytes())
    }

    pub(super) fn verify(&self, hash: Hash, signature: &[u8], message: &[u8]) -> bool {
        let ops = self.curve.ops();
        let digest = fitted(&digest(hash, message), ops.field_bytes());
        ops.verify(&self.point, signature, &digest).is_some()
    }
}

/// A digest as a number of a field's length: its leftmost bytes when it is
/// longer (FIPS 186-5, 6.4.1), zeros before it when it is shorter.
fn fitted(digest: &[u8], length: usize) -> Vec<u8> {
    let kept = &digest[..digest.len().min(length)];
    let mut field = vec![0; length - kept.len()];
    field.extend_from_slice(kept);
    field
}

/// What each curve can do, with keys as bytes.
trait Ops {
    fn field_bytes(&self) -> usize;
    fn generate(&self) -> Zeroizing<Vec<u8>>;
    fn number_of_pkcs8(&self, der: &[u8]) -> Option<Zeroizing<Vec<u8>>>;
    fn to_pkcs8(&self, number: &[u8]) -> Option<Vec<u8>>;
    fn point(&self, number: &[u8]) -> Option<Vec<u8>>;
    fn point_of_sec1(&self, bytes: &[u8]) -> Option<Vec<u8>>;
    fn point_of_spki(&self, der: &[u8]) -> Option<Vec<u8>>;
    fn to_spki(&self, point: &[u8]) -> Option<Vec<u8>>;
    fn sign(&self, number: &[u8], digest: &[u8]) -> Option<Vec<u8>>;
    fn verify(&self, point: &[u8], signature: &[u8], digest: &[u8]) -> Option<()>;
    fn agree(&self, number: &[u8], point: &[u8]) -> Option<Vec<u8>>;
}

struct P256;
struct P384;
struct P521;

macro_rules! ops {
    ($name:ident, $curve:ident, $field_bytes:expr) => {
        const _: () = {
            use ecdsa::hazmat::{SignPrimitive, VerifyPrimitive};
            use $curve::ecdsa::Signature;
            use $curve::elliptic_curve::Field;
            use $curve::elliptic_curve::sec1::ToEncodedPoint;
            use $curve::pkcs8::{
                DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey,
            };
            use $curve::{FieldBytes, PublicKey, Scalar, SecretKey};

            fn uncompressed(key: &PublicKey) -> Vec<u8> {
                key.to_encoded_point(false).as_bytes().to_vec()
            }

            impl Ops for $name {
                fn field_bytes(&self) -> usize {
                    $field_bytes
                }

                fn generate(&self) -> Zeroizing<Vec<u8>> {
                    Zeroizing::new(SecretKey::random(&mut HostRandom).to_bytes().to_vec())
                }

                fn number_of_pkcs8(&self, der: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
                    let key = SecretKey::from_pkcs8_der(der).ok()?;
                    Some(Zeroizing::new(key.to_bytes().to_vec()))
                }

                fn to_pkcs8(&self, number: &[u8]) -> Option<Vec<u8>> {
                    let key = SecretKey::from_slice(number).ok()?;
                    Some(key.to_pkcs8_der().ok()?.as_bytes().to_vec())
                }

                fn point(&self, number: &[u8]) -> Option<Vec<u8>> {
                    let key = SecretKey::from_slice(number).ok()?;
                    Some(uncompressed(&key.public_key()))
                }

                fn point_of_sec1(&self, bytes: &[u8]) -> Option<Vec<u8>> {
                    Some(uncompressed(&PublicKey::from_sec1_bytes(bytes).ok()?))
                }

                fn point_of_spki(&self, der: &[u8]) -> Option<Vec<u8>> {
                    Some(uncompressed(&PublicKey::from_public_key_der(der).ok()?))
                }

                fn to_spki(&self, point: &[u8]) -> Option<Vec<u8>> {
                    let key = PublicKey::from_sec1_bytes(point).ok()?;
                    Some(key.to_public_key_der().ok()?.into_vec())
                }

                fn sign(&self, number: &[u8], digest: &[u8]) -> Option<Vec<u8>> {
                    let key = SecretKey::from_slice(number).ok()?.to_nonzero_scalar();
                    let digest = FieldBytes::from_slice(digest);
                    let once = Zeroizing::new(Scalar::random(&mut HostRandom));
                    let (signature, _) = key.as_ref().try_sign_prehashed(*once, digest).ok()?;
                    Some(signature.to_bytes().to_vec())
                }

                fn verify(&self, point: &[u8], signature: &[u8], digest: &[u8]) -> Option<()> {
                    let key = PublicKey::from_sec1_bytes(point).ok()?;
                    let signature = Signature::from_slice(signature).ok()?;
                    let digest = FieldBytes::from_slice(digest);
                    key.as_affine().verify_prehashed(digest, &signature).ok()
                }

                fn agree(&self, number: &[u8], point: &[u8]) -> Option<Vec<u8>> {
                    let key = SecretKey::from_slice(number).ok()?;
                    let other = PublicKey::from_sec1_bytes(point).ok()?;
                    let shared =
                        $curve::ecdh::diffie_hellman(key.to_nonzero_scalar(), other.as_affine());
                    Some(shared.raw_secret_bytes().to_vec())
                }
            }
        };
    };
}

ops!(P256, p256, 32);
ops!(P384, p384, 48);
ops!(P521, p521, 66);
