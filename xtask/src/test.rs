//! The test command: guests, tests, doctests, and how many ran.

use anyhow::{Result, ensure};

use crate::process::{self, Output, stage};
use crate::{conformance, guests, packages, setup, sgx, toolchain};

/// Runs every test. Arguments go to the test runner, for instance a filter.
///
/// # Errors
///
/// A guest does not build or a test fails; also when no test ran at all.
pub(crate) fn run(filter: &[&str]) -> Result<()> {
    // Without one of them a few tests fail, with this advice; others need none.
    if let Err(error) = stage("compiler for guests in C", setup::clang) {
        eprintln!("warning: {error:#}");
    }
    if let Err(error) = stage("npm", setup::node) {
        eprintln!("warning: {error:#}");
    }
    if let Err(error) = stage("packages of npm", packages::run) {
        eprintln!("warning: {error:#}");
    }
    stage("guests", guests::run)?;
    if let Err(error) = stage("browser", setup::browser) {
        eprintln!("warning: {error:#}");
    }
    if let Err(error) = stage("authority", setup::authority) {
        eprintln!("warning: {error:#}");
    }
    if let Err(error) = stage("suites of the standards", conformance::run) {
        eprintln!("warning: {error:#}");
    }
    let tests = stage("tests", || run_tests(filter))?;
    sgx::life()?;
    let doctests = stage("doctests", || run_doctests(filter))?;
    println!(
        "\n{} tests passed ({tests} tests, {doctests} doctests)",
        tests + doctests
    );
    ensure!(tests + doctests > 0, "no test ran");
    Ok(())
}

fn run_tests(filter: &[&str]) -> Result<u64> {
    let mut passed = 0;
    if toolchain::on_path("cargo-nextest") {
        let mut command = process::cargo(&["nextest", "run", "--workspace", "--no-tests=pass"]);
        process::run_watching(command.args(filter), Output::Stderr, |line| {
            passed += passed_in_nextest(line);
        })?;
    } else {
        let mut command = process::cargo(&["test", "--workspace", "--lib", "--bins", "--tests"]);
        process::run_watching(command.args(filter), Output::Stdout, |line| {
            passed += passed_in_libtest(line);
        })?;
    }
    Ok(passed)
}

fn run_doctests(filter: &[&str]) -> Result<u64> {
    let mut passed = 0;
    let mut command = process::cargo(&["test", "--workspace", "--doc"]);
    process::run_watching(command.args(filter), Output::Stdout, |line| {
        passed += passed_in_libtest(line);
    })?;
    Ok(passed)
}

/// `     Summary [   0.1s] 12 tests run: 11 passed (1 slow), 0 skipped`
fn passed_in_nextest(line: &str) -> u64 {
    let Some((_, outcome)) = line.split_once(" run: ") else {
        return 0;
    };
    if !line.trim_start().starts_with("Summary") {
        return 0;
    }
    number_before(outcome, " passed")
}

/// `test result: ok. 3 passed; 0 failed; …`
fn passed_in_libtest(line: &str) -> u64 {
    line.strip_prefix("test result: ok. ")
        .map_or(0, |outcome| number_before(outcome, " passed"))
}

fn number_before(text: &str, word: &str) -> u64 {
    let number = text.split(word).next().unwrap_or_default();
    number.parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_the_runners_report() {
        let nextest = "     Summary [   0.182s] 12 tests run: 11 passed (1 slow), 1 failed";
        assert_eq!(passed_in_nextest(nextest), 11);
        assert_eq!(
            passed_in_nextest("        PASS [ 0.1s] e2e run: 3 passed"),
            0
        );
        assert_eq!(
            passed_in_libtest("test result: ok. 3 passed; 0 failed; 0 ignored"),
            3
        );
        assert_eq!(
            passed_in_libtest("test result: FAILED. 3 passed; 1 failed"),
            0
        );
    }
}
