//! First bytes of connections to a TLS port: the target `client_hello` of `e2e::fuzz`.

#![no_main]

use e2e::fuzz::Target;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let target = Target::named("client_hello").expect("a target");
    (target.run)(bytes);
});
