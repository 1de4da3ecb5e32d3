//! Settings for certificates by ACME: from which authority, and for which names.
//!
//! Part of a [`Layer`](super::Layer), resolved by `settings`.

use std::path::PathBuf;

use wapod::config::read_trust_roots;
use wapod::limits::ACME_RETRY_MIN;
use wapod::{AcmeSettings, Config};

use super::picker::Picker;

const HTTPS: &str = "HTTPS";

/// Directories that have names of their own.
const KNOWN: [(&str, &str); 2] = [
    (
        "letsencrypt",
        "https://acme-v02.api.letsencrypt.org/directory",
    ),
    (
        "letsencrypt-staging",
        "https://acme-staging-v02.api.letsencrypt.org/directory",
    ),
];

/// What one source says.
#[derive(clap::Args, Clone, Default, Debug)]
pub(crate) struct Acme {
    /// Get certificates for the TLS port from an authority, for the base domain and the
    /// domains of apps: letsencrypt, letsencrypt-staging, or the URL of an ACME directory
    /// [default: none].
    #[arg(long, value_name = "URL", help_heading = HTTPS)]
    pub(super) acme: Option<String>,

    /// Agree to the authority's terms of service. Without this no certificate is
    /// requested.
    #[arg(
        long,
        action = clap::ArgAction::Set,
        num_args = 0,
        default_missing_value = "true",
        help_heading = HTTPS
    )]
    pub(super) acme_agree_to_terms: Option<bool>,

    /// Email address for messages of the authority [default: none].
    #[arg(long, value_name = "ADDRESS", help_heading = HTTPS)]
    pub(super) acme_contact: Option<String>,

    /// PEM file of roots to trust for the authority's server besides the public ones.
    #[arg(long, value_name = "FILE", help_heading = HTTPS)]
    pub(super) acme_root: Option<PathBuf>,

    /// Get certificates for the host names of apps below the base domain, too.
    /// Authorities allow some ten new ones a week.
    #[arg(
        long,
        action = clap::ArgAction::Set,
        num_args = 0,
        default_missing_value = "true",
        help_heading = HTTPS
    )]
    pub(super) acme_app_names: Option<bool>,
}

/// Takes these settings.
///
/// # Errors
///
/// A text of one line.
pub(super) fn settings(mut picker: Picker<'_, Acme>, config: &mut Config) -> Result<(), String> {
    let Some((text, source)) = picker.find(|acme| acme.acme.clone()) else {
        return Ok(());
    };
    if text == "none" {
        return Ok(());
    }
    picker.show("acme", &text, source);
    let known = KNOWN.iter().find(|(name, _)| *name == text);
    let directory_url = known.map_or_else(|| text.clone(), |(_, url)| (*url).to_owned());
    if !directory_url.starts_with("https://") {
        return Err(format!(
            "acme: `{text}` is no URL of a directory: write letsencrypt, or one that begins with https://"
        ));
    }
    if !picker.pick("acme-agree-to-terms", false, |acme| {
        acme.acme_agree_to_terms
    }) {
        return Err(
            "acme: read the authority's terms of service and agree with --acme-agree-to-terms"
                .to_owned(),
        );
    }
    if config.tls.is_none() {
        return Err("acme: there is no tls-port that could use the certificates".to_owned());
    }
    let contact = picker.find(|acme| acme.acme_contact.clone());
    let contact = contact.map(|(contact, source)| {
        picker.show("acme-contact", &contact, source);
        contact
    });
    if contact
        .as_ref()
        .is_some_and(|contact| !contact.contains('@') || contact.contains(char::is_whitespace))
    {
        return Err("acme-contact: write an address of mail, without `mailto:`".to_owned());
    }
    let roots = picker.find(|acme| acme.acme_root.clone());
    let roots = match roots {
        Some((path, source)) => {
            picker.show("acme-root", &path.display(), source);
            read_trust_roots(&path).map_err(|error| format!("acme-root: {error}"))?
        }
        None => Vec::new(),
    };
    config.acme = Some(AcmeSettings {
        directory_url,
        contact,
        roots,
        app_names: picker.pick("acme-app-names", false, |acme| acme.acme_app_names),
        retry: ACME_RETRY_MIN,
    });
    Ok(())
}
