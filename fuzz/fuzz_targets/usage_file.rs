//! Bills in files: the target `usage_file` of `e2e::fuzz`.

#![no_main]

use e2e::fuzz::Target;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let target = Target::named("usage_file").expect("a target");
    (target.run)(bytes);
});
