//! Names to addresses.
//!
//! One resolver per engine, with a cache, shared by all instances. It never
//! blocks a thread. Called by `connect`; what may be done with the answer is
//! the policy's business.

use std::io;
use std::net::{IpAddr, SocketAddr};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;

use crate::engine::Resolver;

/// Resolves names for all guests of an engine.
pub(crate) struct Dns {
    resolver: TokioResolver,
}

impl Dns {
    /// A resolver with its own cache.
    ///
    /// # Errors
    ///
    /// When the system's configuration cannot be read.
    pub(crate) fn new(config: &Resolver) -> Result<Self, String> {
        let builder = match config {
            Resolver::System => TokioResolver::builder_tokio()
                .map_err(|error| format!("cannot read the system's DNS configuration: {error}"))?,
            Resolver::Servers(servers) => {
                let servers = servers.iter().map(|server| name_server(*server)).collect();
                TokioResolver::builder_with_config(
                    ResolverConfig::from_parts(None, Vec::new(), servers),
                    TokioRuntimeProvider::default(),
                )
            }
        };
        let resolver = builder
            .build()
            .map_err(|error| format!("cannot set up name resolution: {error}"))?;
        Ok(Self { resolver })
    }

    /// The addresses of a name, in the order they should be tried.
    ///
    /// # Errors
    ///
    /// When there is no such name or no server answers.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![address]);
        }
        let lookup = self
            .resolver
            .lookup_ip(host)
            .await
            .map_err(|error| io::Error::new(io::ErrorKind::NotFound, error))?;
        Ok(lookup.iter().collect())
    }
}

fn name_server(server: SocketAddr) -> NameServerConfig {
    let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
    for connection in &mut connections {
        connection.port = server.port();
    }
    NameServerConfig::new(server.ip(), true, connections)
}
