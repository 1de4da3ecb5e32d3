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
use super::clients::Caller;
use super::connection::Client;
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
        Err(NotCollected::TooLarge) if waits_for_word => return outcome,
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
    let patience = caller.clients.patience;
    let mut paced = Paced::new(caller.client, patience.body_window);
    let ends = Instant::now() + patience.body;
    let mut share = caller.body_share();
    let mut content = Vec::new();
    while let Some(piece) = paced.next(body, ends).await? {
        if content.len() + piece.len() > bytes_max {
            return Err(NotCollected::TooLarge);
        }
        share.grow(piece.len())?;
        content.extend_from_slice(&piece);
    }
    Ok(Collected { content, share })
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
