//! Renders `docs/rpc.md`: routes and encodings in prose, methods and messages
//! from the table.

use super::line;
use super::proto::field_type;
use super::schema::{EXTENSION_TAG_MIN, Kind, MESSAGES, METHODS, MessageInfo, MethodInfo};

const INTRODUCTION: &str = include_str!("rpc_introduction.md");
/// Methods that Wapo 0.x does not have.
const NEW_METHODS: &[&str] = &[
    "AppSettingsGet",
    "AppSettingsSet",
    "AppVisit",
    "SecretSet",
    "SecretRemove",
    "DomainAdd",
    "DomainRemove",
    "UsageExport",
    "WorkerEvidence",
    "AppEvidence",
    "RotateKeys",
    "KeyHandover",
    "PrivateQuery",
];
/// Messages of Wapo 0.x, a line each; empty ones are not in it.
const OF_WAPO_0: &str = include_str!("../../../crates/wapo-rpc/tests/fields_of_wapo_0.txt");

/// The whole document.
pub(crate) fn render() -> String {
    let mut doc = String::from(INTRODUCTION);
    for rows in METHODS {
        service(&mut doc, rows);
    }
    line(&mut doc, "\n## Messages");
    for message in MESSAGES.iter().copied().flatten() {
        section(&mut doc, message);
    }
    doc
}

fn service(doc: &mut String, rows: &[MethodInfo]) {
    let Some(first) = rows.first() else { return };
    line(doc, &format!("\n## Service `{}`\n", first.service));
    line(
        doc,
        "| method | argument | answer | GET | what |\n| --- | --- | --- | --- | --- |",
    );
    for method in rows {
        let row = format!(
            "| `{}` | {} | {} | {} | {}{} |",
            method.name,
            link(method.argument),
            link(method.answer),
            if method.is_read_only { "yes" } else { "–" },
            mark(NEW_METHODS.contains(&method.name)),
            prose(method.doc),
        );
        line(doc, &row);
    }
}

fn section(doc: &mut String, message: &MessageInfo) {
    line(doc, &format!("\n### {}\n", message.name));
    let is_new = is_new(message);
    line(doc, &format!("{}{}", mark(is_new), prose(message.doc)));
    if message.fields.is_empty() {
        return;
    }
    line(
        doc,
        "\n| field | number | type | what |\n| --- | --: | --- | --- |",
    );
    for field in message.fields {
        let kind = match field.kind {
            Kind::Message(name) => link(name),
            Kind::Messages(name) => format!("repeated {}", link(name)),
            _ => field_type(field),
        };
        let row = format!(
            "| `{}` | {} | {kind} | {}{} |",
            field.name,
            field.tag,
            mark(field.tag >= EXTENSION_TAG_MIN),
            prose(field.doc),
        );
        line(doc, &row);
    }
}

fn link(message: &str) -> String {
    format!("[{message}](#{})", message.to_ascii_lowercase())
}

/// Whether Wapo 0.x lacks a message. What has no fields is marked nowhere.
fn is_new(message: &MessageInfo) -> bool {
    let mut old = OF_WAPO_0.lines().filter_map(|line| line.split_once(": "));
    !message.fields.is_empty() && old.all(|(name, _)| name != message.name)
}

fn mark(is_new: bool) -> &'static str {
    if is_new { "**new** " } else { "" }
}

/// Lines of documentation as one, fit for a cell of a table.
fn prose(doc: &[&str]) -> String {
    let lines: Vec<&str> = doc.iter().map(|line| line.trim()).collect();
    lines.join(" ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_has_its_place() {
        let doc = render();
        for method in METHODS.iter().copied().flatten() {
            assert!(doc.contains(&format!("\n| `{}` | [{}]", method.name, method.argument)));
        }
        for message in MESSAGES.iter().copied().flatten() {
            assert!(doc.contains(&format!("\n### {}\n", message.name)));
        }
    }

    #[test]
    fn what_wapo_0_does_not_have_is_marked_new() {
        let new = MESSAGES.iter().copied().flatten().filter(|one| is_new(one));
        let new: Vec<&str> = new.map(|message| message.name).collect();
        assert!(new.contains(&"PrivateQueryArgs") && !new.contains(&"QueryArgs"));
        // A method with a message that is new is new itself.
        for method in METHODS.iter().copied().flatten() {
            let has_new = [method.argument, method.answer];
            let has_new = has_new.iter().any(|name| new.contains(name));
            assert!(
                !has_new || NEW_METHODS.contains(&method.name),
                "{}",
                method.name
            );
        }
    }

    #[test]
    fn what_is_marked_new_exists() {
        let is_method = |name: &str| METHODS.iter().copied().flatten().any(|m| m.name == name);
        assert!(NEW_METHODS.iter().all(|name| is_method(name)));
    }
}
