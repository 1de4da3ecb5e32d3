//! How settings are written: the parts that the library has no type for.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use wapod::PortRanges;

/// An address to listen on: `127.0.0.1`, `127.0.0.1:8001`, `::1`, `[::1]:8001`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) ip: IpAddr,
    pub(crate) port: Option<u16>,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self {
                ip: address.ip(),
                port: Some(address.port()),
            });
        }
        let ip = text.parse().map_err(|_| {
            format!(
                "`{text}` is not an address to listen on: write one such as 127.0.0.1 or 0.0.0.0:8002"
            )
        })?;
        Ok(Self { ip, port: None })
    }
}

/// Ports for apps: ranges, or `none`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct AppPorts(pub(crate) Option<PortRanges>);

impl FromStr for AppPorts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self(None)),
            _ => text.parse().map(|ports| Self(Some(ports))),
        }
    }
}

impl fmt::Display for AppPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(ports) => ports.fmt(f),
            None => f.write_str("none"),
        }
    }
}

/// The port that apps share for TLS: a number, or `none`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TlsPort(pub(crate) Option<u16>);

impl FromStr for TlsPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self(None)),
            _ => text
                .parse()
                .map(|port| Self(Some(port)))
                .map_err(|_| format!("`{text}` is not a port: write one such as 443, or none")),
        }
    }
}

impl fmt::Display for TlsPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(port) => write!(f, "{port}"),
            None => f.write_str("none"),
        }
    }
}

/// A time: `30`, `30s`, `5m`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Seconds(pub(crate) u64);

impl Seconds {
    pub(crate) fn time(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = match text.strip_suffix('m') {
            Some(number) => (number, 60),
            None => (text.strip_suffix('s').unwrap_or(text), 1),
        };
        let seconds = number.parse::<u32>().ok();
        let seconds = seconds.map(|number| Self(u64::from(number) * unit));
        seconds.ok_or_else(|| format!("`{text}` is not a time: write seconds such as 30, or 5m"))
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// How the log looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LogFormat {
    /// Lines for people.
    Text,
    /// A JSON object per line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("`{text}` is neither text nor json")),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// A domain below which apps get their host names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Domain(pub(crate) String);

/// Bytes of a domain: host names end at 253, an app's label takes up to 64.
const DOMAIN_BYTES_MAX: usize = 253 - 64;

impl FromStr for Domain {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let is_label = |label: &str| {
            let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            (1..=63).contains(&label.len())
                && label.chars().all(is_plain)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        // One that ends in a number is an address to clients.
        let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
        let is_address = lower.rsplit('.').next().is_some_and(is_number);
        if lower.len() <= DOMAIN_BYTES_MAX && lower.split('.').all(is_label) && !is_address {
            Ok(Self(lower))
        } else {
            Err(format!(
                "`{text}` is not a domain: write one such as apps.example.com, without a port"
            ))
        }
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Networks and addresses, with commas between them.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Networks(pub(crate) Vec<IpNet>);

impl FromStr for Networks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        let network = |part: &str| {
            let network = part.parse::<IpNet>().ok();
            let network = network.or_else(|| part.parse::<IpAddr>().map(IpNet::from).ok());
            network.ok_or_else(|| {
                format!("`{part}` is not a network: write 10.0.0.0/8 or 10.0.0.5, with commas between several")
            })
        };
        parts.map(network).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&texts.join(", "))
    }
}
