//! What the host sends to the app: queries and HTTP requests.
//!
//! There is one inbox per kind and program, opened when it is first asked.
//! Called by [`crate::http`], [`crate::query`] and the channels of Wapo 0.x.

use std::sync::OnceLock;
use std::task::{Context, Poll, ready};

use parity_scale_codec::Decode;
use wapo_abi::message::InputChannel;

use crate::error::{Error, Result};
use crate::sys::calls;
use crate::task::poll_call;

/// The inbox for queries.
pub(crate) static QUERIES: Inbox = Inbox::new(InputChannel::Query);
/// The inbox for HTTP requests.
pub(crate) static HTTP_REQUESTS: Inbox = Inbox::new(InputChannel::HttpRequest);

#[derive(Debug)]
pub(crate) struct Inbox {
    kind: InputChannel,
    /// Never closed: the host would not open it a second time.
    handle: OnceLock<Result<i32>>,
}

impl Inbox {
    const fn new(kind: InputChannel) -> Self {
        Self { kind, handle: OnceLock::new() }
    }

    /// The next message, or `None` when there will be no more.
    ///
    /// One task at a time may wait; a second one takes the place of the first.
    pub(crate) fn poll_next<M: Decode>(&self, cx: &Context<'_>) -> Poll<Option<M>> {
        let opened = self.handle.get_or_init(|| calls::create_input_channel(self.kind));
        let handle = match opened {
            Ok(handle) => *handle,
            Err(error) => {
                ::log::warn!("the inbox {:?} cannot be opened: {error}", self.kind);
                return Poll::Ready(None);
            }
        };
        loop {
            match ready!(poll_call(cx, |waker| calls::poll(waker, handle))) {
                Ok(message) => match M::decode(&mut &message[..]) {
                    Ok(message) => return Poll::Ready(Some(message)),
                    Err(error) => ::log::warn!("a message cannot be decoded: {error}"),
                },
                Err(Error::END_OF_FILE) => return Poll::Ready(None),
                Err(error) => {
                    ::log::warn!("the inbox {:?} failed: {error}", self.kind);
                    return Poll::Ready(None);
                }
            }
        }
    }
}
