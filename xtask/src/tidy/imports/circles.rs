//! No files of a crate import each other in a circle, except for those that `layers`
//! lists with the reason.
//!
//! Works on what `imports` has read, so that tests count here as little as there. One
//! finding names one circle with all the imports that make it: what is to be moved is
//! seen from them only. Called by `imports`.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Finding;
use super::super::layers::{Circle, Layers};
use super::{Import, Modules, TABLE};

/// Which file imports from which others, by the first import of each.
type Graph<'a> = BTreeMap<&'a str, BTreeMap<String, &'a Import>>;

/// Circles that are not listed, and entries of the list that say too much.
pub(super) fn check(layers: &Layers, modules: &Modules) -> Vec<Finding> {
    let graph = graph(modules);
    let circles = circles(&graph);
    let listed = |circle: &BTreeSet<&str>| {
        let mut all = layers.circles.iter();
        all.any(|entry| circle.iter().all(|file| entry.files.contains(file)))
    };
    let mut findings: Vec<Finding> = circles
        .iter()
        .filter(|circle| !listed(circle))
        .map(|circle| finding(circle, &graph, modules))
        .collect();
    // Other trees of files, such as those of tests, have none of them.
    if !modules.by_path.is_empty() {
        let entries = layers.circles.iter();
        findings.extend(entries.filter_map(|entry| outdated(entry, layers.name, &circles)));
    }
    findings
}

fn graph(modules: &Modules) -> Graph<'_> {
    let all = modules.by_path.iter();
    all.map(|(path, module)| {
        let mut edges = BTreeMap::new();
        for import in &module.imports {
            if let Some(target) = modules.target(path, import) {
                edges.entry(target).or_insert(import);
            }
        }
        (path.as_str(), edges)
    })
    .collect()
}

/// The largest sets of files of which each imports all others, by whatever way.
fn circles<'a>(graph: &Graph<'a>) -> Vec<BTreeSet<&'a str>> {
    let reached: BTreeMap<&str, BTreeSet<&str>> = graph
        .keys()
        .map(|path| (*path, reached_from(graph, path)))
        .collect();
    let mut circles: Vec<BTreeSet<&str>> = Vec::new();
    for path in graph.keys().copied() {
        if circles.iter().any(|circle| circle.contains(path)) {
            continue;
        }
        let is_both_ways =
            |other: &&str| reached[path].contains(other) && reached[other].contains(path);
        let circle: BTreeSet<&str> = graph.keys().copied().filter(is_both_ways).collect();
        if !circle.is_empty() {
            circles.push(circle);
        }
    }
    circles
}

/// The files that one leads to; itself only where a way leads back.
fn reached_from<'a>(graph: &Graph<'a>, start: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut next = vec![start];
    while let Some(path) = next.pop() {
        for target in graph.get(path).into_iter().flat_map(BTreeMap::keys) {
            if let Some((target, _)) = graph.get_key_value(target.as_str())
                && reached.insert(*target)
            {
                next.push(target);
            }
        }
    }
    reached
}

fn finding(circle: &BTreeSet<&str>, graph: &Graph<'_>, modules: &Modules) -> Finding {
    let edges = circle.iter().flat_map(|from| {
        let inside = graph[from]
            .iter()
            .filter(|(to, _)| circle.contains(to.as_str()));
        inside.map(move |(to, import)| (*from, to, *import))
    });
    let edges: Vec<_> = edges.collect();
    let told: Vec<String> = edges
        .iter()
        .map(|(from, to, import)| {
            let (name, line) = (import.path.join("::"), import.line);
            format!("`{from}` imports `{name}` from `{to}` (line {line})")
        })
        .collect();
    let advice = format!(
        "{} files import each other in a circle: {}; move what both sides need into the lower file \
         or into one of its own, or hand it in; the few that may stay are in {TABLE}",
        circle.len(),
        told.join(", ")
    );
    let first = edges.first().map(|(from, _, import)| (*from, import.line));
    let (from, line) = first.unwrap_or_default();
    let file = modules
        .by_path
        .get(from)
        .map_or(TABLE, |module| &module.file);
    Finding::new(file, line, "circle", advice)
}

