//! Rules about source files: header, size, length of functions, `unsafe`,
//! things put off.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::visit::{self, Visit};

use super::{File, Finding};

/// More than this and a file has two subjects.
const FILE_LINES_MAX: usize = 600;
/// More than this and a function does not fit a screen.
const FUNCTION_LINES_MAX: usize = 70;
/// The only files that may say `unsafe`, with what they need it for.
const UNSAFE_ALLOWED: &[(&str, &str)] = &[
    (
        "crates/wapo/src/sys.rs",
        "the guest's imports are foreign functions",
    ),
    (
        "crates/wapo-host/src/memory_pool.rs",
        "linear memory without guard regions, for enclaves",
    ),
    (
        "crates/wapo-host/src/module_cache.rs",
        "loads native code whose MAC was checked",
    ),
    (
        "guests/wapo-js/src/engine/boot.rs",
        "loads bytecode that the engine wrote",
    ),
    (
        "guests/wapo-js/src/engine/bytes.rs",
        "the engine lends its buffers",
    ),
    (
        "guests/wapo-js/src/engine/context.rs",
        "the engine's promises carry a value that it owns",
    ),
    (
        "guests/wapo-js/src/engine/heap.rs",
        "the memory of isolates is given back whole",
    ),
    (
        "guests/wapo-js/src/engine/pack.rs",
        "values go from one engine to another",
    ),
    (
        "guests/wapo-js/src/engine/memory.rs",
        "the allocator of the instance",
    ),
    (
        "guests/wapo-js/src/engine/stack.rs",
        "the engine asks it for its stack pointer",
    ),
    (
        "guests/wapo-js/src/engine/script.rs",
        "scripts are evaluated by a function of C",
    ),
    (
        "guests/wapo-js/src/engine/spare.rs",
        "the heap of the program's engine is an allocator",
    ),
    (
        "guests/wapo-js/src/engine/stop.rs",
        "scripts are stopped by what they cannot catch",
    ),
    (
        "guests/wapo-js/src/native/wasm/views.rs",
        "buffers of scripts are memories of WebAssembly",
    ),
    (
        "guests/wapo-js/src/prepare.rs",
        "an export has a name that the linker sees",
    ),
];
/// Written by a program, so no rule of length applies.
const GENERATED: &[&str] = &["crates/wapo-rpc/src/generated.rs"];

/// Checks every source file.
pub(crate) fn check(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        if let Some(text) = file.text_of("rs") {
            header(file, text, "//!", &mut findings);
            rust(file, text, &mut findings);
        } else if let Some(text) = file.text_of("wat") {
            header(file, text, ";;", &mut findings);
        }
        if is_written_by_hand(file) {
            put_off(file, &mut findings);
        }
    }
    findings
}

fn is_written_by_hand(file: &File) -> bool {
    ["rs", "toml", "md", "wat", "sh", "js", "ts", "html", "proto"]
        .iter()
        .any(|extension| file.has_extension(extension))
}

fn header(file: &File, text: &str, mark: &str, findings: &mut Vec<Finding>) {
    if !text.trim_start().starts_with(mark) {
        let advice = format!("start the file with `{mark}` and say what it is for");
        findings.push(Finding::new(&file.path, 1, "header", advice));
    }
}

fn rust(file: &File, text: &str, findings: &mut Vec<Finding>) {
    let lines = text.lines().count();
    let is_generated = GENERATED.contains(&file.path.as_str());
    if lines > FILE_LINES_MAX && !is_generated {
        let advice = format!("{lines} lines; split it, {FILE_LINES_MAX} are allowed");
        findings.push(Finding::new(
            &file.path,
            FILE_LINES_MAX,
            "file-length",
            advice,
        ));
    }
    let parsed = match syn::parse_file(text) {
        Ok(parsed) => parsed,
        Err(error) => {
            let line = error.span().start().line;
            findings.push(Finding::new(&file.path, line, "syntax", error.to_string()));
            return;
        }
    };
    let mut functions = Functions {
        path: &file.path,
        is_generated,
        findings,
    };
    functions.visit_file(&parsed);
    if UNSAFE_ALLOWED
        .iter()
        .all(|(allowed, _)| *allowed != file.path)
        && let Ok(tokens) = text.parse::<TokenStream>()
        && let Some(line) = first_unsafe(tokens)
    {
        let allowed: Vec<&str> = UNSAFE_ALLOWED.iter().map(|(path, _)| *path).collect();
        let advice = format!("`unsafe` is allowed only in {}", allowed.join(", "));
        findings.push(Finding::new(&file.path, line, "unsafe", advice));
    }
}

