//! Row `compile-bombs`: small modules that make compilers explode. Each is
//! refused in moments or ended at the limits of the compiler's process; the
//! daemon does not grow, and the neighbour does not notice.

use std::fmt::Write as _;
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

/// A bomb: its kind in words, and its text.
struct Bomb {
    what: &'static str,
    text: fn() -> String,
}

const BOMBS: &[Bomb] = &[
    Bomb {
        what: "br_table with 500 targets of 500 values each",
        text: many_targets,
    },
    Bomb {
        what: "a function of 2 million instructions",
        text: long_function,
    },
    Bomb {
        what: "30,000 locals changed in 1,000 loops",
        text: locals_in_loops,
    },
    Bomb {
        what: "50,000 blocks in each other",
        text: deep_blocks,
    },
    Bomb {
        what: "2,000 calls with 900 arguments and 900 results",
        text: wide_calls,
    },
    Bomb {
        what: "a br_table of 1 million targets",
        text: long_table,
    },
    Bomb {
        what: "400,000 functions",
        text: many_functions,
    },
    Bomb {
        what: "20,000 branches with 900 values",
        text: wide_branches,
    },
];

pub(in crate::rows) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let count = if plan.smoke { 1 } else { BOMBS.len() };
    for bomb in BOMBS.iter().take(count) {
        let wasm = wat::parse_str((bomb.text)())?;
        let scene = Scene::open(plan, &["-m", "128m"])?;
        scene.worker.put_blob(wasm.clone())?;
        let mut memory = Memory::begin(&scene.worker)?;
        let (samples, (ms, answer)) = scene.beside(plan, |worker| {
            let outcome = deploy(worker, &wasm, &mut memory)?;
            // The compiler may go on beside whoever asked.
            memory.watch(worker, sampling_time(plan) / 4)?;
            Ok(outcome)
        })?;
        let goal = match &answer {
            Answer::AtLimit(_) | Answer::Runs => Goal::None,
            Answer::Refused(_) => Goal::AtMost(REFUSED_MS),
        };
        report.add(Line {
            row: ROW,
            what: format!("{} ({} KB) is answered after", bomb.what, wasm.len() / 1000),
            beside: String::new(),
            ours: answer.text(),
            value: ms,
            unit: "ms",
            goal,
        });
        report.add(Line {
            row: ROW,
            what: format!("the daemon grows by, {}", bomb.what),
            beside: String::new(),
            ours: format!("{} MB at most", number(memory.peak as f64 / 1e6)),
            value: memory.peak.saturating_sub(memory.before) as f64 / 1e6,
            unit: "MB",
            goal: Goal::AtMost(GROWTH_BYTES as f64 / 1e6),
        });
        report_neighbour(report, ROW, bomb.what, &scene.idle, &samples);
    }
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

fn deploy(worker: &Worker, wasm: &[u8], memory: &mut Memory) -> Result<(f64, Answer)> {
    let begun = Instant::now();
    let outcome = worker.deploy(Deploy::new("bomb", wasm));
    let ms = begun.elapsed().as_secs_f64() * 1000.0;
    memory.watch(worker, std::time::Duration::ZERO)?;
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

/// A guest with one function of this signature and body.
fn guest(types: &str, signature: &str, body: &str) -> String {
    format!(
        "(module {types} (memory (export \"memory\") 1)
           (func (export \"wapo_poll\") (result i32) (i32.const 0))
           (func {signature} {body}))"
    )
}

fn values(count: usize) -> String {
    " i32".repeat(count)
}

fn many_targets() -> String {
    let (depth, results, tables) = (500, 500, 4);
    let block = format!("block (result{}) ", values(results));
    let pushes = "local.get 0 ".repeat(results);
    let targets: String = (0..=depth).map(|target| format!(" {target}")).collect();
    let table = format!("local.get 0 if {pushes} local.get 0 br_table{targets} end ");
    let body = format!(
        "{}{}{pushes}{}{}",
        block.repeat(depth),
        table.repeat(tables),
        "end ".repeat(depth),
        "drop ".repeat(results)
    );
    // The outermost label of the table is the function, which takes no values.
    guest(
        "",
        "(param i32)",
        &body.replace(&format!(" {depth} end"), " end"),
    )
}

fn long_function() -> String {
    let step = "local.get 0 i32.load local.get 0 i32.add local.set 0 ";
    guest("", "(param i32)", &step.repeat(400_000))
}

fn locals_in_loops() -> String {
    let (locals, loops) = (30_000, 1_000);
    let mut body = format!("(local{}) ", values(locals));
    for number in 0..loops {
        let _ = write!(
            body,
            "loop local.get {} local.set {} local.get 0 br_if 0 ",
            number * 7 % locals,
            number * 13 % locals + 1
        );
    }
    body.push_str(&"end ".repeat(loops));
    guest("", "(param i32)", &body)
}

fn deep_blocks() -> String {
    let body = format!(
        "{}{}",
        "block local.get 0 br_if 0 ".repeat(50_000),
        "end ".repeat(50_000)
    );
    guest("", "(param i32)", &body)
}

fn wide_calls() -> String {
    let ty = format!("(param{0}) (result{0})", values(900));
    let types = format!("(type $wide (func {ty})) (table 1 funcref)");
    let pushes = "local.get 0 ".repeat(900);
    let body = format!(
        "{pushes}{}{}",
        "i32.const 0 call_indirect (type $wide) ".repeat(2_000),
        "drop ".repeat(900)
    );
    guest(&types, "(param i32)", &body)
}

fn long_table() -> String {
    let targets = " 0".repeat(1_000_000);
    guest(
        "",
        "(param i32)",
        &format!("block local.get 0 br_table{targets} end"),
    )
}

fn many_functions() -> String {
    let functions = "(func (param i32) (result i32) local.get 0)".repeat(400_000);
    guest(&functions, "(param i32)", "")
}

fn wide_branches() -> String {
    let pushes = "local.get 0 ".repeat(900);
    let branch = "local.get 0 br_if 0 ".repeat(20_000);
    let body = format!(
        "block (result{}) {pushes}{branch} end {}",
        values(900),
        "drop ".repeat(900)
    );
    guest("", "(param i32)", &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bomb_is_the_text_of_a_module() {
        let wasm = wat::parse_str(many_targets()).expect("a module");
        assert!(wasm.len() < 20_000, "{} bytes", wasm.len());
    }
}