/// An entry with files that are in no circle with others of it.
fn outdated(entry: &Circle, name: &str, circles: &[BTreeSet<&str>]) -> Option<Finding> {
    let is_of_entry =
        |circle: &&BTreeSet<&str>| circle.iter().all(|file| entry.files.contains(file));
    let still: BTreeSet<&str> = circles
        .iter()
        .filter(is_of_entry)
        .flatten()
        .copied()
        .collect();
    let free = entry.files.iter().filter(|file| !still.contains(*file));
    let free: Vec<String> = free.map(|file| format!("`{file}`")).collect();
    let advice = format!(
        "{} of {name} are not in the circle that is listed (any more): remove them from its entry",
        free.join(", ")
    );
    (!free.is_empty()).then(|| Finding::new(TABLE, 0, "circle", advice))
}

#[cfg(test)]
mod tests {
    use super::super::super::text_file;
    use super::*;

    const LAYERS: Layers = Layers {
        name: "one",
        layers: &[],
        circles: &[],
    };

    const LISTED: Layers = Layers {
        circles: &[Circle {
            files: &["a", "b"],
            reason: "",
        }],
        ..LAYERS
    };

    /// What is found in these files; the root declares `a`, `b` and `c`.
    fn found(layers: &Layers, files: &[(&str, &str)]) -> Vec<String> {
        let files = files.iter().map(|(path, text)| {
            let path = format!("crates/one/src/{path}.rs");
            text_file(&path, text)
        });
        let root = "mod a;\nmod b;\nmod c;\npub use b::B;";
        let root = text_file("crates/one/src/lib.rs", root);
        let files: Vec<_> = files.chain([root]).collect();
        let findings = check(layers, &Modules::read("one", &files));
        findings.iter().map(ToString::to_string).collect()
    }

    const TWO: [(&str, &str); 2] = [
        ("a", "pub struct A;\nuse crate::B;"),
        ("b", "use super::a::A;\npub struct B;"),
    ];

    #[test]
    fn a_circle_of_two_is_found_with_its_edges() {
        let found = found(&LAYERS, &TWO);
        assert_eq!(found.len(), 1, "{found:?}");
        let begin = "crates/one/src/a.rs:2: [circle] 2 files import each other in a circle: \
                     `a` imports `crate::B` from `b` (line 2), \
                     `b` imports `super::a::A` from `a` (line 1); ";
        assert!(found[0].starts_with(begin), "{found:?}");
    }

    #[test]
    fn circles_of_more_and_of_parents_are_found() {
        let three = [
            ("a", "use crate::b::B;"),
            ("b", "use crate::c::C;"),
            ("c", "fn c() { crate::a::a() }"),
        ];
        let parent = [
            ("a", "mod part;\nuse part::Part;"),
            ("a/part", "use super::A;"),
        ];
        for (files, count) in [(three.as_slice(), 3), (&parent, 2)] {
            let found = found(&LAYERS, files);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].contains(&format!("{count} files")), "{found:?}");
        }
    }

    #[test]
    fn two_circles_are_two_findings() {
        let more = [("c", "mod d;\nuse d::D;"), ("c/d", "use super::C;")];
        let files = [TWO, more].concat();
        assert_eq!(found(&LAYERS, &files).len(), 2);
    }

    #[test]
    fn a_chain_is_none_and_tests_do_not_count() {
        let chain = [
            ("a", "mod part;\nuse crate::b::B;\nuse part::Part;"),
            ("a/part", "use crate::c::C;"),
            ("b", "use crate::c::C;"),
            ("c", "#[cfg(test)]\nmod tests { use crate::a::A; }"),
        ];
        let found = found(&LAYERS, &chain);
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn a_listed_circle_passes() {
        let found = found(&LISTED, &TWO);
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn a_listed_circle_that_has_grown_is_found() {
        let [a, _] = TWO;
        let grown = [a, ("b", "use crate::c::C;"), ("c", "use crate::a::A;")];
        let found = found(&LISTED, &grown);
        assert!(found[0].contains("3 files"), "{found:?}");
    }

    #[test]
    fn an_entry_without_a_circle_is_found() {
        let [a, _] = TWO;
        let found = found(&LISTED, &[a, ("b", "pub struct B;")]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("`a`, `b` of one are not"), "{found:?}");
    }
}
