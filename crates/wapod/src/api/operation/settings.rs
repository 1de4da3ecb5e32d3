//! Settings of apps: from messages as the store has them, and back.
//!
//! Says nothing of quotas that come with a message: those are decided by the worker. Part
//! of the operator's calls.

use wapo_host::PortRanges;
use wapo_rpc::message::AppSettings;

use crate::api::quotas;
use crate::store::{Restart, Settings, ports_of_record};

/// What a deployment asks for.
///
/// # Errors
///
/// A text that names what cannot be.
pub(super) fn asked_settings(asked: AppSettings) -> Result<Settings, String> {
    let ports: Option<PortRanges> = match asked.listen_ports.as_str() {
        "" => None,
        text => Some(text.parse()?),
    };
    let (listen_ports, more_listen_ports) = ports_of_record(ports.as_ref());
    Ok(Settings {
        restart: match asked.restart_always {
            true => Restart::Always,
            false => Restart::OnFailure,
        },
        memory_max_bytes: Some(asked.memory_max).filter(|bytes| *bytes > 0),
        gas_max: Some(asked.gas_max).filter(|gas| *gas > 0),
        time_max_ms: None,
        weight: asked.weight,
        egress: asked.egress,
        pass_cookies: asked.pass_cookies,
        listen_ports,
        more_listen_ports,
        listen_on_loopback: false,
        requests_max: asked.requests_max,
        trace_calls: asked.trace_calls,
        log_to_daemon: asked.log_to_daemon,
        cors: asked.cors,
        egress_deny: asked.egress_deny,
        egress_only_allowed: asked.egress_only_allowed,
        // Decided with those of the app that it replaces.
        quotas: Vec::new(),
        attested: asked.attested,
    })
}

/// The settings that an app has.
pub(super) fn app_settings(settings: &Settings) -> AppSettings {
    let ports = settings.listen_ports().map(|ports| ports.to_string());
    AppSettings {
        restart_always: settings.restart == Restart::Always,
        memory_max: settings.memory_max_bytes.unwrap_or_default(),
        gas_max: settings.gas_max.unwrap_or_default(),
        weight: settings.weight,
        egress: settings.egress.clone(),
        pass_cookies: settings.pass_cookies,
        listen_ports: ports.unwrap_or_default(),
        instances: 0,
        requests_max: settings.requests_max,
        trace_calls: settings.trace_calls,
        log_to_daemon: settings.log_to_daemon,
        cors: settings.cors,
        egress_deny: settings.egress_deny.clone(),
        egress_only_allowed: settings.egress_only_allowed,
        quotas: quotas::pairs(settings),
        attested: settings.attested,
    }
}
