//! Which frames a client of HTTP/2 sends, and how many of them do no work.
//!
//! Each PING, SETTINGS, PRIORITY, WINDOW_UPDATE, RST_STREAM and empty DATA frame
//! makes the library read, lock and perhaps answer, and none of them is bounded by
//! flow control. So they are counted on their way from the socket, before the
//! library sees them. Requests and what is sent to the client allow for more. Used
//! by `wire` and `http2`.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio::time::Instant;

use crate::limits::{CONTROL_FRAMES_BURST, CONTROL_FRAMES_PER_SECOND};

/// Bytes of the head of a frame (RFC 9113, section 4.1).
const FRAME_HEAD_BYTES: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const END_STREAM: u8 = 1;

/// Control frames that a request, or a frame sent to the client, makes usual: two
/// updates of windows, a priority and a reset.
const FRAMES_PER_FRAME: u32 = 4;

/// Frames that a client may still send.
#[derive(Debug)]
pub(super) struct FrameBudget(AtomicU32);

impl Default for FrameBudget {
    fn default() -> Self {
        Self(AtomicU32::new(CONTROL_FRAMES_BURST))
    }
}

impl FrameBudget {
    /// A frame was sent, or a request came: the client has reason to say something.
    pub(super) fn grant(&self) {
        self.add(FRAMES_PER_FRAME);
    }

    fn add(&self, frames: u32) {
        let update = |left: u32| Some(left.saturating_add(frames).min(CONTROL_FRAMES_BURST));
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
    refilled: Instant,
}

impl FrameMeter {
    /// Begins with `preface` bytes that are no frame.
    pub(super) fn new(preface: usize) -> Self {
        Self {
            head: [0; FRAME_HEAD_BYTES],
            head_bytes: 0,
            skip: preface,
            refilled: Instant::now(),
        }
    }

    /// Counts what came; false when it was too much.
    pub(super) fn count(&mut self, mut bytes: &[u8], budget: &FrameBudget) -> bool {
        self.refill(budget);
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
                if !self.frame(budget) {
                    return false;
                }
            }
        }
        true
    }

    /// Counts the frame whose head has come.
    fn frame(&mut self, budget: &FrameBudget) -> bool {
        let [long, middle, short, kind, flags, ..] = self.head;
        self.skip = usize::from(long) << 16 | usize::from(middle) << 8 | usize::from(short);
        match kind {
            HEADERS => {
                budget.grant();
                true
            }
            DATA if self.skip > 0 || flags & END_STREAM != 0 => true,
            _ => budget.take(),
        }
    }

    fn refill(&mut self, budget: &FrameBudget) {
        let per_frame = 1_000 / CONTROL_FRAMES_PER_SECOND;
        let passed = self.refilled.elapsed().as_millis();
        let frames = u32::try_from(passed / u128::from(per_frame)).unwrap_or(u32::MAX);
        if frames > 0 {
            budget.add(frames);
            self.refilled = Instant::now();
        }
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
        assert!(meter.count(&[0; 24], &budget));
        let mut passed = 0;
        while passed < 10 * CONTROL_FRAMES_BURST {
            if !frame.chunks(piece).all(|piece| meter.count(piece, &budget)) {
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
    fn what_is_sent_allows_for_more() {
        let budget = FrameBudget::default();
        let mut meter = FrameMeter::new(0);
        let update = frame(8, 0, &[0; 4]);
        for _ in 0..10 * CONTROL_FRAMES_BURST {
            budget.grant();
            assert!(meter.count(&update, &budget) && meter.count(&update, &budget));
        }
    }
}
