//! Detects clients that read nothing of what is sent to them.
//!
//! A client that reads nothing for a moment makes room for new ones, and one that
//! goes on so is disconnected. In HTTP/2 each stream says for itself whether the
//! daemon waits for its client. Used by `transport`.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use crate::api::places::{Activity, Wait};

/// Time without a byte taken after which the daemon waits for the client.
///
/// Every client that is slower than the app reads nothing for a moment now and then.
const MOMENT: Duration = Duration::from_secs(1);

/// Follows what is written to one client.
pub(super) struct Stall {
    /// Time in which a client takes something.
    timeout: Duration,
    /// Where it is said that the client is waited for.
    activity: Option<Arc<Activity>>,
    /// Runs while the client takes nothing.
    timer: Option<Pin<Box<Sleep>>>,
    /// The client has taken something since the timer was set.
    has_moved: bool,
    /// For how long nothing was taken, in whole moments.
    silent: Duration,
    wait: Option<Wait>,
}

impl Stall {
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            activity: None,
            timer: None,
            has_moved: false,
            silent: Duration::ZERO,
            wait: None,
        }
    }

    /// Says from now on when the client is waited for.
    pub(super) fn tell(&mut self, activity: Arc<Activity>) {
        self.activity = Some(activity);
    }

    /// The client took something.
    pub(super) fn moved(&mut self) {
        self.has_moved = true;
        self.wait = None;
    }

    /// Follows a write up.
    pub(super) fn follow<T>(
        &mut self,
        outcome: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.moved();
            return outcome;
        }
        let moment = MOMENT.min(self.timeout);
        loop {
            let timer = match &mut self.timer {
                Some(timer) => timer,
                none => {
                    self.has_moved = false;
                    self.silent = Duration::ZERO;
                    none.insert(Box::pin(sleep(moment)))
                }
            };
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            timer.as_mut().reset(Instant::now() + moment);
            if std::mem::take(&mut self.has_moved) {
                self.silent = Duration::ZERO;
                continue;
            }
            self.silent += moment;
            if self.silent >= self.timeout {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            if let (None, Some(activity)) = (&self.wait, &self.activity) {
                self.wait = Some(activity.wait());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::timeout;

    use super::*;
    use crate::api::budget::Who;
    use crate::api::places::Places;

    #[tokio::test]
    async fn who_takes_nothing_of_an_answer_leaves_for_a_newcomer_and_who_takes_some_stays() {
        let places = Places::new(1, 1);
        let who = Who::new([127, 0, 0, 1].into(), &[]);
        let place = places.take(who).await.expect("a place");
        let _work = place.activity().work();
        let mut stall = Stall::new(Duration::from_secs(60));
        stall.tell(Arc::clone(place.activity()));
        while stall.wait.is_none() {
            let blocked = poll_fn(|cx| stall.follow::<()>(Poll::Pending, cx));
            assert!(timeout(MOMENT / 4, blocked).await.is_err());
        }
        let moved = poll_fn(|cx| stall.follow(Poll::Ready(Ok(1)), cx));
        assert_eq!(moved.await.expect("written"), 1);
        assert!(timeout(MOMENT / 4, places.take(who)).await.is_err());
        tokio::select! {
            given_up = poll_fn(|cx| stall.follow::<()>(Poll::Pending, cx)) => panic!("{given_up:?}"),
            newcomer = places.take(who) => assert!(newcomer.is_some()),
        }
        assert_eq!(places.displaced(), 1);
    }
}
