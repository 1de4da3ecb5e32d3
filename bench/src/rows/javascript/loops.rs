//! Row `javascript-loops`: what scripts compute in an instance, with metering and
//! preemption on, beside the same scripts in the same engine, compiled for this
//! machine (`bench/quickjs`: the same version of the crate, optimised alike).

use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bench_kernels::sha256;
use sha2::{Digest as _, Sha256};
use wapo_host::Program;

use super::has_engine;
use crate::embedder::{Host, cpu_time, value};
use crate::guests;
use crate::plan::Plan;
use crate::report::{Goal, Line, Report, number};
use crate::stats::median;

const ROW: &str = "javascript-loops";
const GOAL: Goal = Goal::AtMost(1.6);

/// The engine natively, a program of its own (`bench/quickjs`).
const NATIVE: &str = "target/quickjs/release/bench-quickjs";

/// Bytes that are hashed.
const HASHED_BYTES: usize = 16 << 20;

/// A script that leaves a checksum in `result`, after `rounds`.
struct Loop {
    what: &'static str,
    rounds: u32,
    code: &'static str,
}

const LOOPS: [Loop; 3] = [
    Loop {
        what: "JSON.parse and JSON.stringify of 1 MB",
        rounds: 12,
        code: r#"
const items = [];
for (let i = 0; i < 7000; i++) {
  items.push({ id: i, name: `item ${i}`, price: i * 1.25, tags: ["a", "b", `t${i % 17}`], nested: { ok: i % 2 === 0, none: null, text: "a \"quoted\" text\n" } });
}
let text = JSON.stringify(items), result = 0;
for (let round = 0; round < rounds; round++) {
  const read = JSON.parse(text);
  text = JSON.stringify(read);
  result += text.length + read[round].id;
}
"#,
    },
    Loop {
        what: "regular expressions over 100 KB of text",
        rounds: 12,
        code: r#"
let text = "";
for (let i = 0; text.length < 100000; i++) text += `On ${2000 + i % 30}-${10 + i % 3}-${10 + i % 19} user${i}@mail${i % 7}.example.com wrote: "it's number ${i * 7}" `;
let result = 0;
for (let round = 0; round < rounds; round++) {
  result += text.match(/\b[\w.]+@(?:[\w-]+\.)+\w{2,}\b/g).length;
  result += text.replace(/(\d{4})-(\d{2})-(\d{2})/g, "$3.$2.$1").length;
  for (const found of text.matchAll(/"(?<said>[^"]*?(\d+))"/g)) result += Number(found[2]) % 97 + found.groups.said.length;
  result += text.split(/[\s,:]+/).length;
}
"#,
    },
    Loop {
        what: "sorting 50,000 numbers and 20,000 texts with functions",
        rounds: 6,
        code: r#"
let seed = 1, result = 0;
const random = () => (seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff);
for (let round = 0; round < rounds; round++) {
  const numbers = Array.from({ length: 50000 }, random).sort((a, b) => a - b);
  const texts = Array.from({ length: 20000 }, () => `name ${random() % 100000}`).sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  result = (result + numbers[round * 100] + texts[round * 100].length) % 1000000007;
}
"#,
    },
];

pub(in crate::rows) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    if !has_engine(ROW, report) {
        return Ok(());
    }
    let native_engine = guests::root().join(NATIVE);
    if !native_engine.exists() {
        report.note(format!(
            "{ROW}: not measured, because {NATIVE} is not built; `cargo xtask bench` does so"
        ));
        return Ok(());
    }
    let host = Host::new()?;
    let engine = host.load(&std::fs::read(guests::javascript_engine())?)?;
    let start = start(&host, &engine, plan)?;
    for one in &LOOPS {
        let rounds = if plan.smoke { 1 } else { one.rounds };
        let code = format!("const rounds = {rounds};{}", one.code);
        let ours_code = format!("{{{code}\nglobalThis.scriptOutput = `result=${{result}}`;}}");
        let (mut ours, mut native) = (vec![], vec![]);
        for _ in 0..plan.rounds {
            let (time, result) = natively(&native_engine, &code)?;
            native.push(time.as_secs_f64());
            let ran = host.run(&engine, &["-c", &ours_code])?;
            ours.push(ran.cpu.saturating_sub(start).as_secs_f64());
            let found = value(&ran.output, "result")?;
            ensure!(found == result, "{found} instead of {result}: {}", one.what);
        }
        line(report, one.what, &ours, &native, GOAL);
    }
    hash(plan, report, &host, &engine, start)
}

