//! HTTPS on the daemon's own ports: where certificates and keys are.
//!
//! Part of a [`Layer`](super::Layer), resolved by `settings`.

use wapod::{Config, TlsFiles};

use super::picker::Picker;

const HTTPS: &str = "HTTPS";

/// What one source says.
#[derive(clap::Args, Clone, Default, Debug)]
pub(crate) struct Tls {
    /// Speak HTTPS at the gateway: PEM files of a certificate with its chain and of
    /// its key, or one that has both. Read again when they change.
    #[arg(long, value_name = "CERTIFICATE[,KEY]", help_heading = HTTPS)]
    pub(super) user_tls: Option<TlsFiles>,

    /// Speak HTTPS at the console and the operator's interface, the same way. Any
    /// other than a loopback address needs this.
    #[arg(long, value_name = "CERTIFICATE[,KEY]", help_heading = HTTPS)]
    pub(super) admin_tls: Option<TlsFiles>,

    /// Certificate of the TLS port, such as one for *.apps.example.com: names that it
    /// is for and that apps do not serve there are served as at the gateway.
    #[arg(long, value_name = "CERTIFICATE[,KEY]", help_heading = HTTPS)]
    pub(super) tls_certificate: Option<TlsFiles>,
}

/// Takes the files, and looks whether they can be used.
///
/// # Errors
///
/// A text of one line.
pub(super) fn files(mut picker: Picker<'_, Tls>, config: &mut Config) -> Result<(), String> {
    let mut take = |name: &'static str, of: fn(&Tls) -> Option<TlsFiles>| {
        let Some((files, source)) = picker.find(of) else {
            return Ok(None);
        };
        files.check().map_err(|error| format!("{name}: {error}"))?;
        picker.show(name, &files, source);
        Ok::<_, String>(Some(files))
    };
    let of_port = take("tls-certificate", |tls| tls.tls_certificate.clone())?;
    match &mut config.tls {
        Some(tls) => tls.certificate = of_port,
        None if of_port.is_some() => {
            return Err("tls-certificate: there is no tls-port that could use it".to_owned());
        }
        None => {}
    }
    config.user_tls = take("user-tls", |tls| tls.user_tls.clone())?;
    config.admin_tls = take("admin-tls", |tls| tls.admin_tls.clone())?;
    Ok(())
}
