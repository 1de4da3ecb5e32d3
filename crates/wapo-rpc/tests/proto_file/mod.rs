//! Reads the `.proto` file, and protobuf bytes with nothing but what it says.
//!
//! On purpose without the crate's own table and without prost: it is what a
//! client in another language has.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// A field as the file declares it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) number: u64,
    pub(crate) kind: String,
    pub(crate) is_repeated: bool,
}

/// Messages by name; methods as `Service.Method` with argument and answer.
#[derive(Default)]
pub(crate) struct ProtoFile {
    pub(crate) messages: BTreeMap<String, Vec<Field>>,
    pub(crate) methods: Vec<(String, String, String)>,
}

impl ProtoFile {
    pub(crate) fn parse(text: &str) -> Self {
        let mut file = Self::default();
        // The service or message whose lines these are.
        let mut open = String::new();
        for line in text.lines().map(str::trim) {
            let words: Vec<&str> = line
                .split([' ', '(', ')', ';'])
                .filter(|word| !word.is_empty())
                .collect();
            match words.as_slice() {
                [] | ["//", ..] | ["}"] | ["syntax", ..] => {}
                ["service", name, "{"] => open = (*name).to_owned(),
                ["message", name, "{" | "{}"] => {
                    open = (*name).to_owned();
                    file.messages.insert(open.clone(), Vec::new());
                }
                ["rpc", name, argument, "returns", answer] => {
                    let method = format!("{open}.{name}");
                    file.methods
                        .push((method, (*argument).to_owned(), (*answer).to_owned()));
                }
                [repeated @ .., kind, name, "=", number] => {
                    let field = Field {
                        name: (*name).to_owned(),
                        number: number.parse().expect(line),
                        kind: (*kind).to_owned(),
                        is_repeated: repeated == ["repeated"],
                    };
                    assert!(repeated.is_empty() || field.is_repeated, "{line}");
                    file.messages.get_mut(&open).expect(line).push(field);
                }
                _ => panic!("a line that is no part of a proto file: {line}"),
            }
        }
        file
    }

    /// A message with every field set, as JSON.
    pub(crate) fn sample(&self, message: &str) -> Value {
        let fields = self.messages[message].iter().map(|field| {
            let value = match field.is_repeated {
                true => json!([self.value(field, 1), self.value(field, 2)]),
                false => self.value(field, 1),
            };
            (field.name.clone(), value)
        });
        Value::Object(fields.collect())
    }

    fn value(&self, field: &Field, salt: u64) -> Value {
        match field.kind.as_str() {
            "bool" => json!(true),
            "uint32" => json!(field.number + salt),
            "uint64" => json!((1 << 60) + field.number + salt),
            "string" => json!(format!("{} {salt} ä", field.name)),
            "bytes" => json!(format!("0x{:04x}{salt:02x}", field.number)),
            message => self.sample(message),
        }
    }

    /// The same message as an array of its fields, and those inside as well.
    pub(crate) fn as_array(&self, message: &str, value: &Value) -> Value {
        let fields = &self.messages[message];
        let item = |field: &Field, value: &Value| match self.messages.contains_key(&field.kind) {
            true => self.as_array(&field.kind, value),
            false => value.clone(),
        };
        fields
            .iter()
            .map(|field| match &value[&field.name] {
                Value::Array(list) => list.iter().map(|value| item(field, value)).collect(),
                one => item(field, one),
            })
            .collect()
    }

    /// Writes a message.
    pub(crate) fn encode(&self, message: &str, value: &Value) -> Vec<u8> {
        let mut bytes = Vec::new();
        for field in &self.messages[message] {
            let one = [value[&field.name].clone()];
            let values = value[&field.name]
                .as_array()
                .map_or(&one[..], Vec::as_slice);
            for value in values {
                let is_number = matches!(field.kind.as_str(), "bool" | "uint32" | "uint64");
                varint(
                    &mut bytes,
                    field.number << 3 | if is_number { 0 } else { 2 },
                );
                let content = match field.kind.as_str() {
                    "bool" => {
                        varint(&mut bytes, u64::from(value == &json!(true)));
                        continue;
                    }
                    "uint32" | "uint64" => {
                        varint(&mut bytes, value.as_u64().expect("a number"));
                        continue;
                    }
                    "string" => value.as_str().expect("a text").as_bytes().to_vec(),
                    "bytes" => hex::decode(&value.as_str().expect("hex")[2..]).expect("hex"),
                    message => self.encode(message, value),
                };
                varint(&mut bytes, content.len() as u64);
                bytes.extend(content);
            }
        }
        bytes
    }

    /// Reads a message. Fields that are not there are not in the result.
    pub(crate) fn decode(&self, message: &str, mut bytes: &[u8]) -> Value {
        let mut object = Map::new();
        while !bytes.is_empty() {
            let key = read_varint(&mut bytes);
            let field = self.messages[message]
                .iter()
                .find(|field| field.number == key >> 3)
                .unwrap_or_else(|| panic!("{message} has no field {}", key >> 3));
            let number = read_varint(&mut bytes);
            let value = match (key & 7, field.kind.as_str()) {
                (0, "bool") => json!(number == 1),
                (0, "uint32") => json!(u32::try_from(number).expect("32 bits")),
                (0, "uint64") => json!(number),
                (2, kind) => {
                    let (content, rest) = bytes.split_at(usize::try_from(number).expect("short"));
                    bytes = rest;
                    match kind {
                        "string" => json!(String::from_utf8(content.to_vec()).expect("UTF-8")),
                        "bytes" => json!(format!("0x{}", hex::encode(content))),
                        message => self.decode(message, content),
                    }
                }
                other => panic!("{message}.{} on the wire as {other:?}", field.name),
            };
            if field.is_repeated {
                let list = object.entry(field.name.clone()).or_insert(json!([]));
                list.as_array_mut().expect("a list").push(value);
            } else {
                assert!(object.insert(field.name.clone(), value).is_none());
            }
        }
        Value::Object(object)
    }
}

fn varint(bytes: &mut Vec<u8>, mut number: u64) {
    loop {
        let low = u8::try_from(number & 0x7f).expect("seven bits");
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            break;
        }
        bytes.push(low | 0x80);
    }
}

fn read_varint(bytes: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..).step_by(7) {
        let (first, rest) = bytes.split_first().expect("more bytes");
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            break;
        }
    }
    number
}
