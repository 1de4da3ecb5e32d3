//! Reads one file: whether it is a module, what it imports, and its text without
//! types.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use oxc_allocator::Allocator;
use oxc_parser::{Parser, ParserReturn};
use oxc_span::{SourceType, Span};
use oxc_syntax::module_record::{ExportExportName, ImportImportName};

use super::strip::strip;

/// A file of a program.
pub(super) struct File {
    /// As the engine takes it; or what of its TypeScript makes code.
    pub(super) text: Result<String>,
    pub(super) is_module: bool,
    /// Names of what it imports, each once, in the order of the file.
    pub(super) imports: Vec<Import>,
    /// What it imports by name from other files, types not among it.
    pub(super) members: Vec<Member>,
    /// Names of types that it exports. They are not there when it runs.
    pub(super) types: Vec<String>,
}

/// A member of another file that a file imports.
pub(super) struct Member {
    /// The other file, as the statement calls it.
    pub(super) of: String,
    pub(super) name: String,
    /// `file:line:column`.
    pub(super) place: String,
}

/// A name that a file imports.
pub(super) struct Import {
    pub(super) name: String,
    /// Without it the program does not begin. An `import()` may fail while it runs.
    pub(super) is_needed: bool,
    /// Where a statement imports it without saying what data it is (`with`).
    pub(super) bare: Option<String>,
}

/// Reads a file of JavaScript or TypeScript. `is_module` says what a `.js` file is
/// that its text does not tell.
///
/// # Errors
///
/// With the place of what is wrong with all of it.
pub(super) fn read(path: &Path, is_module: bool) -> Result<File> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    // Of a program that was made for a shell.
    let text = match text.strip_prefix("#!") {
        Some(rest) => format!("//{rest}"),
        None => text,
    };
    let extension = path.extension().and_then(|extension| extension.to_str());
    let (kind, is_typescript) = match extension {
        Some("ts" | "mts") => (SourceType::ts().with_module(true), true),
        Some("mjs") => (SourceType::mjs(), false),
        Some("cjs") => (SourceType::script(), false),
        _ if is_module => (SourceType::mjs(), false),
        _ => (SourceType::unambiguous(), false),
    };
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, &text, kind).parse();
    if parsed.panicked || parsed.diagnostics.has_errors() {
        bail!(first_error(path, &text, &parsed));
    }
    let is_module =
        parsed.program.source_type.is_module() || parsed.module_record.has_module_syntax;
    let imports = imports(path, &text, &parsed);
    let members = members(path, &text, &parsed);
    let types = types(&text, &parsed);
    let stripped = is_typescript.then(|| {
        strip(&text, &parsed.program).map_err(|(message, span)| {
            anyhow::anyhow!("{}: {message}", place(path, &text, span.start))
        })
    });
    Ok(File {
        is_module,
        imports,
        members,
        types,
        text: stripped.unwrap_or(Ok(text)),
    })
}

/// Whether a text of JavaScript breaks off: what follows could make it right.
pub(crate) fn is_unfinished(text: &str) -> bool {
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, text, SourceType::mjs()).parse();
    let Some(error) = parsed.diagnostics.iter().next() else {
        return false;
    };
    let label = error.labels.iter().next();
    label.is_some_and(|label| {
        let (start, end) = (label.offset() as usize, text.trim_end().len());
        // A template or a comment goes on in the next line, other texts do not.
        let goes_on = text
            .get(start..)
            .is_some_and(|rest| rest.starts_with(['`', '}', '/']));
        let is_open = error.message.starts_with("Unterminated") && goes_on;
        start >= end || (is_open && !error.message.contains("regular expression"))
    })
}

/// What is wrong, and where.
fn first_error(path: &Path, text: &str, parsed: &ParserReturn<'_>) -> String {
    let Some(error) = parsed.diagnostics.iter().next() else {
        return format!("{} cannot be read", path.display());
    };
    let label = error.labels.iter().next();
    let offset = label.map_or(0, |label| label.offset());
    format!("{}: {}", place(path, text, offset), error.message)
}

