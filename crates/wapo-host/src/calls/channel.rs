//! Calls of the family `channel`, and the way of a request into the guest.
//!
//! A request becomes a message, with handles for its reply and its body, at the
//! moment the guest takes it out of its input channel. Until then it waits in
//! the `intake`; requests that no channel takes are refused at once.

use std::time::Duration;

use parity_scale_codec::Encode as _;
use tokio::sync::oneshot;
use wapo_abi::Errno;
use wapo_abi::message::{InputChannel, QueryRequest};

use super::http_codec::{decode_response_head, encode_request_head, request_head_len};
use super::{WORK_LOCK, WORK_SYSCALL, family};
use crate::http_head::HttpAnswer;
use crate::intake::{Command, HttpCommand};
use crate::net::stream::Stream;
use crate::quotas::QuotaKind;
use crate::request::{HttpReply, InHand, RequestError};
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
        self.context.control.note_io();
        let quotas = &self.context.config.quotas;
        quotas.add_unmetered(QuotaKind::Egress, data.len());
        let data = charge.keep(data.to_vec());
        let is_sent = match reply {
            Reply::Query(reply) => reply.sender.send(Ok(data)).is_ok(),
            Reply::Http(reply) => {
                let head = decode_response_head(&data);
                // Nothing may follow, as everywhere in the contract.
                let head = head.filter(|(_, rest)| rest.is_empty());
                let answer = head.map(|(head, _)| HttpAnswer { head, body: None });
                reply
                    .send(answer.ok_or(RequestError::InvalidAnswer))
                    .is_ok()
            }
        };
        if !is_sent {
            return Err(Errno::IO_ERROR);
        }
        self.context.control.note_answer();
        Ok(())
    }

    fn oneshot_send_error(&mut self, handle: Handle, text: &str) -> Result<(), Errno> {
        self.add_work(WORK_SYSCALL);
        let reply = self.take_reply(handle)?;
        let quotas = &self.context.config.quotas;
        quotas.add_unmetered(QuotaKind::Egress, text.len());
        let error = RequestError::App(text.to_owned());
        let is_sent = match reply {
            Reply::Query(reply) => reply.sender.send(Err(error)).is_ok(),
            Reply::Http(reply) => reply.send(Err(error)).is_ok(),
        };
        is_sent.then_some(()).ok_or(Errno::IO_ERROR)
    }

    fn create_input_channel(&mut self, channel: InputChannel) -> Result<i32, Errno> {
        self.add_work(WORK_LOCK);
        if self.inbox(channel).handle.is_some() {
            return Err(Errno::ALREADY_EXISTS);
        }
        let handle = self.resources.insert(Resource::Inbox(channel))?;
        self.inbox_mut(channel).handle = Some(handle);
        self.announce_channels();
        Ok(handle.0)
    }
}

/// Where an answer goes.
enum Reply {
    Query(Replier),
    Http(oneshot::Sender<HttpReply>),
}

impl InstanceState {
    fn take_reply(&mut self, handle: Handle) -> Result<Reply, Errno> {
        match self.resources.get(handle)? {
            Resource::Reply(reply) => reply.take().map(Reply::Query),
            Resource::HttpReply(reply) => reply.take().map(Reply::Http),
            _ => return Err(Errno::UNSUPPORTED_OPERATION),
        }
        .ok_or(Errno::IO_ERROR)
    }

    /// Whether a request in this channel concerns the guest, or the host on its
    /// behalf.
    pub(crate) fn wants_requests(&self, channel: InputChannel) -> bool {
        let inbox = self.inbox(channel);
        // One that has just come is looked at, and then waits.
        let may_move = || self.intake.is_empty(channel) || self.dialer.rate_pause().is_none();
        self.refuses(inbox)
            || (inbox.waiting.is_some()
                && self.resources.has_room(HANDLES_PER_REQUEST)
                && may_move())
    }

    /// Whether a request that comes into this channel ends the guest's wait. What holds
    /// requests up is not read again: it has a moment for the next look if, and only if, it
    /// did when that look was set.
    pub(crate) fn watches_requests(&self, channel: InputChannel) -> bool {
        let inbox = self.inbox(channel);
        self.refuses(inbox) || (inbox.waiting.is_some() && !self.requests_held_up)
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
            match self.inbox_mut(channel).waiting.take() {
                Some(waker) => waker.wake(),
                None => self.intake.refuse_all(channel, &RequestError::NotListening),
            }
        }
    }

    /// Takes the next request out of a channel, as the message that the guest reads.
    pub(crate) fn next_request(&mut self, channel: InputChannel) -> Option<Vec<u8>> {
        let next = self.take_request(channel, |_| Ok(()), Self::encode_request);
        next.ok().flatten()?.ok()
    }

    /// Takes the next request out of a channel, and does with it what makes it the guest's.
    /// It stays there while the guest has too few handles left, and while its app has
    /// moved more bytes than it may.
    ///
    /// # Errors
    ///
    /// What `check` has against the request, which stays then.
    pub(super) fn take_request<T>(
        &mut self,
        channel: InputChannel,
        check: impl FnMut(&Command) -> Result<(), usize>,
        hand_over: impl FnOnce(&mut Self, Command, InHand) -> T,
    ) -> Result<Option<T>, usize> {
        if !self.is_ready || self.intake.is_empty(channel) || self.dialer.rate_pause().is_some() {
            return Ok(None);
        }
        if self.resources.reserve(HANDLES_PER_REQUEST).is_err() {
            return Ok(None);
        }
        let taken = self.intake.take(channel, check);
        let handed = taken.map(|taken| {
            taken.map(|(command, in_hand)| {
                self.context.config.meter.add_request();
                self.requests_taken = self.requests_taken.saturating_add(1);
                hand_over(self, command, in_hand)
            })
        });
        self.resources.release();
        handed
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
                    _in_hand: in_hand,
                };
                let reply_tx = self.resources.insert(Resource::Reply(Some(reply)))?.0;
                let bytes = path.len() + payload.len();
                let quotas = &self.context.config.quotas;
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
            Command::Http(request) => {
                let HttpCommand {
                    head,
                    charge,
                    mut body,
                    reply,
                    ..
                } = request;
                let reply = Resource::HttpReply(Some(reply));
                let reply = self.resources.insert(reply)?;
                // Two handles follow the head in an `HttpRequest`.
                let len = request_head_len(&head);
                let mut message = Vec::with_capacity(len + 2 * size_of::<i32>());
                encode_request_head(&head, &mut message);
                let quotas = &self.context.config.quotas;
                quotas.add_unmetered(QuotaKind::Ingress, len);
                // The answer's body may last longer than its head.
                body.in_hand = Some(in_hand);
                let stream = match self.insert_stream(Stream::Body(body)) {
                    Ok(stream) => stream,
                    Err(errno) => {
                        drop(self.resources.remove(reply));
                        return Err(errno);
                    }
                };
                (reply.0, stream.0).encode_to(&mut message);
                self.answer_charge = Some(charge);
                Ok(message)
            }
        }
    }
}
