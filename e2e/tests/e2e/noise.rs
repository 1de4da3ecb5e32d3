//! Random calls with random arguments against a live instance: the host never
//! panics, never leaks, and the next guest finds everything in order.
//!
//! The same scripts can come from a fuzzer (`fuzz/`); here they come from a
//! seeded generator, for a few seconds.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use e2e::probe::noise;
use e2e::{Daemon, Probe, ports};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// Time for noise.
const DURATION: Duration = Duration::from_secs(5);
/// Bytes that one script is made of.
const BYTES: usize = 600;

static PANICS: AtomicU32 = AtomicU32::new(0);

/// Descriptors that this process has open.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Whether the probe still does what it is for.
async fn is_sound(probe: &Probe) -> bool {
    // Noise may have closed the channel, and a young app gets time to open it.
    if !probe.app().status().takes_queries {
        return false;
    }
    // Or answered in the probe's place.
    let script = e2e::probe::Script::new().fast(110, [0; 4]);
    // Or left it too few handles for a request, which then waits.
    match tokio::time::timeout(Duration::from_secs(1), probe.try_run(&script)).await {
        Ok(Ok(output)) => output.len() == 12,
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn noise_breaks_nothing() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        before(info);
    }));
    let daemon = Daemon::start().await;
    let port = ports::free();
    let open = descriptors();
    let begun = Instant::now();
    let (mut scripts, mut guests, mut seed) = (0_u32, 0_u32, 0_u64);
    while begun.elapsed() < DURATION {
        guests += 1;
        let probe = Probe::on(&daemon, |app| {
            app.label = guests.to_string();
            app.listen_ports = ports::only(port);
            app.memory_max_bytes = Some(4 << 20);
        })
        .await;
        probe.run(&e2e::probe::Script::new()).await;
        while begun.elapsed() < DURATION && is_sound(&probe).await {
            seed += 1;
            let mut bytes = [0; BYTES];
            StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
            let script = noise::script(&bytes);
            let asked = probe.try_run(&script);
            // An answer that never comes is possible: noise closed its handle.
            let _ = tokio::time::timeout(Duration::from_secs(1), asked).await;
            scripts += 1;
            assert_eq!(PANICS.load(Ordering::Relaxed), 0, "seed {seed}");
        }
        probe.app().stop().await;
    }
    // How much was tried depends on the machine; the least does not.
    println!("{scripts} scripts, {guests} guests");
    assert!(scripts > 100, "{scripts} scripts in {DURATION:?}");

    let probe = Probe::on(&daemon, |_| {}).await;
    assert!(
        probe.create_timer(1).await.unwrap() < 4,
        "handles are its own"
    );
    probe.app().stop().await;
    let closed = async {
        while descriptors() > open + 8 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    e2e::within("sockets to close", closed).await;
    assert_eq!(PANICS.load(Ordering::Relaxed), 0);
}
