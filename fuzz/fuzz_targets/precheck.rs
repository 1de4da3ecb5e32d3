//! Files of any kind, looked at as modules before they are compiled.
//!
//! A panic is a finding, and so is a file whose check takes more time than its
//! size explains (libFuzzer's own limit). Start with the seeds that the tests of
//! `wapo-host` use: `cargo fuzz run precheck fuzz/seeds/precheck`.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
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
    let _ = ENGINE.check(bytes);
});
