//! What `cargo xtask dist --sgx` is told, and the values that follow from it.
//!
//! Everything here ends up in the manifest and so in the measurement of the enclave.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};

use super::enclave::{ENCLAVE_WORKERS, enclave_room};
use crate::process;

pub(crate) const USAGE: &str = "\
usage: cargo xtask dist --sgx [options] [-- ARGUMENTS OF WAPOD]

  --check                 what CI does: package in three ways, as with --dry-run, and check all of it
  --dry-run               render and check with what is there; needs no release build, no Gramine
  --key PATH              sign with this RSA-3072 key (exponent 3); gramine-sgx-sign has to be on the path
  --enclave-size SIZE     a power of two [default: 4G, with --edmm 1024G]
  --memory SIZE           of one instance [default: 128M]
  --instances N           [default: as many as fit, 128 at most]
  --workers N             threads that run tasks [default: 4]
  --seal mrenclave|mrsigner
                          who can read the data folder: this build, or all builds of the key [default: mrenclave]
  --svn N                 security version of this build [default: 0]
  --edmm                  pages are added as they are taken (SGX2)
  --rpc-threads N         switchless calls by N threads of the host, one for each that runs; costs cores [default: none]
  --config FILE           a wapod.toml, measured
  --key-from-policy FILE  whose key it takes with --key-from, measured
  --key-to-policy FILE    what may take its key, measured
  --from-host NAME        takes a variable from the host, not measured: RUST_LOG, WAPOD_ADMIN_TOKEN, all_proxy, i2p_proxy
  -o DIR                  [default: target/sgx]";

/// Variables that a host may set when the manifest says so.
pub(super) const FROM_HOST: &[&str] = &["RUST_LOG", "WAPOD_ADMIN_TOKEN", "all_proxy", "i2p_proxy"];

/// Options that name a policy about the worker's key: what it says has to be measured.
pub(super) const KEY_POLICIES: [&str; 2] = ["--key-from-policy", "--key-to-policy"];

/// Size of an enclave whose pages are all there from the start.
const ENCLAVE_SIZE: &str = "4G";
/// Address space of an enclave that takes pages as it needs them.
const EDMM_ENCLAVE_SIZE: &str = "1024G";
/// What Gramine can lay out at all.
const ENCLAVE_BYTES: std::ops::RangeInclusive<u64> = 512 << 20..=1 << 40;
/// Instances unless told otherwise, as the daemon has it.
const INSTANCES: u32 = 128;

/// To whom Gramine's key of the data folder belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Seal {
    /// This very build.
    Enclave,
    /// Every build that is signed with the same key.
    Signer,
}

impl Seal {
    /// Gramine's name of the key.
    pub(super) fn key_name(self) -> &'static str {
        match self {
            Self::Enclave => "_sgx_mrenclave",
            Self::Signer => "_sgx_mrsigner",
        }
    }
}

/// What was asked for.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) is_dry_run: bool,
    pub(super) key: Option<PathBuf>,
    pub(super) enclave_size: String,
    pub(super) memory: String,
    pub(super) instances: u32,
    pub(super) workers: usize,
    pub(super) seal: Seal,
    pub(super) svn: u16,
    pub(super) has_edmm: bool,
    pub(super) rpc_threads: usize,
    pub(super) config: Option<PathBuf>,
    /// Policies about the worker's key: the option, and the file.
    pub(super) policies: Vec<(&'static str, PathBuf)>,
    pub(super) from_host: Vec<String>,
    pub(super) output: PathBuf,
    /// Arguments of the daemon besides ours.
    pub(super) arguments: Vec<String>,
}