/// Processor time of an instance that does nothing, which is in all others as well.
fn start(host: &Host, engine: &Program, plan: &Plan) -> Result<Duration> {
    let times: Result<Vec<f64>> = (0..plan.rounds)
        .map(|_| Ok(host.run(engine, &["-c", "0"])?.cpu.as_secs_f64()))
        .collect();
    Ok(Duration::from_secs_f64(median(&times?)))
}

/// Runs a script in the engine natively: processor time and result.
fn natively(program: &Path, code: &str) -> Result<(Duration, String)> {
    let code = format!("{{{code}\nresult;}}");
    let output = Command::new(program).arg(code).output()?;
    let line = String::from_utf8(output.stdout)?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the native engine: {error}");
    let nanoseconds = value(&line, "nanoseconds")?.parse()?;
    Ok((
        Duration::from_nanos(nanoseconds),
        value(&line, "result")?.to_owned(),
    ))
}

/// SHA-256 of 16 MiB by SubtleCrypto. There is none natively, so beside it is what
/// the engine's crate does there, and portable code, as guests have no instructions
/// for it.
fn hash(
    plan: &Plan,
    report: &mut Report,
    host: &Host,
    engine: &Program,
    start: Duration,
) -> Result<()> {
    let rounds = if plan.smoke { 1 } else { 4 };
    let data = vec![7; HASHED_BYTES];
    let script = |rounds: u32| {
        format!(
            "const data = new Uint8Array({HASHED_BYTES}).fill(7);
globalThis.module = {{ exports: async () => {{
  let hash;
  for (let round = 0; round < {rounds}; round++) hash = await crypto.subtle.digest(\"SHA-256\", data);
  return `result=${{new Uint8Array(hash ?? 0).toHex()}}`;
}} }};"
        )
    };
    let (mut ours, mut native, mut portable) = (vec![], vec![], vec![]);
    for _ in 0..plan.rounds {
        let before = cpu_time();
        let mut hash = None;
        for _ in 0..rounds {
            hash = Some(Sha256::digest(black_box(&data)));
        }
        native.push(cpu_time().saturating_sub(before).as_secs_f64());
        let before = cpu_time();
        (0..rounds).for_each(|_| {
            black_box(sha256(black_box(&data)));
        });
        portable.push(cpu_time().saturating_sub(before).as_secs_f64());
        let without = host.run(engine, &["-c", &script(0)])?.cpu.max(start);
        let ran = host.run(engine, &["-c", &script(rounds)])?;
        ours.push(ran.cpu.saturating_sub(without).as_secs_f64());
        let hash = hash.context("no round")?;
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        ensure!(value(&ran.output, "result")? == hash, "another hash");
    }
    let what = "sha-256 of 16 MiB by SubtleCrypto";
    line(report, what, &ours, &native, GOAL);
    let what = "the same beside portable code: guests have no instructions for it";
    line(report, what, &ours, &portable, Goal::None);
    Ok(())
}

fn line(report: &mut Report, what: &str, ours: &[f64], native: &[f64], goal: Goal) {
    let (ours, native) = (median(ours), median(native));
    report.add(Line {
        row: ROW,
        what: what.to_owned(),
        beside: format!("{} ms", number(native * 1e3)),
        ours: format!("{} ms", number(ours * 1e3)),
        value: ours / native,
        unit: "× native",
        goal,
    });
}
