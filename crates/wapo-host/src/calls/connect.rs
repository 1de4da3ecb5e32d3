//! Calls of the family `connect`: outgoing connections with options of the guest, and
//! facts about one.

use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use wapo_abi::Errno;
use wapo_abi::message::TlsClientOptions;

use super::net::{WORK_IDENTITY, WORK_PEM_BYTE, server_name};
use super::{WORK_CRYPTO, WORK_SYSCALL, family};
use crate::limits::caps::HOST_BYTES_MAX;
use crate::limits::{TLS_CLIENT_BYTES, TLS_CLIENT_BYTES_PER_PEM_BYTE, TLS_STREAM_BYTES};
use crate::net::connect::TLS_CONNECT_BYTES;
use crate::net::stream::Stream;
use crate::net::tls::NoSocket;
use crate::net::tls::{Held, TlsStream};
use crate::net::tls_client::{BadOptions, check_sizes};
use crate::resource::{Handle, Resource};
use crate::state::InstanceState;

impl family::connect::Calls for InstanceState {
    fn tcp_connect_tls_with(
        &mut self,
        host: String,
        port: u16,
        options: TlsClientOptions,
    ) -> Result<Handle, Errno> {
        let (config, bytes) = self.client_config(&options)?;
        self.dial_tls(host, port, config, bytes)
    }

    fn stream_start_tls(
        &mut self,
        stream: i32,
        name: String,
        options: TlsClientOptions,
    ) -> Result<(), Errno> {
        let handle = Handle(stream);
        match self.resources.get(handle)? {
            Resource::Stream(stream) if matches!(**stream, Stream::Tcp { .. }) => {}
            _ => return Err(Errno::UNSUPPORTED_OPERATION),
        }
        if name.len() > HOST_BYTES_MAX {
            return Err(Errno::INVALID_PARAMETER);
        }
        let name = server_name(&name)?;
        let (config, bytes) = self.client_config(&options)?;
        let memory = self.charge_memory(TLS_STREAM_BYTES + bytes)?;
        self.add_work(WORK_CRYPTO);
        self.context.config.meter.add_egress(TLS_CONNECT_BYTES);
        self.context.config.meter.add_ingress(TLS_CONNECT_BYTES);
        // Nothing fails from here on: the stream is out of its place for a moment.
        let place = self.resources.get(handle)?;
        let taken = mem::replace(place, Resource::Reply(None));
        *place = match taken {
            Resource::Stream(stream) => Resource::Stream(Box::new(match *stream {
                Stream::Tcp {
                    io,
                    _permit: permit,
                } => {
                    let held = Held {
                        permit,
                        memory,
                        guard: None,
                    };
                    let to = (name, config);
                    Stream::Tls(Box::new(TlsStream::connect(&self.dialer, to, io, held)))
                }
                other => other,
            })),
            other => other,
        };
        self.watch_flushes(handle)
    }

    fn stream_addrs(&mut self, handle: Handle) -> Result<(String, String), Errno> {
        self.add_work(WORK_SYSCALL);
        let Resource::Stream(stream) = self.resources.get(handle)? else {
            return Err(Errno::UNSUPPORTED_OPERATION);
        };
        let socket = stream.socket().map_err(|none| match none {
            NoSocket::Never => Errno::UNSUPPORTED_OPERATION,
            NoSocket::Early => Errno::CONDITION_ERROR,
            NoSocket::Gone => Errno::IO_ERROR,
        })?;
        let text = |address: std::io::Result<SocketAddr>| {
            address
                .map(|address| address.to_string())
                .map_err(|_| Errno::IO_ERROR)
        };
        Ok((text(socket.local_addr())?, text(socket.peer_addr())?))
    }
}

impl InstanceState {
    /// A client's side of TLS as a guest wants it, and the bytes of memory that a
    /// stream needs for it besides those of every stream.
    fn client_config(
        &mut self,
        options: &TlsClientOptions,
    ) -> Result<(Arc<ClientConfig>, u64), Errno> {
        let invalid = |BadOptions| Errno::INVALID_PARAMETER;
        let pem_bytes = check_sizes(options).map_err(invalid)? as u64;
        if options.identity.is_some() {
            self.add_work(WORK_IDENTITY);
        }
        self.add_work(WORK_PEM_BYTE * pem_bytes);
        let bytes = TLS_CLIENT_BYTES + TLS_CLIENT_BYTES_PER_PEM_BYTE * pem_bytes;
        // Before it is needed; the connection has its own charge for it.
        drop(self.charge_memory(bytes)?);
        let config = self.dialer.tls.client_with(options).map_err(invalid)?;
        Ok((config, bytes))
    }
}