impl Options {
    /// Reads the command line behind `dist --sgx`.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and the usage.
    pub(super) fn parse(arguments: &[&str]) -> Result<Self> {
        let (mut ours, theirs) = match arguments.iter().position(|one| *one == "--") {
            Some(at) => (arguments[..at].iter(), &arguments[at + 1..]),
            None => (arguments.iter(), &[][..]),
        };
        let mut options = Self {
            is_dry_run: false,
            key: None,
            enclave_size: String::new(),
            memory: "128M".to_owned(),
            instances: 0,
            workers: ENCLAVE_WORKERS,
            seal: Seal::Enclave,
            svn: 0,
            has_edmm: false,
            rpc_threads: 0,
            config: None,
            policies: Vec::new(),
            from_host: Vec::new(),
            output: process::root().join("target/sgx"),
            arguments: theirs.iter().map(|one| (*one).to_owned()).collect(),
        };
        while let Some(name) = ours.next() {
            match *name {
                "--dry-run" => options.is_dry_run = true,
                "--edmm" => options.has_edmm = true,
                name => {
                    let value = ours.next().copied();
                    let value =
                        value.with_context(|| format!("{name} lacks a value\n\n{USAGE}"))?;
                    options.take(name, value)?;
                }
            }
        }
        options.decide()?;
        Ok(options)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<()> {
        if let Some(option) = KEY_POLICIES.iter().find(|option| **option == name) {
            self.policies.push((*option, std::path::absolute(value)?));
            return Ok(());
        }
        let number = || format!("{name}: `{value}` is no number that is possible");
        match name {
            "--key" => self.key = Some(std::path::absolute(value)?),
            "--enclave-size" => self.enclave_size = value.to_owned(),
            "--memory" => self.memory = value.to_owned(),
            "--instances" => self.instances = value.parse().with_context(number)?,
            "--workers" => self.workers = value.parse().with_context(number)?,
            "--svn" => self.svn = value.parse().with_context(number)?,
            "--rpc-threads" => self.rpc_threads = value.parse().with_context(number)?,
            "--config" => self.config = Some(std::path::absolute(value)?),
            "--from-host" => {
                ensure!(
                    FROM_HOST.contains(&value),
                    "--from-host {value}: only {} may come from the host",
                    FROM_HOST.join(", ")
                );
                self.from_host.push(value.to_owned());
            }
            "-o" => self.output = std::path::absolute(value)?,
            "--seal" => {
                self.seal = match value {
                    "mrenclave" => Seal::Enclave,
                    "mrsigner" => Seal::Signer,
                    other => bail!("--seal {other}: mrenclave or mrsigner"),
                }
            }
            other => bail!("no such option: {other}\n\n{USAGE}"),
        }
        Ok(())
    }

    /// Fills in what was not said, and refuses what does not fit.
    fn decide(&mut self) -> Result<()> {
        if self.enclave_size.is_empty() {
            let size = match self.has_edmm {
                true => EDMM_ENCLAVE_SIZE,
                false => ENCLAVE_SIZE,
            };
            self.enclave_size = size.to_owned();
        }
        let bytes = size(&self.enclave_size)?;
        ensure!(
            bytes.is_power_of_two() && ENCLAVE_BYTES.contains(&bytes),
            "--enclave-size {}: an enclave has a power of two, 512M to 1024G",
            self.enclave_size
        );
        let room = enclave_room(size(&self.memory)?, bytes);
        ensure!(
            room > 0,
            "an enclave of {} has no room for an instance of {}",
            self.enclave_size,
            self.memory
        );
        if self.instances == 0 {
            self.instances = room.min(INSTANCES);
        }
        ensure!(
            self.instances <= room,
            "an enclave of {} has room for {room} instances of {}, not for {}",
            self.enclave_size,
            self.memory,
            self.instances
        );
        ensure!(
            (1..=256).contains(&self.workers) && self.rpc_threads <= 256,
            "--workers 1 to 256, --rpc-threads 0 to 256"
        );
        Ok(())
    }

    /// The daemon's argument vector, from its name on.
    pub(super) fn argv(&self) -> Vec<String> {
        let ours = ["wapod", "-m", &self.memory, "-c"];
        let mut argv: Vec<String> = ours.map(str::to_owned).into();
        argv.push(self.instances.to_string());
        for (option, _) in &self.policies {
            argv.extend([(*option).to_owned(), policy_name(option)]);
        }
        argv.extend(self.arguments.iter().cloned());
        argv
    }
}

/// The file of a policy, in the folder and inside the enclave.
pub(super) fn policy_name(option: &str) -> String {
    format!("{}.toml", option.trim_start_matches('-'))
}

/// Reads a size as Gramine writes it: a number, with K, M or G behind it.
///
/// # Errors
///
/// It is none.
pub(super) fn size(text: &str) -> Result<u64> {
    let shift = match text.as_bytes().last() {
        Some(b'K') => 10,
        Some(b'M') => 20,
        Some(b'G') => 30,
        _ => 0,
    };
    let digits = text.trim_end_matches(['K', 'M', 'G']);
    let is_one = digits.len() + usize::from(shift > 0) == text.len();
    let number = digits.parse::<u64>().ok().filter(|_| is_one);
    let bytes = number.and_then(|number| number.checked_mul(1 << shift));
    bytes.with_context(|| format!("`{text}` is not a size such as 4G or 128M"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_numbers_with_one_letter() {
        assert_eq!(size("4G").ok(), Some(4 << 30));
        assert_eq!(size("65536").ok(), Some(65536));
        for bad in ["", "G", "4g", "4GG", "4T", "-1G", "99999999999G", "4.5G"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_with_numbers() {
        let error = |line: &[&str]| Options::parse(line).expect_err("refused").to_string();
        let full = error(&["--instances", "30"]);
        assert!(
            full.contains("room for 29 instances of 128M, not for 30"),
            "{full}"
        );
        assert!(error(&["--enclave-size", "3G"]).contains("power of two"));
        assert!(error(&["--memory", "4G"]).contains("no room"));
        assert!(error(&["--seal", "none"]).contains("mrsigner"));
        assert!(error(&["--from-host", "LD_PRELOAD"]).contains("may come"));
        assert!(error(&["--key"]).contains("lacks a value"));
        assert!(error(&["--workers", "0"]).contains("1 to 256"));
        assert!(error(&["--quick", "1"]).contains("no such option"));
    }

    #[test]
    fn arguments_behind_two_dashes_are_the_daemons() {
        let options = Options::parse(&["--dry-run", "--", "--user-port", "80"]).expect("options");
        let argv = options.argv();
        assert_eq!(
            argv,
            ["wapod", "-m", "128M", "-c", "29", "--user-port", "80"]
        );
        let policy = Options::parse(&["--key-to-policy", "p"]).expect("options");
        assert!(
            policy
                .argv()
                .ends_with(&["--key-to-policy", "key-to-policy.toml"].map(str::to_owned))
        );
        let edmm = Options::parse(&["--edmm"]).expect("options");
        assert_eq!((edmm.enclave_size.as_str(), edmm.instances), ("1024G", 128));
    }
}
