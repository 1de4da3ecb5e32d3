//! Settings for the handover of the worker's key: from which worker, and to which.
//!
//! Part of a [`Layer`](super::Layer), resolved by `settings`. Policies are files: in an
//! enclave, ones that are measured.

use std::path::{Path, PathBuf};

use wapo_rpc::client::TrustedCertificates;
use wapod::Config;
use wapod::config::{HandoverPolicy, KeySource};

use super::picker::Picker;
use super::small_file::read_small;

pub(super) const KEY: &str = "The worker's key";

/// Bytes of a policy. A thousand programs have less.
const POLICY_BYTES_MAX: u64 = 1 << 20;

/// Bytes of a file of certificates. The public authorities together have a quarter of it.
const CA_BYTES_MAX: u64 = 1 << 20;

/// What one source says.
#[derive(clap::Args, Clone, Default, Debug)]
pub(crate) struct Handover {
    /// When there is no key yet, take that of another worker, after each has verified
    /// the other: URL of its operator's interface, to which this worker's admin token
    /// is sent.
    #[arg(long, value_name = "URL", help_heading = KEY)]
    pub(super) key_from: Option<String>,

    /// Policy that the worker of --key-from has to meet, as for `wapo verify`, in
    /// TOML. It has to name programs.
    #[arg(long, value_name = "FILE", help_heading = KEY)]
    pub(super) key_from_policy: Option<PathBuf>,

    /// PEM file of certificates to trust at an https URL of --key-from, in place of the
    /// public authorities.
    #[arg(long, value_name = "FILE", help_heading = KEY)]
    pub(super) key_from_ca: Option<PathBuf>,

    /// Policy that another worker has to meet to get this one's key [default: no
    /// worker gets it].
    #[arg(long, value_name = "FILE", help_heading = KEY)]
    pub(super) key_to_policy: Option<PathBuf>,
}

/// Takes the settings. Reads the policies.
///
/// # Errors
///
/// A text of one line.
pub(super) fn settings(
    mut picker: Picker<'_, Handover>,
    config: &mut Config,
    in_enclave: bool,
) -> Result<(), String> {
    let from = picker.find(|handover| handover.key_from.clone());
    let from_policy = picker.find(|handover| handover.key_from_policy.clone());
    let to_policy = picker.find(|handover| handover.key_to_policy.clone());
    let mut policy = |name: &'static str, found: Option<(PathBuf, String)>| {
        let Some((path, source)) = found else {
            return Ok(None);
        };
        picker.show(name, &path.display(), source);
        if in_enclave && path.to_str() != Some(&format!("{name}.toml")) {
            return Err(format!(
                "{name}: in an enclave it is the file {name}.toml, which is measured: package it by `cargo xtask dist --sgx --{name} FILE`"
            ));
        }
        read(name, &path).map(Some)
    };
    let from_policy = policy("key-from-policy", from_policy)?;
    config.handover.to = policy("key-to-policy", to_policy)?;
    config.handover.from = match (from, from_policy) {
        (Some((url, source)), Some(policy)) => {
            picker.show("key-from", &url, source);
            let trusted = trusted(&mut picker)?;
            Some(KeySource {
                url,
                policy,
                trusted,
            })
        }
        (Some(_), None) => {
            return Err(
                "key-from: whose key may be taken is not said: name a key-from-policy".to_owned(),
            );
        }
        (None, _)
            if picker
                .find(|handover| handover.key_from_ca.clone())
                .is_some() =>
        {
            return Err(
                "key-from-ca: it is for the worker of key-from, which is not named".to_owned(),
            );
        }
        (None, _) => None,
    };
    Ok(())
}

/// The certificates that are trusted at the other worker; `None` for those of the public
/// authorities.
fn trusted(picker: &mut Picker<'_, Handover>) -> Result<Option<TrustedCertificates>, String> {
    let Some((path, source)) = picker.find(|handover| handover.key_from_ca.clone()) else {
        return Ok(None);
    };
    picker.show("key-from-ca", &path.display(), source);
    let failed =
        |error: &dyn std::fmt::Display| format!("key-from-ca: {}: {error}", path.display());
    let pem = read_small(&path, CA_BYTES_MAX).map_err(|error| failed(&error))?;
    let trusted = TrustedCertificates::from_pem(pem.as_bytes());
    trusted.map(Some).map_err(|error| failed(&error))
}

fn read(name: &str, path: &Path) -> Result<HandoverPolicy, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{name}: {}: {error}", path.display());
    let text = read_small(path, POLICY_BYTES_MAX).map_err(|error| failed(&error))?;
    HandoverPolicy::parse(&text).map_err(|error| failed(&error))
}
