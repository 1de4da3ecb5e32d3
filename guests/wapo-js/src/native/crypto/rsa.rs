//! RSA (RFC 8017): keys, their formats, and signatures. Encryption is in
//! `rsa_oaep`, the search for keys in `rsa_generate`.

use rsa::pkcs8::der::asn1::UintRef;
use rsa::pkcs8::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use rsa::pkcs8::{EncodePrivateKey, EncodePublicKey, PrivateKeyInfo};
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use rsa::{BigUint, Pkcs1v15Sign, Pss, RsaPrivateKey, RsaPublicKey, pkcs1};
use zeroize::Zeroizing;

use super::digest::{Hash, digest, with_hash};
use super::{data, operation};
use crate::engine::Failure;
use crate::native::random::HostRandom;

/// Bits of a modulus. A computation with a private key of that length takes
/// most of a second, in one piece.
pub(super) const MODULUS_BITS_MAX: usize = 4_096;

/// Bytes of salt of RSA-PSS: more than any modulus has room for.
const SALT_BYTES_MAX: usize = MODULUS_BITS_MAX / 8;

fn not_a_key() -> Failure {
    data("not a key of RSA")
}

fn number(uint: UintRef<'_>) -> BigUint {
    BigUint::from_bytes_be(uint.as_bytes())
}

fn check_algorithm(algorithm: AlgorithmIdentifierRef<'_>) -> Result<(), Failure> {
    let wanted = pkcs1::ALGORITHM_OID;
    let has_no_parameters = algorithm.parameters.is_none_or(|any| any.is_null());
    if algorithm.oid == wanted && has_no_parameters {
        Ok(())
    } else {
        Err(not_a_key())
    }
}

/// A public key of numbers.
pub(super) fn public(n: BigUint, e: BigUint) -> Result<RsaPublicKey, Failure> {
    if n.bits() > MODULUS_BITS_MAX {
        return Err(data(format!(
            "a modulus of {} bits: {MODULUS_BITS_MAX} is the most",
            n.bits()
        )));
    }
    RsaPublicKey::new(n, e).map_err(|_| not_a_key())
}

pub(super) fn public_from_spki(der: &[u8]) -> Result<RsaPublicKey, Failure> {
    let info = SubjectPublicKeyInfoRef::try_from(der).map_err(|_| not_a_key())?;
    check_algorithm(info.algorithm)?;
    let key = info.subject_public_key.as_bytes().ok_or_else(not_a_key)?;
    let key = pkcs1::RsaPublicKey::try_from(key).map_err(|_| not_a_key())?;
    public(number(key.modulus), number(key.public_exponent))
}

/// The numbers of a private key; those of the Chinese remainder theorem in
/// the order p, q, dp, dq, qi, or none of them.
pub(super) struct Numbers {
    pub(super) n: BigUint,
    pub(super) e: BigUint,
    pub(super) d: BigUint,
    pub(super) chinese: Option<[BigUint; 5]>,
}

impl Numbers {
    /// A private key, when the numbers belong together.
    pub(super) fn private(self) -> Result<RsaPrivateKey, Failure> {
        public(self.n.clone(), self.e.clone())?;
        let mut primes = Vec::new();
        if let Some([p, q, ..]) = &self.chinese {
            if p.bits() < 2 || q.bits() < 2 || p * q != self.n {
                return Err(not_a_key());
            }
            primes.extend([p.clone(), q.clone()]);
        }
        let key = RsaPrivateKey::from_components(self.n, self.e, self.d, primes)
            .map_err(|_| not_a_key())?;
        if let Some([_, _, dp, dq, qi]) = &self.chinese {
            let is_right = key.dp() == Some(dp)
                && key.dq() == Some(dq)
                && key.crt_coefficient().as_ref() == Some(qi);
            if !is_right {
                return Err(not_a_key());
            }
        }
        Ok(key)
    }
}

