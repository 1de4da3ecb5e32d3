//! What an instance opens connections and sockets with: the resolver, the policy, the
//! budgets of its app.
//!
//! Dials nothing itself: `connect` and `udp_connect` do, and TLS takes its deadlines from
//! here. The policy is asked by `gate`. Made for each start of an instance.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use wapo_abi::NetFailure;

use crate::descriptors::DescriptorShare;
use crate::host_memory::HostMemory;
use crate::limits::{CONNECT_TIMEOUT, HANDSHAKE_TIMEOUT, QUOTA_TICK};
use crate::meter::Meter;
use crate::net::dns::Dns;
use crate::net::failure::Failure;
use crate::net::machine::Machine;
use crate::net::names::NameShare;
use crate::net::policy::EgressPolicy;
use crate::net::proxy::Proxies;
use crate::net::tls_settings::TlsSettings;
use crate::notices::Notices;
use crate::quotas::{QuotaKind, Quotas};

/// What an attempt needs from the host.
#[derive(Clone)]
pub(crate) struct Dialer {
    pub(crate) dns: Arc<Dns>,
    /// The app's answers and its rate.
    pub(crate) names: Arc<NameShare>,
    pub(crate) tls: Arc<TlsSettings>,
    pub(crate) policy: Arc<dyn EgressPolicy>,
    pub(crate) proxies: Proxies,
    pub(crate) meter: Arc<Meter>,
    /// Of the app.
    pub(crate) quotas: Arc<Quotas>,
    pub(crate) descriptors: Arc<DescriptorShare>,
    pub(crate) memory: Arc<HostMemory>,
    pub(crate) notices: Notices,
    pub(crate) machine: Arc<Machine>,
    pub(crate) deadlines: Deadlines,
    /// Where tasks run that must not wait for the guest.
    pub(crate) runtime: Handle,
}

/// How long others may keep an attempt waiting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    /// For a name and a connection together.
    pub(crate) connect: Duration,
    /// For a TLS handshake, in either direction.
    pub(crate) handshake: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: CONNECT_TIMEOUT,
            handshake: HANDSHAKE_TIMEOUT,
        }
    }
}

impl Dialer {
    /// How long connections have to wait, because the app has moved more bytes than
    /// it may: each costs some, in both directions.
    pub(crate) fn accept_pause(&self) -> Option<Duration> {
        let pause = |kind| self.quotas.allow(kind, 1, &self.meter).err();
        pause(QuotaKind::Ingress).max(pause(QuotaKind::Egress))
    }

    /// Waits until a connection may begin: nothing is asked or sent before.
    pub(crate) async fn wait_for_rates(&self) {
        let mut pause = self.accept_pause();
        while let Some(time) = pause {
            tokio::time::sleep(time.max(QUOTA_TICK)).await;
            pause = self.rate_pause();
        }
    }

    /// As [`accept_pause`](Self::accept_pause), without counting that something had
    /// to wait.
    pub(crate) fn rate_pause(&self) -> Option<Duration> {
        let pause = |kind| self.quotas.look(kind, 1, &self.meter).err();
        pause(QuotaKind::Ingress).max(pause(QuotaKind::Egress))
    }

    /// Why an attempt did not end in time.
    pub(crate) fn too_late(&self) -> Failure {
        match self.rate_pause() {
            Some(_) => Failure::new(
                NetFailure::TIMED_OUT,
                "timed out: the app has used up its quota of bytes per second",
            ),
            None => Failure::of(NetFailure::TIMED_OUT),
        }
    }
}
