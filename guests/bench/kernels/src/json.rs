//! Reading and writing a JSON document of some kilobytes.

use serde_json::{Value, json};

/// Writes a document, reads it back, changes it.
pub(crate) fn rounds(rounds: u32) -> u64 {
    let mut document = document();
    let mut sum = 0u64;
    for round in 0..rounds {
        document["round"] = round.into();
        let text = document.to_string();
        document = serde_json::from_str(&text).unwrap_or(Value::Null);
        sum = sum.rotate_left(5).wrapping_add(total(&document));
    }
    sum
}

fn document() -> Value {
    let people: Vec<_> = (0..64)
        .map(|number| {
            json!({
                "id": number,
                "name": format!("Person \"{number}\" of many"),
                "score": f64::from(number) * 1.25,
                "tags": ["a", "b\n", "c\u{e9}"],
                "active": number % 3 == 0,
            })
        })
        .collect();
    json!({ "people": people, "round": 0 })
}

/// A sum over everything in a document.
fn total(value: &Value) -> u64 {
    match value {
        Value::Null => 1,
        Value::Bool(value) => u64::from(*value),
        Value::Number(number) => number
            .as_u64()
            .or_else(|| number.as_f64().map(f64::to_bits))
            .unwrap_or(0),
        Value::String(text) => text.len() as u64,
        Value::Array(items) => items.iter().map(total).fold(0, u64::wrapping_add),
        Value::Object(fields) => fields.values().map(total).fold(0, u64::wrapping_add),
    }
}
