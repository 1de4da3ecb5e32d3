//! A small register machine that counts primes.

#[derive(Clone, Copy)]
enum Op {
    /// `r[0] = number`
    Set(u8, u64),
    /// `r[0] += r[1]`
    Add(u8, u8),
    /// `r[0] = r[1] % r[2]`
    Rem(u8, u8, u8),
    /// `r[0] = r[1] * r[2]`
    Mul(u8, u8, u8),
    /// Goes on at a place when `r[0] < r[1]`.
    IfLess(u8, u8, usize),
    /// Goes on at a place when `r[0] == r[1]`.
    IfEqual(u8, u8, usize),
    /// Goes on at a place.
    Jump(usize),
    /// Ends.
    Halt,
}

/// Registers: 0 is zero, 1 is one, 2 the limit, 3 the candidate, 4 the divisor,
/// 5 a square or remainder, 6 the count.
const PROGRAM: [Op; 16] = [
    Op::Set(0, 0),
    Op::Set(1, 1),
    Op::Set(3, 2),
    Op::Set(6, 0),
    // 4: the next candidate
    Op::IfLess(3, 2, 6),
    Op::Halt,
    Op::Set(4, 2),
    // 7: the next divisor
    Op::Mul(5, 4, 4),
    Op::IfLess(3, 5, 13),
    Op::Rem(5, 3, 4),
    Op::IfEqual(5, 0, 14),
    Op::Add(4, 1),
    Op::Jump(7),
    // 13: a prime
    Op::Add(6, 1),
    // 14: done with this candidate
    Op::Add(3, 1),
    Op::Jump(4),
];

/// Counts the primes below 5000 or a little more.
pub(crate) fn rounds(rounds: u32) -> u64 {
    (0..rounds).fold(0, |sum: u64, round| {
        sum.wrapping_mul(31)
            .wrapping_add(primes_below(5000 + u64::from(round % 64)))
    })
}

fn primes_below(limit: u64) -> u64 {
    let mut registers = [0u64; 8];
    registers[2] = limit;
    let mut at = 0;
    // Hidden from the compiler, which would else compile the program away.
    let program = std::hint::black_box(&PROGRAM);
    while let Some(op) = program.get(at) {
        at += 1;
        let r = |register: u8| usize::from(register) % 8;
        match *op {
            Op::Set(a, number) => registers[r(a)] = number,
            Op::Add(a, b) => registers[r(a)] = registers[r(a)].wrapping_add(registers[r(b)]),
            Op::Rem(a, b, c) => {
                registers[r(a)] = registers[r(b)].checked_rem(registers[r(c)]).unwrap_or(0);
            }
            Op::Mul(a, b, c) => {
                registers[r(a)] = registers[r(b)].wrapping_mul(registers[r(c)]);
            }
            Op::IfLess(a, b, place) => {
                if registers[r(a)] < registers[r(b)] {
                    at = place;
                }
            }
            Op::IfEqual(a, b, place) => {
                if registers[r(a)] == registers[r(b)] {
                    at = place;
                }
            }
            Op::Jump(place) => at = place,
            Op::Halt => break,
        }
    }
    registers[6]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_primes() {
        assert_eq!(primes_below(3), 1);
        assert_eq!(primes_below(100), 25);
        assert_eq!(primes_below(5000), 669);
    }
}
