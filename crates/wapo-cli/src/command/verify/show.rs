//! What was found, for people and for programs.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use serde_json::Value;
use wapo_verify::report::report;
use wapo_verify::{Outcome, Verdict};

use crate::human::printable;
use crate::terminal::{DIM, GREEN, RED, Terminal, YELLOW};

/// Shows a verdict, and gives the exit code that says the same. `facts` are for programs
/// only: what was verified, in its own words.
///
/// # Errors
///
/// JSON cannot be written.
pub(crate) fn verdict(
    terminal: &Terminal,
    is_json: bool,
    verdict: &Verdict,
    facts: &Value,
) -> Result<ExitCode> {
    if is_json {
        let report = report(verdict, facts);
        let text = serde_json::to_string_pretty(&report).context("cannot write JSON")?;
        terminal.result(&text);
    } else {
        for line in lines(terminal, verdict) {
            terminal.result(&line);
        }
    }
    Ok(if verdict.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn colour(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => GREEN,
        Outcome::Failed => RED,
        Outcome::Noted => YELLOW,
    }
}

fn lines(terminal: &Terminal, verdict: &Verdict) -> Vec<String> {
    let mut lines = Vec::new();
    for check in &verdict.checks {
        let word = format!("{:>6}", check.outcome.word());
        let word = terminal.painted(colour(check.outcome), &word);
        lines.push(format!(
            "{word}  {}: {}",
            check.name,
            printable(&check.detail)
        ));
        // What is not shown must not read as if it were.
        let would = match check.outcome {
            Outcome::Passed => "",
            Outcome::Failed | Outcome::Noted => "What it would prove: ",
        };
        let proves = format!("        {would}{}", check.proves);
        lines.push(terminal.painted(DIM, &proves));
    }
    let count = |outcome| {
        let checks = verdict.checks.iter();
        checks.filter(|check| check.outcome == outcome).count()
    };
    let passed = count(Outcome::Passed);
    let noted = count(Outcome::Noted);
    let failed: Vec<_> = verdict.failures().map(|check| check.name).collect();
    lines.push(if verdict.is_good() {
        let good = terminal.painted(GREEN, "good");
        format!("{good}: {passed} checks passed, {noted} things to know were noted")
    } else {
        let refused = terminal.painted(RED, "refused");
        format!("{refused}: {}", failed.join(", "))
    });
    lines
}
