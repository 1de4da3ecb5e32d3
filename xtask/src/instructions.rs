//! Counts instructions with valgrind and compares them with those that are kept: what is
//! slower shows on a machine of any speed, however busy it is.
//!
//! Counted is what `bench count` does, built with the crates of this repository
//! optimised and everything else as the tests have it, so that little is compiled for
//! it. A count is for comparison with an earlier one, not a time: all instructions
//! count alike, and those of the kernel are not seen. Called by hand, by `nightly`, and in
//! parts by `ci`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::guests;
use crate::process::{self, stage};
use crate::toolchain;

/// The counts that are kept, and what they were made with.
const KEPT: &str = "bench/instructions.json";
/// Where compiled guests are kept between runs: compiling takes a minute where valgrind
/// looks on.
const CACHE: &str = "target/instructions";
/// Runs of each kind of work for one number of times, of which the least counts.
const RUNS: u32 = 3;
/// Rounds of so many runs, while the count differs from the one that is kept.
///
/// On a slow machine a step of a guest may take so long under valgrind that the guest counts
/// as a hog for a second, which is 6 million instructions more for a run. That falls into all
/// runs of a round now and then, and not into those of three rounds. A change of the code is
/// in all of them.
const ROUNDS_MAX: u32 = 3;
/// How the crates of this repository are built. In one unit each, because what is
/// inlined would otherwise depend on how unrelated code falls into units.
const PROFILE: &[&str] = &[
    "opt-level=2",
    "codegen-units=1",
    "debug=false",
    "debug-assertions=false",
    "overflow-checks=false",
];

/// A kind of work that `bench count` knows.
struct Work {
    name: &'static str,
    what: &'static str,
    /// How often it is done in the first run; in the second one twice as often.
    times: u32,
    /// Percent by which a count may differ from the one that is kept. Several times
    /// what two counts of the same program differ by.
    tolerance_percent: f64,
    /// Whether CI counts it, which has few minutes for this.
    in_ci: bool,
}

const ALL: &[Work] = &[
    Work {
        name: "host-call",
        what: "a trivial host call from a guest's loop",
        times: 200_000,
        tolerance_percent: 1.0,
        in_ci: true,
    },
    Work {
        name: "poll",
        what: "a poll of a guest that takes a task from its queue and puts it back",
        times: 20_000,
        tolerance_percent: 1.0,
        in_ci: true,
    },
    Work {
        name: "instantiation",
        what: "an instance of hello-http, from its start to its first poll and its end",
        times: 50,
        tolerance_percent: 1.5,
        in_ci: false,
    },
    Work {
        name: "gateway",
        what: "a request through the gateway to a warm instance, client included",
        times: 3_000,
        tolerance_percent: 1.0,
        in_ci: true,
    },
    Work {
        name: "native",
        what: "a request to hyper natively, with the same client",
        times: 3_000,
        tolerance_percent: 0.5,
        in_ci: false,
    },
    Work {
        name: "deploy",
        what: "a deployment over RPC, its first answer, its removal, clients included",
        times: 10,
        tolerance_percent: 1.5,
        in_ci: false,
    },
];

/// Counts, and compares with what is kept; with `--keep`, keeps it instead.
///
/// # Errors
///
/// A guest or the bench does not build, a count fails, or one differs by more than its
/// tolerance from the one that is kept.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    match arguments {
        [] => judge_some(|_| true),
        ["--keep"] => keep(&count_some(|_| true, |_, _| false)?),
        other => bail!("unknown: {}; only --keep is known", other.join(" ")),
    }
}

/// Counts what CI counts, and compares it with what is kept.
///
/// # Errors
///
/// As [`run`].
pub(crate) fn gate() -> Result<()> {
    judge_some(|work| work.in_ci)
}

/// Counts what is wanted, and compares it with what is kept.
fn judge_some(is_wanted: impl Fn(&Work) -> bool) -> Result<()> {
    let (kept, here) = (kept()?, json!(made_with()?));
    let is_as_kept = |work: &Work, count| {
        let before = kept["instructions"][work.name].as_f64();
        // Counts of other programs are not judged.
        kept["made_with"] != here || before.is_none_or(|it| !judge(work, it, count).is_beyond)
    };
    let counts = count_some(is_wanted, is_as_kept)?;
    compare(&counts, &kept, &here)
}

