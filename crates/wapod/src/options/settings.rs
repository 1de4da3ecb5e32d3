//! From three layers to the settings that count.

use std::fmt::{self, Display};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use wapod::limits::{
    CONNECTIONS_RANGE, DRAIN_GRACE, ENCLAVE_RESERVE_BYTES, ON_DEMAND_TIME, REPORT_INTERVAL, SETTLE,
    enclave_room,
};
use wapod::{
    AdminToken, Allocation, ByteSize, Config, ProxyProtocol, QuotaList, TlsSettings, system,
};

use super::acme;
use super::attestation;
use super::egress::{self, ProxyVariables};
use super::handover;
use super::key;
use super::layer::Layer;
use super::picker::{Picker, Row, Sources};
use super::small_file::read_small;
use super::timeouts::{TIMEOUTS, Timeout};
use super::tls;
use super::values::{AppPorts, Domain, LogFormat, Networks, Place, Seconds, TlsPort};

/// Folder of everything that lasts, unless the operator says otherwise.
const DATA_DIR: &str = "data";
/// Linear memory of an instance unless the operator says otherwise.
const INSTANCE_MEMORY_BYTES: u64 = 128 << 20;
/// A page of linear memory, and all that 32 bits can address.
const INSTANCE_MEMORY_RANGE: std::ops::RangeInclusive<u64> = 64 << 10..=4 << 30;
/// Slots for instances unless the operator says otherwise.
const INSTANCES: u32 = 128;
const ADMIN_PORT: u16 = 8001;
const USER_PORT: u16 = 8002;
/// Bytes of the file of a token. A line break may be at its end.
const TOKEN_FILE_BYTES_MAX: u64 = 8192;
/// Bytes of a token. Beyond it is more likely another file.
const TOKEN_BYTES_MAX: usize = 4096;

/// What the sources say, each for itself.
pub(super) struct Layers {
    pub(super) command_line: Layer,
    pub(super) environment: Layer,
    pub(super) file: Option<(PathBuf, Layer)>,
}

impl Layers {
    fn sources(&self) -> Sources<'_, Layer> {
        Sources {
            command_line: &self.command_line,
            environment: &self.environment,
            file: self
                .file
                .as_ref()
                .map(|(path, layer)| (path.as_path(), layer)),
        }
    }
}

/// What counts.
pub(crate) struct Settings {
    /// For the server; complete but for the log.
    pub(crate) config: Config,
    pub(crate) data_dir: PathBuf,
    pub(crate) log_format: LogFormat,
    /// Whether the daemon is in an enclave.
    pub(crate) is_enclave: bool,
    /// What the operator should know, each in a line.
    pub(crate) warnings: Vec<String>,
    rows: Vec<Row>,
}

impl Display for Settings {
    /// In the form of the file, each with its source.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Row {
            name,
            value,
            source,
        } in &self.rows
        {
            let setting = format!("{name} = {value}");
            writeln!(f, "{setting:<48} # {source}")?;
        }
        Ok(())
    }
}

/// The folder of everything that lasts.
pub(super) fn data_dir(layers: &Layers) -> PathBuf {
    let found = layers.sources().find(|layer| layer.data_dir.clone());
    found.map_or_else(|| PathBuf::from(DATA_DIR), |(path, _)| path)
}

/// The file of the worker's key, where one is named.
pub(super) fn key_file(layers: &Layers) -> Option<PathBuf> {
    let found = layers.sources().find(|layer| layer.key.worker_key.clone());
    found.map(|(path, _)| path)
}

/// A number of bytes in the form that [`ByteSize`] reads.
struct Size(u64);

impl Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(30, "G"), (20, "M"), (10, "K")];
        let unit = units
            .iter()
            .find(|(shift, _)| self.0 > 0 && self.0.is_multiple_of(1 << shift));
        match unit {
            Some((shift, name)) => write!(f, "{}{name}", self.0 >> shift),
            None => write!(f, "{}", self.0),
        }
    }
}

