//! The lock of the contract: what was released never changes.

mod lines;

use std::collections::HashSet;

const RELEASED: &str = include_str!("abi.snap");

fn released() -> impl Iterator<Item = &'static str> {
    RELEASED
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[test]
fn released_lines_never_change() {
    let contract: HashSet<String> = lines::contract().into_iter().collect();
    for line in released() {
        assert!(
            contract.contains(line),
            "guests in the field rely on this line of tests/abi.snap, but the table says \
             otherwise:\n    {line}\nUndo the change and add a new row instead."
        );
    }
}

#[test]
fn every_line_is_locked() {
    let released: HashSet<&str> = released().collect();
    for line in lines::contract() {
        assert!(
            released.contains(line.as_str()),
            "not in tests/abi.snap:\n    {line}\nRun `cargo xtask codegen`."
        );
    }
}

#[test]
fn a_number_is_never_given_twice() {
    let mut numbers = HashSet::new();
    for line in released().filter(|line| line.starts_with("call ") || line.starts_with("errno ")) {
        let key: Vec<&str> = line.split(' ').take(2).collect();
        assert!(
            numbers.insert(key.clone()),
            "{key:?} stands in tests/abi.snap twice"
        );
    }
}
