//! Heads of requests, and pipelined requests: the target `request_head` of `e2e::fuzz`.

#![no_main]

use e2e::fuzz::Target;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let target = Target::named("request_head").expect("a target");
    (target.run)(bytes);
});
