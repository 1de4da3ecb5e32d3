//! Ports that a guest may listen on: some ranges, as people write them.
//!
//! Nothing is opened here. Asked by the `net` and `udp` calls; embedders read and show
//! them.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Ranges of ports that a guest may be given.
///
/// All are looked at when it listens, and when any other guest does. More are an
/// operator's mistake; what meets is one range.
const PORT_RANGES_MAX: usize = 32;

/// Ranges of ports, at least one: `3000..3100,4000`, both ends included.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortRanges(Vec<RangeInclusive<u16>>);

impl PortRanges {
    /// These ranges, each with at least one port; what overlaps or follows each other is
    /// one range.
    ///
    /// # Errors
    ///
    /// What is wrong with them, for an operator: none, an empty one, or too many.
    pub fn new(mut ranges: Vec<RangeInclusive<u16>>) -> Result<Self, String> {
        if let Some(empty) = ranges.iter().find(|range| range.is_empty()) {
            let (low, high) = (empty.start(), empty.end());
            return Err(format!(
                "`{low}..{high}` holds no port: {low} is above {high}"
            ));
        }
        ranges.sort_by_key(|range| *range.start());
        let mut merged: Vec<RangeInclusive<u16>> = Vec::new();
        for range in ranges {
            match merged.last_mut() {
                Some(last) if *range.start() <= last.end().saturating_add(1) => {
                    *last = *last.start()..=*last.end().max(range.end());
                }
                _ => merged.push(range),
            }
        }
        match merged.len() {
            0 => Err("no port is given".to_owned()),
            count if count > PORT_RANGES_MAX => Err(format!(
                "{count} ranges of ports are more than {PORT_RANGES_MAX}"
            )),
            _ => Ok(Self(merged)),
        }
    }

    /// Whether a port is among them.
    pub fn contains(&self, port: u16) -> bool {
        self.0.iter().any(|range| range.contains(&port))
    }

    /// Whether all ports of others are among them.
    pub fn cover(&self, others: &Self) -> bool {
        let covered = |other: &RangeInclusive<u16>| {
            let mut own = self.0.iter();
            own.any(|range| range.contains(other.start()) && range.contains(other.end()))
        };
        others.0.iter().all(covered)
    }

    /// The ranges, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = &RangeInclusive<u16>> {
        self.0.iter()
    }
}

impl From<u16> for PortRanges {
    fn from(port: u16) -> Self {
        Self(vec![port..=port])
    }
}

impl FromStr for PortRanges {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::new(text.split(',').map(range).collect::<Result<_, _>>()?)
    }
}

fn range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let port = |text: &str| text.trim().parse::<u16>().ok();
    let ends = match text.split_once("..") {
        Some((low, high)) => {
            let high = high.strip_prefix('=').unwrap_or(high);
            port(low).zip(port(high))
        }
        None => port(text).map(|port| (port, port)),
    };
    match ends {
        Some((low, high)) => Ok(low..=high),
        None => Err(format!(
            "`{text}` is not a range of ports: write 3000..3100 (both included) or 3000"
        )),
    }
}

impl fmt::Display for PortRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}..{}", range.start(), range.end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(text: &str) -> PortRanges {
        text.parse().expect(text)
    }

    #[test]
    fn ranges_include_both_ends_and_what_meets_is_one() {
        for (text, shown) in [
            ("3000..3100", "3000..3100"),
            ("3000..=3100", "3000..3100"),
            ("3000", "3000..3000"),
            ("4000, 3000..3100", "3000..3100,4000..4000"),
            ("1..5,4..9,10..12,14", "1..12,14..14"),
            ("0..65535,7", "0..65535"),
        ] {
            assert_eq!(ports(text).to_string(), shown, "{text}");
            assert_eq!(ports(shown), ports(text), "{text}");
        }
        let many = |count: usize| {
            let all: Vec<_> = (1..=count).map(|n| (2 * n).to_string()).collect();
            all.join(",").parse::<PortRanges>()
        };
        assert!(many(PORT_RANGES_MAX).is_ok());
        assert!(many(PORT_RANGES_MAX + 1).is_err());
        for text in [
            "",
            ",",
            "1,",
            "a..b",
            "1..2..3",
            "3100..3000",
            "0..70000",
            "1;2",
        ] {
            assert!(text.parse::<PortRanges>().is_err(), "{text}");
        }
    }

    #[test]
    fn ports_are_within_or_not() {
        let some = ports("3000..3100,4000");
        for (port, is_within) in [(3000, true), (3100, true), (3101, false), (4000, true)] {
            assert_eq!(some.contains(port), is_within, "{port}");
        }
        for (text, is_covered) in [
            ("3050..3060", true),
            ("3000..3100,4000", true),
            ("3100..3101", false),
            ("4000..4001", false),
            ("3000..4000", false),
        ] {
            assert_eq!(some.cover(&ports(text)), is_covered, "{text}");
        }
    }
}
