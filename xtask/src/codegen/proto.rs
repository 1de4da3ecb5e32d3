//! Renders `crates/wapo-rpc/proto/wapod_rpc.proto` from the table of messages.

use super::line;
use super::schema::{EXTENSION_TAG_MIN, FieldInfo, Kind, MESSAGES, METHODS, MessageInfo};

const HEADER: &str = "\
// The public interface of a Wapo worker.
//
// Written by `cargo xtask codegen` from the table in crates/wapo-rpc/src/schema.
// Do not edit; change the table. There is no package, and there will be none:
// the URL of a method is /prpc/<Service>.<Method>. Fields from number 100 on
// are extensions of the interface of Wapo 0.x. \"SCALE\" is the codec of that
// name. docs/rpc.md tells the rest.

syntax = \"proto3\";
";

/// The whole file.
pub(crate) fn render() -> String {
    let mut text = String::from(HEADER);
    for rows in METHODS {
        let Some(first) = rows.first() else { continue };
        line(&mut text, &format!("\nservice {} {{", first.service));
        for method in *rows {
            comment(&mut text, "  ", method.doc);
            let (name, argument, answer) = (method.name, method.argument, method.answer);
            line(
                &mut text,
                &format!("  rpc {name}({argument}) returns ({answer});"),
            );
        }
        line(&mut text, "}");
    }
    for message in MESSAGES.iter().copied().flatten() {
        render_message(&mut text, message);
    }
    text
}

fn render_message(text: &mut String, message: &MessageInfo) {
    line(text, "");
    comment(text, "", message.doc);
    if message.fields.is_empty() {
        line(text, &format!("message {} {{}}", message.name));
        return;
    }
    line(text, &format!("message {} {{", message.name));
    let mut is_extended = false;
    for field in message.fields {
        if field.tag >= EXTENSION_TAG_MIN && !is_extended {
            is_extended = true;
            line(text, "");
        }
        comment(text, "  ", field.doc);
        let declaration = format!("  {} {} = {};", field_type(field), field.name, field.tag);
        line(text, &declaration);
    }
    line(text, "}");
}

fn comment(text: &mut String, indent: &str, doc: &[&str]) {
    for row in doc {
        line(text, &format!("{indent}// {}", row.trim()));
    }
}

/// The type as protobuf writes it.
pub(super) fn field_type(field: &FieldInfo) -> String {
    match field.kind {
        Kind::Bool => "bool".to_owned(),
        Kind::U32 => "uint32".to_owned(),
        Kind::U64 => "uint64".to_owned(),
        Kind::String => "string".to_owned(),
        Kind::Bytes => "bytes".to_owned(),
        Kind::Message(name) => name.to_owned(),
        Kind::Strings => "repeated string".to_owned(),
        Kind::BytesList => "repeated bytes".to_owned(),
        Kind::Messages(name) => format!("repeated {name}"),
    }
}
