//! Renders `docs/openapi.json`: the interface over HTTP and JSON, for machines.
//!
//! Messages and methods come from the table, the other routes from
//! `openapi_routes`. A message that can be an argument is described twice:
//! answers have every field and are objects, arguments may lack fields and may
//! be arrays.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::openapi_routes;
use super::schema::{FieldInfo, Kind, MESSAGES, METHODS, MessageInfo, MethodInfo};

/// The encoding for clients that do not ask for JSON; docs/wapo.proto describes it.
const PROTOBUF: &str = "application/octet-stream";

/// The whole document.
pub(crate) fn render() -> String {
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Wapo worker",
            "summary": "Runs WebAssembly programs that own their networking.",
            "description": "The interface over HTTP and JSON; docs/rpc.md is for people. Operations \
                tagged `admin` are on the admin port, those tagged `user` on the user port.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "http://127.0.0.1:8001", "description": "the admin port" }],
        "security": [{}, { "token": [] }],
        "tags": [
            { "name": "admin", "description": "for the operator, on the admin port" },
            { "name": "user", "description": "for everyone, on the user port" },
        ],
        "paths": paths(),
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Needed when the worker was started with a token.",
                },
            },
            "responses": openapi_routes::responses(),
            "schemas": schemas(),
        },
    });
    format!("{document:#}\n")
}

fn paths() -> Value {
    let mut paths = openapi_routes::paths();
    for method in METHODS.iter().copied().flatten() {
        let path = format!("/prpc/{}.{}", method.service, method.name);
        paths.insert(path, call(method));
    }
    Value::Object(paths)
}

fn call(method: &MethodInfo) -> Value {
    let mut path = Map::new();
    path.insert("post".to_owned(), operation(method, "post"));
    if method.is_read_only {
        path.insert("get".to_owned(), operation(method, "get"));
    }
    if method.service == "User" {
        let user_port = json!([{ "url": "http://127.0.0.1:8002", "description": "the user port" }]);
        path.insert("servers".to_owned(), user_port);
    }
    Value::Object(path)
}

fn operation(method: &MethodInfo, verb: &str) -> Value {
    let (service, name) = (method.service, method.name);
    let is_user = service == "User";
    let mut answer = json!({
        "description": "The answer.",
        "content": { "application/json": { "schema": reference(method.answer) } },
    });
    if verb == "post" {
        // A call without a body may lack the type as well, and is answered so.
        answer["content"][PROTOBUF] = json!({ "schema": {} });
    }
    let mut responses = Map::new();
    responses.insert("200".to_owned(), answer);
    let mut refusals = vec!["400", "422", "503", "504"];
    if !is_user {
        refusals.extend(["401", "403"]);
    }
    if verb == "post" {
        refusals.push("413");
    }
    for status in refusals {
        responses.insert(status.to_owned(), openapi_routes::refusal(status));
    }
    let mut operation = json!({
        "operationId": if verb == "post" { format!("{service}.{name}") } else { format!("{service}.{name}.get") },
        "tags": [if is_user { "user" } else { "admin" }],
        "summary": prose(method.doc),
        "responses": responses,
    });
    if is_user {
        operation["security"] = json!([]);
    }
    if verb == "post" {
        operation["requestBody"] = json!({
            "description": "Empty for the defaults.",
            "content": { "application/json": { "schema": argument_reference(method.argument) } },
        });
    }
    operation
}

fn schemas() -> Value {
    let mut schemas = openapi_routes::schemas();
    for message in reachable(|method| method.answer) {
        schemas.insert(message.name.to_owned(), answer_schema(message));
    }
    for message in reachable(|method| method.argument) {
        schemas.insert(
            format!("{}Argument", message.name),
            argument_schema(message),
        );
    }
    Value::Object(schemas)
}

