//! Calls of the family `channel`, and the way of a request into the guest.
//!
//! A request becomes a message in an input channel, with handles for its reply
//! and its body. Messages that no channel takes are dropped with their handles,
//! so that the requester hears of it at once.

use std::collections::VecDeque;

use parity_scale_codec::{Decode as _, Encode as _};
use tokio::sync::oneshot;
use wapo_abi::message::{HttpRequest, InputChannel, QueryRequest};
use wapo_abi::{CHANNEL_CAPACITY, Errno};

use super::{WORK_LOCK, WORK_SYSCALL, family};
use crate::instance::{Command, Reply, RequestError};
use crate::net::stream::Stream;
use crate::resource::{Handle, Resource};
use crate::state::InstanceState;

impl family::channel::Calls for InstanceState {
    fn oneshot_send(&mut self, handle: Handle, data: &[u8]) -> Result<(), Errno> {
        self.add_work(WORK_SYSCALL);
        let reply = self.take_reply(handle)?;
        self.control.note_io();
        reply.send(Ok(data.to_vec())).map_err(|_| Errno::IO_ERROR)
    }

    fn oneshot_send_error(&mut self, handle: Handle, text: &str) -> Result<(), Errno> {
        self.add_work(WORK_SYSCALL);
        let reply = self.take_reply(handle)?;
        reply
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
    fn take_reply(&mut self, handle: Handle) -> Result<oneshot::Sender<Reply>, Errno> {
        match self.resources.get(handle)? {
            Resource::Reply(reply) => reply.take().ok_or(Errno::IO_ERROR),
            _ => Err(Errno::UNSUPPORTED_OPERATION),
        }
    }

    /// Whether one more request fits into a channel, or is refused at once.
    pub(crate) fn takes(&self, channel: InputChannel) -> bool {
        let inbox = match channel {
            InputChannel::Query => &self.queries,
            InputChannel::HttpRequest => &self.requests,
        };
        inbox.queue.len() < CHANNEL_CAPACITY
    }

    /// Puts a request into the guest's channel, or fails it.
    pub(crate) fn deliver(&mut self, command: Command) {
        let inbox = self.inbox(command.channel());
        if inbox.handle.is_none() || inbox.closed {
            // The requester may be gone as well; then nobody is to be told.
            let _ = command.into_reply().send(Err(RequestError::NotListening));
            return;
        }
        self.config.meter.add_request();
        let channel = command.channel();
        // Without handles the request is dropped, and its requester sees that.
        if let Ok(message) = self.encode_request(command) {
            let inbox = self.inbox(channel);
            inbox.queue.push_back(message);
            if let Some(waker) = inbox.waiting.take() {
                waker.wake();
            }
        }
    }

    /// Makes the handles of a request and encodes it.
    ///
    /// # Errors
    ///
    /// [`Errno::RESOURCE_LIMITED`] when the guest has no handles left; the
    /// requester sees that nobody answers.
    fn encode_request(&mut self, command: Command) -> Result<Vec<u8>, Errno> {
        match command {
            Command::Query {
                origin,
                path,
                payload,
                reply,
            } => {
                let reply_tx = self.resources.insert(Resource::Reply(Some(reply)))?.0;
                Ok(QueryRequest {
                    origin,
                    path,
                    payload,
                    reply_tx,
                }
                .encode())
            }
            Command::Http {
                head: mut message,
                body,
                reply,
            } => {
                let reply = self.resources.insert(Resource::Reply(Some(reply)))?;
                let stream = match self.insert_stream(Stream::Body(body)) {
                    Ok(stream) => stream,
                    Err(errno) => {
                        drop(self.resources.remove(reply));
                        return Err(errno);
                    }
                };
                // What follows the head in an `HttpRequest`.
                (reply.0, stream.0).encode_to(&mut message);
                Ok(message)
            }
        }
    }

    /// Closes the handles of messages that the guest will never read.
    pub(crate) fn discard_messages(&mut self, channel: InputChannel, unread: VecDeque<Vec<u8>>) {
        for message in unread {
            let mut input = message.as_slice();
            let handles = match channel {
                InputChannel::Query => {
                    QueryRequest::decode(&mut input).map(|query| vec![query.reply_tx])
                }
                InputChannel::HttpRequest => HttpRequest::decode(&mut input)
                    .map(|request| vec![request.response_tx, request.io_stream]),
            };
            for handle in handles.unwrap_or_default() {
                // The guest may have guessed the number and closed it already.
                drop(self.resources.remove(Handle(handle)));
            }
        }
    }
}

impl Command {
    fn channel(&self) -> InputChannel {
        match self {
            Self::Query { .. } => InputChannel::Query,
            Self::Http { .. } => InputChannel::HttpRequest,
        }
    }

    fn into_reply(self) -> oneshot::Sender<Reply> {
        match self {
            Self::Query { reply, .. } | Self::Http { reply, .. } => reply,
        }
    }
}
