//! Calls of the family `http`: requests and their answers, each in one call, and what an
//! exchange has besides its bodies.
//!
//! Requests also arrive through `channel`, in the form that older guests know; bodies that
//! do not come with their head go through the `poll_*` calls. Trailers are there when the
//! end of a body is; nothing waits but the calls for the next request and that which
//! watches the client.

use std::task::Poll;

use parity_scale_codec::{DecodeAll as _, Encode as _, Output};
use tokio::sync::oneshot;
use wapo_abi::message::{HttpRest, InputChannel};
use wapo_abi::{Errno, WakerId};

use super::http_codec::{decode_response_head, encode_request_head, request_head_len};
use super::task::{SHUTDOWN_BYTES, poll_lazily};
use super::{WORK_CALL, WORK_PARSED_BYTE, WORK_SYSCALL, family, work_moved};
use crate::http_head::HttpAnswer;
use crate::intake::Command;
use crate::net::body::{GuestBody, NoTrailers, Trailers};
use crate::net::stream::Stream;
use crate::quotas::QuotaKind;
use crate::resource::{Handle, Resource, ResourceTable};
use crate::state::InstanceState;
use crate::wake::LazyWaker;

/// A part of the guest's memory, written from its front. Only what is known to fit is.
struct Front<'a> {
    memory: &'a mut [u8],
    len: usize,
}

impl Output for Front<'_> {
    fn write(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        self.memory[self.len..end].copy_from_slice(bytes);
        self.len = end;
    }
}

/// Bytes that follow the head in an `HttpNext`: a handle, and whether there is a body.
const BYTES_AFTER_HEAD: usize = size_of::<i32>() + size_of::<u8>();

impl family::http::Calls for InstanceState {
    fn http_next(
        &mut self,
        waker: WakerId,
        channel: Handle,
        buffer: &mut [u8],
    ) -> Result<usize, Errno> {
        self.add_work(WORK_SYSCALL);
        let is_inbox = match self.resources.get(channel) {
            Ok(Resource::Inbox(InputChannel::HttpRequest)) => Ok(()),
            Ok(_) => Err(Errno::UNSUPPORTED_OPERATION),
            Err(errno) => Err(errno),
        };
        let next = match is_inbox {
            Ok(()) => self.write_next(buffer),
            Err(_) => Ok(None),
        };
        if let Ok(Some(len)) = next {
            self.add_work(work_moved(len));
        }
        // The fields are borrowed one by one: the waker holds two of them. It is made
        // whatever follows, so that the guest hears of its release.
        let mut lazy = LazyWaker::new(&self.wakes, &mut self.task_wakers, self.task, waker);
        is_inbox?;
        match next {
            Ok(Some(len)) => {
                self.requests.waiting = None;
                self.context.control.note_io();
                Ok(len)
            }
            Err(len) => Ok(len),
            Ok(None) => {
                self.requests.waiting = Some(lazy.make());
                Err(Errno::PENDING)
            }
        }
    }

    fn http_respond(&mut self, exchange: Handle, rest: i32, answer: &[u8]) -> Result<usize, Errno> {
        self.add_work(WORK_SYSCALL);
        let rest = HttpRest::from_i32(rest).ok_or(Errno::INVALID_PARAMETER)?;
        // Before the reply is used up: a shorter one may have room.
        let charge = self.charge_memory(answer.len() as u64)?;
        let body = body(&mut self.resources, exchange)?;
        if body.reply.as_ref().is_none_or(oneshot::Sender::is_closed) {
            return Err(Errno::IO_ERROR);
        }
        let answer = charge.keep(answer.to_vec());
        let (head, first) = decode_response_head(&answer).ok_or(Errno::INVALID_PARAMETER)?;
        let quotas = &self.context.config.quotas;
        quotas.add_unmetered(QuotaKind::Egress, answer.len() - first.len());
        let meter = &self.context.config.meter;
        let allowed = quotas.allow(QuotaKind::Egress, first.len(), meter);
        let allowed = allowed.unwrap_or(0);
        let is_whole = rest != HttpRest::Answer && allowed == first.len();
        let taken = match is_whole {
            true => first.len(),
            false => body.write_now(&first[..allowed]),
        };
        let answer = HttpAnswer {
            head,
            body: is_whole.then_some(first),
        };
        let reply = body.reply.take().ok_or(Errno::IO_ERROR)?;
        // Before the client can see the answer: the bill has it by then.
        meter.add_egress(taken as u64);
        if is_whole {
            body.stream.writer().finish();
            meter.add_egress(SHUTDOWN_BYTES);
        }
        self.context.control.note_io();
        reply.send(Ok(answer)).map_err(|_| Errno::IO_ERROR)?;
        self.context.control.note_answer();
        if is_whole && rest == HttpRest::Nothing {
            family::task::Calls::close(self, exchange)?;
        }
        Ok(taken)
    }

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
        self.context.config.meter.add_ingress(bytes as u64);
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
        self.context.config.meter.add_egress(SHUTDOWN_BYTES + bytes);
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

impl InstanceState {
    /// Takes the next request and writes it; the length, or `None` when there is none.
    ///
    /// # Errors
    ///
    /// The length of a request that does not fit into the buffer and stays where it is.
    fn write_next(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, usize> {
        let room = buffer.len();
        let fits = |command: &Command| match command {
            Command::Http(request) => {
                let len = request_head_len(&request.head) + BYTES_AFTER_HEAD;
                if len <= room { Ok(()) } else { Err(len) }
            }
            Command::Query { .. } => Ok(()),
        };
        let memory = buffer;
        let written = self.take_request(
            InputChannel::HttpRequest,
            fits,
            |state, command, in_hand| {
                let Command::Http(request) = command else {
                    return None;
                };
                let mut front = Front { memory, len: 0 };
                encode_request_head(&request.head, &mut front);
                let quotas = &state.context.config.quotas;
                quotas.add_unmetered(QuotaKind::Ingress, front.len);
                let mut body = request.body;
                body.in_hand = Some(in_hand);
                body.reply = Some(request.reply);
                let exchange = state.insert_stream(Stream::Body(body)).ok()?;
                (exchange.0, request.has_body).encode_to(&mut front);
                Some(front.len)
            },
        )?;
        Ok(written.flatten())
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
