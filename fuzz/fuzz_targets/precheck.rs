//! Files of any kind, looked at as modules before they are compiled.
//!
//! A panic is a finding, and so is a file whose check takes more time than its
//! size explains (libFuzzer's own limit). Starts from the seeds that the tests of
//! `wapo-host` use, which are texts: what is checked and changed is the module
//! that a text means. By hand, in this workspace's folder: `cargo fuzz run precheck
//! corpus/precheck seeds/precheck`; findings go into the first folder.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use wapo_host::{Compiler, Engine, EngineConfig};

/// Made once; it cannot compile anything.
static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    Engine::new(EngineConfig {
        instances_max: 1,
        compiler: Compiler::command(Vec::new()),
        ..EngineConfig::default()
    })
    .expect("an engine")
});

fuzz_target!(|bytes: &[u8]| {
    let _ = match module(bytes) {
        Some(module) => ENGINE.check(&module),
        None => ENGINE.check(bytes),
    };
});

// A change of a text is hardly ever a text again, and never a broken module.
fuzz_mutator!(
    |data: &mut [u8], size: usize, max_size: usize, _seed: u32| {
        let module = module(&data[..size]).filter(|module| module.len() <= max_size);
        let size = module.map_or(size, |module| {
            data[..module.len()].copy_from_slice(&module);
            module.len()
        });
        fuzzer_mutate(data, size, max_size)
    }
);

/// The module that a text means; `None` for what is no text of a module.
fn module(bytes: &[u8]) -> Option<Vec<u8>> {
    // A module itself is looked at as it is, and other bytes are no text.
    let is_text = bytes.starts_with(b"(") || bytes.starts_with(b";;");
    if !is_text {
        return None;
    }
    wat::parse_bytes(bytes).ok().map(Vec::from)
}
