//! The settings as one source has them: all optional.
//!
//! clap fills a layer from the command line. [`KEYS`] fills one by name, from
//! the environment and from the configuration file, so that a setting has one
//! name in all three. Which source decides is in `settings`. Used by the rest of
//! `options`.
//!
//! # Adding a setting
//!
//! 1. A field of [`Layer`], or of the part that it belongs to (`timeouts`, `tls`,
//!    `egress`, `acme`, `attestation`, `key`), whose help text says the default; and a
//!    row of [`KEYS`]. One that may be a list in the file is in `config_file::LISTS`, too.
//! 2. A field of `wapod::Config` (`config.rs`), whose default and range are constants of
//!    `wapod::limits` or of `settings.rs`.
//! 3. `settings.rs`, or the function of the part: `Picker::pick` takes the value of the
//!    first source that has one; what cannot work is refused there, in one line. A time
//!    of HTTP is a row of `timeouts::TIMEOUTS` instead.
//! 4. A test in `tests.rs`, and a line in the table of `docs/operating.md`. Tests there
//!    compare options, [`KEYS`] and the table.

use std::convert::Infallible;
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use wapo_host::net::proxy::Proxy;
use wapod::mistakes::{self, value};
use wapod::{AdminToken, ByteSize, ProxyProtocol, QuotaList};

use super::acme::Acme;
use super::attestation::Attestation;
use super::egress::Egress;
use super::key::Key;
use super::timeouts::TimeoutOptions;
use super::tls::Tls;
use super::values::{AppPorts, Domain, LogFormat, Networks, Place, Seconds, TlsPort};

const FOLDER: &str = "Folder and settings";
const APPS: &str = "Apps";
const ADDRESSES: &str = "Addresses";
const RUNNING: &str = "Running";

/// Settings of one source.
#[derive(clap::Args, Clone, Default, Debug)]
pub(crate) struct Layer {
    /// Folder of the worker's key, state and blobs [default: data].
    #[arg(long, value_name = "FOLDER", global = true, help_heading = FOLDER)]
    pub(super) data_dir: Option<PathBuf>,