/// Counts what is wanted, in more than one round while `is_settled` says no.
fn count_some(
    is_wanted: impl Fn(&Work) -> bool,
    is_settled: impl Fn(&Work, f64) -> bool,
) -> Result<Counts> {
    ensure!(
        toolchain::on_path("valgrind"),
        "valgrind is not installed (Debian: apt-get install valgrind)"
    );
    // Instructions of guests count, too: those of old ones would say nothing.
    stage("guests", guests::run)?;
    let bench = stage("bench, optimised", build)?;
    let wanted = ALL.iter().filter(|work| is_wanted(work));
    stage("instructions", || count_all(&bench, wanted, is_settled))
}

/// Builds the bench with the whole workspace's features, so that its dependencies are
/// those that the tests use; where it is.
fn build() -> Result<PathBuf> {
    let mut command = process::cargo(&["build", "--workspace", "--bin", "bench"]);
    for package in packages()? {
        for setting in PROFILE {
            let setting = format!("profile.dev.package.{package}.{setting}");
            command.args(["--config", &setting]);
        }
    }
    // Incremental compilation splits crates into units of its own.
    process::run(command.env("CARGO_INCREMENTAL", "0"))?;
    Ok(std::env::current_exe()?.with_file_name("bench"))
}

/// The crates of this repository that the bench is made of.
fn packages() -> Result<Vec<String>> {
    let mut command = process::cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&process::read(&mut command)?)?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    let names = packages.iter().filter_map(|one| one["name"].as_str());
    let others = ["e2e", "xtask", "wapo", "wapo-macros", "wapo-cli"];
    Ok(names
        .filter(|name| !others.contains(name))
        .map(str::to_owned)
        .collect())
}

/// Instructions of each kind of work, by its name.
type Counts = BTreeMap<&'static str, f64>;

fn count_all<'a>(
    bench: &Path,
    works: impl Iterator<Item = &'a Work>,
    is_settled: impl Fn(&Work, f64) -> bool,
) -> Result<Counts> {
    let cache = process::root().join(CACHE);
    let mut counts = Counts::new();
    for work in works {
        // Fills the cache with what is compiled for the processor that valgrind shows.
        process::run(&mut counted(bench, "none", work.name, 1, &cache))?;
        let (mut once, mut twice, mut each) = (u64::MAX, u64::MAX, 0.0);
        for _ in 0..ROUNDS_MAX {
            once = once.min(least(bench, work, work.times, &cache)?);
            twice = twice.min(least(bench, work, 2 * work.times, &cache)?);
            each = twice.saturating_sub(once) as f64 / f64::from(work.times);
            println!("{}: {each:.0} instructions for {}", work.name, work.what);
            if is_settled(work, each) {
                break;
            }
        }
        counts.insert(work.name, each);
    }
    Ok(counts)
}

/// The least of some counts: what depends on time (timers, threads that look after
/// others, a guest that waits for its turn) only adds instructions.
fn least(bench: &Path, work: &Work, times: u32, cache: &Path) -> Result<u64> {
    let mut least = u64::MAX;
    for _ in 0..RUNS {
        least = least.min(count(bench, work, times, cache)?);
    }
    Ok(least)
}

/// Instructions of a process that does something so many times.
fn count(bench: &Path, work: &Work, times: u32, cache: &Path) -> Result<u64> {
    let output = counted(bench, "cachegrind", work.name, times, cache)
        .output()
        .context("cannot start valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} failed:\n{said}", work.name);
    let line = said.lines().find(|line| line.contains("refs:"));
    let digits: String = line
        .with_context(|| format!("valgrind counted nothing:\n{said}"))?
        .rsplit("refs:")
        .next()
        .unwrap_or_default()
        .chars()
        .filter(char::is_ascii_digit)
        .collect();
    Ok(digits.parse()?)
}

