//! The body that a program sends: of an answer, or of a request.

use std::future::ready;

use bytes::Bytes;
use wapo::http::BodySender;

use super::stream::{Later, Sink};
use crate::engine::Failure;

/// The sink behind a body.
pub(super) struct Outgoing(Option<BodySender>);

impl Outgoing {
    pub(super) fn new(sender: BodySender) -> Self {
        Self(Some(sender))
    }
}

impl Sink for Outgoing {
    fn write(&mut self, piece: Bytes) -> Later<'_, Result<(), Failure>> {
        Box::pin(async {
            let gone = || Failure::type_error("the other side wants no more of the body");
            let sender = self.0.as_mut().ok_or_else(gone)?;
            sender.send(piece).await.map_err(|_| gone())
        })
    }

    fn close(&mut self) -> Later<'_, Result<(), Failure>> {
        drop(self.0.take());
        Box::pin(ready(Ok(())))
    }

    fn abort(self: Box<Self>) {
        if let Some(sender) = self.0 {
            sender.abort();
        }
    }
}
