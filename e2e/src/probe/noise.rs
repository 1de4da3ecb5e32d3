//! Scripts made of noise: random calls, slots and memory.
//!
//! The bytes come from a fuzzer or from a seeded generator; the same bytes give
//! the same script. Values that break things (edges of memory, signs, sizes)
//! are more likely than chance would have it. Used by `tests/e2e/noise.rs` and
//! by `fuzz/`.

use super::{MEMORY_BYTES, SCRATCH, Script};

/// Calls that exist, as `cargo xtask tidy` checks; others are drawn as well.
const CALLS: &[u32] = &[
    0, 101, 102, 103, 104, 105, 106, 109, 110, 111, 112, 113, 201, 202, 203, 204, 210, 211, 212,
    213, 214, 215, 220, 240, 242, 243, 244, 250, 251, 252, 253, 254, 255, 260, 261, 262, 263, 300,
    301, 302, 303, 304, 305, 306, 307, 308, 309, 310, 311, 312, 313, 315, 316, 317, 318, 319, 320,
    321, 322, 323, 324, 325, 326, 327, 328, 329,
];

/// Numbers at which something changes.
const EDGES: &[u32] = &[
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    80,
    64,
    65,
    255,
    256,
    257,
    1000,
    8191,
    8192,
    65_535,
    65_536,
    65_537,
    SCRATCH,
    SCRATCH + 1,
    MEMORY_BYTES - 1,
    MEMORY_BYTES,
    MEMORY_BYTES + 1,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fffe,
    0xffff_ffff,
];

/// Most steps of one script.
const STEPS_MAX: u8 = 24;

/// Reads decisions from bytes; zeros when they are used up.
struct Noise<'a>(&'a [u8]);

impl Noise<'_> {
    fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    fn word(&mut self) -> u32 {
        u32::from_le_bytes([self.byte(), self.byte(), self.byte(), self.byte()])
    }

    fn pick(&mut self, from: &[u32]) -> u32 {
        let index = usize::from(self.byte()) % from.len().max(1);
        from.get(index).copied().unwrap_or(0)
    }

    fn number(&mut self) -> u32 {
        match self.byte() % 8 {
            0..=3 => self.pick(EDGES),
            4 => u32::from(self.byte()),
            5 => SCRATCH + u32::from(self.byte()) * 16,
            6 => u32::from(self.byte()) * 64,
            _ => self.word(),
        }
    }

    fn call(&mut self) -> u32 {
        match self.byte() % 16 {
            0 => self.number(),
            _ => self.pick(CALLS),
        }
    }

    fn slots(&mut self) -> [u32; 4] {
        [self.number(), self.number(), self.number(), self.number()]
    }
}

/// The script that some bytes stand for.
pub fn script(bytes: &[u8]) -> Script {
    let mut noise = Noise(bytes);
    let mut script = Script::new();
    for _ in 0..=noise.byte() % STEPS_MAX {
        script = match noise.byte() % 16 {
            0 => {
                let data: Vec<u8> = (0..noise.byte()).map(|_| noise.byte()).collect();
                script.write(SCRATCH + noise.number() % 0x1000, &data)
            }
            1 => script.task(noise.number()),
            2 => {
                let (count, call) = (u32::from(noise.byte()), noise.call());
                script.flood(count, call, noise.slots())
            }
            3 => {
                let (count, call) = (u32::from(noise.byte()), noise.call());
                script.flood_slow(count, call, noise.slots())
            }
            4..=9 => {
                let call = noise.call();
                script.fast(call, noise.slots())
            }
            // The answer of a blob or message would not fit a reply for sure.
            _ => {
                let call = noise.call();
                script.slow(call, noise.slots())
            }
        };
    }
    script
}
