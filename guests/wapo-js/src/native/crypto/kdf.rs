//! HKDF (RFC 5869) and PBKDF2 (RFC 8018).

use hkdf::Hkdf;
use hmac::digest::core_api::BlockSizeUser;
use hmac::digest::{Digest, FixedOutput};
use hmac::{Mac, SimpleHmac};
use zeroize::Zeroizing;

use super::digest::{Hash, with_hash};
use super::operation;
use super::pace::Pace;
use crate::engine::Failure;

/// Bytes that a password gives at most. Keys have less than a hundred; the
/// number is a program's, and memory is taken for the result.
const DERIVED_BYTES_MAX: usize = 1024 * 1024;

/// Iterations of PBKDF2 between two looks at the clock: about a millisecond.
const ITERATIONS_PER_STEP: u32 = 512;

pub(super) fn hkdf(
    hash: Hash,
    secret: &[u8],
    salt: &[u8],
    info: &[u8],
    length: usize,
) -> Result<Vec<u8>, Failure> {
    let most = 255 * hash.size();
    if length > most {
        return Err(operation(format!(
            "{length} bytes from HKDF: {most} is the most for this hash"
        )));
    }
    let mut derived = vec![0; length];
    let expanded = with_hash!(hash, D => {
        Hkdf::<D, SimpleHmac<D>>::new(Some(salt), secret).expand(info, &mut derived)
    });
    expanded.map_err(|_| operation("HKDF failed"))?;
    Ok(derived)
}

/// Derives bytes from a password, in slices.
pub(super) async fn pbkdf2(
    hash: Hash,
    password: Zeroizing<Vec<u8>>,
    salt: Vec<u8>,
    iterations: u32,
    length: usize,
    pace: Pace,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    if iterations == 0 {
        return Err(operation("PBKDF2 with no iterations"));
    }
    if length > DERIVED_BYTES_MAX {
        return Err(operation(format!(
            "{length} bytes from PBKDF2: {DERIVED_BYTES_MAX} is the most"
        )));
    }
    with_hash!(hash, D => pbkdf2_with::<D>(&password, &salt, iterations, length, pace).await)
}

async fn pbkdf2_with<D: Digest + BlockSizeUser + FixedOutput + Clone>(
    password: &[u8],
    salt: &[u8],
    iterations: u32,
    length: usize,
    mut pace: Pace,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let keyed =
        <SimpleHmac<D> as Mac>::new_from_slice(password).map_err(|_| operation("PBKDF2 failed"))?;
    let mut derived = Zeroizing::new(Vec::with_capacity(length + <D as Digest>::output_size()));
    let mut index = 1_u32;
    let mut until_step = ITERATIONS_PER_STEP;
    while derived.len() < length {
        let start = derived.len();
        let mut last = keyed
            .clone()
            .chain_update(salt)
            .chain_update(index.to_be_bytes())
            .finalize()
            .into_bytes();
        derived.extend_from_slice(&last);
        for _ in 1..iterations {
            last = keyed.clone().chain_update(&last).finalize().into_bytes();
            for (sum, byte) in derived[start..].iter_mut().zip(&last) {
                *sum ^= byte;
            }
            until_step -= 1;
            if until_step == 0 {
                until_step = ITERATIONS_PER_STEP;
                pace.step().await?;
            }
        }
        pace.step().await?;
        index += 1;
    }
    derived.truncate(length);
    Ok(derived)
}
