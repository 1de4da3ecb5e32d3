//! Rules about crates, from `cargo metadata`: who uses whom, licences,
//! duplicate versions.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Context, Result};
use serde_json::Value;

use super::Finding;
use super::dependencies::{DUPLICATES_ALLOWED, LICENCES, ROOMS, Room};
use crate::process;

/// Where the table and the two lists are.
const DATA: &str = "xtask/src/tidy/dependencies.rs";
/// The platform we ship for; crates for others are in the lock file only.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// Asks cargo and checks.
///
/// # Errors
///
/// Cargo fails or answers in an unknown form.
pub(crate) fn check() -> Result<Vec<Finding>> {
    let text = process::read(&mut process::cargo(&[
        "metadata",
        "--format-version=1",
        "--filter-platform",
        PLATFORM,
    ]))?;
    let graph = Graph::parse(&serde_json::from_str(&text)?)
        .context("`cargo metadata` answers in an unknown form")?;
    let mut findings = rooms(&graph);
    for room in ROOMS.iter().filter(|room| !room.never.is_empty()) {
        findings.extend(never(room, &linked(room.name)?));
    }
    findings.extend(licences(&graph));
    findings.extend(duplicates(&graph));
    Ok(findings)
}

/// A package in the graph.
struct Package {
    name: String,
    version: String,
    licence: String,
    is_ours: bool,
    /// Ids of what it needs to run or to build, not to be tested.
    needs: Vec<String>,
}

/// What cargo resolved, by package id.
struct Graph(BTreeMap<String, Package>);

impl Graph {
    fn parse(metadata: &Value) -> Option<Self> {
        let ours: BTreeSet<&str> = metadata["workspace_members"]
            .as_array()?
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let mut facts = HashMap::new();
        for package in metadata["packages"].as_array()? {
            facts.insert(package["id"].as_str()?, package);
        }
        let mut packages = BTreeMap::new();
        for node in metadata["resolve"]["nodes"].as_array()? {
            let id = node["id"].as_str()?;
            let fact = facts.get(id)?;
            let package = Package {
                name: fact["name"].as_str()?.to_owned(),
                version: fact["version"].as_str()?.to_owned(),
                licence: fact["license"].as_str().unwrap_or("none").to_owned(),
                is_ours: ours.contains(id),
                needs: node["deps"].as_array()?.iter().filter_map(needed).collect(),
            };
            packages.insert(id.to_owned(), package);
        }
        Some(Self(packages))
    }

    fn named(&self, name: &str) -> Option<&Package> {
        self.0
            .values()
            .find(|package| package.is_ours && package.name == name)
    }
}

/// The id of a dependency that is not only for tests.
fn needed(dependency: &Value) -> Option<String> {
    let kinds = dependency["dep_kinds"].as_array()?;
    let is_needed = kinds
        .iter()
        .any(|kind| kind["kind"].as_str() != Some("dev"));
    is_needed.then(|| dependency["pkg"].as_str().map(str::to_owned))?
}

fn rooms(graph: &Graph) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in graph.0.values().filter(|package| package.is_ours) {
        if ROOMS.iter().all(|room| room.name != package.name) {
            let advice = format!("{} is not in the table; add a row", package.name);
            findings.push(Finding::new(DATA, 0, "dependencies", advice));
        }
    }
    for room in ROOMS {
        match graph.named(room.name) {
            Some(package) => findings.extend(one_room(graph, room, package)),
            None => {
                let advice = format!("{} is no crate of the workspace", room.name);
                findings.push(Finding::new(DATA, 0, "dependencies", advice));
            }
        }
    }
    findings
}

fn one_room(graph: &Graph, room: &Room, package: &Package) -> Vec<Finding> {
    let mut findings = Vec::new();
    for used in package.needs.iter().filter_map(|id| graph.0.get(id)) {
        if used.is_ours && !room.may_use.contains(&used.name.as_str()) {
            let advice = format!("must not use {}; ARCHITECTURE.md says why", used.name);
            findings.push(Finding::new(&manifest(room), 0, "dependencies", advice));
        }
    }
    findings
}

/// Names of what is linked into a crate, with the features that it alone asks
/// for. The graph has those of the whole workspace, and macros as well.
fn linked(name: &str) -> Result<BTreeSet<String>> {
    let text = process::read(&mut process::cargo(&[
        "tree",
        "--package",
        name,
        "--edges=normal,no-proc-macro",
        "--prefix=none",
        "--target",
        PLATFORM,
    ]))?;
    let names = text
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    Ok(names.map(str::to_owned).collect())
}

