//! Which instances run on a thread at this moment, for a watchdog to read.
//!
//! A step is one poll of an instance's task: it holds a thread until it returns.
//! The scheduler enters each step here and takes it out again; [`Steps::longer_than`]
//! is called by the embedder's watchdog, without a lock, so that it
//! works when nothing else does. Ends nothing by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::embedder::InstanceId;

/// Steps that are seen at a time.
///
/// There are as many as threads that poll instances. On a machine with more
/// threads than this, some steps are not seen; nothing else depends on it.
const SLOTS: usize = 256;

/// No instance is in the slot. Others have their number plus one.
const FREE: u64 = 0;

/// A cache line of its own: neighbours belong to other threads.
#[derive(Default)]
#[repr(align(64))]
struct Slot {
    instance: AtomicU64,
    begun_us: AtomicU64,
}

/// The steps of all instances of an engine.
pub struct Steps {
    epoch: Instant,
    slots: Box<[Slot]>,
}

/// A step under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// Whose.
    pub instance: InstanceId,
    /// Since it began.
    pub elapsed: Duration,
}

impl Default for Steps {
    fn default() -> Self {
        Self {
            epoch: Instant::now(),
            slots: (0..SLOTS).map(|_| Slot::default()).collect(),
        }
    }
}

impl Steps {
    /// Steps under way that have taken at least that long, in no order.
    pub fn longer_than(&self, time: Duration) -> Vec<Step> {
        let now_us = self.us(Instant::now());
        let step = |slot: &Slot| {
            let instance = slot.instance.load(Ordering::Acquire);
            let begun_us = slot.begun_us.load(Ordering::Acquire);
            // Read again: the slot may have changed hands in between.
            let is_same = slot.instance.load(Ordering::Acquire) == instance;
            let elapsed = Duration::from_micros(now_us.saturating_sub(begun_us));
            (instance != FREE && is_same && begun_us > 0 && elapsed >= time).then(|| Step {
                instance: InstanceId(instance - 1),
                elapsed,
            })
        };
        self.slots.iter().filter_map(step).collect()
    }

    fn us(&self, moment: Instant) -> u64 {
        let since = moment.saturating_duration_since(self.epoch);
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    fn enter(&self, instance: InstanceId, begun: Instant) -> Option<&Slot> {
        let occupied = instance.0.wrapping_add(1);
        let first = usize::try_from(instance.0).unwrap_or(0) % SLOTS;
        let (before, after) = self.slots.split_at(first);
        let slot = after.iter().chain(before).find(|slot| {
            slot.instance
                .compare_exchange(FREE, occupied, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
        })?;
        slot.begun_us
            .store(self.us(begun).max(1), Ordering::Release);
        Some(slot)
    }
}

/// Enters the steps of one instance.
#[derive(Clone)]
pub(crate) struct StepMarker {
    steps: Arc<Steps>,
    instance: InstanceId,
}

impl StepMarker {
    pub(crate) fn new(steps: Arc<Steps>, instance: InstanceId) -> Self {
        Self { steps, instance }
    }

    /// A step has begun; it ends when the value is dropped.
    pub(crate) fn enter(&self, begun: Instant) -> Entered<'_> {
        Entered(self.steps.enter(self.instance, begun))
    }
}

/// A step under way. `None` when no slot was free.
pub(crate) struct Entered<'a>(Option<&'a Slot>);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if let Some(slot) = self.0 {
            slot.begun_us.store(0, Ordering::Release);
            slot.instance.store(FREE, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_seen_while_they_last() {
        let steps = Arc::new(Steps::default());
        let earlier = Instant::now();
        let later = earlier + Duration::from_millis(5);
        while Instant::now() < later {
            std::hint::spin_loop();
        }
        // Both begin to look for a slot at the same place.
        let instances = [InstanceId(3), InstanceId(3 + SLOTS as u64)];
        let markers = instances.map(|instance| StepMarker::new(Arc::clone(&steps), instance));
        let first = markers[0].enter(earlier);
        let second = markers[1].enter(earlier);
        let seen = steps.longer_than(Duration::from_millis(5));
        let seen: Vec<_> = seen.iter().map(|step| step.instance).collect();
        assert_eq!(seen, instances);
        assert!(steps.longer_than(Duration::from_secs(3600)).is_empty());
        drop(first);
        assert_eq!(steps.longer_than(Duration::ZERO).len(), 1);
        drop(second);
        assert!(steps.longer_than(Duration::ZERO).is_empty());
    }

    #[test]
    fn more_steps_than_slots_do_no_harm() {
        let steps = Arc::new(Steps::default());
        let marker = StepMarker::new(Arc::clone(&steps), InstanceId(9));
        let entered: Vec<_> = (0..SLOTS + 3)
            .map(|_| marker.enter(Instant::now()))
            .collect();
        assert_eq!(steps.longer_than(Duration::ZERO).len(), SLOTS);
        drop(entered);
        assert!(steps.longer_than(Duration::ZERO).is_empty());
    }
}