    /// Memory that one instance may have, such as 64M or 1g [default: 128M].
    #[arg(
        short = 'm',
        long,
        value_name = "SIZE",
        alias = "memory",
        help_heading = APPS
    )]
    pub(super) instance_memory_size: Option<ByteSize>,

    /// Instances that may exist at a time [default: 128].
    #[arg(short = 'c', long, value_name = "N", value_parser = value::<u32>, help_heading = APPS)]
    pub(super) max_instances: Option<u32>,

    /// Connections to the user port at a time [default: 4096].
    #[arg(long, value_name = "N", value_parser = value::<u32>, help_heading = ADDRESSES)]
    pub(super) max_connections: Option<u32>,

    /// Memory that all instances may have together [default: what the machine or
    /// the control group has, less an eighth].
    #[arg(long, value_name = "SIZE", help_heading = APPS)]
    pub(super) memory_budget: Option<ByteSize>,

    /// Ports that apps may listen on by themselves, both included, or `none`
    /// [default: none].
    #[arg(short = 'l', long, value_name = "A..B", help_heading = APPS)]
    pub(super) tcp_listen_port_range: Option<AppPorts>,

    /// Quotas of each app that has none of its own, such as
    /// connections-in=1000,egress-per-second=10M,cpu=0.5 [default: none].
    #[arg(long, value_name = "NAME=VALUE,...", help_heading = APPS)]
    pub(super) quotas: Option<QuotaList>,

    /// Quotas of all apps together, in the same form [default: none].
    #[arg(long, value_name = "NAME=VALUE,...", help_heading = APPS)]
    pub(super) worker_quotas: Option<QuotaList>,

    /// Time for which an instance that a request has started takes requests [default:
    /// 60].
    #[arg(long, value_name = "SECONDS", help_heading = APPS)]
    pub(super) on_demand_instance_time_secs: Option<Seconds>,

    /// Allocate the memory of instances when it is needed and without guard
    /// regions, as inside an enclave. Slower.
    #[arg(
        long,
        action = clap::ArgAction::Set,
        num_args = 0,
        default_missing_value = "true",
        help_heading = APPS
    )]
    pub(super) no_mem_pool: Option<bool>,

    /// Start without starting any app, to look at them, stop and remove them. An
    /// app starts only when the operator starts or deploys it.
    #[arg(
        long,
        action = clap::ArgAction::Set,
        num_args = 0,
        default_missing_value = "true",
        help_heading = RUNNING
    )]
    pub(super) safe_mode: Option<bool>,

    /// Without effect: the worker decides how many compiled modules stay in
    /// memory, and has all of them on disk.
    #[arg(
        long,
        value_name = "N",
        value_parser = value::<u32>,
        help_heading = APPS,
        hide_short_help = true
    )]
    pub(super) module_cache_size: Option<u32>,

    /// Where the console and the operator's interface listen [default:
    /// 127.0.0.1:8001]. Any other than a loopback address needs a token and a
    /// certificate (--admin-tls).
    #[arg(long, value_name = "IP[:PORT]", help_heading = ADDRESSES)]
    pub(super) admin_address: Option<Place>,

    /// Port of the console and the operator's interface [default: 8001].
    #[arg(long, value_name = "PORT", value_parser = value::<u16>, help_heading = ADDRESSES)]
    pub(super) admin_port: Option<u16>,

    /// File with the token of the operator's interface.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "admin_api_token",
        help_heading = ADDRESSES
    )]
    pub(super) admin_token_file: Option<PathBuf>,

    /// The token itself. Every user of the machine can see it in the list of
    /// processes: better use --admin-token-file or WAPOD_ADMIN_TOKEN.
    #[arg(
        short = 't',
        long,
        value_name = "TOKEN",
        value_parser = token,
        help_heading = ADDRESSES
    )]
    pub(super) admin_api_token: Option<AdminToken>,

    /// Where the gateway to the apps listens [default: 127.0.0.1:8002].
    #[arg(long, value_name = "IP[:PORT]", help_heading = ADDRESSES)]
    pub(super) user_address: Option<Place>,

    /// Port of the gateway to the apps [default: 8002].
    #[arg(long, value_name = "PORT", value_parser = value::<u16>, help_heading = ADDRESSES)]
    pub(super) user_port: Option<u16>,

    /// Port that apps share for TLS: each gets the connections for the server names
    /// that it serves; or `none` [default: none].
    #[arg(long, value_name = "PORT", help_heading = ADDRESSES)]
    pub(super) tls_port: Option<TlsPort>,

    /// Where that port listens [default: 0.0.0.0].
    #[arg(long, value_name = "IP[:PORT]", help_heading = ADDRESSES)]
    pub(super) tls_address: Option<Place>,

    /// Accept certificates of apps for the TLS port from any signer, and expired
    /// ones. They still have to be for the name.
    #[arg(
        long,
        action = clap::ArgAction::Set,
        num_args = 0,
        default_missing_value = "true",
        help_heading = ADDRESSES
    )]
    pub(super) do_not_verify_tls_server_cert: Option<bool>,

    /// Domain below which each app has a host name [default: localhost].
    #[arg(long, value_name = "DOMAIN", help_heading = ADDRESSES)]
    pub(super) base_domain: Option<Domain>,

    /// Reverse proxies that are trusted to name clients (`X-Forwarded-For` and the
    /// like), such as 127.0.0.1,10.0.0.0/8 [default: none].
    #[arg(long, value_name = "NETWORKS", help_heading = ADDRESSES)]
    pub(super) trusted_proxies: Option<Networks>,

    /// Where these proxies begin each connection with a PROXY header (version 1 or
    /// 2): some of user (the gateway), tls (--tls-port) and apps (ports of apps that
    /// ask for it), with commas between. Other clients send no header [default:
    /// none].
    #[arg(long, value_name = "LISTENERS", help_heading = ADDRESSES)]
    pub(super) proxy_protocol: Option<ProxyProtocol>,

    #[command(flatten)]
    pub(super) egress: Egress,

    /// Let apps connect directly, whatever proxy is set in the environment (all_proxy,
    /// https_proxy) or elsewhere.
    #[arg(
        long,
        action = clap::ArgAction::Set,
        num_args = 0,
        default_missing_value = "true",
        help_heading = RUNNING
    )]
    pub(super) ignore_proxy: Option<bool>,

    /// Format of the log: text or json [default: text].
    #[arg(long, value_name = "FORMAT", help_heading = RUNNING)]
    pub(super) log_format: Option<LogFormat>,

    /// Time that requests and connections in flight get when the daemon or an app
    /// stops [default: 10].
    #[arg(long, value_name = "SECONDS", help_heading = RUNNING)]
    pub(super) drain_grace: Option<Seconds>,

    /// Time that a new version of an app has to stay alive before the old one
    /// leaves [default: 1].
    #[arg(long, value_name = "SECONDS", help_heading = RUNNING)]
    pub(super) settle: Option<Seconds>,

    /// Time between two reports of usage, the links of the bill [default: 60].
    #[arg(long, value_name = "SECONDS", help_heading = RUNNING)]
    pub(super) usage_interval: Option<Seconds>,

    #[command(flatten)]
    pub(super) timeouts: TimeoutOptions,

    #[command(flatten)]
    pub(super) tls: Tls,

    #[command(flatten)]
    pub(super) acme: Acme,

    #[command(flatten)]
    pub(super) attestation: Attestation,

    #[command(flatten)]
    pub(super) key: Key,
}

