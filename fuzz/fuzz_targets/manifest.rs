//! Manifests, labels, names and addresses of apps: the target `manifest` of `e2e::fuzz`.

#![no_main]

use e2e::fuzz::Target;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let target = Target::named("manifest").expect("a target");
    (target.run)(bytes);
});
