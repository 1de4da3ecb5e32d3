//! Runs kernels natively: `native [name] [rounds]`, all of them by default.

use std::time::Instant;

use bench_kernels::Kernel;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next();
    let rounds = arguments.next().and_then(|word| word.parse().ok());
    for kernel in Kernel::ALL {
        if name.as_ref().is_some_and(|name| *name != kernel.name()) {
            continue;
        }
        let rounds = rounds.unwrap_or_else(|| kernel.rounds());
        let start = Instant::now();
        let checksum = kernel.run(rounds);
        let nanos = start.elapsed().as_nanos();
        println!(
            "{} rounds={rounds} nanos={nanos} checksum={checksum}",
            kernel.name()
        );
    }
}
