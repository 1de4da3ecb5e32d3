//! Names on the shared TLS port: the calls of the family `net` that serve one, and
//! what was agreed on for a connection.
//!
//! Texts are read and keys compared with certificates here. Whose a name is, and
//! whether a certificate is good for it, is asked of the embedder.

use std::sync::Arc;

use wapo_abi::message::TlsServerConfig;
use wapo_abi::{Errno, NetFailure};

use super::net::TlsIdentity;
use crate::embedder::{SniIdentity, SniRequest};
use crate::limits::caps::{HOST_BYTES_MAX, PROTOCOL_BYTES_MAX, PROTOCOLS_MAX};
use crate::limits::{ATTESTED_TLS_BYTES, CHAIN_CERTIFICATES_MAX, SNI_LISTENER_BYTES};
use crate::net::failure::Failure;
use crate::net::identity;
use crate::net::listener::Listener;
use crate::resource::{Handle, Resource};
use crate::state::InstanceState;

/// Host time of looking at a certificate of a chain, in fuel's worth: its name, its
/// signature.
///
/// Measured: 60 to 150 µs for each signature, the more for RSA keys with 4096 bits.
const WORK_CERTIFICATE: u64 = 300_000;

/// Price of a registered name, on top of the row's.
const SNI_GAS: u64 = 10_000;

impl InstanceState {
    /// Serves a name; without an identity, TLS is the guest's own business.
    pub(super) fn listen_on_name(
        &mut self,
        name: String,
        identity: Option<TlsIdentity>,
        protocols: Vec<Vec<u8>>,
    ) -> Result<Handle, Errno> {
        if name.len() > HOST_BYTES_MAX || protocols.len() > PROTOCOLS_MAX {
            let text = "the name is too long, or there are too many protocols";
            return Err(self.refuse_name("a name", text));
        }
        let is_name = |protocol: &Vec<u8>| (1..=PROTOCOL_BYTES_MAX).contains(&protocol.len());
        if !protocols.iter().all(is_name) {
            let text = "names of protocols (ALPN) have 1 to 255 bytes";
            return Err(self.refuse_name(&name, text));
        }
        self.check_room()?;
        let permit = self.take_descriptors(1)?;
        let bytes = SNI_LISTENER_BYTES + self.identity_bytes(identity.as_ref())?;
        let charge = self.charge_memory(bytes)?;
        let identity = match identity {
            None => None,
            Some(TlsIdentity::Provided(texts)) => Some(self.given_identity(&name, &texts)?),
            Some(TlsIdentity::Attested(names)) => {
                let tls = self.attested_tls(names, protocols.clone())?;
                Some(SniIdentity::Attested(tls))
            }
        };
        self.keep_room()?;
        let request = SniRequest {
            name: &name,
            identity,
            protocols,
            charge,
        };
        let listener = match self.context.embedder.listen_sni(self.context.id, request) {
            Ok(listener) => listener,
            Err(refusal) => {
                self.resources.release();
                self.refuse_name(&name, &refusal.text);
                return Err(refusal.errno);
            }
        };
        self.charge(SNI_GAS);
        let name: Arc<str> = name.into();
        self.context.announce_name(&name);
        let listener = Listener::Sni {
            listener,
            name,
            _permit: permit,
        };
        Ok(self
            .resources
            .insert(Resource::Listener(Box::new(listener)))?)
    }

    /// Memory that an identity takes, and its work counted.
    fn identity_bytes(&mut self, identity: Option<&TlsIdentity>) -> Result<u64, Errno> {
        match identity {
            None => Ok(0),
            Some(TlsIdentity::Attested(_)) => Ok(ATTESTED_TLS_BYTES),
            Some(TlsIdentity::Provided(config)) => {
                self.check_identity(config)?;
                let TlsServerConfig::V0 { cert, key } = config;
                Ok((cert.len() + key.len()) as u64)
            }
        }
    }

    /// Reads the texts of a guest, of which memory is charged for.
    fn given_identity(
        &mut self,
        name: &str,
        config: &TlsServerConfig,
    ) -> Result<SniIdentity, Errno> {
        let TlsServerConfig::V0 { cert, key } = config;
        let identity = identity::read(cert, key);
        let identity = identity.map_err(|error| self.refuse_name(name, &error.to_string()))?;
        let certificates = identity.cert.len();
        if certificates > CHAIN_CERTIFICATES_MAX {
            let text = format!(
                "the chain has {certificates} certificates, {CHAIN_CERTIFICATES_MAX} are allowed"
            );
            return Err(self.refuse_name(name, &text));
        }
        self.add_work(WORK_CERTIFICATE * certificates as u64);
        Ok(SniIdentity::Provided(identity))
    }

    /// Keeps why a name cannot be served, for the guest and for its log.
    fn refuse_name(&mut self, name: &str, reason: &str) -> Errno {
        let text = format!("cannot serve {} by TLS: {reason}", name.escape_debug());
        let kind = NetFailure::LISTEN_DENIED;
        self.refuse(Failure::new(kind, text));
        Errno::INVALID_PARAMETER
    }
}
