//! No file imports from a layer above its own (`layers`), so layers have no circles; nor
//! have files (`circles`).
//!
//! What a file imports is read from its `use` lines and from every path in its code,
//! also inside macros. A name that a module only hands on (`pub use`) belongs to the
//! file that defines it. What is compiled for tests only may import anything.

mod circles;
mod reader;

use std::collections::{BTreeMap, BTreeSet};

use super::layers::{LAYERED, Layers, ROOT};
use super::{File, Finding};
use reader::{Import, Reader};

/// Names that stand for names, one after the other. A module that imports a crate by its
/// own name would go on for ever.
const DEPTH_MAX: usize = 16;

/// Where the order is written down.
const TABLE: &str = "xtask/src/tidy/layers.rs";

/// Checks the crates that have layers.
pub(crate) fn check(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for layers in LAYERED {
        let modules = Modules::read(layers.name, files);
        findings.extend(upwards(layers, &modules));
        findings.extend(circles::check(layers, &modules));
    }
    findings
}

/// Imports from layers above.
fn upwards(layers: &Layers, modules: &Modules) -> Vec<Finding> {
    let mut findings = unlisted(layers, modules);
    for (path, module) in &modules.by_path {
        for import in &module.imports {
            let Some(target) = modules.target(path, import) else {
                continue;
            };
            let (Some(own), Some(other)) = (layer_of(layers, path), layer_of(layers, &target))
            else {
                continue;
            };
            if other > own {
                let (own, other) = (layers.layers[own].name, layers.layers[other].name);
                let advice = format!(
                    "`{path}` (layer {own}) imports `{}` from `{target}` (layer {other}), which is above it: \
                     move what both need into a lower layer, or hand it in; the order is in {TABLE}",
                    import.path.join("::")
                );
                findings.push(Finding::new(&module.file, import.line, "layer", advice));
            }
        }
    }
    findings.dedup();
    findings
}

/// Modules that are in no layer, and entries for which there is no file.
fn unlisted(layers: &Layers, modules: &Modules) -> Vec<Finding> {
    let known = |path: &String| layer_of(layers, path).is_some();
    let missing = modules.by_path.iter().filter(|(path, _)| !known(path));
    let mut findings: Vec<Finding> = missing
        .map(|(path, module)| {
            let advice = format!("`{path}` has no layer: give it one in {TABLE}");
            Finding::new(&module.file, 0, "layer", advice)
        })
        .collect();
    // Other trees of files, such as those of tests, have none of them.
    if modules.by_path.is_empty() {
        return findings;
    }
    for entry in layers.layers.iter().flat_map(|layer| layer.modules) {
        if !modules.by_path.contains_key(*entry) {
            let name = layers.name;
            let advice = format!("{name} has no module `{entry}`: remove it from the table");
            findings.push(Finding::new(TABLE, 0, "layer", advice));
        }
    }
    findings
}