/// Line of the first `unsafe`, also inside macros. Attributes in the manner of
/// `#[unsafe(no_mangle)]` are left to the lint `unsafe_code`.
fn first_unsafe(tokens: TokenStream) -> Option<usize> {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let is_attribute = matches!(
            tokens.peek(),
            Some(TokenTree::Group(next)) if next.delimiter() == Delimiter::Parenthesis
        );
        let found = match token {
            TokenTree::Ident(ident) if ident == "unsafe" && !is_attribute => {
                Some(ident.span().start().line)
            }
            TokenTree::Group(group) => first_unsafe(group.stream()),
            _ => None,
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

/// Looks at every function, also nested ones and methods.
struct Functions<'a> {
    path: &'a str,
    is_generated: bool,
    findings: &'a mut Vec<Finding>,
}

impl Functions<'_> {
    fn function(&mut self, attributes: &[syn::Attribute], signature: &syn::Signature, end: usize) {
        let start = signature.fn_token.span.start().line;
        let name = &signature.ident;
        let lines = end + 1 - start;
        if lines > FUNCTION_LINES_MAX && !self.is_generated {
            let advice = format!("`{name}` has {lines} lines; {FUNCTION_LINES_MAX} are allowed");
            self.findings
                .push(Finding::new(self.path, start, "function-length", advice));
        }
        if attributes
            .iter()
            .any(|attribute| attribute.path().is_ident("ignore"))
        {
            let advice = format!("`{name}` never runs; assert what happens today instead");
            self.findings
                .push(Finding::new(self.path, start, "ignored-test", advice));
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.attrs, &item.sig, last_line(&item.block));
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.attrs, &item.sig, last_line(&item.block));
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.attrs, &item.sig, last_line(block));
        }
        visit::visit_trait_item_fn(self, item);
    }
}

fn last_line(block: &syn::Block) -> usize {
    block.brace_token.span.close().end().line
}

/// Plans belong into the tracker, where someone sees them.
fn put_off(file: &File, findings: &mut Vec<Finding>) {
    // Put together here, so that this file passes its own check.
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
    ];
    for (index, line) in file.text.iter().flat_map(|text| text.lines()).enumerate() {
        if let Some(word) = words.iter().find(|word| line.contains(*word)) {
            let advice = format!("`{word}`: do it now or open an issue and remove the mark");
            findings.push(Finding::new(&file.path, index + 1, "put-off", advice));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::text_file;
    use super::*;

    fn rules(path: &str, text: &str) -> Vec<(&'static str, usize)> {
        check(&[text_file(path, text)])
            .into_iter()
            .map(|finding| (finding.rule, finding.line))
            .collect()
    }

    #[test]
    fn a_tidy_file_has_no_findings() {
        assert_eq!(rules("a.rs", "//! A.\nfn a() {}\n"), []);
        assert_eq!(rules("a.wat", ";; A.\n(module)\n"), []);
    }

    #[test]
    fn a_missing_header_is_found() {
        assert_eq!(rules("a.rs", "fn a() {}\n"), [("header", 1)]);
        assert_eq!(rules("a.wat", "(module)\n"), [("header", 1)]);
    }

    #[test]
    fn a_long_file_and_a_long_function_are_found() {
        let body = "    a();\n".repeat(FUNCTION_LINES_MAX);
        let text = format!("//! A.\nimpl A {{\n    fn a() {{\n{body}    }}\n}}\n");
        assert_eq!(rules("a.rs", &text), [("function-length", 3)]);
        let shorter = text.replacen("    a();\n    a();\n", "", 1);
        assert_eq!(rules("a.rs", &shorter), []);
        let long = format!("//! A.\n{}", "// a\n".repeat(FILE_LINES_MAX));
        assert_eq!(rules("a.rs", &long), [("file-length", FILE_LINES_MAX)]);
    }

    #[test]
    fn unsafe_is_found_where_it_is_not_allowed_even_in_macros() {
        let text = "//! A, unsafe.\n#![deny(unsafe_code)]\nm!({ unsafe { a() } });\n";
        assert_eq!(rules("a.rs", text), [("unsafe", 3)]);
        assert_eq!(rules("crates/wapo/src/sys.rs", text), []);
        assert_eq!(
            rules("a.rs", "//! A.\n#[unsafe(no_mangle)]\nfn a() {}\n"),
            []
        );
    }

    #[test]
    fn what_was_put_off_is_found() {
        let mark = concat!("TO", "DO");
        assert_eq!(rules("a.md", &format!("a\n{mark}: b\n")), [("put-off", 2)]);
        let text = format!(
            "//! A.\nfn a() {{\n    {}) // later\n}}\n",
            concat!("to", "do!(")
        );
        assert_eq!(rules("a.rs", &text), [("put-off", 3)]);
    }

    #[test]
    fn an_ignored_test_is_found() {
        let text = "//! A.\n#[test]\n#[ignore = \"slow\"]\nfn a() {}\n";
        assert_eq!(rules("a.rs", text), [("ignored-test", 4)]);
    }

    #[test]
    fn a_file_that_does_not_parse_is_found() {
        assert_eq!(
            rules("a.rs", "//! A.\nfn a( {}\n")
                .first()
                .map(|found| found.0),
            Some("syntax")
        );
    }
}
