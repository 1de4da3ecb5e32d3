//! The search for the primes of an RSA key, in slices.
//!
//! A random odd number is the start of a window; small primes sieve it, what
//! is left is tested for being prime (FIPS 186-5, A.1.3 and B.3).

use num_bigint_dig::prime::{probably_prime, probably_prime_miller_rabin};
use rsa::{BigUint, RsaPrivateKey};
use zeroize::Zeroizing;

use super::operation;
use super::pace::Pace;
use super::rsa::MODULUS_BITS_MAX;
use crate::engine::Failure;
use crate::native::random::draw;

/// Bits of a modulus at least: less is no key, and the search needs room.
const MODULUS_BITS_MIN: usize = 512;

/// Largest public exponent (a limit of the `rsa` crate).
const EXPONENT_MAX: u64 = (1 << 33) - 1;

/// Odd numbers that are looked at from one random start.
const WINDOW: usize = 4_096;

/// The sieve has the primes below this number.
const SIEVE_MAX: u32 = 1 << 14;

/// Rounds of Miller-Rabin for the last test, besides one of base 2 and that
/// of Lucas (FIPS 186-5, table B.1, asks for 4 or 5).
const ROUNDS: usize = 6;

/// Finds a key.
pub(super) async fn generate(
    bits: usize,
    exponent: u64,
    mut pace: Pace,
) -> Result<RsaPrivateKey, Failure> {
    if !(MODULUS_BITS_MIN..=MODULUS_BITS_MAX).contains(&bits) || !bits.is_multiple_of(2) {
        return Err(operation(format!(
            "a modulus of {bits} bits: an even number from {MODULUS_BITS_MIN} to {MODULUS_BITS_MAX} is possible"
        )));
    }
    if exponent < 3 || exponent.is_multiple_of(2) || exponent > EXPONENT_MAX {
        return Err(operation(
            "the public exponent must be odd, at least 3 and below 2^33",
        ));
    }
    let sieve = small_primes();
    let p = prime(bits / 2, exponent, &sieve, &mut pace).await?;
    let q = loop {
        let q = prime(bits / 2, exponent, &sieve, &mut pace).await?;
        let distance = if p > q { &p - &q } else { &q - &p };
        // FIPS 186-5, A.1.3, 5.4.
        if distance.bits() + 100 > bits / 2 {
            break q;
        }
    };
    RsaPrivateKey::from_p_q(p, q, BigUint::from(exponent))
        .map_err(|_| operation("no key was found"))
}

async fn prime(
    bits: usize,
    exponent: u64,
    sieve: &[u32],
    pace: &mut Pace,
) -> Result<BigUint, Failure> {
    loop {
        let start = start(bits)?;
        let window = sieved(&start, sieve);
        for offset in (0..WINDOW).filter(|&index| window[index]) {
            let candidate = &start + 2 * offset;
            pace.step().await?;
            if candidate.bits() != bits || !probably_prime_miller_rabin(&candidate, 1, true) {
                continue;
            }
            let is_coprime = gcd(exponent, remainder(&(&candidate - 1_u32), exponent)) == 1;
            if is_coprime && probably_prime(&candidate, ROUNDS) {
                return Ok(candidate);
            }
        }
    }
}

/// A random odd number of that many bits, with the two highest ones set, so
/// that the product of two has all its bits.
fn start(bits: usize) -> Result<BigUint, Failure> {
    let mut bytes = Zeroizing::new(vec![0; bits.div_ceil(8)]);
    draw(&mut bytes)?;
    let mut number = BigUint::from_bytes_be(&bytes) >> (bytes.len() * 8 - bits);
    let high = BigUint::from(3_u32) << (bits - 2);
    number |= high | BigUint::from(1_u32);
    Ok(number)
}

/// Which of the odd numbers from the start on no small prime divides.
fn sieved(start: &BigUint, sieve: &[u32]) -> Vec<bool> {
    let mut window = vec![true; WINDOW];
    for &prime in sieve {
        let rest = remainder(start, prime.into()) as usize;
        let prime = prime as usize;
        // The first index with start + 2 * index = 0 (mod prime).
        let negative = prime - rest;
        let first = if negative.is_multiple_of(2) {
            negative / 2
        } else {
            (negative + prime) / 2
        };
        for index in (first % prime..WINDOW).step_by(prime) {
            window[index] = false;
        }
    }
    window
}

fn small_primes() -> Vec<u32> {
    let mut primes: Vec<u32> = Vec::new();
    for number in (3..SIEVE_MAX).step_by(2) {
        let is_prime = primes
            .iter()
            .take_while(|&&prime| prime * prime <= number)
            .all(|&prime| !number.is_multiple_of(prime));
        if is_prime {
            primes.push(number);
        }
    }
    primes
}

fn remainder(number: &BigUint, by: u64) -> u64 {
    let rest = (number % by).to_bytes_be();
    rest.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