/// What is known of the machine besides the settings.
pub(super) struct Machine {
    /// Size of the enclave.
    pub(super) enclave_bytes: Option<ByteSize>,
    /// What its measurement covers.
    pub(super) measured: attestation::Measured,
    /// What is logged, as `RUST_LOG` has it.
    pub(super) log_filter: Option<String>,
    /// Whether nothing about apps is logged, by `RUST_LOG_SANITIZED`.
    pub(super) is_log_sanitized: bool,
    /// Variables of the environment that name proxies.
    pub(super) proxies: ProxyVariables,
}

/// Decides every setting, and refuses what cannot work.
///
/// # Errors
///
/// A text of one line.
pub(super) fn resolve(
    layers: &Layers,
    machine: Machine,
    mut warnings: Vec<String>,
) -> Result<Settings, String> {
    let mut rows = Vec::new();
    let mut picker = Picker::new(layers.sources(), &mut rows);
    let data_dir = data_dir(layers);
    picker.pick("data-dir", DATA_DIR.to_owned(), |layer| {
        let path = layer.data_dir.as_ref()?;
        Some(path.display().to_string())
    });
    let mut config = Config {
        data_dir: Some(data_dir.clone()),
        ..Config::default()
    };
    let enclave_bytes = machine.enclave_bytes.map(|ByteSize(bytes)| bytes);
    limits(&mut picker, &mut config, enclave_bytes, &mut warnings)?;
    connections(&mut picker, &mut config)?;
    addresses(&mut picker, &mut config)?;
    tls_port(&mut picker, &mut config, &mut warnings)?;
    config.admin_token = token(&mut picker, &mut warnings)?;
    let Domain(domain) = picker.pick("base-domain", Domain(config.base_domain), |layer| {
        layer.base_domain.clone()
    });
    config.base_domain = domain;
    let Networks(proxies) = picker.pick("trusted-proxies", Networks::default(), |layer| {
        layer.trusted_proxies.clone()
    });
    config.trusted_proxies = proxies;
    config.proxy_protocol = proxy_protocol(&mut picker, &config, enclave_bytes.is_some())?;
    let log_format = log(&mut picker, &machine);
    times(&mut picker, &mut config)?;
    config.safe_mode = picker.pick("safe-mode", false, |layer| layer.safe_mode);
    timeouts(&mut picker, &mut config)?;
    tls::files(picker.part(|layer| &layer.tls), &mut config)?;
    acme::settings(picker.part(|layer| &layer.acme), &mut config)?;
    let in_enclave = enclave_bytes.is_some();
    key::settings(picker.part(|layer| &layer.key), &mut config, in_enclave)?;
    let handover = picker.part(|layer| &layer.key.handover);
    handover::settings(handover, &mut config, in_enclave)?;

    // What the server would refuse as well, so that `--check-config` finds it.
    config.check_admin().map_err(|error| error.to_string())?;
    if let Some(size) = enclave_bytes {
        check_enclave(&config, size)?;
    }
    let egress = picker.part(|layer| &layer.egress);
    egress::rules(egress, &mut config, &mut warnings)?;
    let ignores = picker.pick("ignore-proxy", false, |layer| layer.ignore_proxy);
    let egress = picker.part(|layer| &layer.egress);
    config.proxies = egress::proxies(egress, ignores, &machine.proxies, &mut warnings)?;
    let attestation = picker.part(|layer| &layer.attestation);
    attestation::settings(attestation, &mut config, machine.measured);
    Ok(Settings {
        config,
        data_dir,
        log_format,
        is_enclave: enclave_bytes.is_some(),
        warnings,
        rows,
    })
}

/// What the log is like. What goes into it was decided before there were settings, and
/// is shown: it may say whom apps connect to.
fn log(picker: &mut Picker<'_, Layer>, machine: &Machine) -> LogFormat {
    let source = || "environment".to_owned();
    if let Some(filter) = &machine.log_filter {
        picker.show("log-filter", filter, source());
    }
    if machine.is_log_sanitized {
        picker.show("log-sanitized", &true, source());
    }
    picker.pick("log-format", LogFormat::Text, |layer| layer.log_format)
}

