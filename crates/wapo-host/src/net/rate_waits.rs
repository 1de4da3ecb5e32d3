//! Streams whose guest waits until its app may move more bytes.
//!
//! The guest is told that it has to wait, as if the peer were slow, so that nothing
//! is lost and the peer sees a slow connection. One timer of the instance wakes it:
//! the waits that are oldest first, and no more of them than there are bytes for.
//! Filled by the calls that move bytes, looked at by `drive`.

use std::collections::{HashMap, VecDeque};
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

use crate::limits::{QUOTA_PAUSE_MIN, QUOTA_TICK, QUOTA_WAKE_BYTES};
use crate::meter::Meter;
use crate::quotas::{QuotaKind, Quotas};
use crate::resource::Handle;

/// Places of waits that are over, besides as many as there are waits.
const OVER_KEPT_MAX: usize = 32;

/// One way of one stream.
type Way = (Handle, QuotaKind);

/// What the guest of one instance waits for.
#[derive(Default)]
pub(crate) struct RateWaits {
    wakers: HashMap<Way, Waker>,
    /// In the order in which the waits began; some may be over.
    order: VecDeque<Way>,
    /// When to look again.
    due: Option<Instant>,
}

impl RateWaits {
    /// A guest waits, for so long at least. Of several waits for the same the last
    /// one is kept.
    pub(crate) fn wait(&mut self, handle: Handle, kind: QuotaKind, waker: Waker, time: Duration) {
        let way = (handle, kind);
        if self.wakers.insert(way, waker).is_none() {
            self.order.push_back(way);
        }
        if self.order.len() > 2 * self.wakers.len() + OVER_KEPT_MAX {
            self.tidy_up();
        }
        let due = Instant::now() + time.max(QUOTA_PAUSE_MIN);
        self.due = Some(self.due.map_or(due, |known| known.min(due)));
    }

    fn tidy_up(&mut self) {
        let mut kept = std::collections::HashSet::new();
        let wakers = &self.wakers;
        self.order
            .retain(|way| wakers.contains_key(way) && kept.insert(*way));
    }

    /// A handle is closed.
    pub(crate) fn over(&mut self, handle: Handle) {
        if self.wakers.is_empty() {
            return;
        }
        for kind in [QuotaKind::Ingress, QuotaKind::Egress] {
            self.wakers.remove(&(handle, kind));
        }
    }

    /// A wait has ended without being woken.
    #[inline]
    pub(crate) fn moved(&mut self, handle: Handle, kind: QuotaKind) {
        if !self.wakers.is_empty() {
            self.wakers.remove(&(handle, kind));
        }
    }

    /// When a waiter is to be woken, if there is one.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Wakes those whose time has come.
    pub(crate) fn wake_due(&mut self, now: Instant, quotas: &Quotas, meter: &Meter) {
        let Some(due) = self.due else { return };
        if due > now {
            return;
        }
        self.due = None;
        let mut next = None;
        for kind in [QuotaKind::Ingress, QuotaKind::Egress] {
            if !self.wakers.keys().any(|(_, waits)| *waits == kind) {
                continue;
            }
            let wait = match quotas.look(kind, usize::MAX, meter) {
                Ok(bytes) => {
                    let count = bytes as u64 / QUOTA_WAKE_BYTES;
                    self.wake(kind, usize::try_from(count).unwrap_or(usize::MAX).max(1));
                    QUOTA_TICK
                }
                Err(wait) => wait.max(QUOTA_TICK),
            };
            next = Some(next.map_or(wait, |known: Duration| known.min(wait)));
        }
        if !self.wakers.is_empty() {
            self.due = next.map(|wait| now + wait);
        }
    }

    fn wake(&mut self, kind: QuotaKind, count: usize) {
        let mut left = count;
        let mut others = VecDeque::new();
        while left > 0
            && let Some(way) = self.order.pop_front()
        {
            if way.1 != kind {
                others.push_back(way);
            } else if let Some(waker) = self.wakers.remove(&way) {
                waker.wake();
                left -= 1;
            }
        }
        // They keep their turn.
        while let Some(way) = others.pop_back() {
            self.order.push_front(way);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use super::*;
    use crate::quotas::QuotaLimits;

    #[derive(Default)]
    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    const OUT: QuotaKind = QuotaKind::Egress;

    fn quotas(per_second: u64) -> Quotas {
        let mut limits = QuotaLimits::default();
        limits.set(OUT, Some(per_second));
        Quotas::new(&limits, None, 0)
    }

    #[test]
    fn the_oldest_are_woken_and_no_more_than_there_are_bytes_for() {
        let (meter, quotas) = (Meter::default(), quotas(QUOTA_WAKE_BYTES));
        let woken: Vec<_> = (0..40).map(|_| Arc::<Woken>::default()).collect();
        let count = || {
            let woken = woken.iter().map(|one| one.0.load(Ordering::Relaxed));
            woken.collect::<Vec<_>>()
        };
        let mut waits = RateWaits::default();
        for (handle, waker) in (0..).zip(&woken) {
            let waker = Arc::clone(waker).into();
            waits.wait(Handle(handle), OUT, waker, Duration::ZERO);
        }
        let due = waits.due().expect("they wait");
        let early = due
            .checked_sub(Duration::from_millis(1))
            .expect("later than boot");
        waits.wake_due(early, &quotas, &meter);
        assert_eq!(count().iter().sum::<u32>(), 0, "it is too early");
        waits.over(Handle(0));
        waits.wake_due(due, &quotas, &meter);
        // The bucket holds 16 KiB, which is enough for four.
        assert_eq!(count()[..6], [0, 1, 1, 1, 1, 0]);
        assert_eq!(count().iter().sum::<u32>(), 4);
        assert!(waits.due().is_some(), "others wait");
        meter.add_egress(1 << 20);
        for _ in 0..50 {
            let due = waits.due().expect("others wait");
            waits.wake_due(due, &quotas, &meter);
        }
        let refused = quotas.read(OUT, &meter).refused;
        assert_eq!(refused, 0, "looking is not wanting more");
    }

    #[test]
    fn a_guest_that_waits_and_closes_again_and_again_keeps_nothing() {
        let mut waits = RateWaits::default();
        for number in 0..10_000 {
            let handle = Handle(number % 7);
            let waker = Waker::noop().clone();
            waits.wait(handle, OUT, waker, Duration::from_secs(1));
            waits.over(handle);
        }
        assert!(waits.wakers.is_empty());
        assert!(waits.order.len() <= OVER_KEPT_MAX, "{}", waits.order.len());
    }
}
