//! Random bytes, and valid input that was damaged at random: nothing panics, and
//! nothing that was damaged counts. The generator is seeded, so a failure comes
//! again.

mod support;

use support::{ECHO, cases};
use wapo_crypto::query_signature;
use wapo_crypto::sealed::{self, Label, Purpose};
use wapo_crypto::{ContentType, WorkerKey, envelope, verify};

/// Rounds of each loop; together they take about a second.
const ROUNDS: usize = 4000;

/// xorshift64*: short, and good enough to be unpredictable to the code under test.
struct Generator(u64);

impl Generator {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 32).expect("32 bits") % bound
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next().to_be_bytes()[0]).collect()
    }

    /// Overwrites, removes, doubles or inserts some bytes.
    fn damage(&mut self, bytes: &[u8]) -> Vec<u8> {
        let start = self.below(bytes.len());
        let end = (start + 1 + self.below(8)).min(bytes.len());
        let (head, middle, tail) = (&bytes[..start], &bytes[start..end], &bytes[end..]);
        let length = middle.len();
        match self.below(4) {
            0 => [head, &self.bytes(length), tail].concat(),
            1 => [head, tail].concat(),
            2 => [head, middle, middle, tail].concat(),
            _ => [head, &self.bytes(length), middle, tail].concat(),
        }
    }
}

#[test]
fn random_bytes_are_no_query_signature() {
    let mut random = Generator(1);
    for _ in 0..ROUNDS {
        let length = 1 + random.below(300);
        let mut bytes = random.bytes(length);
        // So that most get past the first byte.
        bytes[0] = 1;
        assert!(
            query_signature::verify(&ECHO, &bytes, 0).is_err(),
            "{bytes:?}"
        );
    }
}

#[test]
fn damaged_query_signatures_do_not_count() {
    let mut random = Generator(2);
    let cases = cases();
    for _ in 0..ROUNDS {
        let case = &cases[random.below(cases.len())];
        let damaged = random.damage(&case.encoded);
        if damaged == case.encoded {
            continue;
        }
        let signer = query_signature::verify(&case.query(), &damaged, case.now);
        assert!(signer.is_err(), "{}: {}", case.name, hex::encode(damaged));
    }
}

#[test]
fn random_bytes_open_nothing_and_sign_nothing() {
    let mut random = Generator(3);
    let key = WorkerKey::from_seed([1; 32]);
    let label = Label {
        purpose: Purpose::BootData,
        app_address: &[0x11; 32],
        name: "",
    };
    let valid = sealed::seal(&key, label, b"data", [7; 12]).expect("sealed");
    for _ in 0..ROUNDS {
        let length = random.below(120);
        let bytes = random.bytes(length);
        let sender = random.bytes(32);
        assert!(envelope::open(&key, &sender, &bytes).is_err());
        assert!(envelope::open(&key, &bytes, &bytes).is_err());
        assert!(envelope::open(&key, &key.public(), &bytes).is_err());
        assert!(sealed::open(&key, label, &bytes).is_err());
        assert!(sealed::open_legacy_boot_data(&key, &[0x11; 32], &bytes).is_err());
        let damaged = random.damage(&valid);
        assert!(damaged == valid || sealed::open(&key, label, &damaged).is_err());
        let public = sender.try_into().expect("32 bytes");
        for signature in [&bytes[..], &random.bytes(64)] {
            assert!(!verify(&public, ContentType::AppData, b"data", signature));
            assert!(!verify(
                &key.public(),
                ContentType::AppData,
                b"data",
                signature
            ));
        }
    }
}

#[test]
fn random_bytes_are_a_key_only_if_they_are_stored_as_the_same() {
    let mut random = Generator(4);
    for _ in 0..ROUNDS {
        let length = 60 + random.below(8);
        let bytes = random.bytes(length);
        if let Ok(key) = WorkerKey::from_bytes(&bytes) {
            assert_eq!(key.to_bytes().as_slice(), bytes);
        }
    }
}