fn limits(
    picker: &mut Picker<'_, Layer>,
    config: &mut Config,
    enclave_bytes: Option<u64>,
    warnings: &mut Vec<String>,
) -> Result<(), String> {
    let size = Size(INSTANCE_MEMORY_BYTES);
    let Size(size) = picker.pick("instance-memory-size", size, |layer| {
        layer
            .instance_memory_size
            .map(|ByteSize(bytes)| Size(bytes))
    });
    if !INSTANCE_MEMORY_RANGE.contains(&size) {
        return Err(format!(
            "instance-memory-size (-m): instances have 64 KiB to 4 GiB, not {}",
            ByteSize(size)
        ));
    }
    config.memory_max_bytes = size;

    let instances = match enclave_bytes {
        Some(bytes) => INSTANCES.min(enclave_room(size, bytes)).max(1),
        None => INSTANCES,
    };
    config.instances_max = picker.pick("max-instances", instances, |layer| layer.max_instances);
    if config.instances_max == 0 {
        return Err("max-instances (-c): without any, no app could run".to_owned());
    }

    config.memory_budget_bytes = budget(picker, size, enclave_bytes, warnings);

    let AppPorts(ports) = picker.pick("tcp-listen-port-range", AppPorts(None), |layer| {
        layer.tcp_listen_port_range.clone()
    });
    config.listen_ports = ports;
    let none = QuotaList::default();
    let QuotaList(quotas) = picker.pick("quotas", none, |layer| layer.quotas);
    config.quotas = quotas;
    let QuotaList(of_all) = picker.pick("worker-quotas", none, |layer| layer.worker_quotas);
    config.worker_quotas = of_all;
    let time = Seconds(ON_DEMAND_TIME.as_secs());
    let time = picker.pick("on-demand-instance-time-secs", time, |layer| {
        layer.on_demand_instance_time_secs
    });
    if time.0 == 0 {
        return Err("on-demand-instance-time-secs: an instance needs a second at least".to_owned());
    }
    config.on_demand_time = time.time();
    let in_enclave = enclave_bytes.is_some();
    match picker.pick("no-mem-pool", in_enclave, |layer| layer.no_mem_pool) {
        true => config.allocation = Allocation::Enclave,
        false if in_enclave => {
            return Err(
                "no-mem-pool = false: an enclave (WAPOD_ENCLAVE_SIZE) has no address space for a pool, which reserves 4 GiB for each instance"
                    .to_owned(),
            );
        }
        false => {}
    }
    if picker.find(|layer| layer.module_cache_size).is_some() {
        warnings.push(
            "module-cache-size has no effect: compiled modules are kept on disk as well".to_owned(),
        );
    }
    Ok(())
}

/// How many connections the user port may have.
fn connections(picker: &mut Picker<'_, Layer>, config: &mut Config) -> Result<(), String> {
    let default = config.connections_max;
    let most = picker.pick("max-connections", default, |layer| layer.max_connections);
    if !CONNECTIONS_RANGE.contains(&most) {
        return Err(format!(
            "max-connections: the user port has {} to {} connections, not {most}",
            CONNECTIONS_RANGE.start(),
            CONNECTIONS_RANGE.end(),
        ));
    }
    config.connections_max = most;
    Ok(())
}

/// How long instances may go on, and how often use is reported.
fn times(picker: &mut Picker<'_, Layer>, config: &mut Config) -> Result<(), String> {
    let grace = Seconds(DRAIN_GRACE.as_secs());
    let grace = picker.pick("drain-grace", grace, |layer| layer.drain_grace);
    config.drain_grace = grace.time();
    let settle = Seconds(SETTLE.as_secs());
    config.settle = picker.pick("settle", settle, |layer| layer.settle).time();
    let interval = Seconds(REPORT_INTERVAL.as_secs());
    let interval = picker.pick("usage-interval", interval, |layer| layer.usage_interval);
    if interval.0 == 0 {
        return Err("`usage-interval` has to be at least a second".to_owned());
    }
    config.usage_interval = interval.time();
    Ok(())
}

