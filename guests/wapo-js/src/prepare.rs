//! The export that is called once, when the engine is built: what it leaves in
//! memory is where every instance begins.
//!
//! It runs where there is no host. What asks one for something fails the build.

use std::hint::black_box;

use crate::engine::{Engine, boot, memory};

/// Makes the engine and evaluates the boot code.
#[allow(
    unsafe_code,
    reason = "the name is looked up in the exports; nothing else here has it"
)]
#[unsafe(no_mangle)]
extern "C" fn wapo_js_prepare() {
    wapo::__private::construct();
    if let Err(error) = Engine::prepared() {
        // Ends the call; the text is in what the build says.
        panic!("the boot code fails: {error}");
    }
    boot::pack();
    clear_stack();
    clear_heap();
    memory::begin();
}

/// Stack that the boot code has surely used less of.
const STACK_BYTES: usize = 1024 * 1024;

/// Writes zeros where the boot code's frames were, so that they take no room in
/// the image.
#[inline(never)]
fn clear_stack() {
    let mut bytes = [0_u8; STACK_BYTES];
    black_box(&mut bytes);
}

/// Writes zeros into what is free on the heap, for the same reason: takes all of
/// it, zeroed, until more memory would be needed.
fn clear_heap() {
    let mut taken = Vec::new();
    for size in [1 << 16, 1 << 13, 1 << 10, memory::SMALL_BYTES + 1] {
        let size: usize = size;
        let pages = core::arch::wasm32::memory_size(0);
        // The list itself must not be what grows.
        taken.reserve(4096);
        while taken.len() < taken.capacity() && core::arch::wasm32::memory_size(0) == pages {
            taken.push(black_box(vec![0_u8; size]));
        }
    }
    for mut block in taken {
        block.fill(0);
        black_box(&mut block);
    }
}
