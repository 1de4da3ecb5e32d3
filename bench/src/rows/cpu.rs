//! Row `cpu`: five kernels as a guest with metering and preemption on, beside
//! the same crate compiled for this machine, and beside the same wasm file in
//! an engine that counts nothing, and in one that can be interrupted by epochs.

use std::time::Duration;

use anyhow::{Result, ensure};
use bench_kernels::Kernel;
use wasmtime::{Engine, Module};

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
    let unmetered = Plain::new(Metering::Off, &wasm)?;
    let epochs = Plain::new(Metering::Epochs, &wasm)?;

    let (mut to_native, mut to_unmetered, mut to_epochs) = (vec![], vec![], vec![]);
    for kernel in Kernel::ALL {
        let rounds = (kernel.rounds() / plan.kernel_divisor).max(1);
        let words = [kernel.name(), &rounds.to_string()];
        let (mut ours, mut native) = (vec![], vec![]);
        let (mut plain, mut interrupted) = (vec![], vec![]);
        for _ in 0..plan.rounds {
            let before = cpu_time();
            let checksum = kernel.run(rounds);
            native.push(seconds(before));

            let ran = host.run(&metered, &words)?;
            ours.push(ran.cpu.as_secs_f64());
            check(&ran.output, checksum)?;

            plain.push(unmetered.seconds(&words, checksum)?);
            interrupted.push(epochs.seconds(&words, checksum)?);
        }
        let (ours, native) = (median(&ours), median(&native));
        let (plain, interrupted) = (median(&plain), median(&interrupted));
        to_native.push(ours / native);
        to_unmetered.push(ours / plain);
        to_epochs.push(ours / interrupted);
        report.add(Line {
            row: "cpu",
            what: kernel.name().to_owned(),
            beside: format!(
                "{} ms native, {} ms unmetered, {} ms with epochs",
                number(native * 1e3),
                number(plain * 1e3),
                number(interrupted * 1e3)
            ),
            ours: format!("{} ms", number(ours * 1e3)),
            value: ours / native,
            unit: "× native",
            goal: Goal::None,
        });
    }
    summarize(report, &to_native, &to_unmetered, &to_epochs);
    Ok(())
}

/// The geometric means.
fn summarize(report: &mut Report, to_native: &[f64], to_unmetered: &[f64], to_epochs: &[f64]) {
    for (what, ratios, unit, bound) in [
        ("five kernels beside native", to_native, "× native", 1.45),
        (
            "five kernels beside the same wasm unmetered",
            to_unmetered,
            "× unmetered",
            1.12,
        ),
        (
            "five kernels beside the same wasm with epochs",
            to_epochs,
            "× with epochs",
            1.00,
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
}

/// The kernels in an engine without us.
struct Plain {
    engine: Engine,
    module: Module,
}

impl Plain {
    fn new(metering: Metering, wasm: &[u8]) -> Result<Self> {
        let engine = told(plain::engine(metering))?;
        let module = told(Module::new(&engine, wasm))?;
        Ok(Self { engine, module })
    }

    /// Processor time of a kernel.
    fn seconds(&self, words: &[&str], checksum: u64) -> Result<f64> {
        let before = cpu_time();
        let output = told(plain::run_guest(&self.engine, &self.module, words))?;
        let seconds = seconds(before);
        check(&output, checksum)?;
        Ok(seconds)
    }
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
