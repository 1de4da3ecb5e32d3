//! Quotes of processors: the target `quote` of `e2e::fuzz`.

#![no_main]

use e2e::fuzz::Target;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let target = Target::named("quote").expect("a target");
    (target.run)(bytes);
});
