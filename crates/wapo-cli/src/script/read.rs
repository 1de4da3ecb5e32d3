//! Reads one file: whether it is a module, what it imports, and its text without
//! types.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use oxc_allocator::Allocator;
use oxc_parser::{Parser, ParserReturn};
use oxc_span::{SourceType, Span};

use super::strip::strip;

/// A file of a program.
pub(super) struct File {
    /// As the engine takes it; or what of its TypeScript makes code.
    pub(super) text: Result<String>,
    pub(super) is_module: bool,
    /// Names of what it imports, each once, in the order of the file.
    pub(super) imports: Vec<Import>,
}

/// A name that a file imports.
pub(super) struct Import {
    pub(super) name: String,
    /// Without it the program does not begin. An `import()` may fail while it runs.
    pub(super) is_needed: bool,
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
    let imports = imports(&text, &parsed);
    let stripped = is_typescript.then(|| {
        strip(&text, &parsed.program).map_err(|(message, span)| {
            anyhow::anyhow!("{}: {message}", place(path, &text, span.start))
        })
    });
    Ok(File {
        is_module,
        imports,
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
fn imports(text: &str, parsed: &ParserReturn<'_>) -> Vec<Import> {
    let record = &parsed.module_record;
    let mut found: Vec<(Span, Import)> = Vec::new();
    let mut add = |span: Span, name: &str, is_needed| {
        let name = name.to_owned();
        found.push((span, Import { name, is_needed }));
    };
    for (name, requests) in &record.requested_modules {
        if let Some(request) = requests.iter().find(|request| !request.is_type) {
            add(request.span, name, true);
        }
    }
    for import in &record.dynamic_imports {
        let request = import.module_request;
        let literal = text.get(request.start as usize..request.end as usize);
        if let Some(name) = literal.and_then(unquoted) {
            add(request, name, false);
        }
    }
    found.sort_by_key(|(span, _)| span.start);
    let mut imports: Vec<Import> = Vec::new();
    for (_, import) in found {
        match imports.iter_mut().find(|known| known.name == import.name) {
            Some(known) => known.is_needed |= import.is_needed,
            None => imports.push(import),
        }
    }
    imports
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
