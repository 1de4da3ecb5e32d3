//! Which frames a client of HTTP/2 sends, and how many of them do no work.
//!
//! Each PING, SETTINGS, PRIORITY, WINDOW_UPDATE, RST_STREAM and empty DATA frame
//! makes the library read, lock and perhaps answer, and none of them is bounded by
//! flow control. So they are counted on their way from the socket, before the
//! library sees them. Requests and what is sent to the client allow for more. Used
//! by `transport` and `http2`. Bodies and unfinished heads are counted on the way, too.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::unread::Unread;
use crate::limits::{CONTROL_FRAMES_BURST, CONTROL_FRAMES_PER_SECOND};

/// Bytes of the head of a frame (RFC 9113, section 4.1).
const FRAME_HEAD_BYTES: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Control frames that a request makes usual: two updates of windows, a priority and
/// a reset.
const FRAMES_PER_REQUEST: u32 = 4;

/// Control frames that a piece of an answer makes usual, however short it is: an
/// update of each window.
const FRAMES_PER_PIECE: u32 = 2;

/// The same for each started [`SENT_BYTES`] of it.
///
/// Usual clients update their windows some eight times in 64 KiB; this allows for
/// four times as many.
const FRAMES_PER_SENT_BYTES: u32 = 2;

/// Bytes of an answer that [`FRAMES_PER_SENT_BYTES`] are for.
const SENT_BYTES: usize = 4 * 1024;

/// Control frames that requests and what was sent may allow for at a time.
///
/// A client updates its windows for all that is on its way to it, which may be many
/// megabytes. Without a bound, a client that says little about a long download could
/// keep a core busy afterwards; so many frames take 65 ms of it.
const EARNED_FRAMES_MAX: u32 = 65_536;

/// Frames that a client may still send.
#[derive(Debug)]
pub(super) struct FrameBudget(AtomicU32);

impl Default for FrameBudget {
    fn default() -> Self {
        Self(AtomicU32::new(CONTROL_FRAMES_BURST))
    }
}

impl FrameBudget {
    /// Bytes of an answer were sent: the client has reason to say something.
    pub(super) fn grant_sent(&self, bytes: usize) {
        let started = u32::try_from(bytes.div_ceil(SENT_BYTES)).unwrap_or(u32::MAX);
        let frames = started.saturating_mul(FRAMES_PER_SENT_BYTES);
        let frames = frames.saturating_add(FRAMES_PER_PIECE);
        self.add(frames, EARNED_FRAMES_MAX);
    }

    /// A request came.
    fn grant_request(&self) {
        self.add(FRAMES_PER_REQUEST, EARNED_FRAMES_MAX);
    }

    /// Adds frames, but not beyond `max`. What is there already stays.
    fn add(&self, frames: u32, max: u32) {
        let update = |left: u32| Some(left.saturating_add(frames).min(max).max(left));
        // The closure always gives a value.
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, update);
    }

    /// Takes one; false when there is none.
    fn take(&self) -> bool {
        let update = |left: u32| left.checked_sub(1);
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, update);
        taken.is_ok()
    }
}

/// Follows the frames in a stream of bytes.
#[derive(Debug)]
pub(super) struct FrameMeter {
    head: [u8; FRAME_HEAD_BYTES],
    /// Bytes of the head that have come.
    head_bytes: usize,
    /// Bytes until the next head.
    skip: usize,
    /// Bytes of the head of a request whose end has not begun to come.
    request_head_bytes: usize,
    /// Up to when time has allowed for frames.
    refilled: Instant,
}

impl FrameMeter {
    /// Begins with `preface` bytes that are no frame.
    pub(super) fn new(preface: usize) -> Self {
        Self {
            head: [0; FRAME_HEAD_BYTES],
            head_bytes: 0,
            skip: preface,
            request_head_bytes: 0,
            refilled: Instant::now(),
        }
    }

    /// Bytes of the head of a request that has not come to its end, but for its last
    /// frame.
    pub(super) fn unfinished_head_bytes(&self) -> usize {
        self.request_head_bytes
    }

