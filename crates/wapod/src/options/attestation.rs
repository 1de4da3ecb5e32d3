//! How the daemon proves what it runs in, and which settings that does not cover.
//!
//! Part of a [`Layer`](super::Layer), resolved by `settings`.

use std::path::PathBuf;

use wapod::{AttestationMode, Config};

use super::picker::Picker;

const ATTESTATION: &str = "Attestation";

/// Settings that change nothing of what an app may or of who can see it.
///
/// All others are in the claims of evidence when the host gave them.
const HARMLESS: [&str; 1] = ["log-format"];

/// What one source says.
#[derive(clap::Args, Clone, Default, Debug)]
pub(crate) struct Attestation {
    /// Source of quotes: auto (the hardware that is found), off, or simulator, whose
    /// quotes prove nothing and which verifiers refuse by default [default: auto].
    #[arg(long, value_name = "SOURCE", help_heading = ATTESTATION)]
    pub(super) attestation: Option<AttestationMode>,

    /// Service with collateral of SGX and TDX, such as https://pccs.example.com:8081.
    /// The collateral is passed on with evidence, for verifiers without a network
    /// [default: none].
    #[arg(long, value_name = "URL", help_heading = ATTESTATION)]
    pub(super) pccs: Option<String>,

    /// Folder of Gramine's files, for tests and unusual mounts [default:
    /// /dev/attestation].
    #[arg(long, value_name = "FOLDER", help_heading = ATTESTATION, hide_short_help = true)]
    pub(super) attestation_dir: Option<PathBuf>,

    /// Folder of the kernel's reports, for tests and unusual mounts [default:
    /// /sys/kernel/config/tsm/report].
    #[arg(long, value_name = "FOLDER", help_heading = ATTESTATION, hide_short_help = true)]
    pub(super) attestation_reports_dir: Option<PathBuf>,
}

/// What the measurement covers besides the program, by `WAPOD_MEASURED`.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Measured {
    pub(super) command_line: bool,
    pub(super) environment: bool,
    pub(super) file: bool,
}

impl std::str::FromStr for Measured {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut measured = Self::default();
        for word in text.split(',').map(str::trim) {
            match word {
                "command-line" => measured.command_line = true,
                "environment" => measured.environment = true,
                "file" => measured.file = true,
                _ => {
                    return Err(format!(
                        "`{word}`: write some of command-line, environment and file, with commas between"
                    ));
                }
            }
        }
        Ok(measured)
    }
}

/// Takes the settings of attestation. Comes last: it lists what the host decided.
pub(super) fn settings(
    mut picker: Picker<'_, Attestation>,
    config: &mut Config,
    measured: Measured,
) {
    let attestation = &mut config.attestation;
    attestation.mode = picker.pick("attestation", AttestationMode::Auto, |given| {
        given.attestation
    });
    let pccs = picker.find(|given| given.pccs.clone());
    attestation.pccs = pccs.map(|(url, source)| {
        picker.show("pccs", &url, source);
        url
    });
    let folders = [
        (
            "attestation-dir",
            &mut attestation.gramine_dir,
            picker.find(|given| given.attestation_dir.clone()),
        ),
        (
            "attestation-reports-dir",
            &mut attestation.reports_dir,
            picker.find(|given| given.attestation_reports_dir.clone()),
        ),
    ];
    for (name, slot, found) in folders {
        if let Some((path, source)) = found {
            picker.show(name, &path.display(), source);
            *slot = path;
        }
    }
    let rows = picker.rows();
    let of_host = rows.filter(|(name, source)| {
        let is_measured = match *source {
            "command line" => measured.command_line,
            "environment" => measured.environment,
            source if source.starts_with("default") => true,
            _ => measured.file,
        };
        !is_measured && !HARMLESS.contains(name)
    });
    attestation.host_controlled = of_host.map(|(name, _)| name.to_owned()).collect();
    attestation.host_controlled.sort_unstable();
    attestation.host_controlled.dedup();
}
