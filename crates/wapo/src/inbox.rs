//! What the host sends to the app: queries and HTTP requests.
//!
//! There is one inbox per kind and program, opened when it is first asked.
//! Called by [`crate::http`], [`crate::query`] and the channels of Wapo 0.x.

use std::sync::OnceLock;
use std::task::{Context, Poll, ready};

use parity_scale_codec::{Decode, decode_from_bytes};
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
        Self {
            kind,
            handle: OnceLock::new(),
        }
    }

    /// The handle; `None` when there is no such inbox.
    pub(crate) fn open(&self) -> Option<i32> {
        let opened = self
            .handle
            .get_or_init(|| calls::create_input_channel(self.kind));
        match opened {
            Ok(handle) => Some(*handle),
            Err(error) => {
                ::log::warn!("the inbox {:?} cannot be opened: {error}", self.kind);
                None
            }
        }
    }

    /// The next message, or `None` when there will be no more.
    ///
    /// One task at a time may wait; a second one takes the place of the first.
    pub(crate) fn poll_next<M: Decode>(&self, cx: &Context<'_>) -> Poll<Option<M>> {
        loop {
            let Some(message) = ready!(self.poll_message(cx)) else {
                return Poll::Ready(None);
            };
            match decode_from_bytes(message.into()) {
                Ok(message) => return Poll::Ready(Some(message)),
                Err(error) => ::log::warn!("a message cannot be decoded: {error}"),
            }
        }
    }

    /// As [`poll_next`](Self::poll_next), still encoded.
    pub(crate) fn poll_message(&self, cx: &Context<'_>) -> Poll<Option<Vec<u8>>> {
        let Some(handle) = self.open() else {
            return Poll::Ready(None);
        };
        match ready!(poll_call(cx, |waker| calls::poll(waker, handle))) {
            Ok(message) => Poll::Ready(Some(message)),
            Err(Error::END_OF_FILE) => Poll::Ready(None),
            Err(error) => {
                ::log::warn!("the inbox {:?} failed: {error}", self.kind);
                Poll::Ready(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use parity_scale_codec::Encode;
    use wapo_abi::Errno;

    use super::*;
    use crate::sys::fake::{self, Answer};

    fn next(inbox: &Inbox) -> Poll<Option<u32>> {
        inbox.poll_next(&Context::from_waker(Waker::noop()))
    }

    fn opened() -> Inbox {
        fake::install();
        fake::answer("create_input_channel", Answer::Bytes(7i32.encode()));
        Inbox::new(InputChannel::Query)
    }

    #[test]
    fn messages_come_one_by_one_and_broken_ones_are_skipped() {
        let inbox = opened();
        assert_eq!(next(&inbox), Poll::Pending);
        fake::answer("poll", Answer::Bytes(vec![1u8].encode()));
        fake::answer("poll", Answer::Bytes(9u32.encode().encode()));
        assert_eq!(next(&inbox), Poll::Ready(Some(9)));
        assert_eq!(fake::calls("create_input_channel").len(), 1);
    }

    #[test]
    fn an_inbox_ends_where_wapo_0_panicked() {
        for errno in [Errno::END_OF_FILE, Errno::NOT_FOUND, Errno(200)] {
            let inbox = opened();
            fake::answer("poll", Answer::Fails(errno));
            assert_eq!(next(&inbox), Poll::Ready(None));
        }
        fake::install();
        fake::answer("create_input_channel", Answer::Fails(Errno::ALREADY_EXISTS));
        assert_eq!(next(&Inbox::new(InputChannel::Query)), Poll::Ready(None));
    }
}