/// Messages that methods take, or answer with, and those inside them.
fn reachable(of: impl Fn(&MethodInfo) -> &'static str) -> Vec<&'static MessageInfo> {
    let mut names: BTreeSet<&str> = BTreeSet::new();
    let mut open: Vec<&str> = METHODS.iter().copied().flatten().map(of).collect();
    while let Some(name) = open.pop() {
        if names.insert(name) {
            let message = all().find(|message| message.name == name);
            let fields = message.iter().flat_map(|message| message.fields);
            open.extend(fields.filter_map(|field| match field.kind {
                Kind::Message(name) | Kind::Messages(name) => Some(name),
                _ => None,
            }));
        }
    }
    all()
        .filter(|message| names.contains(message.name))
        .collect()
}

fn all() -> impl Iterator<Item = &'static MessageInfo> {
    MESSAGES.iter().copied().flatten()
}

fn answer_schema(message: &MessageInfo) -> Value {
    if message.fields.is_empty() {
        return json!({ "type": "null", "description": prose(message.doc) });
    }
    let names: Vec<&str> = message.fields.iter().map(|field| field.name).collect();
    json!({
        "type": "object",
        "description": prose(message.doc),
        "properties": properties(message, reference),
        "required": names,
    })
}

fn argument_schema(message: &MessageInfo) -> Value {
    let items: Vec<Value> = message
        .fields
        .iter()
        .map(|field| field_schema(field, argument_reference))
        .collect();
    let object = json!({ "type": "object", "properties": properties(message, argument_reference) });
    let array = match items.is_empty() {
        true => json!({ "type": "array", "maxItems": 0 }),
        false => json!({ "type": "array", "prefixItems": items, "items": false }),
    };
    let mut forms = vec![object, array];
    if message.fields.is_empty() {
        forms.push(json!({ "type": "null" }));
    }
    json!({ "description": prose(message.doc), "anyOf": forms })
}

fn properties(message: &MessageInfo, refer: fn(&str) -> Value) -> Value {
    let fields = message.fields.iter().map(|field| {
        let mut schema = field_schema(field, refer);
        schema["description"] = json!(prose(field.doc));
        (field.name.to_owned(), schema)
    });
    Value::Object(fields.collect())
}

fn field_schema(field: &FieldInfo, refer: fn(&str) -> Value) -> Value {
    match field.kind {
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::U32 => json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
        Kind::U64 => json!({ "type": "integer", "minimum": 0, "maximum": u64::MAX }),
        Kind::String => json!({ "type": "string" }),
        Kind::Bytes => reference("Bytes"),
        Kind::Message(name) => json!({ "anyOf": [refer(name), { "type": "null" }] }),
        Kind::Strings => json!({ "type": "array", "items": { "type": "string" } }),
        Kind::BytesList => json!({ "type": "array", "items": reference("Bytes") }),
        Kind::Messages(name) => json!({ "type": "array", "items": refer(name) }),
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn argument_reference(name: &str) -> Value {
    reference(&format!("{name}Argument"))
}

fn prose(doc: &[&str]) -> String {
    let lines: Vec<&str> = doc.iter().map(|line| line.trim()).collect();
    lines.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(target)) = map.get("$ref") {
                    found.push(target.clone());
                }
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document: Value = serde_json::from_str(&render()).expect("json");
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 100);
        for target in found {
            let pointer = target.strip_prefix('#').expect("inside the document");
            assert!(document.pointer(pointer).is_some(), "{target}");
        }
    }

    #[test]
    fn every_method_is_a_path_and_only_reading_ones_have_get() {
        let document: Value = serde_json::from_str(&render()).expect("json");
        for method in METHODS.iter().copied().flatten() {
            let path = &document["paths"][format!("/prpc/{}.{}", method.service, method.name)];
            assert!(path["post"].is_object(), "{}", method.name);
            assert_eq!(path["get"].is_object(), method.is_read_only);
        }
    }

    #[test]
    fn operations_have_names_of_their_own() {
        let document: Value = serde_json::from_str(&render()).expect("json");
        let mut names = BTreeSet::new();
        let paths = document["paths"].as_object().expect("paths");
        for operation in paths.values().flat_map(|path| path.as_object()).flatten() {
            if let Some(name) = operation.1["operationId"].as_str() {
                assert!(names.insert(name.to_owned()), "{name}");
            }
        }
        assert!(names.len() > 30);
    }
}
