//! Calls of the family `http`: what an exchange has besides its bodies.
//!
//! Requests arrive through `channel`, bodies go through the `poll_*` calls.
//! Trailers are there when the end of a body is; nothing waits but the call that
//! watches the client.

use std::task::Poll;

use parity_scale_codec::DecodeAll as _;
use wapo_abi::{Errno, WakerId};

use super::task::{SHUTDOWN_BYTES, poll_lazily};
use super::{WORK_CALL, WORK_PARSED_BYTE, WORK_SYSCALL, family};
use crate::net::body::{GuestBody, NoTrailers, Trailers};
use crate::net::stream::Stream;
use crate::resource::{Handle, Resource, ResourceTable};
use crate::state::InstanceState;

impl family::http::Calls for InstanceState {
    fn http_trailers(&mut self, stream: Handle) -> Result<Trailers, Errno> {
        let body = body(&mut self.resources, stream)?;
        let trailers = body.stream.reader().trailers().map_err(|none| match none {
            NoTrailers::Early => Errno::CONDITION_ERROR,
            NoTrailers::Absent => Errno::END_OF_FILE,
        })?;
        let fields = trailers.iter();
        let bytes: usize = fields.map(|(name, value)| name.len() + value.len()).sum();
        let count = trailers.len() as u64;
        self.add_work(WORK_CALL * count);
        self.config.meter.add_ingress(bytes as u64);
        Ok(trailers)
    }

    fn http_finish(&mut self, stream: Handle, trailers: &[u8]) -> Result<(), Errno> {
        let bytes = trailers.len() as u64;
        self.add_work(WORK_SYSCALL + WORK_PARSED_BYTE * bytes);
        let trailers =
            Trailers::decode_all(&mut &*trailers).map_err(|_| Errno::INVALID_PARAMETER)?;
        let body = body(&mut self.resources, stream)?;
        if !body.stream.writer().finish_with_trailers(trailers) {
            return Err(Errno::IO_ERROR);
        }
        self.config.meter.add_egress(SHUTDOWN_BYTES + bytes);
        Ok(())
    }

    fn http_abort(&mut self, stream: Handle) -> Result<(), Errno> {
        self.add_work(WORK_SYSCALL);
        body(&mut self.resources, stream)?.stream.abort();
        Ok(())
    }

    fn http_peer(&mut self, stream: Handle) -> Result<Option<String>, Errno> {
        let peer = body(&mut self.resources, stream)?.peer;
        Ok(peer.map(|address| address.to_string()))
    }

    fn http_unread(&mut self, waker: WakerId, stream: Handle) -> Result<(), Errno> {
        let (lazy, resources) = self.lazy_waker(waker);
        let body = body(resources, stream)?;
        match poll_lazily(lazy, |cx| body.stream.writer().poll_unread(cx)) {
            Poll::Ready(()) => Ok(()),
            Poll::Pending => Err(Errno::PENDING),
        }
    }
}

/// The bodies behind a handle.
fn body(resources: &mut ResourceTable, handle: Handle) -> Result<&mut GuestBody, Errno> {
    match resources.get(handle)? {
        Resource::Stream(stream) => match stream.as_mut() {
            Stream::Body(body) => Ok(body),
            _ => Err(Errno::UNSUPPORTED_OPERATION),
        },
        _ => Err(Errno::UNSUPPORTED_OPERATION),
    }
}
