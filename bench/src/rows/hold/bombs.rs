//! Row `compile-bombs`: small modules that make compilers explode. Each is
//! refused in moments or ended at the limits of the compiler's process; the
//! daemon does not grow, and the neighbour does not notice.

#[path = "../../../../crates/wapo-host/tests/support/bombs.rs"]
mod kinds;

use std::time::Instant;

use anyhow::{Result, bail};

use super::{Memory, Scene, report_neighbour, sampling_time};
use crate::plan::Plan;
use crate::report::{Goal, Line, Report, number};
use crate::worker::{Deploy, Worker};

const ROW: &str = "compile-bombs";
/// Time in which what the file itself tells is refused.
const REFUSED_MS: f64 = 50.0;
/// What the daemon may grow by while a module is refused or compiled.
const GROWTH_BYTES: u64 = 64 << 20;
/// Functions and statements of a large program, which is no bomb: it compiles for
/// some seconds beside the neighbour.
const LARGE: (u32, u32) = (20_000, 100);

pub(in crate::rows) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let mut modules = kinds::all();
    if plan.smoke {
        modules.truncate(1);
    } else {
        let (functions, statements) = LARGE;
        let program = kinds::large_program(functions, statements, wapo_abi::POLL_EXPORT);
        modules.push(("a large program", program));
    }
    for (what, wasm) in &modules {
        measure(what, wasm, plan, report)?;
    }
    Ok(())
}

fn measure(what: &str, wasm: &[u8], plan: &Plan, report: &mut Report) -> Result<()> {
    let scene = Scene::open(plan, &["-m", "128m"])?;
    scene.worker.put_blob(wasm.to_vec())?;
    let mut memory = Memory::begin(&scene.worker)?;
    let (samples, (ms, answer)) = scene.beside(plan, |worker| {
        let outcome = deploy(worker, wasm)?;
        // The compiler may go on after the deployment has been answered.
        memory.watch(worker, sampling_time(plan) / 4)?;
        Ok(outcome)
    })?;
    let goal = match &answer {
        Answer::AtLimit(_) | Answer::Runs => Goal::None,
        Answer::Refused(_) => Goal::AtMost(REFUSED_MS),
    };
    report.add(Line {
        row: ROW,
        what: format!("{what} ({} KB) is answered after", wasm.len() / 1000),
        beside: String::new(),
        ours: answer.text(),
        value: ms,
        unit: "ms",
        goal,
    });
    report.add(Line {
        row: ROW,
        what: format!("the daemon grows by, {what}"),
        beside: String::new(),
        ours: format!("{} MB at most", number(memory.peak as f64 / 1e6)),
        value: memory.peak.saturating_sub(memory.before) as f64 / 1e6,
        unit: "MB",
        goal: Goal::AtMost(GROWTH_BYTES as f64 / 1e6),
    });
    report_neighbour(report, ROW, what, &scene.idle, &samples);
    Ok(())
}

/// What became of a bomb.
enum Answer {
    /// The file was looked at, and that was enough.
    Refused(String),
    /// The compiler's process reached a limit.
    AtLimit(String),
    /// It compiles, within the limits.
    Runs,
}

impl Answer {
    fn text(&self) -> String {
        match self {
            Self::Refused(text) => format!("refused: {text}"),
            Self::AtLimit(text) => format!("ended at a limit: {text}"),
            Self::Runs => "it runs".to_owned(),
        }
    }
}

fn deploy(worker: &Worker, wasm: &[u8]) -> Result<(f64, Answer)> {
    let begun = Instant::now();
    let outcome = worker.deploy(Deploy::new("bomb", wasm));
    let ms = begun.elapsed().as_secs_f64() * 1000.0;
    let answer = match outcome {
        Ok(_) => Answer::Runs,
        Err(error) => {
            let text = error.to_string().replace(['\n', '|'], " ");
            if text.contains("does not answer") {
                bail!("{text}");
            }
            match text.contains("needs more than") {
                true => Answer::AtLimit(text),
                false => Answer::Refused(text),
            }
        }
    };
    Ok((ms, answer))
}
