//! The fuzz targets on a stable compiler: their seeds, and changes of these.
//!
//! The generator is seeded, so what fails fails again. The bytes that broke a
//! promise are printed; put them into `fuzz/seeds` when the fault is mended.

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use e2e::fuzz::{Changes, TARGETS, Target, seeds_folder};

/// Changed seeds for each target.
const ROUNDS: usize = 4000;
/// On a busy machine there are fewer of them.
const TIME_MAX: Duration = Duration::from_secs(2);
/// Seeds of one target together.
const SEEDS_BYTES_MAX: usize = 10_000;

fn holds(name: &str) {
    let target = Target::named(name).expect("a target");
    let seeds = target.seeds();
    for (name, bytes) in &seeds {
        run(target, bytes, name);
    }
    let begun = Instant::now();
    let mut changes = Changes::new(7);
    for round in 0..ROUNDS {
        if begun.elapsed() > TIME_MAX {
            break;
        }
        let bytes = changes.of(&seeds);
        run(target, &bytes, &format!("round {round}"));
    }
}

fn run(target: Target, bytes: &[u8], what: &str) {
    let ended = catch_unwind(AssertUnwindSafe(|| (target.run)(bytes)));
    assert!(
        ended.is_ok(),
        "{}, {what}: {}",
        target.name,
        bytes.escape_ascii()
    );
}

#[test]
fn heads_of_requests_are_read_as_promised() {
    holds("request_head");
}

#[test]
fn heads_of_answers_are_read_as_promised() {
    holds("answer_head");
}

#[test]
fn what_proxies_say_is_read_as_promised() {
    holds("forwarded");
}

#[test]
fn names_of_hosts_are_read_as_promised() {
    holds("authority");
}

#[test]
fn hosts_and_rules_of_the_egress_policy_are_read_as_promised() {
    holds("egress_rule");
}

#[test]
fn first_bytes_of_tls_are_read_as_promised() {
    holds("client_hello");
}

#[test]
fn headers_of_proxies_are_read_as_promised() {
    holds("proxy_header");
}

#[test]
fn manifests_and_labels_are_read_as_promised() {
    holds("manifest");
}

#[test]
fn messages_are_read_as_promised_in_both_encodings() {
    holds("rpc");
}

#[test]
fn statements_are_read_as_promised() {
    holds("statements");
}

#[test]
fn quotes_are_good_only_as_they_were_signed() {
    holds("quote");
}

#[test]
fn evidence_is_good_only_as_it_was_signed() {
    holds("evidence");
}

#[test]
fn bills_in_files_are_read_as_promised() {
    holds("usage_file");
}

#[test]
fn every_target_has_seeds_and_a_fuzzer() {
    let fuzzers = seeds_folder().join("../fuzz_targets");
    let with_seeds: BTreeSet<String> = TARGETS
        .iter()
        .map(|target| {
            let seeds = target.seeds();
            let bytes: usize = seeds.iter().map(|(_, bytes)| bytes.len()).sum();
            assert!(!seeds.is_empty() && bytes < SEEDS_BYTES_MAX, "{target:?}");
            target.name.to_owned()
        })
        .collect();
    // The other two are tested elsewhere: `noise` here, `precheck` in wapo-host.
    let of_others = ["dispatch", "precheck"];
    let files = fs::read_dir(fuzzers).expect("fuzzers");
    let fuzzers: BTreeSet<String> = files
        .map(|file| file.expect("a fuzzer").file_name())
        .filter_map(|name| Some(Path::new(&name).file_stem()?.to_str()?.to_owned()))
        .filter(|name| !of_others.contains(&name.as_str()))
        .collect();
    assert_eq!(with_seeds, fuzzers);
}
