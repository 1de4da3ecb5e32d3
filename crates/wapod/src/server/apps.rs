//! Apps of the configuration, as the worker wants them. Called by `server`.

use std::time::Duration;

use wapo_host::net::policy::EgressDefault;
use wapo_rpc::{AppManifest, HostName};

use crate::config::AppConfig;
use crate::quotas;
use crate::store::{Settings, ports_of_record};
use crate::worker::{Deployment, Name};

/// What the worker is told about an app of the configuration.
pub(super) fn deployment(config: AppConfig, manifest: AppManifest) -> Deployment {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let (first, more) = ports_of_record(config.listen_ports.as_ref());
    Deployment {
        manifest,
        reuse_instances: true,
        name: HostName::from_label(&config.label)
            .map_or(Name::None, |name| Name::IfFree(name.to_string())),
        settings: Settings {
            restart: config.restart.into(),
            listen_ports: first,
            more_listen_ports: more,
            memory_max_bytes: config.memory_max_bytes,
            gas_max: config.gas_max,
            time_max_ms: config.time_max.map(millis),
            weight: config.weight.get(),
            egress: config.egress.iter().map(ToString::to_string).collect(),
            pass_cookies: false,
            listen_on_loopback: config.listen_on_loopback,
            requests_max: 0,
            trace_calls: config.trace_calls,
            log_to_daemon: false,
            cors: false,
            egress_deny: config.egress_deny.iter().map(ToString::to_string).collect(),
            egress_only_allowed: config.egress_default == EgressDefault::Nothing,
            quotas: Vec::new(),
            attested: config.attested,
        },
        quotas: quotas::changes_to(&config.quotas),
        instances: 1,
        replaces: None,
        waits: false,
        settle: None,
    }
}
