//! Calls of the family `channel`, and the way of a request into the guest.
//!
//! A request becomes a message, with handles for its reply and its body, at the
//! moment the guest takes it out of its input channel. Until then it waits in
//! the `intake`; requests that no channel takes are refused at once.

use std::time::Duration;

use parity_scale_codec::Encode as _;
use wapo_abi::Errno;
use wapo_abi::message::{InputChannel, QueryRequest};

use super::{WORK_LOCK, WORK_SYSCALL, family};
use crate::instance::{Command, RequestError};
use crate::intake::InHand;
use crate::net::stream::Stream;
use crate::quotas::QuotaKind;
use crate::resource::{Handle, Replier, Resource};
use crate::state::{Inbox, InstanceState};

/// Handles that a request needs at most.
const HANDLES_PER_REQUEST: usize = 2;

impl family::channel::Calls for InstanceState {
    fn oneshot_send(&mut self, handle: Handle, data: &[u8]) -> Result<(), Errno> {
        self.add_work(WORK_SYSCALL);
        // Before the reply is used up: a shorter one may have room.
        let charge = self.charge_memory(data.len() as u64)?;
        let reply = self.take_reply(handle)?;
        self.control.note_io();
        let quotas = &self.config.quotas;
        quotas.add_unmetered(QuotaKind::Egress, data.len());
        let data = charge.keep(data.to_vec());
        let sent = reply.sender.send(Ok(data));
        sent.map_err(|_| Errno::IO_ERROR)?;
        self.control.note_answer();
        Ok(())
    }

    fn oneshot_send_error(&mut self, handle: Handle, text: &str) -> Result<(), Errno> {
        self.add_work(WORK_SYSCALL);
        let reply = self.take_reply(handle)?;
        let quotas = &self.config.quotas;
        quotas.add_unmetered(QuotaKind::Egress, text.len());
        reply
            .sender
            .send(Err(RequestError::App(text.to_owned())))
            .map_err(|_| Errno::IO_ERROR)
    }

    fn create_input_channel(&mut self, channel: InputChannel) -> Result<i32, Errno> {
        self.add_work(WORK_LOCK);
        if self.inbox(channel).handle.is_some() {
            return Err(Errno::ALREADY_EXISTS);
        }
        let handle = self.resources.insert(Resource::Inbox(channel))?;
        self.inbox(channel).handle = Some(handle);
        self.announce_channels();
        Ok(handle.0)
    }
}

impl InstanceState {
    fn take_reply(&mut self, handle: Handle) -> Result<Replier, Errno> {
        match self.resources.get(handle)? {
            Resource::Reply(reply) => reply.take().ok_or(Errno::IO_ERROR),
            _ => Err(Errno::UNSUPPORTED_OPERATION),
        }
    }

    /// Whether a request in this channel concerns the guest, or the host on its
    /// behalf.
    pub(crate) fn wants_requests(&self, channel: InputChannel) -> bool {
        let inbox = match channel {
            InputChannel::Query => &self.queries,
            InputChannel::HttpRequest => &self.requests,
        };
        // One that has just come is looked at, and then waits.
        let may_move = || self.intake.is_empty(channel) || self.dialer.rate_pause().is_none();
        self.refuses(inbox)
            || (inbox.waiting.is_some()
                && self.resources.has_room(HANDLES_PER_REQUEST)
                && may_move())
    }

    /// How long requests that the guest waits for have to wait, because its app has
    /// moved more bytes than it may.
    pub(crate) fn requests_pause(&mut self) -> Option<Duration> {
        let waits =
            |channel, inbox: &Inbox| inbox.waiting.is_some() && !self.intake.is_empty(channel);
        let some_wait = waits(InputChannel::Query, &self.queries)
            || waits(InputChannel::HttpRequest, &self.requests);
        let pause = match some_wait {
            true if self.requests_wait => self.dialer.rate_pause(),
            // The first look is counted.
            true => self.dialer.accept_pause(),
            false => None,
        };
        self.requests_wait = pause.is_some();
        pause
    }

    /// Whether the guest waits for requests and has too few handles for one. Other
    /// instances of the app may give some back.
    pub(crate) fn lacks_handles(&self) -> bool {
        let is_waiting = self.queries.waiting.is_some() || self.requests.waiting.is_some();
        is_waiting && !self.resources.has_room(HANDLES_PER_REQUEST)
    }

    /// Whether nobody will ever take what waits. After a restart, the guest may
    /// open its channel in a later poll than before.
    fn refuses(&self, inbox: &Inbox) -> bool {
        inbox.closed || (inbox.handle.is_none() && self.is_first_start)
    }

    /// Wakes the guest for requests that wait, or refuses them.
    pub(crate) fn announce_requests(&mut self) {
        for channel in [InputChannel::Query, InputChannel::HttpRequest] {
            if self.intake.is_empty(channel) || !self.wants_requests(channel) {
                continue;
            }
            match self.inbox(channel).waiting.take() {
                Some(waker) => waker.wake(),
                None => self.intake.refuse_all(channel, &RequestError::NotListening),
            }
        }
    }

    /// Takes the next request out of a channel, as the message that the guest
    /// reads. It stays there while the guest has too few handles left, and while its
    /// app has moved more bytes than it may.
    pub(crate) fn next_request(&mut self, channel: InputChannel) -> Option<Vec<u8>> {
        if !self.is_ready || self.intake.is_empty(channel) || self.dialer.rate_pause().is_some() {
            return None;
        }
        self.resources.reserve(HANDLES_PER_REQUEST).ok()?;
        let message = self.intake.take(channel).and_then(|(command, in_hand)| {
            self.config.meter.add_request();
            self.requests_taken = self.requests_taken.saturating_add(1);
            self.encode_request(command, in_hand).ok()
        });
        self.resources.release();
        message
    }

    /// Makes the handles of a request and encodes it.
    ///
    /// # Errors
    ///
    /// [`Errno::RESOURCE_LIMITED`] when the guest has no handles left; the
    /// requester sees that nobody answers.
    fn encode_request(&mut self, command: Command, in_hand: InHand) -> Result<Vec<u8>, Errno> {
        match command {
            Command::Query {
                origin,
                path,
                payload,
                charge,
                reply,
            } => {
                let reply = Replier {
                    sender: reply,
                    _in_hand: Some(in_hand),
                };
                let reply_tx = self.resources.insert(Resource::Reply(Some(reply)))?.0;
                let bytes = path.len() + payload.len();
                let quotas = &self.config.quotas;
                quotas.add_unmetered(QuotaKind::Ingress, bytes);
                let query = QueryRequest {
                    origin,
                    path,
                    payload,
                    reply_tx,
                };
                self.answer_charge = Some(charge);
                Ok(query.encode())
            }
            Command::Http {
                head: mut message,
                charge,
                mut body,
                reply,
            } => {
                let reply = Replier {
                    sender: reply,
                    _in_hand: None,
                };
                let reply = self.resources.insert(Resource::Reply(Some(reply)))?;
                let quotas = &self.config.quotas;
                quotas.add_unmetered(QuotaKind::Ingress, message.len());
                // The answer's body may last longer than its head.
                body.in_hand = Some(in_hand);
                let stream = match self.insert_stream(Stream::Body(body)) {
                    Ok(stream) => stream,
                    Err(errno) => {
                        drop(self.resources.remove(reply));
                        return Err(errno);
                    }
                };
                // What follows the head in an `HttpRequest`.
                (reply.0, stream.0).encode_to(&mut message);
                self.answer_charge = Some(charge);
                Ok(message)
            }
        }
    }
}
