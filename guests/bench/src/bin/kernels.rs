//! CPU kernels as a guest: the query `/name/rounds` runs one and answers
//! `name rounds=.. nanos=.. checksum=..`, as the native program prints it.
//!
//! With arguments `name [rounds]` it runs that one at the start, writes the
//! line to the log and to the output, and ends.

use std::time::Instant;

use bench_kernels::Kernel;

#[wapo::main]
async fn main() -> Result<(), String> {
    bench_guests::serve(run).await
}

fn run(name: &str, rounds: &str) -> Result<String, String> {
    let kernel = Kernel::from_name(name).ok_or_else(|| format!("no such kernel: {name}"))?;
    let rounds = rounds.parse().unwrap_or_else(|_| kernel.rounds());
    let start = Instant::now();
    let checksum = kernel.run(rounds);
    let nanos = start.elapsed().as_nanos();
    Ok(format!(
        "{name} rounds={rounds} nanos={nanos} checksum={checksum}"
    ))
}