/// Takes any text: clap would repeat a refused one.
fn token(text: &str) -> Result<AdminToken, Infallible> {
    Ok(AdminToken(text.to_owned()))
}

/// Sets a setting of a layer from a text.
type Set = fn(&mut Layer, &str) -> Result<(), String>;

/// Every setting by its name, which is that of the option.
pub(super) const KEYS: &[(&str, Set)] = &[
    ("data-dir", |layer, text| set(&mut layer.data_dir, text)),
    ("instance-memory-size", |layer, text| {
        set(&mut layer.instance_memory_size, text)
    }),
    ("max-instances", |layer, text| {
        set(&mut layer.max_instances, text)
    }),
    ("max-connections", |layer, text| {
        set(&mut layer.max_connections, text)
    }),
    ("memory-budget", |layer, text| {
        set(&mut layer.memory_budget, text)
    }),
    ("tcp-listen-port-range", |layer, text| {
        set(&mut layer.tcp_listen_port_range, text)
    }),
    ("quotas", |layer, text| set(&mut layer.quotas, text)),
    ("worker-quotas", |layer, text| {
        set(&mut layer.worker_quotas, text)
    }),
    ("on-demand-instance-time-secs", |layer, text| {
        set(&mut layer.on_demand_instance_time_secs, text)
    }),
    ("no-mem-pool", |layer, text| {
        set(&mut layer.no_mem_pool, text)
    }),
    ("safe-mode", |layer, text| set(&mut layer.safe_mode, text)),
    ("module-cache-size", |layer, text| {
        set(&mut layer.module_cache_size, text)
    }),
    ("admin-address", |layer, text| {
        set(&mut layer.admin_address, text)
    }),
    ("admin-port", |layer, text| set(&mut layer.admin_port, text)),
    ("admin-token-file", |layer, text| {
        set(&mut layer.admin_token_file, text)
    }),
    ("user-address", |layer, text| {
        set(&mut layer.user_address, text)
    }),
    ("user-port", |layer, text| set(&mut layer.user_port, text)),
    ("base-domain", |layer, text| {
        set(&mut layer.base_domain, text)
    }),
    ("trusted-proxies", |layer, text| {
        set(&mut layer.trusted_proxies, text)
    }),
    ("proxy-protocol", |layer, text| {
        set(&mut layer.proxy_protocol, text)
    }),
    ("egress-allow", |layer, text| {
        set(&mut layer.egress.egress_allow, text)
    }),
    ("egress-deny", |layer, text| {
        set(&mut layer.egress.egress_deny, text)
    }),
    ("egress-default", |layer, text| {
        set(&mut layer.egress.egress_default, text)
    }),
    ("egress-audit", |layer, text| {
        set(&mut layer.egress.egress_audit, text)
    }),
    ("all-proxy", |layer, text| {
        proxy(&mut layer.egress.all_proxy, text)
    }),
    ("i2p-proxy", |layer, text| {
        proxy(&mut layer.egress.i2p_proxy, text)
    }),
    ("tls-port", |layer, text| set(&mut layer.tls_port, text)),
    ("tls-address", |layer, text| {
        set(&mut layer.tls_address, text)
    }),
    ("do-not-verify-tls-server-cert", |layer, text| {
        set(&mut layer.do_not_verify_tls_server_cert, text)
    }),
    ("ignore-proxy", |layer, text| {
        set(&mut layer.ignore_proxy, text)
    }),
    ("log-format", |layer, text| set(&mut layer.log_format, text)),
    ("drain-grace", |layer, text| {
        set(&mut layer.drain_grace, text)
    }),
    ("settle", |layer, text| set(&mut layer.settle, text)),
    ("usage-interval", |layer, text| {
        set(&mut layer.usage_interval, text)
    }),
    ("idle-timeout", |layer, text| {
        set(&mut layer.timeouts.idle_timeout, text)
    }),
    ("head-timeout", |layer, text| {
        set(&mut layer.timeouts.head_timeout, text)
    }),
    ("body-timeout", |layer, text| {
        set(&mut layer.timeouts.body_timeout, text)
    }),
    ("write-timeout", |layer, text| {
        set(&mut layer.timeouts.write_timeout, text)
    }),
    ("response-timeout", |layer, text| {
        set(&mut layer.timeouts.response_timeout, text)
    }),
    ("query-timeout", |layer, text| {
        set(&mut layer.timeouts.query_timeout, text)
    }),
    ("user-tls", |layer, text| set(&mut layer.tls.user_tls, text)),
    ("attestation", |layer, text| {
        set(&mut layer.attestation.attestation, text)
    }),
    ("pccs", |layer, text| set(&mut layer.attestation.pccs, text)),
    ("attestation-dir", |layer, text| {
        set(&mut layer.attestation.attestation_dir, text)
    }),
    ("attestation-reports-dir", |layer, text| {
        set(&mut layer.attestation.attestation_reports_dir, text)
    }),
    ("acme", |layer, text| set(&mut layer.acme.acme, text)),
    ("acme-agree-to-terms", |layer, text| {
        set(&mut layer.acme.acme_agree_to_terms, text)
    }),
    ("acme-contact", |layer, text| {
        set(&mut layer.acme.acme_contact, text)
    }),
    ("acme-root", |layer, text| {
        set(&mut layer.acme.acme_root, text)
    }),
    ("acme-app-names", |layer, text| {
        set(&mut layer.acme.acme_app_names, text)
    }),
    ("tls-certificate", |layer, text| {
        set(&mut layer.tls.tls_certificate, text)
    }),
    ("worker-key", |layer, text| {
        set(&mut layer.key.worker_key, text)
    }),
    ("key-passphrase-file", |layer, text| {
        set(&mut layer.key.key_passphrase_file, text)
    }),
    ("key-command", |layer, text| {
        set(&mut layer.key.key_command, text)
    }),
    ("key-from", |layer, text| {
        set(&mut layer.key.handover.key_from, text)
    }),
    ("key-from-ca", |layer, text| {
        set(&mut layer.key.handover.key_from_ca, text)
    }),
    ("key-from-policy", |layer, text| {
        set(&mut layer.key.handover.key_from_policy, text)
    }),
    ("key-to-policy", |layer, text| {
        set(&mut layer.key.handover.key_to_policy, text)
    }),
    ("admin-tls", |layer, text| {
        set(&mut layer.tls.admin_tls, text)
    }),
];