/// How long the HTTP ports wait.
fn timeouts(picker: &mut Picker<'_, Layer>, config: &mut Config) -> Result<(), String> {
    for Timeout { name, of, at } in TIMEOUTS {
        let slot = at(&mut config.timeouts);
        let default = Seconds(slot.as_secs());
        let time = picker.pick(name, default, |layer| of(&layer.timeouts));
        if time.0 == 0 {
            return Err(format!("{name}: without any time, nobody would be served"));
        }
        *slot = time.time();
    }
    Ok(())
}

/// Memory of all instances, of which each may have `size` bytes.
fn budget(
    picker: &mut Picker<'_, Layer>,
    size: u64,
    enclave_bytes: Option<u64>,
    warnings: &mut Vec<String>,
) -> Option<u64> {
    let budget = picker.find(|layer| layer.memory_budget);
    let (budget, source) = match (budget, enclave_bytes) {
        (Some((ByteSize(bytes), source)), _) => (Some(bytes), source),
        // What the host says of the machine is no business of an enclave's.
        (None, Some(enclave)) => {
            let bytes = enclave.saturating_sub(ENCLAVE_RESERVE_BYTES);
            (Some(bytes), "default: of the enclave".to_owned())
        }
        (None, None) => {
            let bytes = system::memory_budget_default_bytes();
            let whole_mib = bytes.map(|bytes| bytes >> 20 << 20);
            (whole_mib, "default: of this machine".to_owned())
        }
    };
    match budget {
        Some(bytes) => picker.show("memory-budget", &Size(bytes), source),
        None => warnings.push(
            "it cannot be found out how much memory there is: set --memory-budget".to_owned(),
        ),
    }
    if let Some(bytes) = budget
        && bytes < size
    {
        warnings.push(format!(
            "an instance may have {}, but all together have only {}",
            ByteSize(size),
            ByteSize(bytes)
        ));
    }
    budget
}

/// The port that apps share for TLS.
fn tls_port(
    picker: &mut Picker<'_, Layer>,
    config: &mut Config,
    warnings: &mut Vec<String>,
) -> Result<(), String> {
    let TlsPort(port) = picker.pick("tls-port", TlsPort(None), |layer| {
        let of_address = layer.tls_address.and_then(|place| place.port);
        layer
            .tls_port
            .or_else(|| of_address.map(|port| TlsPort(Some(port))))
    });
    let anywhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let ip = picker.pick("tls-address", anywhere, |layer| Some(layer.tls_address?.ip));
    let is_unverified = picker.pick("do-not-verify-tls-server-cert", false, |layer| {
        layer.do_not_verify_tls_server_cert
    });
    let Some(port) = port else {
        if is_unverified {
            warnings.push(
                "do-not-verify-tls-server-cert: without effect while there is no tls-port"
                    .to_owned(),
            );
        }
        return Ok(());
    };
    let others = [
        ("the gateway", Some(config.address)),
        ("the operator's interface", config.admin_address),
    ];
    for (name, other) in others {
        if let Some(other) = other
            && other.port() == port
            && port != 0
            && (other.ip() == ip || other.ip().is_unspecified() || ip.is_unspecified())
        {
            return Err(format!(
                "the TLS port of the apps cannot be that of {name}, {other}: choose another --tls-port"
            ));
        }
    }
    config.tls = Some(TlsSettings {
        address: SocketAddr::new(ip, port),
        verifies_certificates: !is_unverified,
        certificate: None,
    });
    Ok(())
}