/// `bench count` under one of valgrind's tools.
fn counted(bench: &Path, tool: &str, name: &str, times: u32, cache: &Path) -> Command {
    let mut command = Command::new("valgrind");
    command.arg(format!("--tool={tool}"));
    if tool == "cachegrind" {
        command.args(["--cache-sim=no", "--cachegrind-out-file=/dev/null"]);
    }
    command
        .arg(bench)
        .args(["count", name, &times.to_string()])
        .arg(cache)
        // With it, every error takes a backtrace, also those by which instances end.
        .env_remove("RUST_BACKTRACE")
        .current_dir(process::root());
    command
}

/// What counts depend on besides the code: its compiler, and who counts.
fn made_with() -> Result<BTreeMap<&'static str, String>> {
    let first = |program: &str| -> Result<String> {
        let text = process::read(Command::new(program).arg("--version"))?;
        Ok(text.lines().next().unwrap_or_default().to_owned())
    };
    Ok(BTreeMap::from([
        ("compiler", first("rustc")?),
        ("counter", first("valgrind")?),
        ("architecture", std::env::consts::ARCH.to_owned()),
    ]))
}

fn keep(counts: &Counts) -> Result<()> {
    let rounded: BTreeMap<_, _> = counts
        .iter()
        .map(|(name, count)| (name, count.round()))
        .collect();
    let text = serde_json::to_string_pretty(&json!({
        "made_with": made_with()?,
        "instructions": rounded,
    }))?;
    fs::write(process::root().join(KEPT), text + "\n")?;
    println!("kept in {KEPT}");
    Ok(())
}

fn kept() -> Result<Value> {
    let text = fs::read_to_string(process::root().join(KEPT)).with_context(|| {
        format!("cannot read {KEPT}; `cargo xtask instructions --keep` makes it")
    })?;
    Ok(serde_json::from_str(&text)?)
}

/// Judges counts, if those that are kept were made with the same programs.
fn compare(counts: &Counts, kept: &Value, here: &Value) -> Result<()> {
    let mut beyond = Vec::new();
    for work in ALL {
        let Some(&now) = counts.get(work.name) else {
            continue;
        };
        let before = kept["instructions"][work.name].as_f64();
        let before = before
            .with_context(|| format!("{KEPT} has no count named {}; keep it anew", work.name))?;
        let line = judge(work, before, now);
        println!("{}", line.text);
        if line.is_beyond {
            beyond.push(line.text);
        }
    }
    if kept["made_with"] != *here {
        println!(
            "== instructions: NOT JUDGED, the kept counts were made with {}, these with {here}: \
             renew them on the commit before yours (`cargo xtask instructions --keep`)",
            kept["made_with"]
        );
        return Ok(());
    }
    ensure!(
        beyond.is_empty(),
        "counts differ by more than their tolerance:\n{}\nIf that is meant, keep them \
         (`cargo xtask instructions --keep`) and say why in the commit",
        beyond.join("\n")
    );
    Ok(())
}

/// A comparison in words, and whether it is beyond the tolerance. Fewer instructions
/// than kept are, too: what was won would otherwise be lost again unseen.
struct Judgement {
    text: String,
    is_beyond: bool,
}

fn judge(work: &Work, before: f64, now: f64) -> Judgement {
    let percent = (now / before - 1.0) * 100.0;
    Judgement {
        text: format!(
            "{}: {now:.0} instructions, {before:.0} kept: {percent:+.2} % (± {} % allowed)",
            work.name, work.tolerance_percent
        ),
        is_beyond: percent.abs() > work.tolerance_percent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_and_fewer_instructions_than_kept_are_seen() {
        let work = &ALL[0];
        assert!(!judge(work, 1000.0, 1009.0).is_beyond);
        assert!(judge(work, 1000.0, 1011.0).is_beyond);
        assert!(judge(work, 1000.0, 989.0).is_beyond);
    }

    #[test]
    fn only_counts_of_the_same_compiler_are_judged() {
        let counts = |count| -> Counts { ALL.iter().map(|work| (work.name, count)).collect() };
        let kept = json!({ "made_with": "one", "instructions": counts(1000.0) });
        compare(&counts(1000.0), &kept, &json!("one")).expect("the same");
        compare(&counts(2000.0), &kept, &json!("another")).expect("not judged");
        let error = compare(&counts(2000.0), &kept, &json!("one")).expect_err("twice as many");
        assert!(error.to_string().contains("gateway: 2000"), "{error}");
    }
}
