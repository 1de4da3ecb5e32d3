//! Names of hosts at the gateway and the operator's port: the target `authority` of `e2e::fuzz`.

#![no_main]

use e2e::fuzz::Target;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let target = Target::named("authority").expect("a target");
    (target.run)(bytes);
});
