//! Host calls with arguments made of a fuzzer's bytes, against a live instance.
//!
//! The bytes become a script for the probe (`e2e::probe::noise`). A panic of
//! the host or a broken sanitizer rule is a finding; how a script ends is not.
//! The same scripts run for some seconds as the test `noise_breaks_nothing`.

#![no_main]

use std::cell::RefCell;
use std::time::Duration;

use e2e::probe::{Script, noise};
use e2e::{Daemon, Probe};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;

/// Longest wait for the answer to a script, which noise may have prevented.
const TIMEOUT: Duration = Duration::from_secs(2);

struct Bench {
    runtime: Runtime,
    daemon: Daemon,
    probe: Option<Probe>,
    guests: u64,
}

thread_local! {
    /// Made once: a daemon for each input would test starting, not calling.
    static BENCH: RefCell<Option<Bench>> = const { RefCell::new(None) };
}

impl Bench {
    fn new() -> Self {
        // A panic inside a task would be caught there and not be seen.
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            before(info);
            std::process::abort();
        }));
        let runtime = Runtime::new().expect("threads");
        let daemon = runtime.block_on(Daemon::start());
        Self {
            runtime,
            daemon,
            probe: None,
            guests: 0,
        }
    }

    fn run(&mut self, bytes: &[u8]) {
        let Self {
            runtime,
            daemon,
            probe,
            guests,
        } = self;
        runtime.block_on(async {
            let current = match probe.take() {
                Some(probe) => probe,
                None => {
                    *guests += 1;
                    Probe::on(daemon, |app| {
                        app.label = guests.to_string();
                        app.memory_max_bytes = Some(4 << 20);
                    })
                    .await
                }
            };
            let script = noise::script(bytes);
            let _ = tokio::time::timeout(TIMEOUT, current.try_run(&script)).await;
            let serves = current.app().status().takes_queries
                && matches!(
                    tokio::time::timeout(TIMEOUT, current.try_run(&Script::new())).await,
                    Ok(Ok(_))
                );
            if serves {
                *probe = Some(current);
            } else {
                current.app().stop().await;
            }
        });
    }
}

fuzz_target!(|bytes: &[u8]| {
    BENCH.with_borrow_mut(|bench| bench.get_or_insert_with(Bench::new).run(bytes));
});
