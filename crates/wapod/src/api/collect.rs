//! Reading the body of a call as a whole.
//!
//! Counted on a budget as it comes, within the pace that every client has to
//! keep, and within a time for the whole. Called by `call`; bodies that are
//! streamed to an app or to the disk keep the same pace there.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Body, Bytes};
use tokio::time::{Instant, timeout};

use super::body::discard;
use super::budget::{Full, Share};
use super::client::Client;
use super::clients::Caller;
use super::pace::Pace;
use crate::limits::{DISCARD_TIMEOUT, GOODBYE_TIMEOUT};

/// A body, and its part of the budget. The part belongs to whatever is made of
/// the body, too: keep it as long as that.
pub(super) struct Collected {
    pub(super) content: Vec<u8>,
    pub(super) share: Share,
}

/// Why a body is not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum NotCollected {
    #[error("the body is too large")]
    TooLarge,
    #[error("the body came too slowly")]
    TooSlow,
    #[error(transparent)]
    Full(#[from] Full),
    #[error("the body broke off")]
    BrokeOff,
}

/// Reads a body of up to `bytes_max`. What is refused half-way is read on for a
/// moment, so that the client gets to see why.
///
/// # Errors
///
/// [`NotCollected`].
pub(super) async fn collect<B>(
    mut body: B,
    bytes_max: usize,
    waits_for_word: bool,
    caller: &Caller<'_>,
) -> Result<Collected, NotCollected>
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
{
    let announced = body.size_hint().lower();
    let outcome = if announced > bytes_max as u64 {
        Err(NotCollected::TooLarge)
    } else {
        read(&mut body, bytes_max, caller).await
    };
    let time = match &outcome {
        Ok(_) | Err(NotCollected::BrokeOff) => return outcome,
        // Such a client sends nothing before it was asked to.
        Err(NotCollected::TooLarge) if waits_for_word && announced > bytes_max as u64 => {
            return outcome;
        }
        Err(NotCollected::TooSlow) => GOODBYE_TIMEOUT,
        Err(_) => DISCARD_TIMEOUT,
    };
    tokio::spawn(discard(body, time));
    outcome
}

async fn read(
    body: &mut (impl Body<Data = Bytes> + Unpin),
    bytes_max: usize,
    caller: &Caller<'_>,
) -> Result<Collected, NotCollected> {
    let timeouts = caller.clients.timeouts;
    let mut paced = Paced::new(caller.client, timeouts.body_window);
    let ends = Instant::now() + timeouts.body;
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut kept = Kept {
        content: Vec::new(),
        share: caller.body_share(),
        announced,
        bytes_max,
    };
    while let Some(piece) = paced.next(body, ends).await? {
        kept.add(&piece)?;
    }
    Ok(kept.finish())
}

/// What has come of a body. Its part of the budget is for the whole buffer, which
/// grows ahead of what comes.
pub(super) struct Kept {
    pub(super) content: Vec<u8>,
    pub(super) share: Share,
    /// 0 where that is not known.
    pub(super) announced: usize,
    pub(super) bytes_max: usize,
}

impl Kept {
    pub(super) fn add(&mut self, piece: &[u8]) -> Result<(), NotCollected> {
        let content = &mut self.content;
        let len = content.len() + piece.len();
        if len > self.bytes_max {
            return Err(NotCollected::TooLarge);
        }
        if len > content.capacity() {
            // Doubled, so that nothing is copied often; but not beyond the end, as
            // far as it is known.
            let end = match self.announced {
                0 => self.bytes_max,
                announced => announced.min(self.bytes_max),
            };
            let capacity = (2 * content.capacity()).min(end).max(len);
            self.share.grow_to(capacity as u64)?;
            content.reserve_exact(capacity - content.len());
        }
        content.extend_from_slice(piece);
        Ok(())
    }

    fn finish(mut self) -> Collected {
        self.content.shrink_to_fit();
        self.share.shrink(self.content.capacity() as u64);
        Collected {
            content: self.content,
            share: self.share,
        }
    }
}

/// Reads pieces of a body from a client that has to keep up.
pub(super) struct Paced<'a> {
    client: &'a Client,
    pace: Pace,
}

impl<'a> Paced<'a> {
    pub(super) fn new(client: &'a Client, window: Duration) -> Self {
        Self {
            client,
            pace: Pace::new(window),
        }
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`NotCollected::TooSlow`] and [`NotCollected::BrokeOff`].
    pub(super) async fn next(
        &mut self,
        body: &mut (impl Body<Data = Bytes> + Unpin),
        ends: Instant,
    ) -> Result<Option<Bytes>, NotCollected> {
        loop {
            let _wait = self.client.waits();
            let begun = Instant::now();
            let time = self.pace.left().min(ends.saturating_duration_since(begun));
            let frame = timeout(time, body.frame()).await;
            let piece = match frame {
                Ok(None) => return Ok(None),
                Ok(Some(Err(_))) => return Err(NotCollected::BrokeOff),
                Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
                Err(_) => Bytes::new(),
            };
            let keeps_up = self.pace.count(piece.len() as u64, begun.elapsed());
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
            if !keeps_up || Instant::now() >= ends {
                return Err(NotCollected::TooSlow);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::api::budget::{Bounds, Budget};

    #[test]
    fn a_body_is_counted_by_the_buffer_that_it_has() {
        let budget: Arc<Budget> = Budget::new(Bounds {
            total: 5_000,
            each: 5_000,
            for_small: 0,
        });
        let kept = |announced| Kept {
            content: Vec::new(),
            share: budget.share(None),
            announced,
            bytes_max: 4_000,
        };
        for announced in [0, 2_500] {
            let mut body = kept(announced);
            for _ in 0..25 {
                body.add(&[0; 100]).expect("room");
                let capacity = body.content.capacity() as u64;
                assert_eq!(budget.reading().used, capacity);
                assert!(capacity <= 4_000 && (announced == 0 || capacity <= 2_500));
            }
            let collected = body.finish();
            assert_eq!(collected.content.len(), 2_500);
            assert_eq!(budget.reading().used, collected.content.capacity() as u64);
            drop(collected);
            assert_eq!(budget.reading().used, 0);
        }
        let mut body = kept(0);
        assert!(body.add(&[0; 4_000]).is_ok());
        assert_eq!(body.add(&[0]), Err(NotCollected::TooLarge));
        let mut other = kept(0);
        let full = other.add(&[0; 1_001]);
        assert!(matches!(full, Err(NotCollected::Full(_))), "{full:?}");
    }
}
