//! The options that `wapo-run` of Wapo 0.x had and `wapo run` calls otherwise:
//! some work, the others are refused with what to do instead. Used by `run`.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use wapod::ByteSize;
use wapod::mistakes::value;

/// A page of linear memory.
const PAGE_BYTES: u64 = 64 << 10;

/// Options of `wapo-run`.
#[derive(Args, Debug, Default)]
pub(crate) struct Former {
    /// Memory in pages of 64 KiB.
    #[arg(
        short = 'M',
        long,
        value_name = "N",
        value_parser = value::<u32>,
        conflicts_with = "memory",
        hide = true
    )]
    max_memory_pages: Option<u32>,

    /// End the app after so many seconds.
    #[arg(short = 'T', long, value_name = "SECONDS", value_parser = value::<u64>, hide = true)]
    kill_timeout: Option<u64>,

    #[arg(short = 'j', long, hide = true)]
    decode_js_value: bool,

    #[arg(short = 'c', long, value_name = "NAME", hide = true)]
    compiler: Option<String>,

    #[arg(long, value_name = "N", value_parser = value::<u64>, hide = true)]
    tick_time_ms: Option<u64>,

    #[arg(long, value_name = "N", value_parser = value::<u64>, hide = true)]
    epoch_deadline: Option<u64>,

    /// Refuse certificates for the TLS port that no trusted authority has signed.
    #[arg(long, hide = true)]
    verify_tls_server_cert: bool,
}

impl Former {
    /// Refuses what has no meaning here.
    ///
    /// # Errors
    ///
    /// What to do instead.
    pub(crate) fn check(&self) -> Result<()> {
        if self.decode_js_value {
            bail!("-j: an app has no output to decode; what it prints is shown as it is");
        }
        if self.compiler.is_some() {
            bail!("-c: there is one compiler; leave the option out");
        }
        if self.tick_time_ms.is_some() || self.epoch_deadline.is_some() {
            bail!(
                "--tick-time-ms, --epoch-deadline: slices are counted in instructions; leave the option out"
            );
        }
        Ok(())
    }

    /// Whether certificates for the TLS port have to be signed by a trusted root.
    pub(crate) fn verifies_certificates(&self) -> bool {
        self.verify_tls_server_cert
    }

    /// Memory that was given in pages.
    pub(crate) fn memory(&self) -> Option<ByteSize> {
        let pages = self.max_memory_pages?;
        Some(ByteSize(u64::from(pages) * PAGE_BYTES))
    }

    /// Time after which the app is ended.
    pub(crate) fn time_max(&self) -> Option<Duration> {
        self.kill_timeout.map(Duration::from_secs)
    }
}

/// Arguments for the app: one that is `@FILE` is the text of that file, and one
/// that begins with `@@` begins with `@`.
///
/// # Errors
///
/// A file cannot be read.
pub(crate) fn arguments(given: &[String]) -> Result<Vec<String>> {
    let argument = |text: &String| {
        match text.strip_prefix('@') {
        None => Ok(text.clone()),
        Some(literal) if literal.starts_with('@') => Ok(literal.to_owned()),
        Some(file) => std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {file}, which the argument `{text}` names; write `@{text}` to pass the argument itself")),
    }
    };
    given.iter().map(argument).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_can_be_the_text_of_a_file() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("text");
        std::fs::write(&path, "long\ntext").expect("written");
        let given = [
            "a".to_owned(),
            format!("@{}", path.display()),
            "@@b".to_owned(),
        ];
        assert_eq!(arguments(&given).expect("read"), ["a", "long\ntext", "@b"]);
        let missing = arguments(&["@nowhere".to_owned()]).expect_err("no such file");
        assert!(
            missing.to_string().contains("write `@@nowhere`"),
            "{missing}"
        );
    }

    #[test]
    fn what_has_no_meaning_is_refused_with_what_to_do() {
        let refused = |former: Former| former.check().expect_err("refused").to_string();
        let decode_js_value = true;
        assert!(
            refused(Former {
                decode_js_value,
                ..Former::default()
            })
            .contains("-j")
        );
        let compiler = Some("winch".to_owned());
        assert!(
            refused(Former {
                compiler,
                ..Former::default()
            })
            .contains("one compiler")
        );
        let epoch_deadline = Some(20);
        assert!(
            refused(Former {
                epoch_deadline,
                ..Former::default()
            })
            .contains("slices")
        );
        let max_memory_pages = Some(256);
        let former = Former {
            max_memory_pages,
            ..Former::default()
        };
        assert!(former.check().is_ok());
        assert_eq!(former.memory(), Some(ByteSize(16 << 20)));
    }
}