pub(super) fn private_from_pkcs8(der: &[u8]) -> Result<RsaPrivateKey, Failure> {
    let info = PrivateKeyInfo::try_from(der).map_err(|_| not_a_key())?;
    check_algorithm(info.algorithm)?;
    let key = pkcs1::RsaPrivateKey::try_from(info.private_key).map_err(|_| not_a_key())?;
    if key.other_prime_infos.is_some() {
        return Err(Failure::dom(
            "NotSupportedError",
            "keys of RSA with more than two primes are not supported",
        ));
    }
    let numbers = Numbers {
        n: number(key.modulus),
        e: number(key.public_exponent),
        d: number(key.private_exponent),
        chinese: Some([
            number(key.prime1),
            number(key.prime2),
            number(key.exponent1),
            number(key.exponent2),
            number(key.coefficient),
        ]),
    };
    numbers.private()
}

fn no_export() -> Failure {
    operation("the key could not be exported")
}

pub(super) fn to_spki(key: &RsaPublicKey) -> Result<Vec<u8>, Failure> {
    let der = key.to_public_key_der().map_err(|_| no_export())?;
    Ok(der.into_vec())
}

pub(super) fn to_pkcs8(key: &RsaPrivateKey) -> Result<Vec<u8>, Failure> {
    let der = key.to_pkcs8_der().map_err(|_| no_export())?;
    Ok(der.as_bytes().to_vec())
}

/// Modulus and exponent, as bytes without zeros before them.
pub(super) fn public_parts(key: &impl PublicKeyParts) -> Vec<Vec<u8>> {
    vec![key.n().to_bytes_be(), key.e().to_bytes_be()]
}

/// n, e, d, p, q, dp, dq and qi.
pub(super) fn private_parts(key: &RsaPrivateKey) -> Result<Vec<Vec<u8>>, Failure> {
    let qi = key.crt_coefficient().ok_or_else(no_export)?;
    let [p, q] = key.primes() else {
        return Err(no_export());
    };
    let (dp, dq) = key.dp().zip(key.dq()).ok_or_else(no_export)?;
    let numbers = [key.n(), key.e(), key.d(), p, q, dp, dq, &qi];
    Ok(numbers.map(BigUint::to_bytes_be).into())
}

/// How a digest becomes a signature.
#[derive(Clone, Copy)]
pub(super) enum Scheme {
    Pkcs1,
    /// With so many bytes of salt.
    Pss(usize),
}

pub(super) fn sign(
    key: &RsaPrivateKey,
    scheme: Scheme,
    hash: Hash,
    message: &[u8],
) -> Result<Vec<u8>, Failure> {
    let digest = digest(hash, message);
    let mut random = HostRandom;
    let signed = with_hash!(hash, D => match scheme {
        Scheme::Pkcs1 => key.sign_with_rng(&mut random, Pkcs1v15Sign::new::<D>(), &digest),
        Scheme::Pss(salt) if salt > SALT_BYTES_MAX => Err(rsa::Error::MessageTooLong),
        Scheme::Pss(salt) => {
            key.sign_with_rng(&mut random, Pss::new_blinded_with_salt::<D>(salt), &digest)
        }
    });
    signed.map_err(|_| operation("the key is too short for this signature"))
}

pub(super) fn verify(
    key: &RsaPublicKey,
    scheme: Scheme,
    hash: Hash,
    signature: &[u8],
    message: &[u8],
) -> bool {
    let digest = digest(hash, message);
    let verified = with_hash!(hash, D => match scheme {
        Scheme::Pkcs1 => key.verify(Pkcs1v15Sign::new::<D>(), &digest, signature),
        Scheme::Pss(salt) if salt > SALT_BYTES_MAX => Err(rsa::Error::Verification),
        Scheme::Pss(salt) => key.verify(Pss::new_with_salt::<D>(salt), &digest, signature),
    });
    verified.is_ok()
}

/// Bytes of a number, secret ones wiped after use.
pub(super) fn number_of(bytes: &Zeroizing<Vec<u8>>) -> BigUint {
    BigUint::from_bytes_be(bytes)
}
