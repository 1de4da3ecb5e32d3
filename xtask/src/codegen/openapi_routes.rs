//! What of `docs/openapi.json` is not a call: blobs, logs, figures, health, and
//! the answers that many routes share.

use serde_json::{Map, Value, json};

/// Hex digits, as they are read: any number of `0x`, any case.
const BYTES_PATTERN: &str = "^(0x)*([0-9a-fA-F]{2})*$";
const ADDRESS_PATTERN: &str = "^(0x)*[0-9a-fA-F]{64}$";
const HASH_PATTERN: &str = "^(sha256:([0-9a-fA-F]{64})?|sha512:([0-9a-fA-F]{128})?)$";
const DIGITS_PATTERN: &str = "^(0x)*([0-9a-fA-F]{64}|[0-9a-fA-F]{128})$";

/// The routes that are no calls.
pub(super) fn paths() -> Map<String, Value> {
    let routes = [
        ("/blob/{hash}", blob()),
        ("/logs/{address}", logs()),
        ("/metrics", metrics()),
        ("/health", health()),
        ("/openapi.json", document()),
    ];
    routes
        .into_iter()
        .map(|(path, route)| (path.to_owned(), route))
        .collect()
}

/// A reference to a shared refusal.
pub(super) fn refusal(status: &str) -> Value {
    json!({ "$ref": format!("#/components/responses/{status}") })
}

/// Refusals that many routes share, by status.
pub(super) fn responses() -> Value {
    json!({
        "400": refused("The request cannot be decoded, or is refused."),
        "401": refused("The token is missing or wrong."),
        "403": refused("The request comes from a web page elsewhere, or names a foreign host."),
        "404": refused("There is no such thing."),
        "413": refused("The body is too long."),
        "422": refused("The path or the query part does not parse."),
        "500": refused("The worker failed, and its log says why."),
        "503": refused("Too busy; `Retry-After` says when to try again."),
        "504": refused("The app took too long."),
    })
}

/// A refusal is JSON, text, or (to a client that asked in protobuf) a message.
fn refused(description: &str) -> Value {
    json!({
        "description": description,
        "content": {
            "application/json": { "schema": { "$ref": "#/components/schemas/Error" } },
            "application/octet-stream": { "schema": {} },
            "text/plain": { "schema": { "type": "string" } },
        },
    })
}

/// Schemas that are no messages.
pub(super) fn schemas() -> Map<String, Value> {
    let schemas = [
        (
            "Bytes",
            json!({
                "type": "string",
                "pattern": BYTES_PATTERN,
                "description": "Bytes as hex digits. Answers have one `0x` and small letters.",
            }),
        ),
        (
            "Error",
            json!({
                "type": "object",
                "properties": { "error": { "type": "string", "description": "What was wrong." } },
                "required": ["error"],
            }),
        ),
        ("LogLine", log_line()),
        (
            "Health",
            json!({
                "type": "object",
                "properties": {
                    "live": { "type": "boolean", "description": "It answers." },
                    "ready": { "type": "boolean", "description": "It takes requests." },
                },
                "required": ["live", "ready"],
            }),
        ),
    ];
    schemas
        .into_iter()
        .map(|(name, schema)| (name.to_owned(), schema))
        .collect()
}

fn log_line() -> Value {
    json!({
        "type": "object",
        "properties": {
            "seq": { "type": "integer", "minimum": 0, "description": "Number of the line, without gaps." },
            "time_ms": { "type": "integer", "minimum": 0, "description": "Milliseconds since 1970." },
            "instance": {
                "type": ["integer", "null"],
                "minimum": 0,
                "description": "Number of the instance; null for a line about the app as a whole.",
            },
            "source": { "enum": ["guest", "stdout", "stderr", "host"], "description": "Who wrote it." },
            "level": { "enum": ["error", "warn", "info", "debug", "trace"] },
            "text": { "type": "string", "description": "What it says." },
        },
        "required": ["seq", "time_ms", "instance", "source", "level", "text"],
    })
}

