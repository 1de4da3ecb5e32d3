//! Row `cpu`: five kernels as a guest with metering and preemption on, beside
//! the same crate compiled for this machine, and beside the same wasm file in
//! an engine that counts nothing.

use std::time::Duration;

use anyhow::{Result, ensure};
use bench_kernels::Kernel;
use wasmtime::Module;

use super::plain::{self, Metering, told};
use crate::embedder::{Host, cpu_time, value};
use crate::guests;
use crate::plan::Plan;
use crate::report::{Goal, Line, Report, number};
use crate::stats::{geometric_mean, median};

pub(super) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let wasm = guests::read("kernels")?;
    let host = Host::new()?;
    let metered = host.load(&wasm)?;
    let engine = told(plain::engine(Metering::Off))?;
    let unmetered = told(Module::new(&engine, &wasm))?;

    let (mut to_native, mut to_unmetered) = (vec![], vec![]);
    for kernel in Kernel::ALL {
        let rounds = (kernel.rounds() / plan.kernel_divisor).max(1);
        let words = [kernel.name(), &rounds.to_string()];
        let (mut ours, mut native, mut plain) = (vec![], vec![], vec![]);
        for _ in 0..plan.rounds {
            let before = cpu_time();
            let checksum = kernel.run(rounds);
            native.push(seconds(before));

            let ran = host.run(&metered, &words)?;
            ours.push(ran.cpu.as_secs_f64());
            check(&ran.output, checksum)?;

            let before = cpu_time();
            let output = told(plain::run_guest(&engine, &unmetered, &words))?;
            plain.push(seconds(before));
            check(&output, checksum)?;
        }
        let (ours, native, plain) = (median(&ours), median(&native), median(&plain));
        to_native.push(ours / native);
        to_unmetered.push(ours / plain);
        report.add(Line {
            row: "cpu",
            what: kernel.name().to_owned(),
            beside: format!(
                "{} ms native, {} ms unmetered",
                number(native * 1e3),
                number(plain * 1e3)
            ),
            ours: format!("{} ms", number(ours * 1e3)),
            value: ours / native,
            unit: "× native",
            goal: Goal::None,
        });
    }
    for (what, ratios, unit, bound) in [
        ("five kernels beside native", &to_native, "× native", 1.45),
        (
            "five kernels beside the same wasm unmetered",
            &to_unmetered,
            "× unmetered",
            1.20,
        ),
    ] {
        let each: Vec<String> = ratios.iter().map(|ratio| number(*ratio)).collect();
        report.add(Line {
            row: "cpu",
            what: format!("{what}, geometric mean"),
            beside: String::new(),
            ours: each.join(", "),
            value: geometric_mean(ratios),
            unit,
            goal: Goal::AtMost(bound),
        });
    }
    Ok(())
}

fn seconds(before: Duration) -> f64 {
    cpu_time().saturating_sub(before).as_secs_f64()
}

/// Both sides did the same work.
fn check(line: &str, checksum: u64) -> Result<()> {
    let found = value(line, "checksum")?;
    ensure!(
        found == checksum.to_string(),
        "another checksum than native: {found} instead of {checksum}"
    );
    Ok(())
}
