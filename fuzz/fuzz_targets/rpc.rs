//! Messages of the RPC in both encodings: the target `rpc` of `e2e::fuzz`.

#![no_main]

use e2e::fuzz::Target;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let target = Target::named("rpc").expect("a target");
    (target.run)(bytes);
});
