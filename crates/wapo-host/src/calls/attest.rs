//! Calls of the family `attest`: evidence of the app, and TLS with a certificate that
//! has it.
//!
//! What is proved, and with which keys, is the embedder's business: no key comes here.
//! Evidence is made by a task of the host, so a guest that asks goes on meanwhile, and
//! one that ends, ends it.

use std::sync::Arc;
use std::task::Poll;

use wapo_abi::message::ListenOptions;
use wapo_abi::{Errno, NetFailure, WakerId};

use super::net::TlsIdentity;
use super::task::poll_lazily;
use super::{WORK_CRYPTO, WORK_PARSED_BYTE, family};
use crate::embedder::{Denial, LiveTls};
use crate::net::failure::Failure;
use crate::net::task::OwnedTask;
use crate::resource::{Handle, Resource};
use crate::state::InstanceState;

/// Price of a quote of the hardware, on top of the row's.
///
/// Tens of milliseconds of a machine that makes one quote at a time: a hundred times
/// that of a name.
const QUOTE_GAS: u64 = 1_000_000;

/// Host time of deriving a key and signing claims.
const WORK_EVIDENCE: u64 = 2 * WORK_CRYPTO;
/// Host time of a certificate besides.
const WORK_CERTIFICATE: u64 = 4 * WORK_CRYPTO;

impl family::attest::Calls for InstanceState {
    fn make_evidence(&mut self, nonce: &[u8]) -> Result<Handle, Errno> {
        self.add_work(WORK_EVIDENCE);
        self.check_room()?;
        let made = self.context.embedder.app_evidence(nonce.to_vec());
        let made = made.map_err(|denial| self.no_evidence(&denial))?;
        if !nonce.is_empty() {
            self.charge(QUOTE_GAS);
        }
        let memory = Arc::clone(&self.dialer.memory);
        let making = OwnedTask::spawn(&self.dialer.runtime, async move {
            let evidence = made.await?;
            let charge = memory.charge(evidence.len() as u64);
            let charge = charge.map_err(|reason| Denial {
                errno: Errno::RESOURCE_LIMITED,
                text: reason.to_string(),
            })?;
            Ok((evidence, charge))
        });
        Ok(self.resources.insert(Resource::Evidence(Some(making)))?)
    }

    fn take_evidence(&mut self, waker: WakerId, handle: Handle) -> Result<Vec<u8>, Errno> {
        let (lazy, resources) = self.lazy_waker(waker);
        let Resource::Evidence(making) = resources.get(handle)? else {
            return Err(Errno::UNSUPPORTED_OPERATION);
        };
        let Some(task) = making else {
            return Err(Errno::END_OF_FILE);
        };
        let Poll::Ready(outcome) = poll_lazily(lazy, |cx| task.poll_outcome(cx)) else {
            return Err(Errno::PENDING);
        };
        *making = None;
        self.context.control.note_io();
        let made = outcome.map_err(|_| Errno::IO_ERROR)?;
        let (evidence, charge) = made.map_err(|denial| self.no_evidence(&denial))?;
        self.answer_charge = Some(charge);
        Ok(evidence)
    }

    fn tcp_listen_attested(
        &mut self,
        addr: String,
        names: Vec<String>,
        options: ListenOptions,
    ) -> Result<Handle, Errno> {
        let setup = self.setup(&addr, options)?;
        self.listen(&addr, Some(TlsIdentity::Attested(names)), setup)
    }

    fn sni_listen_attested(
        &mut self,
        name: String,
        protocols: Vec<Vec<u8>>,
    ) -> Result<Handle, Errno> {
        let identity = TlsIdentity::Attested(vec![name.clone()]);
        self.listen_on_name(name, Some(identity), protocols)
    }
}

impl InstanceState {
    /// TLS with a certificate that attests the app, for names of a guest.
    pub(super) fn attested_tls(
        &mut self,
        names: Vec<String>,
        protocols: Vec<Vec<u8>>,
    ) -> Result<Arc<dyn LiveTls>, Errno> {
        let bytes: usize = names.iter().map(String::len).sum();
        self.add_work(WORK_CERTIFICATE + WORK_PARSED_BYTE * bytes as u64);
        let tls = self.context.embedder.attested_tls(names, protocols);
        tls.map_err(|denial| {
            let text = format!(
                "cannot listen with a certificate that attests the app: {}",
                denial.text
            );
            self.refuse(Failure::new(NetFailure::LISTEN_DENIED, text));
            denial.errno
        })
    }

    /// Tells the app's log why there is no evidence.
    fn no_evidence(&self, denial: &Denial) -> Errno {
        let text = format!("no evidence was made: {}", denial.text);
        self.dialer.notices.warn(&text);
        denial.errno
    }
}
