//! Heads and trailers of guests' answers: the target `answer_head` of `e2e::fuzz`.

#![no_main]

use e2e::fuzz::Target;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let target = Target::named("answer_head").expect("a target");
    (target.run)(bytes);
});