/// `file:line:column`, both counted from 1.
fn place(path: &Path, text: &str, offset: u32) -> String {
    let before = text.get(..offset as usize).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    format!("{}:{line}:{column}", path.display())
}

/// Static imports and those with a literal name; types are not there at run time.
fn imports(path: &Path, text: &str, parsed: &ParserReturn<'_>) -> Vec<Import> {
    let record = &parsed.module_record;
    let mut found: Vec<(Span, Import)> = Vec::new();
    let mut add = |span: Span, name: &str, is_needed, bare| {
        let import = Import {
            name: name.to_owned(),
            is_needed,
            bare,
        };
        found.push((span, import));
    };
    for (name, requests) in &record.requested_modules {
        let mut needed = requests.iter().filter(|request| !request.is_type);
        if let Some(request) = needed.clone().next() {
            let bare = needed.find(|request| {
                let rest = text.get(request.span.end as usize..request.statement_span.end as usize);
                rest.is_some_and(|rest| !rest.trim_start().starts_with("with"))
            });
            let bare = bare.map(|request| place(path, text, request.span.start));
            add(request.span, name, true, bare);
        }
    }
    for import in &record.dynamic_imports {
        let request = import.module_request;
        let literal = text.get(request.start as usize..request.end as usize);
        if let Some(name) = literal.and_then(unquoted) {
            add(request, name, false, None);
        }
    }
    found.sort_by_key(|(span, _)| span.start);
    let mut imports: Vec<Import> = Vec::new();
    for (_, import) in found {
        match imports.iter_mut().find(|known| known.name == import.name) {
            Some(known) => {
                known.is_needed |= import.is_needed;
                known.bare = known.bare.take().or(import.bare);
            }
            None => imports.push(import),
        }
    }
    imports
}

/// What statements import by name. One that imports types alone is none of them.
fn members(path: &Path, text: &str, parsed: &ParserReturn<'_>) -> Vec<Member> {
    let entries = parsed.module_record.import_entries.iter();
    entries
        .filter(|entry| !entry.is_type)
        .filter_map(|entry| match &entry.import_name {
            ImportImportName::Name(name) => Some(Member {
                of: entry.module_request.name.to_string(),
                name: name.name.to_string(),
                place: place(path, text, name.span.start),
            }),
            _ => None,
        })
        .collect()
}

/// Names of exported types.
fn types(text: &str, parsed: &ParserReturn<'_>) -> Vec<String> {
    let entries = parsed.module_record.local_export_entries.iter();
    entries
        .filter(|entry| {
            let statement = text
                .get(entry.statement_span.start as usize..)
                .unwrap_or("");
            let kind = statement.strip_prefix("export").unwrap_or("").trim_start();
            entry.is_type || kind.starts_with("interface ") || kind.starts_with("type ")
        })
        .filter_map(|entry| match &entry.export_name {
            ExportExportName::Name(name) => Some(name.name.to_string()),
            _ => None,
        })
        .collect()
}

/// What a plain literal says: no escapes, no parts to fill in.
fn unquoted(literal: &str) -> Option<&str> {
    let inner = ['"', '\'', '`']
        .into_iter()
        .find_map(|quote| literal.strip_prefix(quote)?.strip_suffix(quote))?;
    let is_plain = !inner.contains(['\\', '$']) && !inner.is_empty();
    is_plain.then_some(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_breaks_off_is_told_from_one_that_is_wrong() {
        for text in [
            "1 +",
            "f(",
            "const f = () => {",
            "[1,\n",
            "`one",
            "`one ${1} two",
            "/* one",
            "if (x)",
            "class A {\n  m() {}\n",
        ] {
            assert!(is_unfinished(text), "{text}");
        }
        for text in [
            "",
            "1 + 1",
            "let = ;",
            "let = ;\n",
            "'one",
            "\"one",
            "/one",
            "}",
            ")",
            "await 1",
            "{ a: 1 }",
            "x = 010",
            "`one`",
            "// one",
        ] {
            assert!(!is_unfinished(text), "{text}");
        }
    }
}