/// The setting that the user may have meant.
pub(super) fn similar(name: &str) -> Option<&'static str> {
    mistakes::similar(name, KEYS.iter().map(|(known, _)| *known))
}

fn set<T: FromStr<Err: Display>>(slot: &mut Option<T>, text: &str) -> Result<(), String> {
    *slot = Some(value(text)?);
    Ok(())
}

/// Takes a proxy. An empty text is none, as in what `--check-config` shows.
fn proxy(slot: &mut Option<Proxy>, text: &str) -> Result<(), String> {
    *slot = match text {
        "" => None,
        text => Some(text.parse::<Proxy>().map_err(|error| error.to_string())?),
    };
    Ok(())
}

impl Layer {
    /// Refuses what contradicts itself within one source.
    ///
    /// # Errors
    ///
    /// A text that names the source.
    pub(super) fn check(&self, source: &str) -> Result<(), String> {
        let places = [
            ("admin", self.admin_address, self.admin_port),
            ("user", self.user_address, self.user_port),
            (
                "tls",
                self.tls_address,
                self.tls_port.and_then(|TlsPort(port)| port),
            ),
        ];
        for (name, place, port) in places {
            if let (Some(of_place), Some(port)) = (place.and_then(|place| place.port), port)
                && of_place != port
            {
                return Err(format!(
                    "{source}: {name}-address says port {of_place}, {name}-port says {port}"
                ));
            }
        }
        if self.admin_api_token.is_some() && self.admin_token_file.is_some() {
            return Err(format!("{source}: there are a token and a file with one"));
        }
        self.key.check(source)
    }
}
