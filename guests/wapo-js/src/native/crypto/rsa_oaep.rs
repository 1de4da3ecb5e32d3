//! RSA-OAEP (RFC 8017, 7.1) with labels of any bytes, which the `rsa` crate
//! takes as text only.

use rsa::hazmat::{rsa_decrypt_and_check, rsa_encrypt};
use rsa::traits::PublicKeyParts;
use rsa::{BigUint, RsaPrivateKey, RsaPublicKey};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::Zeroizing;

use super::digest::{Hash, digest};
use super::operation;
use crate::engine::Failure;
use crate::native::random::{HostRandom, draw};

pub(super) fn encrypt(
    key: &RsaPublicKey,
    hash: Hash,
    label: &[u8],
    message: &[u8],
) -> Result<Vec<u8>, Failure> {
    let (size, hash_size) = (key.size(), hash.size());
    let room = size
        .checked_sub(2 * hash_size + 2)
        .ok_or_else(|| operation("the key is too short for this hash"))?;
    if message.len() > room {
        return Err(operation(format!(
            "a message of {} bytes: this key encrypts {room} at most",
            message.len()
        )));
    }
    let mut block = Zeroizing::new(vec![0; size]);
    let (seed, rest) = block[1..].split_at_mut(hash_size);
    draw(seed)?;
    rest[..hash_size].copy_from_slice(&digest(hash, label));
    let start = rest.len() - message.len();
    rest[start - 1] = 1;
    rest[start..].copy_from_slice(message);
    mask(hash, seed, rest);
    mask(hash, rest, seed);
    let encrypted = rsa_encrypt(key, &BigUint::from_bytes_be(&block))
        .map_err(|_| operation("the message could not be encrypted"))?;
    Ok(padded(&encrypted, size).to_vec())
}

pub(super) fn decrypt(
    key: &RsaPrivateKey,
    hash: Hash,
    label: &[u8],
    encrypted: &[u8],
) -> Result<Vec<u8>, Failure> {
    // One message for all of it: a difference would help to decrypt.
    let failed = || operation("the data is not what was encrypted for this key");
    let (size, hash_size) = (key.size(), hash.size());
    if encrypted.len() != size || size < 2 * hash_size + 2 {
        return Err(failed());
    }
    let number = BigUint::from_bytes_be(encrypted);
    let opened =
        rsa_decrypt_and_check(key, Some(&mut HostRandom), &number).map_err(|_| failed())?;
    let mut block = padded(&opened, size);
    let (first, block) = block.split_at_mut(1);
    let (seed, rest) = block.split_at_mut(hash_size);
    mask(hash, rest, seed);
    mask(hash, seed, rest);
    let mut is_right = first[0].ct_eq(&0) & rest[..hash_size].ct_eq(&digest(hash, label));
    let mut is_found = Choice::from(0);
    let mut start = 0_u32;
    for (index, byte) in (1_u32..).zip(&rest[hash_size..]) {
        let is_end = byte.ct_eq(&1) & !is_found;
        start.conditional_assign(&index, is_end);
        is_found |= is_end;
        is_right &= is_found | byte.ct_eq(&0);
    }
    if !bool::from(is_right & is_found) {
        return Err(failed());
    }
    Ok(rest[hash_size + start as usize..].to_vec())
}

/// A number as so many bytes.
fn padded(number: &BigUint, size: usize) -> Zeroizing<Vec<u8>> {
    let bytes = Zeroizing::new(number.to_bytes_be());
    let mut block = Zeroizing::new(vec![0; size]);
    block[size.saturating_sub(bytes.len())..].copy_from_slice(&bytes);
    block
}

/// Adds MGF1 of the seed (RFC 8017, B.2.1) to the bytes.
fn mask(hash: Hash, seed: &[u8], bytes: &mut [u8]) {
    for (index, part) in (0_u32..).zip(bytes.chunks_mut(hash.size())) {
        let seeded = Zeroizing::new([seed, &index.to_be_bytes()].concat());
        for (byte, mask) in part.iter_mut().zip(digest(hash, &seeded)) {
            *byte ^= mask;
        }
    }
}
