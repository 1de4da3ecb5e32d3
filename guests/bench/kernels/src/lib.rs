//! CPU work that runs as a guest and natively, to compare the two.
//!
//! Each kernel does rounds of the same work and returns a checksum, which must
//! be the same on both sides. No kernel has a part in assembly or picks code by
//! processor, so that both sides compile the same source. Used by the guest
//! `kernels` and by the native side of the benchmark.

mod interpreter;
mod json;
mod sha256;

pub use self::sha256::hash as sha256;

/// One kind of work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kernel {
    /// A random generator that writes to a table: integer code and stores.
    Xorshift,
    /// SHA-256 of 4 KiB: rotations and additions.
    Sha256,
    /// Sorting 4096 numbers: branches that nobody can predict.
    Sort,
    /// Reading and writing a JSON document: allocation and bytes.
    Json,
    /// A small virtual machine that looks for primes: indirect jumps.
    Interpreter,
}

impl Kernel {
    /// Every kernel.
    pub const ALL: [Self; 5] = [
        Self::Xorshift,
        Self::Sha256,
        Self::Sort,
        Self::Json,
        Self::Interpreter,
    ];

    /// The name to ask for it by.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Xorshift => "xorshift",
            Self::Sha256 => "sha256",
            Self::Sort => "sort",
            Self::Json => "json",
            Self::Interpreter => "interpreter",
        }
    }

    /// The kernel of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kernel| kernel.name() == name)
    }

    /// Rounds that take something like a third of a second natively.
    pub const fn rounds(self) -> u32 {
        match self {
            Self::Xorshift => 20_000,
            Self::Sha256 => 20_000,
            Self::Sort => 6_000,
            Self::Json => 4_000,
            Self::Interpreter => 400,
        }
    }

    /// Does the work and returns its checksum.
    pub fn run(self, rounds: u32) -> u64 {
        match self {
            Self::Xorshift => xorshift(rounds),
            Self::Sha256 => sha256::rounds(rounds),
            Self::Sort => sort(rounds),
            Self::Json => json::rounds(rounds),
            Self::Interpreter => interpreter::rounds(rounds),
        }
    }
}

/// The next number of a small random generator.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn xorshift(rounds: u32) -> u64 {
    const SLOTS: usize = 8192;
    let mut table = vec![0u64; SLOTS];
    let mut state = 88_172_645_463_325_252;
    for _ in 0..rounds {
        for _ in 0..SLOTS {
            let number = next(&mut state);
            let slot = &mut table[(number >> 20) as usize % SLOTS];
            *slot = slot.wrapping_add(number);
        }
    }
    table
        .iter()
        .fold(0, |sum: u64, number| sum.rotate_left(1) ^ number)
}

fn sort(rounds: u32) -> u64 {
    let mut state = 1;
    let mut numbers = vec![0u64; 4096];
    let mut sum = 0u64;
    for _ in 0..rounds {
        numbers
            .iter_mut()
            .for_each(|number| *number = next(&mut state));
        numbers.sort_unstable();
        sum = sum.wrapping_add(numbers[numbers.len() / 2]);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_depend_on_the_rounds_and_nothing_else() {
        for kernel in Kernel::ALL {
            assert_eq!(Kernel::from_name(kernel.name()), Some(kernel));
            assert_eq!(kernel.run(3), kernel.run(3), "{kernel:?}");
            assert_ne!(kernel.run(3), kernel.run(4), "{kernel:?}");
        }
    }
}