    /// Counts what came; false when it was too much.
    pub(super) fn count(
        &mut self,
        mut bytes: &[u8],
        budget: &FrameBudget,
        unread: &Unread,
    ) -> bool {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                self.skip -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            let (wanted, came) = (FRAME_HEAD_BYTES - self.head_bytes, bytes.len());
            let taken = wanted.min(came);
            self.head[self.head_bytes..][..taken].copy_from_slice(&bytes[..taken]);
            self.head_bytes += taken;
            bytes = &bytes[taken..];
            if self.head_bytes == FRAME_HEAD_BYTES {
                self.head_bytes = 0;
                if !self.frame(budget, unread) {
                    return false;
                }
            }
        }
        true
    }

    /// Counts the frame whose head has come.
    fn frame(&mut self, budget: &FrameBudget, unread: &Unread) -> bool {
        let [long, middle, short, kind, flags, stream @ ..] = self.head;
        self.skip = usize::from(long) << 16 | usize::from(middle) << 8 | usize::from(short);
        // The first bit says nothing.
        let stream = u32::from_be_bytes(stream) & (u32::MAX >> 1);
        if matches!(kind, HEADERS | CONTINUATION) {
            let before = self.request_head_bytes;
            self.request_head_bytes = match flags & END_HEADERS {
                0 => before.saturating_add(self.skip),
                _ => 0,
            };
        }
        match kind {
            HEADERS => {
                budget.grant_request();
                flags & END_STREAM != 0 || unread.begin(stream)
            }
            DATA if self.skip > 0 || flags & END_STREAM != 0 => {
                unread.arrived(stream, self.skip as u64);
                true
            }
            _ if budget.take() => true,
            // The clock is read only when it matters.
            _ => {
                self.refill(budget, Instant::now());
                budget.take()
            }
        }
    }

    /// Adds what time allows for. The part of a frame that is left counts the next
    /// time.
    fn refill(&mut self, budget: &FrameBudget, now: Instant) {
        let per_frame = Duration::from_secs(1) / CONTROL_FRAMES_PER_SECOND;
        let passed = now.saturating_duration_since(self.refilled);
        let frames = passed.as_nanos() / per_frame.as_nanos();
        let frames = u32::try_from(frames).unwrap_or(u32::MAX);
        budget.add(frames, CONTROL_FRAMES_BURST);
        self.refilled += per_frame * frames;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: u8 = 6;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).expect("short");
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        frame.extend(payload);
        frame
    }

    /// Frames of a kind that pass, up to ten times as many as there may be at once.
    fn passing(frame: &[u8], piece: usize) -> u32 {
        let budget = FrameBudget::default();
        let mut meter = FrameMeter::new(24);
        assert!(meter.count(&[0; 24], &budget, &Unread::default()));
        let mut passed = 0;
        while passed < 10 * CONTROL_FRAMES_BURST {
            if !frame
                .chunks(piece)
                .all(|piece| meter.count(piece, &budget, &Unread::default()))
            {
                break;
            }
            passed += 1;
        }
        passed
    }

    #[test]
    fn frames_that_do_no_work_are_counted_however_they_are_cut() {
        for kind in [2, 3, 4, PING, 8, 200] {
            for piece in [1, 5, 100] {
                let passed = passing(&frame(kind, 0, &[0; 8]), piece);
                let least = CONTROL_FRAMES_BURST;
                assert!((least..2 * least).contains(&passed), "{kind}: {passed}");
            }
        }
        let passed = passing(&frame(DATA, 0, &[]), 100);
        assert!(passed < 2 * CONTROL_FRAMES_BURST, "empty data: {passed}");
    }

    #[test]
    fn frames_that_carry_something_are_not() {
        let all = 10 * CONTROL_FRAMES_BURST;
        assert_eq!(passing(&frame(DATA, 0, b"x"), 3), all);
        assert_eq!(passing(&frame(DATA, END_STREAM, b""), 3), all);
        let mut request = frame(HEADERS, 0, b"x");
        request.extend(frame(8, 0, &[0; 4]));
        request.extend(frame(3, 0, &[0; 4]));
        assert_eq!(passing(&request, 100), all);
    }

    #[test]
    fn heads_and_bodies_are_counted_however_they_are_cut() {
        let mut bytes = frame(HEADERS, 0, &[0; 100]);
        bytes.extend(frame(CONTINUATION, 0, &[0; 50]));
        for piece in [1, 7, 1000] {
            let (budget, unread) = (FrameBudget::default(), Unread::default());
            let mut meter = FrameMeter::new(0);
            let mut count = |bytes: &[u8]| {
                let mut pieces = bytes.chunks(piece);
                assert!(pieces.all(|piece| meter.count(piece, &budget, &unread)));
                meter.unfinished_head_bytes()
            };
            assert_eq!(count(&bytes), 150);
            assert_eq!(count(&frame(CONTINUATION, END_HEADERS, &[0; 9])), 0);
            count(&frame(DATA, 0, &[0; 30]));
            count(&frame(DATA, END_STREAM, &[0; 3]));
            assert_eq!(unread.bytes(), 33);
        }
    }

    #[test]
    fn what_is_sent_allows_for_more() {
        let budget = FrameBudget::default();
        let mut meter = FrameMeter::new(0);
        let update = frame(8, 0, &[0; 4]);
        for _ in 0..10 * CONTROL_FRAMES_BURST {
            budget.grant_sent(1);
            assert!(
                meter.count(&update, &budget, &Unread::default())
                    && meter.count(&update, &budget, &Unread::default())
            );
        }
    }

    /// Frames that may be taken now.
    fn taken(budget: &FrameBudget) -> u32 {
        let mut taken = 0;
        while budget.take() {
            taken += 1;
        }
        taken
    }

    #[test]
    fn a_fast_download_allows_for_the_updates_of_all_that_is_on_its_way() {
        let budget = FrameBudget::default();
        let mut meter = FrameMeter::new(0);
        let update = frame(8, 0, &[0; 4]);
        // What is handed over in one piece is answered with eight frames per 64 KiB.
        for _ in 0..100 {
            for _ in 0..100 {
                budget.grant_sent(128 * 1024);
            }
            for _ in 0..100 * 16 {
                assert!(meter.count(&update, &budget, &Unread::default()));
            }
        }
        budget.grant_sent(usize::MAX);
        assert_eq!(taken(&budget), EARNED_FRAMES_MAX);
    }

    #[test]
    fn time_allows_for_more_up_to_a_bound_and_no_part_of_it_is_lost() {
        let budget = FrameBudget::default();
        let mut meter = FrameMeter::new(0);
        let begun = meter.refilled;
        assert_eq!(taken(&budget), CONTROL_FRAMES_BURST);
        for (at_ms, frames) in [(9, 0), (19, 1), (20, 1), (20, 0), (59, 3), (60, 1)] {
            meter.refill(&budget, begun + Duration::from_millis(at_ms));
            assert_eq!(taken(&budget), frames, "after {at_ms} ms");
        }
        meter.refill(&budget, begun + Duration::from_secs(3600));
        assert_eq!(taken(&budget), CONTROL_FRAMES_BURST);
        // What was earned is more than that, and stays.
        budget.grant_sent(64 * 1024 * 1024);
        meter.refill(&budget, begun + Duration::from_secs(7200));
        assert!(taken(&budget) > 2 * CONTROL_FRAMES_BURST);
    }
}