fn addresses(picker: &mut Picker<'_, Layer>, config: &mut Config) -> Result<(), String> {
    type Pick<T> = fn(&Layer) -> Option<T>;
    let mut address =
        |names: [&'static str; 2], place: Pick<Place>, port: Pick<u16>, default_port: u16| {
            let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
            let ip = picker.pick(names[0], ip, |layer| Some(place(layer)?.ip));
            let port = picker.pick(names[1], default_port, |layer| {
                port(layer).or_else(|| place(layer)?.port)
            });
            SocketAddr::new(ip, port)
        };
    let admin = address(
        ["admin-address", "admin-port"],
        |layer| layer.admin_address,
        |layer| layer.admin_port,
        ADMIN_PORT,
    );
    let user = address(
        ["user-address", "user-port"],
        |layer| layer.user_address,
        |layer| layer.user_port,
        USER_PORT,
    );
    if admin == user && admin.port() != 0 {
        return Err(format!(
            "the operator's interface and the gateway cannot share {user}: choose another --user-port"
        ));
    }
    config.admin_address = Some(admin);
    config.address = user;
    Ok(())
}

/// The token of the first source that has one, in either way.
fn token(
    picker: &mut Picker<'_, Layer>,
    warnings: &mut Vec<String>,
) -> Result<Option<AdminToken>, String> {
    enum TokenSource {
        Itself(AdminToken),
        File(PathBuf),
    }
    let given = picker.find(|layer| {
        let itself = layer.admin_api_token.clone().map(TokenSource::Itself);
        itself.or_else(|| layer.admin_token_file.clone().map(TokenSource::File))
    });
    let token = match given {
        None => return Ok(None),
        // Wapo 0.x took an empty token for none.
        Some((TokenSource::Itself(token), _)) if token.0.is_empty() => return Ok(None),
        Some((TokenSource::Itself(token), source)) => {
            picker.show("admin-token", &"(hidden)", source);
            token
        }
        Some((TokenSource::File(path), source)) => {
            picker.show("admin-token-file", &path.display(), source);
            AdminToken(read_token(&path, warnings)?)
        }
    };
    let is_sendable = token.0.bytes().all(|byte| byte.is_ascii_graphic());
    if is_sendable && (1..=TOKEN_BYTES_MAX).contains(&token.0.len()) {
        Ok(Some(token))
    } else {
        Err(format!(
            "the admin token has to be 1 to {TOKEN_BYTES_MAX} visible ASCII characters without spaces: no client could send this one"
        ))
    }
}

fn read_token(path: &Path, warnings: &mut Vec<String>) -> Result<String, String> {
    use std::os::unix::fs::PermissionsExt as _;
    let shown = path.display();
    let failed = |error| format!("cannot read the token from {shown}: {error}");
    let text = read_small(path, TOKEN_FILE_BYTES_MAX).map_err(failed)?;
    let mode = std::fs::metadata(path)
        .map_err(failed)?
        .permissions()
        .mode();
    if mode & 0o004 != 0 {
        warnings.push(format!("every user can read {shown}: use `chmod 600`"));
    }
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn proxy_protocol(
    picker: &mut Picker<'_, Layer>,
    config: &Config,
    in_enclave: bool,
) -> Result<ProxyProtocol, String> {
    let none = ProxyProtocol::default();
    let listeners = picker.pick("proxy-protocol", none, |layer| layer.proxy_protocol);
    if listeners != none && config.trusted_proxies.is_empty() {
        return Err(format!(
            "proxy-protocol is {listeners}, but no proxy is trusted: name them with trusted-proxies"
        ));
    }
    if listeners != none && in_enclave {
        return Err(format!(
            "proxy-protocol is {listeners}: in an enclave, bytes cannot be looked at before they are taken, so headers of proxies cannot be told from what follows; let the proxy set X-Forwarded-For"
        ));
    }
    Ok(listeners)
}

fn check_enclave(config: &Config, size_bytes: u64) -> Result<(), String> {
    let room = enclave_room(config.memory_max_bytes, size_bytes);
    if config.instances_max > room {
        return Err(format!(
            "an enclave of {} (WAPOD_ENCLAVE_SIZE) has room for {room} instances of {}, not for {}: use a smaller -c or -m",
            ByteSize(size_bytes),
            ByteSize(config.memory_max_bytes),
            config.instances_max
        ));
    }
    Ok(())
}
