//! Sizes and ranges of ports as people write them.
//!
//! Used by settings of every kind: options, files, calls.

use std::fmt;
use std::str::FromStr;

/// Digits after the point in a size. More mean nothing, and would overflow.
const DECIMALS_MAX: usize = 6;

/// A number of bytes as people write it: `64M`, `1.5g`, `128MiB`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error = || {
            format!(
                "`{text}` is not a size: write a number with an optional K, M or G, such as 64M or 1.5g"
            )
        };
        let lower = text.trim().to_ascii_lowercase();
        let end = lower
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(lower.len());
        let (number, unit) = lower.split_at(end);
        let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
        if decimals.len() > DECIMALS_MAX || (number.contains('.') && decimals.is_empty()) {
            return Err(error());
        }
        let whole: u64 = whole.parse().map_err(|_| error())?;
        let scale = 10_u64.pow(u32::try_from(decimals.len()).unwrap_or_default());
        let decimals: u64 = match decimals {
            "" => 0,
            decimals => decimals.parse().map_err(|_| error())?,
        };
        let shift = match unit.trim() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            "t" | "tb" | "tib" => 40,
            _ => return Err(error()),
        };
        let part = (decimals << shift) / scale;
        let whole = whole.checked_mul(1 << shift);
        let bytes = whole.and_then(|whole| whole.checked_add(part));
        bytes.map(Self).ok_or_else(error)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
        let unit = units.iter().find(|(shift, _)| self.0 >= 1 << shift);
        match unit {
            Some((shift, name)) if self.0.is_multiple_of(1 << shift) => {
                write!(f, "{} {name}", self.0 >> shift)
            }
            Some((shift, name)) => {
                let tenths = self.0.saturating_mul(10) >> shift;
                write!(f, "{}.{} {name}", tenths / 10, tenths % 10)
            }
            None => write!(f, "{} bytes", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary_and_forgiving() {
        for (text, bytes) in [
            ("128", 128),
            ("64M", 64 << 20),
            ("1g", 1 << 30),
            ("128MiB", 128 << 20),
            ("2 kb", 2048),
            ("1.5g", 3 << 29),
            ("0.25M", 256 << 10),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for text in [
            "",
            "M",
            "1x",
            "-1",
            "1.g",
            ".5g",
            "1.5.0g",
            "1.0000001g",
            "99999999999999999999",
            "99999999t",
        ] {
            let error = text.parse::<ByteSize>().expect_err(text);
            assert!(error.contains("is not a size"), "{error}");
        }
        assert_eq!(ByteSize(1 << 30).to_string(), "1 GiB");
        assert_eq!(ByteSize(1536).to_string(), "1.5 KiB");
        assert_eq!(ByteSize(7).to_string(), "7 bytes");
    }
}
