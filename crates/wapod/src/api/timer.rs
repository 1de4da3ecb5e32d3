//! A timer that many short waits share, one after the other.
//!
//! Arming a timer of the runtime and taking it back costs more than the wait of a request
//! that is answered at once. This one stays armed and is looked at when it goes off: is it
//! too early for the present wait, it is armed anew. Kept with a connection; used by the
//! gateway and by `connection`.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

/// Goes off once in a while, whether or not a request waits.
#[derive(Default)]
pub(super) struct SharedTimer(Option<Pin<Box<Sleep>>>);

impl SharedTimer {
    /// Waits until a time.
    ///
    /// # Cancel safety
    ///
    /// The next wait begins anew.
    pub(super) async fn until(&mut self, deadline: Instant) {
        std::future::poll_fn(|cx| self.poll_until(deadline, cx)).await;
    }

    fn poll_until(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self
            .0
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= deadline || Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn each_wait_is_as_long_as_it_says_whatever_was_waited_for_before() {
        let (short, long) = (Duration::from_millis(20), Duration::from_secs(600));
        let mut timer = SharedTimer::default();
        for given_up in [long, short] {
            let far = Instant::now() + given_up;
            assert!(timeout(short / 4, timer.until(far)).await.is_err());
            // Armed for later than this wait, then for earlier.
            for time in [short, short * 3] {
                let begun = Instant::now();
                timer.until(begun + time).await;
                let took = begun.elapsed();
                assert!(took >= time && took < long, "{took:?} of {time:?}");
            }
        }
        timer.until(Instant::now()).await;
    }
}
