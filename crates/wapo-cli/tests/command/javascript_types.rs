//! The types of `@wapo/types` say what the engine has, and nothing else. That they are
//! types at all, `cargo xtask types` checks.

use std::collections::BTreeSet;

use crate::support::running::Running;
use crate::support::{ANY_PORT, get};
use serde_json::Value;

const TYPES: &str = include_str!("../../../../guests/wapo-js/types/index.d.ts");

/// Asks the engine for the names of what it has.
const PROGRAM: &str = "
const names = (object) => Object.getOwnPropertyNames(object);
const modules = {};
for (const name of ['wapo:test', 'wapo:assert', 'wapo:sockets', 'wapo:http']) modules[name] = Object.keys(await import(name));
const report = { WapoObject: names(Wapo), ScaleObject: names(SCALE), modules, globals: names(globalThis) };
export default { fetch: () => Response.json(report) };
";

/// Names of members in the block that begins with a line.
fn members(begin: &str) -> BTreeSet<String> {
    let (_, rest) = TYPES.split_once(begin).expect(begin);
    let block = rest.lines().take_while(|line| *line != "}");
    block
        .filter_map(|line| {
            let line = line.strip_prefix("  ")?;
            let line = line.strip_prefix("readonly ").unwrap_or(line);
            let end = line.find(|c: char| !c.is_ascii_alphanumeric())?;
            let is_member = line[end..].starts_with([':', '(', '<', '?']);
            (is_member && end > 0).then(|| line[..end].to_owned())
        })
        .collect()
}

/// Names of the values that a module exports.
fn exports(module: &str) -> BTreeSet<String> {
    let begin = format!("declare module \"{module}\" {{\n");
    let (_, rest) = TYPES.split_once(&begin).expect(module);
    let block = rest.lines().take_while(|line| *line != "}");
    block
        .filter_map(|line| {
            let line = line.strip_prefix("  export ")?;
            if line.starts_with("default ") {
                return Some("default".to_owned());
            }
            if let Some(name) = line
                .strip_prefix("{ ")
                .and_then(|rest| rest.strip_suffix(" };"))
            {
                return Some(name.to_owned());
            }
            let kinds = ["const ", "function ", "class "];
            let rest = kinds.into_iter().find_map(|kind| line.strip_prefix(kind))?;
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric())?;
            Some(rest[..end].to_owned())
        })
        .collect()
}

fn set(list: &Value) -> BTreeSet<String> {
    let list = list.as_array().expect("a list").iter();
    list.map(|name| name.as_str().expect("a text").to_owned())
        .collect()
}

#[tokio::test]
async fn types_name_what_the_engine_has_and_nothing_else() {
    let folder = tempfile::tempdir().expect("folder");
    std::fs::write(folder.path().join("app.mjs"), PROGRAM).expect("file");
    let (_running, address) = Running::serving(folder.path(), ANY_PORT, &["app.mjs"]).await;
    let answer = get(&address, "/").await;
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    let start = body.find('{').expect("JSON");
    let end = body.rfind('}').expect("JSON");
    let report: Value = serde_json::from_str(&body[start..=end]).expect("JSON");

    let differ = |what: &str, types: &BTreeSet<String>, engine: &BTreeSet<String>| {
        let only_types: Vec<_> = types.difference(engine).collect();
        let only_engine: Vec<_> = engine.difference(types).collect();
        assert!(
            only_types.is_empty() && only_engine.is_empty(),
            "{what}: guests/wapo-js/types/index.d.ts alone has {only_types:?}, the engine alone {only_engine:?}"
        );
    };
    for interface in ["WapoObject", "ScaleObject"] {
        let types = members(&format!("interface {interface} {{\n"));
        differ(interface, &types, &set(&report[interface]));
    }
    for module in ["wapo:test", "wapo:assert", "wapo:sockets", "wapo:http"] {
        let engine = set(&report["modules"][module]);
        differ(module, &exports(module), &engine);
    }
    let globals = set(&report["globals"]);
    for line in TYPES.lines() {
        let kinds = ["declare var ", "declare function ", "declare class "];
        let Some(rest) = kinds.into_iter().find_map(|kind| line.strip_prefix(kind)) else {
            continue;
        };
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric())
            .expect("a name");
        // What a script leaves there is not there before.
        let name = &rest[..end];
        assert!(
            name == "scriptOutput" || globals.contains(name),
            "{name} is no global of the engine"
        );
    }
}

#[test]
fn members_and_exports_are_found() {
    assert!(members("interface WapoObject {\n").contains("SCALE"));
    assert!(members("interface WapoObject {\n").len() > 40);
    assert!(
        exports("wapo:test").is_superset(&["test", "default", "mock"].map(str::to_owned).into())
    );
}
