//! Hosts and rules of the egress policy: the target `egress_rule` of `e2e::fuzz`.

#![no_main]

use e2e::fuzz::Target;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let target = Target::named("egress_rule").expect("a target");
    (target.run)(bytes);
});