fn never(room: &Room, linked: &BTreeSet<String>) -> Vec<Finding> {
    let seen = room.never.iter().filter(|never| linked.contains(**never));
    seen.map(|never| {
        let advice = format!(
            "must not see {never}; ask `cargo tree -p {} -i {never}`",
            room.name
        );
        Finding::new(&manifest(room), 0, "dependencies", advice)
    })
    .collect()
}

fn manifest(room: &Room) -> String {
    let is_crate = !matches!(room.name, "e2e" | "bench" | "xtask");
    format!(
        "{}{}/Cargo.toml",
        if is_crate { "crates/" } else { "" },
        room.name
    )
}

fn licences(graph: &Graph) -> Vec<Finding> {
    graph
        .0
        .values()
        .filter(|package| !LICENCES.contains(&package.licence.as_str()))
        .map(|package| {
            let Package {
                name,
                version,
                licence,
                ..
            } = package;
            let advice = format!("{name} {version} is under `{licence}`, not in LICENCES: read it");
            Finding::new(DATA, 0, "licence", advice)
        })
        .collect()
}

fn duplicates(graph: &Graph) -> Vec<Finding> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in graph.0.values() {
        versions
            .entry(&package.name)
            .or_default()
            .insert(&package.version);
    }
    let is_double = |name: &str| versions.get(name).is_some_and(|found| found.len() > 1);
    let mut findings = Vec::new();
    for (name, found) in versions.iter().filter(|(name, _)| is_double(name)) {
        if DUPLICATES_ALLOWED
            .iter()
            .all(|(allowed, _)| allowed != name)
        {
            let found: Vec<&str> = found.iter().copied().collect();
            let advice = format!(
                "{name} in versions {}: choose one, or list it with the reason",
                found.join(", ")
            );
            findings.push(Finding::new(DATA, 0, "duplicate", advice));
        }
    }
    for (name, _) in DUPLICATES_ALLOWED
        .iter()
        .filter(|(name, _)| !is_double(name))
    {
        let advice = format!("{name} is no duplicate any more; remove it from the list");
        findings.push(Finding::new(DATA, 0, "duplicate", advice));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str, is_ours: bool, needs: &[&str]) -> (String, Package) {
        let package = Package {
            name: name.into(),
            version: version.into(),
            licence: "GPL-3.0".into(),
            is_ours,
            needs: needs.iter().map(|id| (*id).to_owned()).collect(),
        };
        (format!("{name}{version}"), package)
    }

    #[test]
    fn a_wrong_dependency_is_found_even_through_a_third() {
        let graph = Graph(BTreeMap::from([
            package("wapo-abi", "1", true, &["wapo1"]),
            package("wapo", "1", true, &[]),
        ]));
        let advice: Vec<String> = rooms(&graph)
            .into_iter()
            .map(|found| found.advice)
            .collect();
        assert!(
            advice
                .iter()
                .any(|text| text.starts_with("must not use wapo;"))
        );
        assert!(
            advice
                .iter()
                .any(|text| text == "wapod is no crate of the workspace")
        );
        let linked = BTreeSet::from(["wapo-abi".to_owned(), "tokio".to_owned()]);
        let found = never(&ROOMS[0], &linked);
        assert_eq!(found.len(), 1);
        assert!(found[0].advice.starts_with("must not see tokio;"));
    }

    #[test]
    fn unknown_licences_and_duplicates_are_found() {
        let graph = Graph(BTreeMap::from([
            package("x", "1", false, &[]),
            package("x", "2", false, &[]),
        ]));
        assert_eq!(licences(&graph).len(), 2);
        assert!(
            duplicates(&graph)[0]
                .advice
                .starts_with("x in versions 1, 2")
        );
    }

    #[test]
    fn what_only_tests_need_does_not_count() {
        let dependency = |kind: &str| -> Value {
            serde_json::from_str(&format!(r#"{{"pkg":"x","dep_kinds":[{{"kind":{kind}}}]}}"#))
                .expect("json")
        };
        assert_eq!(needed(&dependency("null")).as_deref(), Some("x"));
        assert_eq!(needed(&dependency("\"dev\"")), None);
    }
}
