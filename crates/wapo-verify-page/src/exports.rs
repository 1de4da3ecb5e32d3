//! What the page calls: `input(length)` gives where a message is to be written,
//! `verify()` the length of the answer, `output()` where it is.
//!
//! No code here is unsafe: the page writes and reads in the module's memory, between the
//! calls. What is marked as unsafe are the names of the exports, which no other function of
//! the module has. An instance has one thread.

#![allow(
    unsafe_code,
    reason = "`no_mangle` gives an export its name; there is no unsafe block"
)]

use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};

static INPUT: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static OUTPUT: Mutex<String> = Mutex::new(String::new());

fn held<T>(place: &Mutex<T>) -> MutexGuard<'_, T> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes room for a message of so many bytes, and gives where it begins.
#[unsafe(no_mangle)]
extern "C" fn input(length: usize) -> *mut u8 {
    let mut input = held(&INPUT);
    *input = vec![0; length];
    input.as_mut_ptr()
}

/// Verifies the message; gives the bytes of the answer.
#[unsafe(no_mangle)]
extern "C" fn verify() -> usize {
    let answer = crate::answered(&held(&INPUT));
    let length = answer.len();
    *held(&OUTPUT) = answer;
    length
}

/// Where the answer begins.
#[unsafe(no_mangle)]
extern "C" fn output() -> *const u8 {
    held(&OUTPUT).as_ptr()
}

/// The numbers that nobody asks for: verifying draws none.
fn no_random_numbers(_: &mut [u8]) -> Result<(), getrandom::Error> {
    Err(NonZeroU32::MIN.into())
}

getrandom::register_custom_getrandom!(no_random_numbers);