/// The number of a module's layer: that of the longest entry that it is, or is below.
fn layer_of(layers: &Layers, path: &str) -> Option<usize> {
    let covers = |entry: &str| {
        path.strip_prefix(entry)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let all = layers.layers.iter().enumerate();
    all.flat_map(|(number, layer)| layer.modules.iter().map(move |entry| (entry, number)))
        .filter(|(entry, _)| covers(entry))
        .max_by_key(|(entry, _)| entry.len())
        .map(|(_, number)| number)
}

/// The files of a crate that are compiled outside of tests.
struct Modules {
    /// By path below `src`, without the ending.
    by_path: BTreeMap<String, Module>,
    /// The crate as its own program names it.
    crate_name: String,
}

/// One file.
#[derive(Default)]
struct Module {
    file: String,
    /// Whether it belongs to the program, whose root is `main.rs`.
    is_of_program: bool,
    imports: Vec<Import>,
    /// What names stand for, by `use` lines.
    names: BTreeMap<String, Import>,
}

impl Modules {
    fn read(name: &str, files: &[File]) -> Self {
        let folder = format!("crates/{name}/src/");
        let mut by_path = BTreeMap::new();
        let mut of_tests = BTreeSet::new();
        let mut of_program = BTreeSet::new();
        for file in files {
            let Some(path) = file.path.strip_prefix(&folder) else {
                continue;
            };
            let (Some(text), false) = (file.text_of("rs"), path.starts_with("bin/")) else {
                continue;
            };
            // A file that does not parse is found by `sources`.
            let Ok(parsed) = syn::parse_file(text) else {
                continue;
            };
            let path = module_path(path);
            let reader = Reader::read(&parsed);
            let children = |names: Vec<String>| names.into_iter().map(|name| below(&path, &name));
            of_tests.extend(children(reader.test_modules));
            if path == "main" {
                of_program.extend(reader.modules);
            }
            let module = Module {
                file: file.path.clone(),
                imports: reader.imports,
                names: reader.names,
                is_of_program: path == "main",
            };
            by_path.insert(path, module);
        }
        let is_within = |path: &str, set: &BTreeSet<String>| {
            let mut start = path.match_indices('/').map(|(end, _)| &path[..end]);
            set.contains(path) || start.any(|start| set.contains(start))
        };
        by_path.retain(|path, _| !is_within(path, &of_tests));
        for (path, module) in &mut by_path {
            module.is_of_program |= is_within(path, &of_program);
        }
        Self {
            by_path,
            crate_name: name.replace('-', "_"),
        }
    }

    /// The other module of this crate that an import of `from` leads to.
    fn target(&self, from: &str, import: &Import) -> Option<String> {
        let target = self.resolve(from, import, 0)?;
        (target != from).then_some(target)
    }

    fn resolve(&self, from: &str, import: &Import, depth: usize) -> Option<String> {
        if depth > DEPTH_MAX {
            return None;
        }
        let import = &self.spelled_out(from, import)?;
        let absolute = self.absolute(from, import)?;
        let is_of_library = import.path.first() == Some(&self.crate_name);
        let root = match self.by_path.get(from)?.is_of_program && !is_of_library {
            true => "main",
            false => ROOT,
        };
        let known = (1..=absolute.len()).rev().find_map(|length| {
            let path = absolute[..length].join("/");
            self.by_path.contains_key(&path).then_some((path, length))
        });
        let (path, length) = known.unwrap_or_else(|| (root.to_owned(), 0));
        let Some(name) = absolute.get(length) else {
            return Some(path);
        };
        match self.by_path.get(&path)?.names.get(name) {
            Some(handed_on) if path != from => self.resolve(&path, handed_on, depth + 1),
            _ => Some(path),
        }
    }

    /// The import with what its first name stands for in that file.
    fn spelled_out(&self, from: &str, import: &Import) -> Option<Import> {
        let names = &self.by_path.get(from)?.names;
        let mut whole = import.clone();
        for _ in 0..DEPTH_MAX {
            let (first, rest) = whole.path.split_first()?;
            let own = names.get(first);
            let Some(own) = own.filter(|own| **own != whole && own.path != whole.path) else {
                return Some(whole);
            };
            let mut longer = own.clone();
            longer.path.extend(rest.iter().cloned());
            whole = longer;
        }
        None
    }

    /// The path from the crate's root; `None` for what belongs to another crate.
    fn absolute(&self, from: &str, import: &Import) -> Option<Vec<String>> {
        let mut base = segments(from);
        base.extend(import.inside.iter().cloned());
        let (first, mut rest) = import.path.split_first()?;
        match first.as_str() {
            "crate" => base.clear(),
            "self" => {}
            "super" => {
                base.pop();
                while let Some(("super", more)) = rest
                    .split_first()
                    .map(|(first, more)| (first.as_str(), more))
                {
                    base.pop();
                    rest = more;
                }
            }
            name if name == self.crate_name => base.clear(),
            name => {
                // One name alone is a variable more often than a module.
                if rest.is_empty() {
                    return None;
                }
                base.push(name.to_owned());
                self.by_path.get(&base.join("/"))?;
            }
        }
        base.extend(rest.iter().cloned());
        Some(base)
    }
}

fn segments(module: &str) -> Vec<String> {
    match module {
        ROOT | "main" => Vec::new(),
        path => path.split('/').map(str::to_owned).collect(),
    }
}

/// `a/b.rs` and `a/b/mod.rs` are `a/b`.
fn module_path(file: &str) -> String {
    let path = file.trim_end_matches(".rs");
    path.strip_suffix("/mod").unwrap_or(path).to_owned()
}

fn below(module: &str, name: &str) -> String {
    match module {
        ROOT | "main" => name.to_owned(),
        path => format!("{path}/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::layers::Layer;
    use super::super::text_file;
    use super::*;

    const TWO: Layers = Layers {
        name: "one",
        layers: &[
            Layer {
                name: "low",
                job: "",
                modules: &["low", "high/part"],
            },
            Layer {
                name: "high",
                job: "",
                modules: &["high", ROOT],
            },
        ],
        circles: &[],
    };

    fn check_crate(layers: &Layers, files: &[File]) -> Vec<Finding> {
        upwards(layers, &Modules::read(layers.name, files))
    }

    /// Lines of upward imports, in the first file of these.
    fn found(low: &str, high: &str) -> Vec<usize> {
        let files = [
            text_file("crates/one/src/low.rs", low),
            text_file("crates/one/src/high.rs", high),
            text_file("crates/one/src/high/part.rs", "pub fn part() {}"),
            text_file(
                "crates/one/src/lib.rs",
                "mod low;\nmod high;\npub use high::b;\n",
            ),
        ];
        let findings = check_crate(&TWO, &files);
        assert!(
            findings
                .iter()
                .all(|finding| finding.file.ends_with("low.rs")),
            "{findings:?}"
        );
        findings.iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn imports_go_downwards() {
        let found = found("pub fn a() {}", "use crate::low::a;\nfn c() { a() }");
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn a_circle_is_found_and_the_message_names_the_edge() {
        let files = [
            text_file(
                "crates/one/src/low.rs",
                "use crate::high::b;\npub fn a() {}",
            ),
            text_file(
                "crates/one/src/high.rs",
                "mod part;\nuse crate::low::a;\npub fn b() {}",
            ),
            text_file("crates/one/src/high/part.rs", ""),
            text_file("crates/one/src/lib.rs", ""),
        ];
        let findings = check_crate(&TWO, &files);
        assert_eq!(findings.len(), 1);
        let text = findings[0].to_string();
        assert!(
            text.starts_with("crates/one/src/low.rs:1: [layer] "),
            "{text}"
        );
        let edge = "`low` (layer low) imports `crate::high::b` from `high` (layer high)";
        assert!(text.contains(edge), "{text}");
    }

    #[test]
    fn every_way_to_write_an_import_is_seen() {
        let high = "pub mod part;\npub fn b() {}";
        for low in [
            "use crate::{low as _, high::b};",
            "use super::high::b as other;",
            "fn a() { crate::high::b() }",
            "fn a(_: super::high::B) {}",
            "fn a() { println!(\"{}\", crate::high::b()) }",
            // By what the root hands on.
            "use crate::b;",
            "mod inner { use super::super::high::b; }",
        ] {
            assert_eq!(found(low, high), [1], "{low}");
        }
    }

    #[test]
    fn what_is_no_import_is_none() {
        let high = "mod part;\npub use crate::low::a;\npub fn b() {}";
        for low in [
            "#[cfg(test)]\nmod tests { use crate::high::b; }",
            "#[cfg(test)]\nimpl A { fn a() { crate::high::b() } }",
            "pub(in crate::high) fn a() {}",
            "fn a(high: u8) -> u8 { high }",
            // It has a place of its own.
            "use crate::high::part::part;",
            // Handed on by a higher one, and defined here.
            "use crate::high::a;",
            "use std::high::b;",
        ] {
            assert!(found(low, high).is_empty(), "{low}");
        }
    }

    #[test]
    fn each_module_has_a_layer_and_each_entry_a_module() {
        let files = [
            text_file("crates/one/src/low.rs", ""),
            text_file("crates/one/src/new/mod.rs", ""),
            text_file("crates/one/src/high.rs", ""),
            text_file("crates/one/src/lib.rs", "mod new;"),
        ];
        let findings = check_crate(&TWO, &files);
        let advice: Vec<&str> = findings.iter().map(|one| one.advice.as_str()).collect();
        assert_eq!(
            advice,
            [
                "`new` has no layer: give it one in xtask/src/tidy/layers.rs",
                "one has no module `high/part`: remove it from the table"
            ]
        );
    }

    #[test]
    fn files_of_a_program_see_the_library_by_its_name() {
        let layers = Layers {
            name: "one",
            layers: &[
                Layer {
                    name: "program",
                    job: "",
                    modules: &["main", "options"],
                },
                Layer {
                    name: "library",
                    job: "",
                    modules: &[ROOT, "high"],
                },
            ],
            circles: &[],
        };
        let files = [
            text_file("crates/one/src/main.rs", "mod options;\nconst A: u8 = 1;"),
            text_file(
                "crates/one/src/options.rs",
                "use crate::A;\nuse one::high::b;\nuse one::A as OfLibrary;\nfn a() -> OfLibrary {}",
            ),
            text_file("crates/one/src/high.rs", "pub fn b() {}"),
            text_file("crates/one/src/lib.rs", "pub mod high;"),
        ];
        let findings = check_crate(&layers, &files);
        let lines: Vec<usize> = findings.iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [2, 3, 4]);
    }
}
