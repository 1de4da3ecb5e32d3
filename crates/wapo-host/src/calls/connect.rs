//! Calls of the family `connect`: connections out with a guest's own wishes.

use wapo_abi::Errno;
use wapo_abi::message::TlsClientOptions;

use super::family;
use super::net::{WORK_IDENTITY, WORK_PEM_BYTE};
use crate::limits::{TLS_CLIENT_BYTES, TLS_CLIENT_BYTES_PER_PEM_BYTE};
use crate::net::tls_client::{BadOptions, check_sizes};
use crate::resource::Handle;
use crate::state::InstanceState;

impl family::connect::Calls for InstanceState {
    fn tcp_connect_tls_with(
        &mut self,
        host: String,
        port: u16,
        options: TlsClientOptions,
    ) -> Result<Handle, Errno> {
        let invalid = |BadOptions| Errno::INVALID_PARAMETER;
        let pem_bytes = check_sizes(&options).map_err(invalid)? as u64;
        if options.identity.is_some() {
            self.add_work(WORK_IDENTITY);
        }
        self.add_work(WORK_PEM_BYTE * pem_bytes);
        let bytes = TLS_CLIENT_BYTES + TLS_CLIENT_BYTES_PER_PEM_BYTE * pem_bytes;
        // Before it is needed; the connection has its own charge for it.
        drop(self.charge_memory(bytes)?);
        let config = self.dialer.tls.client_with(&options).map_err(invalid)?;
        self.dial_tls(host, port, config, bytes)
    }
}
