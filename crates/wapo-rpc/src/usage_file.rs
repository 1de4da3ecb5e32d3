//! The bill as a file: JSON Lines.
//!
//! The first line says what it is, each further one is a report:
//!
//! ```text
//! {"kind":"wapo-usage","version":1,"worker":"0x…","app":null}
//! {"seq":1,"report":"0x…"}
//! ```
//!
//! `worker` is the worker's public key, `app` the address of the app whose entries
//! are in the file, or null when all are; `report` is a SCALE
//! [`ExportedReport`]. There is one way to write each line, and others are refused, so
//! that a file that was changed in any place is not taken for the same. Written by the
//! command, read by it and by `wapo-verify`, which checks what is in it. No I/O.

use parity_scale_codec::Encode as _;
use serde::{Deserialize, Serialize};

use crate::hexbytes::{from_hex, to_hex};
use crate::manifest::AppAddress;
use crate::statement::{self, ExportedReport};

/// What the first line says it is.
const KIND: &str = "wapo-usage";
/// A later layout has another number.
const VERSION: u32 = 1;

/// Bytes of one line. A report with as many entries as it may have, each with its
/// proof, is below this; a longer line need not be read.
pub const LINE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The content of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UsageFile {
    /// Public key of the worker.
    pub worker: [u8; 32],
    /// Whose entries are in it; all when none is named.
    pub app: Option<AppAddress>,
    /// In the order of the file.
    pub reports: Vec<ExportedReport>,
}

/// Why a file cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct UsageFileError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    kind: String,
    version: u32,
    worker: String,
    app: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    seq: u64,
    report: String,
}

/// The first line of a file, with its end.
pub fn header(worker: &[u8; 32], app: Option<&AppAddress>) -> String {
    line_of(&Header {
        kind: KIND.to_owned(),
        version: VERSION,
        worker: to_hex(worker),
        app: app.map(|app| to_hex(app.0)),
    })
}

/// Whether these bytes are the beginning of a [`header`] that broke off.
pub fn begins_header(bytes: &[u8]) -> bool {
    let is_like = |written: u8, read: u8| {
        written == read || (written == b'0' && matches!(read, b'1'..=b'9' | b'a'..=b'f'))
    };
    let begins = |app: Option<&AppAddress>| {
        // Each digit of an address of zeros may be another one.
        let written = header(&[0; 32], app);
        let mut pairs = written.bytes().zip(bytes);
        bytes.len() < written.len() && pairs.all(|(written, read)| is_like(written, *read))
    };
    begins(None) || begins(Some(&AppAddress([0; 32])))
}

/// The line of a report, with its end.
pub fn line(report: &ExportedReport) -> String {
    line_of(&Line {
        seq: report.report.seq,
        report: to_hex(report.encode()),
    })
}

/// Reads a file. What is in it is not checked.
///
/// # Errors
///
/// [`UsageFileError`] for anything that [`header`] and [`line()`] do not write.
pub fn read(bytes: &[u8]) -> Result<UsageFile, UsageFileError> {
    let at = |line: usize| {
        move |reason: &str| UsageFileError {
            line,
            reason: reason.to_owned(),
        }
    };
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n').zip(1..);
    let (first, _) = lines.next().ok_or_else(|| at(1)("the file is empty"))?;
    let mut file = read_header(first).map_err(|reason| at(1)(&reason))?;
    for (text, number) in lines {
        let report = read_line(text).map_err(|reason| at(number)(&reason))?;
        file.reports.push(report);
    }
    Ok(file)
}