fn blob() -> Value {
    let put = json!({
        "operationId": "putBlob",
        "tags": ["admin"],
        "summary": "Stores the body as a blob.",
        "parameters": [parameter(
            "hash",
            HASH_PATTERN,
            "`sha256:<hex>` or `sha512:<hex>`; without digits the worker computes them.",
        )],
        "requestBody": {
            "required": true,
            "content": { "application/octet-stream": { "schema": {} } },
        },
        "responses": with_refusals(
            json!({
                "description": "The full hash.",
                "content": { "text/plain": { "schema": { "type": "string" } } },
            }),
            &["400", "401", "403", "413", "422", "500", "503"],
        ),
    });
    let get = json!({
        "operationId": "getBlob",
        "tags": ["admin"],
        "summary": "The content of a blob.",
        "parameters": [parameter("hash", DIGITS_PATTERN, "Digits of the blob's hash.")],
        "responses": with_refusals(
            json!({
                "description": "The content.",
                "content": { "application/octet-stream": { "schema": {} } },
            }),
            &["400", "401", "403", "404", "422", "500"],
        ),
    });
    json!({ "post": put, "get": get })
}

fn logs() -> Value {
    let line = json!({ "$ref": "#/components/schemas/LogLine" });
    let lines = json!({ "type": "array", "items": line });
    let get = json!({
        "operationId": "getLogs",
        "tags": ["admin"],
        "summary": "The lines that are kept of an app's log; with `follow`, also those that come.",
        "parameters": [
            parameter("address", ADDRESS_PATTERN, "Address of the app."),
            {
                "name": "follow",
                "in": "query",
                "allowEmptyValue": true,
                "description": "Answer with server-sent events: `data` is a line; the event `missed` \
                    says how many lines were lost.",
                "schema": { "type": "string", "maxLength": 0 },
            },
            {
                "name": "tail",
                "in": "query",
                "description": "Only the last so many of the lines that are kept.",
                "schema": { "type": "integer", "minimum": 0, "maximum": u32::MAX },
            },
        ],
        "responses": with_refusals(
            json!({
                "description": "The lines.",
                "content": {
                    "application/json": { "schema": lines },
                    "text/event-stream": { "schema": { "type": "string" } },
                },
            }),
            &["400", "401", "403", "404", "422", "503"],
        ),
    });
    json!({ "get": get })
}

fn metrics() -> Value {
    let get = json!({
        "operationId": "getMetrics",
        "tags": ["admin"],
        "summary": "Figures in the text format of Prometheus.",
        "responses": with_refusals(
            json!({
                "description": "The figures.",
                "content": { "text/plain": { "schema": { "type": "string" } } },
            }),
            &["401", "403"],
        ),
    });
    json!({ "get": get })
}

fn health() -> Value {
    let answer = |description: &str| {
        json!({
            "description": description,
            "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Health" } } },
        })
    };
    let get = json!({
        "operationId": "getHealth",
        "tags": ["admin"],
        "summary": "Whether the worker works.",
        "security": [],
        "responses": {
            "200": answer("It takes requests."),
            "403": refusal("403"),
            "503": answer("It does not take requests yet, or no more."),
        },
    });
    json!({ "get": get })
}

fn document() -> Value {
    let get = json!({
        "operationId": "getOpenapi",
        "tags": ["admin"],
        "summary": "This document.",
        "responses": with_refusals(
            json!({
                "description": "This document.",
                "content": { "application/json": { "schema": { "type": "object" } } },
            }),
            &["401", "403"],
        ),
    });
    json!({ "get": get })
}

fn parameter(name: &str, pattern: &str, description: &str) -> Value {
    json!({
        "name": name,
        "in": "path",
        "required": true,
        "description": description,
        "schema": { "type": "string", "pattern": pattern },
    })
}

fn with_refusals(good: Value, statuses: &[&str]) -> Value {
    let mut responses = Map::new();
    responses.insert("200".to_owned(), good);
    for status in statuses {
        responses.insert((*status).to_owned(), refusal(status));
    }
    Value::Object(responses)
}
