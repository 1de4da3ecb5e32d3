//! What a host call costs: the query `/name/count` makes one call so many times
//! and answers `name count=.. nanos=.. per_call=..`.
//!
//! With arguments `name [count]` it does that at the start, writes the line to
//! the log and to the output, and ends.

use std::hint::black_box;
use std::time::Instant;

#[wapo::main]
async fn main() -> Result<(), String> {
    bench_guests::serve(run).await
}

fn run(name: &str, count: &str) -> Result<String, String> {
    let count: u32 = count.parse().unwrap_or(1_000_000);
    let mut failed = 0u32;
    let start = Instant::now();
    for _ in 0..count {
        let outcome = match name {
            // Switches off what is off: nothing costs less.
            "trivial" => wapo::app::trace_calls(false),
            // A fast call with numbers only.
            "tip" => wapo::app::tip(0),
            // A fast call that writes into guest memory.
            "random" => wapo::secret::random(&mut [0; 16]),
            // A slow call: two crossings and a decoded answer.
            "address" => wapo::app::address().map(|address| {
                black_box(address);
            }),
            _ => return Err(format!("no such call: {name}")),
        };
        failed += u32::from(outcome.is_err());
    }
    let nanos = start.elapsed().as_nanos();
    let per_call = nanos / u128::from(count.max(1));
    Ok(format!(
        "{name} count={count} nanos={nanos} per_call={per_call} failed={failed}"
    ))
}