fn read_header(text: &[u8]) -> Result<UsageFile, String> {
    let Header {
        kind,
        version,
        worker,
        app,
    } = parse(text)?;
    if kind != KIND {
        return Err(format!("this is a `{kind}`, not a `{KIND}`"));
    }
    if version != VERSION {
        return Err(format!(
            "version {version} is not known here, only {VERSION} is"
        ));
    }
    let array = |text: &str| {
        <[u8; 32]>::try_from(from_hex(text)?).map_err(|_| "32 bytes are needed".to_owned())
    };
    let app = app.as_deref().map(array).transpose()?;
    let file = UsageFile {
        worker: array(&worker)?,
        app: app.map(AppAddress),
        reports: Vec::new(),
    };
    same(&header(&file.worker, file.app.as_ref()), text)?;
    Ok(file)
}

fn read_line(text: &[u8]) -> Result<ExportedReport, String> {
    let Line { report, .. } = parse(text)?;
    let report = statement::decode(&from_hex(&report)?).map_err(|error| error.to_string())?;
    same(&line(&report), text)?;
    Ok(report)
}

fn parse<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, String> {
    if text.len() > LINE_BYTES_MAX {
        return Err(format!("longer than {LINE_BYTES_MAX} bytes"));
    }
    serde_json::from_slice(text).map_err(|error| error.to_string())
}

/// Whether a line is what would be written.
fn same(written: &str, read: &[u8]) -> Result<(), String> {
    match written.as_bytes() == read {
        true => Ok(()),
        false if !read.ends_with(b"\n") => Err("the line does not end".to_owned()),
        false => Err("not as a worker's reports are written: the line was changed".to_owned()),
    }
}

fn line_of(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string(value).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statement::{Bounded, ReportEntries, UsageReport};

    fn report() -> ExportedReport {
        ExportedReport {
            report: UsageReport {
                version: 1,
                worker: [1; 32],
                session: [2; 32],
                seq: 3,
                previous: [0; 32],
                from_ms: 4,
                to_ms: 5,
                entries: [0; 32],
                count: 0,
            },
            signature: [7; 64],
            entries: ReportEntries::All(Bounded::default()),
        }
    }

    #[test]
    fn a_file_is_read_as_it_was_written_and_not_otherwise() {
        let app = AppAddress([9; 32]);
        let text = header(&[1; 32], Some(&app)) + &line(&report());
        let file = read(text.as_bytes()).expect("a file");
        assert_eq!((file.worker, file.app), ([1; 32], Some(app)));
        assert_eq!(file.reports, [report()]);
        let begin = "{\"kind\":\"wapo-usage\",\"version\":1,\"worker\":\"0x0101";
        assert!(text.starts_with(begin), "{text}");
        for (from, to) in [
            ("\"seq\":3", "\"seq\":4"),
            ("\"seq\":3", "\"seq\": 3"),
            ("0x01010203", "0X01010203"),
            ("\"version\":1", "\"version\":2"),
            ("wapo-usage", "wapo-worker-evidence"),
            ("}\n{", "}\n\n{"),
            ("}\n{", "} \n{"),
            ("\"app\":\"0x09", "\"app\":\"0x0909"),
            ("\"seq\":3,", "\"seq\":3,\"note\":1,"),
        ] {
            let changed = text.replacen(from, to, 1);
            if changed != text {
                assert!(read(changed.as_bytes()).is_err(), "{to}");
            }
        }
        let cut = read(&text.as_bytes()[..text.len() - 1]).expect_err("cut off");
        assert_eq!(
            (cut.line, cut.reason.as_str()),
            (2, "the line does not end")
        );
        assert!(read(b"").is_err());
    }

    #[test]
    fn a_first_line_that_broke_off_is_known_from_other_files() {
        for app in [None, Some(&AppAddress([0x9f; 32]))] {
            let whole = header(&[0xab; 32], app);
            for end in 0..whole.len() {
                assert!(begins_header(&whole.as_bytes()[..end]), "{end}");
            }
            assert!(!begins_header(whole.as_bytes()), "nothing broke off");
        }
        for other in [
            "x",
            "{}",
            "[",
            "{\"kind\":\"wapo-app",
            "{\"kind\":\"wapo-usage\",\"version\":2",
        ] {
            assert!(!begins_header(other.as_bytes()), "{other}");
        }
    }
}
