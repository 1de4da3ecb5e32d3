//! Statements and what operators send in SCALE: the target `statements` of `e2e::fuzz`.

#![no_main]

use e2e::fuzz::Target;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let target = Target::named("statements").expect("a target");
    (target.run)(bytes);
});
