//! The guard of the stack: how deep a script may call before the engine throws
//! a `RangeError`.
//!
//! A frame of wasm code takes room in two places: in linear memory, where the
//! engine can see it, and on the host's stack, where it cannot. Neither says
//! much about the other (a level of nested JSON takes 16 bytes of the one and
//! 180 of the other), and the end of the host's stack is the end of the
//! instance. So the engine's question goes through [`wapo_js_stack_pointer`],
//! which asks the host as seldom as it can.

#![allow(unsafe_code, reason = "a function that C code calls by its name")]

use std::cell::{Cell, RefCell};

/// Bytes of linear memory that scripts may use of the stack. The linker gives
/// it 2 MiB (`build.rs`); the rest is for functions that do not look.
pub(super) const MEMORY_BYTES: usize = 1536 * 1024;

/// Bytes of the host's stack that are kept for functions that do not look.
const RESERVE_BYTES: usize = 96 * 1024;

/// How many bytes of the host's stack are taken, at the most, for one of linear
/// memory. Measured: 15 for nested JSON, 11 for nested expressions, 3 for calls.
const HOST_BYTES_PER_BYTE: usize = 24;

/// The answer of a frame that is too deep: below every limit (half a megabyte), and
/// still an address when the engine subtracts what the call is to put there.
const OVER: usize = 256 * 1024;

/// Answers of the host that are remembered, from shallow to deep.
const MARKS_MAX: usize = 32;

/// A frame, and what the host's stack had left there.
#[derive(Clone, Copy)]
struct Mark {
    frame: usize,
    left: usize,
}

thread_local! {
    static MARKS: RefCell<Vec<Mark>> = const { RefCell::new(Vec::new()) };
    /// Whether there is a host to ask: not while the image of memory is made.
    static HAS_HOST: Cell<bool> = const { Cell::new(false) };
}

/// Begins to ask the host.
pub(crate) fn has_host() {
    HAS_HOST.set(true);
}

/// Forgets what the host said: a new call from outside stands on a new stack.
pub(super) fn forget() {
    MARKS.with_borrow_mut(Vec::clear);
}

/// Bytes of the stack in linear memory above which a frame is shallow: three quarters
/// of it are left.
const SHALLOW: usize = 3 * 512 * 1024;

/// Bytes of the host's stack that are left to a shallow frame.
const SHALLOW_LEFT_BYTES: usize = 1024 * 1024;

/// Whether others can run on top of the present frame and have a stack that is hardly
/// smaller than their own would be.
pub(crate) fn is_shallow() -> bool {
    let here = 0_u8;
    (&raw const here).addr() > SHALLOW
        && wapo::guard::stack_left().is_ok_and(|left| left > SHALLOW_LEFT_BYTES)
}

/// Answers the engine's question for its stack pointer: the frame's own address,
/// or [`OVER`] when the host's stack is nearly used up.
#[unsafe(no_mangle)]
extern "C" fn wapo_js_stack_pointer(frame: usize) -> usize {
    if HAS_HOST.get() && is_over(frame) {
        OVER
    } else {
        frame
    }
}

fn is_over(frame: usize) -> bool {
    MARKS.with_borrow_mut(|marks| {
        // The calls of deeper frames have returned.
        while marks.pop_if(|mark| mark.frame < frame).is_some() {}
        if let Some(mark) = marks.last() {
            let taken = (mark.frame - frame).saturating_mul(HOST_BYTES_PER_BYTE);
            if taken + RESERVE_BYTES <= mark.left {
                return false;
            }
        }
        // A host that does not know the call has 512 KiB, of which this is half.
        let left = wapo::guard::stack_left().unwrap_or(256 * 1024);
        if marks.len() == MARKS_MAX {
            marks.pop();
        }
        marks.push(Mark { frame, left });
        left < RESERVE_BYTES
    })
}
