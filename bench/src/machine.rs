//! What one has to know about a machine to read the numbers: processor,
//! memory, kernel, compiler. Never its name or address. And what the system tells
//! of a process under measurement.

use std::fs;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};

/// Facts in the order in which they are printed.
pub(crate) struct Facts {
    /// Today, as `2026-01-31`.
    pub(crate) date: String,
    /// Processor and number of cores, fit for a file name.
    pub(crate) slug: String,
    /// Name and value.
    pub(crate) lines: Vec<(&'static str, String)>,
}

/// Collects what the system tells.
pub(crate) fn facts() -> Facts {
    let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = field("/proc/meminfo", "MemTotal").unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let profile = if cfg!(debug_assertions) {
        "dev"
    } else {
        "release"
    };
    Facts {
        date: today(),
        slug: slug(&format!("{processor} {cores} cores")),
        lines: vec![
            ("processor", format!("{processor}, {cores} cores")),
            ("memory", memory),
            ("kernel", kernel.trim().to_owned()),
            ("compiler", compiler()),
            ("profile", profile.to_owned()),
            ("load before", load()),
        ],
    }
}

fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// The compiler of the checkout, asked for because the binary does not know it.
fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output();
    output.map_or_else(
        |_| "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

/// The first value of a key in a file of `key: value` lines.
pub(crate) fn field(path: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim().to_owned())
    })
}

/// Processor time in the kernel's own files counts in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

/// Processor time that a process has used, its own and the kernel's for it.
///
/// # Errors
///
/// The system does not tell.
pub(crate) fn cpu_time(process: u32) -> Result<Duration> {
    let path = format!("/proc/{process}/stat");
    let text = fs::read_to_string(&path)?;
    // The name in parentheses may hold anything; the state follows it.
    let (_, fields) = text.rsplit_once(") ").context("no name in stat")?;
    let ticks: u32 = fields
        .split(' ')
        .skip(11)
        .take(2)
        .map_while(|field| field.parse::<u32>().ok())
        .sum();
    Ok(TICK * ticks)
}

/// Memory of a process in bytes: its proportional set size, in which pages that
/// several processes share count in parts.
///
/// # Errors
///
/// The system does not tell.
pub(crate) fn memory_bytes(process: u32) -> Result<u64> {
    let path = format!("/proc/{process}/smaps_rollup");
    let field = field(&path, "Pss").with_context(|| format!("no Pss in {path}"))?;
    let kibibytes: u64 = field.trim_end_matches("kB").trim().parse()?;
    Ok(kibibytes * 1024)
}

fn slug(text: &str) -> String {
    let words: Vec<String> = text
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty() && !matches!(*word, "R" | "TM" | "CPU"))
        .map(str::to_ascii_lowercase)
        .collect();
    words.join("-")
}

fn today() -> String {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |passed| passed.as_secs());
    let (year, month, day) = civil(seconds / 86_400);
    format!("{year}-{month:02}-{day:02}")
}

/// Year, month and day of a number of days since 1970.
fn civil(days: u64) -> (u64, u64, u64) {
    let mut rest = days;
    let mut year = 1970;
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    while rest >= 365 + u64::from(is_leap(year)) {
        rest -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in months {
        if rest < length {
            break;
        }
        rest -= length;
        month += 1;
    }
    (year, month, rest + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(19_782), (2024, 2, 29));
        assert_eq!(civil(19_783), (2024, 3, 1));
        assert_eq!(civil(20_453), (2025, 12, 31));
    }

    #[test]
    fn slugs_are_file_names() {
        assert_eq!(
            slug("Intel(R) Xeon(R) CPU @ 2.20GHz 2 cores"),
            "intel-xeon-2-20ghz-2-cores"
        );
    }
}
