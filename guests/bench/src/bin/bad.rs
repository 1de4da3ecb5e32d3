//! A guest that misbehaves, as its first argument says.
//!
//! Others on the same worker must not notice. It answers queries while it can,
//! so that a test sees how much it gets.

use std::hint::black_box;
use std::time::Duration;

#[wapo::main]
async fn main() -> Result<(), String> {
    wapo::log::init();
    wapo::spawn(wapo::query::serve(|query| async {
        Ok::<_, String>(query.payload)
    }));
    // Time to open the inbox.
    wapo::time::sleep(Duration::from_millis(10)).await;
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let mode = arguments.first().map(String::as_str).unwrap_or_default();
    let size = arguments.get(1).and_then(|word| word.parse().ok());
    log::info!("about to misbehave: {mode}");
    match mode {
        "spin" => spin(),
        "fill" => fill(size.unwrap_or(1 << 30)),
        "always-ready" => always_ready().await,
        "expensive" => expensive(size.unwrap_or(1 << 20)),
        "log-flood" => loop {
            log::info!("{}", "x".repeat(size.unwrap_or(1000)));
        },
        "tasks" => tasks().await,
        "timers" => timers().await,
        "grow" => grow(),
        "recurse" => Err(recurse(1).to_string()),
        _ => Err(format!("no such mode: {mode}")),
    }
}

/// Never returns to the host.
fn spin() -> ! {
    let mut number = 1u64;
    loop {
        number = black_box(
            number
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1),
        );
    }
}

/// One bulk memory instruction after the other, each over all of a buffer.
fn fill(size: usize) -> ! {
    let mut memory = Vec::<u8>::new();
    let mut size = size;
    while memory.try_reserve_exact(size).is_err() {
        size /= 2;
    }
    memory.resize(size, 0);
    log::info!("filling {size} bytes over and over");
    let mut byte = 0u8;
    loop {
        byte = byte.wrapping_add(1);
        black_box(&mut memory[..]).fill(byte);
    }
}

/// Returns to the host quickly, and always has more to do.
async fn always_ready() -> ! {
    loop {
        wapo::task::yield_now().await;
    }
}

/// Makes the host work for it.
fn expensive(size: usize) -> ! {
    let mut buffer = vec![0; size];
    loop {
        let _ = black_box(wapo::secret::random(&mut buffer));
        let _ = black_box(wapo::attest::sign(&buffer[..size.min(1024)]));
        let _ = black_box(wapo::secret::derive("expensive"));
        let _ = black_box(wapo::app::gas_used());
        let _ = black_box(wapo::boot::write(&buffer[..size.min(65_536)]));
    }
}

/// Ever more tasks that are all awake.
async fn tasks() -> ! {
    loop {
        wapo::spawn(always_ready());
        wapo::task::yield_now().await;
    }
}

/// As many timers as it gets, all short.
async fn timers() -> ! {
    loop {
        wapo::spawn(async {
            loop {
                wapo::time::sleep(Duration::from_millis(1)).await;
            }
        });
        wapo::task::yield_now().await;
    }
}

/// Takes memory until there is none.
fn grow() -> ! {
    let mut all = Vec::new();
    loop {
        all.push(black_box(vec![1u8; 1 << 20]));
    }
}

/// Runs out of stack.
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 32]);
    if black_box(depth) == u64::MAX {
        return 0;
    }
    recurse(depth + 1) + frame[0]
}
