//! The environment: read here, once, and nowhere else.

use std::ffi::OsString;

use wapo_host::net::proxy::Proxy;
use wapod::config::Passphrase;
use wapod::{AdminToken, ByteSize};

use super::attestation::Measured;
use super::egress::ProxyVariables;
use super::layer::{KEYS, Layer, similar};

/// Variables of Wapo 0.x that configured its web servers by these prefixes.
const SERVERS: [&str; 2] = ["WAPOD_ADMIN_", "WAPOD_USER_"];

/// What the environment says.
#[derive(Default, Debug)]
pub(crate) struct Environment {
    pub(super) layer: Layer,
    pub(super) enclave_bytes: Option<ByteSize>,
    /// What an enclave's measurement covers.
    pub(super) measured: Measured,
    /// What to log, as `RUST_LOG` has it.
    pub(crate) log_filter: Option<String>,
    /// Whether nothing about apps may be logged.
    pub(crate) is_log_sanitized: bool,
    /// Whether colours are unwelcome.
    pub(crate) has_no_color: bool,
    /// Variables that name a proxy for the apps' connections.
    pub(super) proxies: ProxyVariables,
    pub(super) warnings: Vec<String>,
}

impl Environment {
    /// Reads the variables of the process.
    ///
    /// # Errors
    ///
    /// A text that names the variable.
    pub(crate) fn read() -> Result<Self, String> {
        Self::of(std::env::vars_os())
    }

    /// Reads these variables. Empty ones count as absent.
    pub(super) fn of(
        variables: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Self, String> {
        let mut environment = Self::default();
        // In order, so that what is read last does not depend on the shell.
        let mut variables: Vec<_> = variables.collect();
        variables.sort_unstable();
        for (name, value) in variables {
            let Some(name) = name.to_str() else { continue };
            let is_ours =
                name.starts_with("WAPOD_") || OTHERS.contains(&name) || PROXIES.contains(&name);
            if !is_ours || value.is_empty() {
                continue;
            }
            // The value is not repeated: it may be a token.
            let value = value
                .into_string()
                .map_err(|_| format!("{name} is not valid UTF-8"))?;
            environment.take(name, value)?;
        }
        environment.warnings.sort_unstable();
        Ok(environment)
    }

    fn take(&mut self, name: &str, value: String) -> Result<(), String> {
        let fails = |error: String| format!("{name}: {error}");
        match name {
            "WAPOD_ADMIN_TOKEN" => self.layer.admin_api_token = Some(AdminToken(value)),
            "WAPOD_KEY_PASSPHRASE" => {
                let passphrase = Passphrase::new(value.into_bytes()).map_err(fails)?;
                self.layer.key.key_passphrase = Some(passphrase);
            }
            "WAPOD_ENCLAVE_SIZE" => {
                self.enclave_bytes = Some(value.parse().map_err(fails)?);
            }
            "WAPOD_MEASURED" => self.measured = value.parse().map_err(fails)?,
            "RUST_LOG" => self.log_filter = Some(value),
            "RUST_LOG_SANITIZED" => self.is_log_sanitized = value == "true",
            "NO_COLOR" => self.has_no_color = true,
            name if PROXIES.contains(&name) => self.take_proxy(name, &value),
            _ => {
                let key = name.strip_prefix("WAPOD_").unwrap_or(name);
                let key = key.to_ascii_lowercase().replace('_', "-");
                match KEYS.iter().find(|(known, _)| *known == key) {
                    Some((_, set)) => set(&mut self.layer, &value).map_err(fails)?,
                    None if SERVERS.iter().any(|prefix| name.starts_with(prefix)) => {
                        self.warnings.push(format!(
                            "{name} has no effect: of the web servers, only ADDRESS and PORT can be set"
                        ));
                    }
                    None => self.warnings.push(match similar(&key) {
                        Some(key) => format!(
                            "{name} is not known; did you mean WAPOD_{}?",
                            key.to_ascii_uppercase().replace('-', "_")
                        ),
                        None => format!("{name} is not known"),
                    }),
                }
            }
        }
        Ok(())
    }
}

impl Environment {
    /// Whether it can be used is decided later: it may be ignored.
    fn take_proxy(&mut self, name: &str, value: &str) {
        self.proxies.names.push(name.to_owned());
        let slot = match name {
            "all_proxy" | "ALL_PROXY" => &mut self.layer.egress.all_proxy,
            "i2p_proxy" => &mut self.layer.egress.i2p_proxy,
            _ => return,
        };
        let error = match value.parse::<Proxy>() {
            Ok(proxy) if slot.as_ref().is_none_or(|other| *other == proxy) => {
                *slot = Some(proxy);
                return;
            }
            Ok(_) => "another variable names another proxy".to_owned(),
            Err(error) => error.to_string(),
        };
        let error = format!("{name} in the environment: {error}");
        self.proxies.errors.push(error);
    }
}

/// Variables that have not our prefix.
const OTHERS: [&str; 3] = ["RUST_LOG", "RUST_LOG_SANITIZED", "NO_COLOR"];

/// Variables by which programs are told to connect through a proxy. A user who sets
/// one may rely on it to stay hidden, so it must not be passed over.
const PROXIES: [&str; 5] = [
    "all_proxy",
    "ALL_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "i2p_proxy",
];
