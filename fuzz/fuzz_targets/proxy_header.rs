//! First bytes of a proxy's connection: the target `proxy_header` of `e2e::fuzz`.

#![no_main]

use e2e::fuzz::Target;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let target = Target::named("proxy_header").expect("a target");
    (target.run)(bytes);
});
