//! Every message in both encodings, compared with what the `.proto` file says
//! and with what clients of Wapo 0.x rely on.

mod proto_file;

use std::collections::BTreeSet;
use std::fmt::Debug;

use prost::Message;
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde_json::{Value, json};
use wapo_rpc::documents::PROTO;
use wapo_rpc::message::*;
use wapo_rpc::{Encoding, Method, OperationMethod, UserMethod};

use proto_file::ProtoFile;

/// The fields that clients of Wapo 0.x know, in the order of their JSON.
const FIELDS_OF_WAPO_0: &str = include_str!("fields_of_wapo_0.txt");

type Check = fn(&ProtoFile, &str);

/// Every struct. The test below fails when one is missing.
const MESSAGES: &[(&str, Check)] = &[
    ("Address", check::<Address>),
    ("Addresses", check::<Addresses>),
    ("AppEgressRules", check::<AppEgressRules>),
    ("AppEvidenceArgs", check::<AppEvidenceArgs>),
    ("AppInfo", check::<AppInfo>),
    ("AppListArgs", check::<AppListArgs>),
    ("AppListResponse", check::<AppListResponse>),
    ("AppMetricsResponse", check::<AppMetricsResponse>),
    ("AppSettings", check::<AppSettings>),
    ("AppSettingsResponse", check::<AppSettingsResponse>),
    ("AppSettingsSetArgs", check::<AppSettingsSetArgs>),
    ("AppUsage", check::<AppUsage>),
    ("AppVisitArgs", check::<AppVisitArgs>),
    ("AppVisitResponse", check::<AppVisitResponse>),
    ("Blob", check::<Blob>),
    ("Boolean", check::<Boolean>),
    ("Budget", check::<Budget>),
    ("DeployArgs", check::<DeployArgs>),
    ("DeployResponse", check::<DeployResponse>),
    ("DomainAddArgs", check::<DomainAddArgs>),
    ("DomainRemoveArgs", check::<DomainRemoveArgs>),
    ("EncryptedQueryArgs", check::<EncryptedQueryArgs>),
    ("PrivateQueryArgs", check::<PrivateQueryArgs>),
    ("PrivateQueryResponse", check::<PrivateQueryResponse>),
    ("ErrorMessage", check::<ErrorMessage>),
    ("Evidence", check::<Evidence>),
    ("InitArgs", check::<InitArgs>),
    ("InitResponse", check::<InitResponse>),
    ("InstanceInfo", check::<InstanceInfo>),
    ("KeyHandoverArgs", check::<KeyHandoverArgs>),
    ("KeyHandoverResponse", check::<KeyHandoverResponse>),
    ("Manifest", check::<Manifest>),
    ("MemoryUsage", check::<MemoryUsage>),
    ("ModuleLoaderInfo", check::<ModuleLoaderInfo>),
    ("Number", check::<Number>),
    ("QueryArgs", check::<QueryArgs>),
    ("QueryResponse", check::<QueryResponse>),
    ("Quota", check::<Quota>),
    ("ResizeArgs", check::<ResizeArgs>),
    ("RotateKeysArgs", check::<RotateKeysArgs>),
    ("RotateKeysResponse", check::<RotateKeysResponse>),
    ("SecretRemoveArgs", check::<SecretRemoveArgs>),
    ("SecretSetArgs", check::<SecretSetArgs>),
    ("SetBenchAppArgs", check::<SetBenchAppArgs>),
    ("SignEndpointsArgs", check::<SignEndpointsArgs>),
    ("SignEndpointsResponse", check::<SignEndpointsResponse>),
    ("SignRegisterInfoArgs", check::<SignRegisterInfoArgs>),
    (
        "SignRegisterInfoResponse",
        check::<SignRegisterInfoResponse>,
    ),
    (
        "SignWorkerDescriptionArgs",
        check::<SignWorkerDescriptionArgs>,
    ),
    (
        "SignWorkerDescriptionResponse",
        check::<SignWorkerDescriptionResponse>,
    ),
    ("StringPair", check::<StringPair>),
    ("UsageExportArgs", check::<UsageExportArgs>),
    ("UsageExportResponse", check::<UsageExportResponse>),
    ("WorkerEvidenceArgs", check::<WorkerEvidenceArgs>),
    ("WorkerInfo", check::<WorkerInfo>),
];

/// One message, there and back in every form that it has.
fn check<M>(file: &ProtoFile, name: &str)
where
    M: Message + Serialize + DeserializeOwned + Default + PartialEq + Debug,
{
    let sample = file.sample(name);
    let text = sample.to_string();
    let message: M = Encoding::Json.decode(text.as_bytes()).expect(name);

    let bytes = Encoding::Protobuf.encode(&message);
    assert_eq!(file.decode(name, &bytes), sample, "{name} as protobuf");
    let foreign = file.encode(name, &sample);
    assert_eq!(
        Encoding::Protobuf.decode::<M>(&foreign).as_ref(),
        Ok(&message)
    );

    let json = Encoding::Json.encode(&message);
    let written: Value = serde_json::from_slice(&json).expect(name);
    assert_eq!(written, sample, "{name} as JSON");
    let names: Vec<&str> = file.messages[name]
        .iter()
        .map(|f| f.name.as_str())
        .collect();
    let Keys(keys) = serde_json::from_slice(&json).expect(name);
    assert_eq!(keys, names, "{name}: order in JSON");

    let array = file.as_array(name, &sample).to_string();
    let from_array = Encoding::Json.decode::<M>(array.as_bytes());
    assert_eq!(from_array.as_ref(), Ok(&message), "{array}");

    for nothing in ["", "{}", "[]", r#"{"unknown":{"a":[null]}}"#] {
        let default = Encoding::Json.decode::<M>(nothing.as_bytes());
        assert_eq!(default, Ok(M::default()), "{name} from {nothing}");
    }
    assert_eq!(Encoding::Protobuf.decode::<M>(b""), Ok(M::default()));
    assert!(Encoding::Protobuf.encode(&M::default()).is_empty());
    // A field of the future: number 2000, a text.
    let future = [&bytes[..], &[0x82, 0x7d, 1, b'x']].concat();
    assert_eq!(Encoding::Protobuf.decode::<M>(&future), Ok(message));
}

/// Keys of a JSON object in the order of the text.
struct Keys(Vec<String>);

impl<'de> serde::Deserialize<'de> for Keys {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Keys;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = Vec::new();
                while let Some((key, IgnoredAny)) = map.next_entry()? {
                    keys.push(key);
                }
                Ok(Keys(keys))
            }
        }
        deserializer.deserialize_map(Read)
    }
}

#[test]
fn every_message_of_the_file_is_what_the_structs_write_and_read() {
    let file = ProtoFile::parse(PROTO);
    for (name, check) in MESSAGES {
        check(&file, name);
    }
    let declared: BTreeSet<&str> = file.messages.keys().map(String::as_str).collect();
    let mut checked: BTreeSet<&str> = MESSAGES.iter().map(|(name, _)| *name).collect();
    // It has a test of its own.
    checked.insert("Empty");
    assert_eq!(declared, checked);
}

#[test]
fn every_method_of_the_file_is_one_of_ours() {
    let file = ProtoFile::parse(PROTO);
    let declared: BTreeSet<&str> = file.methods.iter().map(|row| row.0.as_str()).collect();
    for name in &declared {
        assert!(Method::parse(name).is_some(), "{name}");
    }
    assert_eq!(
        declared.len(),
        UserMethod::ALL.len() + OperationMethod::ALL.len()
    );
    for (method, argument, answer) in &file.methods {
        assert!(file.messages.contains_key(argument), "{method}");
        assert!(file.messages.contains_key(answer), "{method}");
    }
}

#[test]
fn what_clients_of_wapo_0_know_has_not_changed() {
    let file = ProtoFile::parse(PROTO);
    let lines = FIELDS_OF_WAPO_0
        .lines()
        .filter(|line| !line.starts_with('#'));
    let mut count = 0;
    for line in lines {
        let (message, fields) = line.split_once(": ").expect(line);
        let known: Vec<String> = fields.split(", ").map(str::to_owned).collect();
        let ours: Vec<String> = file.messages[message]
            .iter()
            .filter(|field| field.number < 100)
            .map(|field| {
                let repeated = if field.is_repeated { "repeated " } else { "" };
                format!("{} {} {repeated}{}", field.number, field.name, field.kind)
            })
            .collect();
        assert_eq!(ours, known, "{message}");
        count += 1;
    }
    assert_eq!(count, 30);
}

#[test]
fn nothing_is_no_bytes_and_null() {
    assert!(Encoding::Protobuf.encode(&Empty {}).is_empty());
    assert_eq!(Encoding::Json.encode(&Empty {}), b"null");
    for text in ["", "null", "{}", "[]"] {
        assert_eq!(Encoding::Json.decode(text.as_bytes()), Ok(Empty {}));
    }
}

#[test]
fn null_stands_for_an_absent_message_and_for_nothing_else() {
    let args = |text: &str| Encoding::Json.decode::<DeployArgs>(text.as_bytes());
    assert_eq!(args(r#"{"manifest":null}"#), Ok(DeployArgs::default()));
    assert!(args(r#"{"reuse_instances":null}"#).is_err());
    assert!(args(r#"{"manifest":{"args":null}}"#).is_err());
    assert!(args(r#"{"manifest":{"version":null}}"#).is_err());
    let answer: Value =
        serde_json::from_slice(&Encoding::Json.encode(&AppInfo::default())).expect("json");
    assert_eq!(answer["manifest"], Value::Null);
    assert_eq!(answer["address"], "0x");
    assert_eq!(answer["instance_list"], json!([]));
}

#[test]
fn numbers_and_bytes_that_are_none_are_refused() {
    let refused = |text: &str| {
        let error = Encoding::Json.decode::<ResizeArgs>(text.as_bytes());
        let text = error.expect_err(text).to_string();
        assert!(text.starts_with("DecodeError("), "{text}");
    };
    refused(r#"{"instances":-1}"#);
    refused(r#"{"instances":1.5}"#);
    refused(r#"{"instances":18446744073709551616}"#);
    refused(r#"{"instances":"1"}"#);
    refused(r#"{"address":"0x1"}"#);
    refused(r#"{"address":[1]}"#);
    refused(r#"{"instances":1,"instances":2}"#);
    refused(r#"["0x",1,2]"#);
    refused(r#"{"instances":1} x"#);
    let cut = Encoding::Protobuf.decode::<ResizeArgs>(&[0x0a, 0x20, 1]);
    assert!(cut.is_err());
    let wrong_type = Encoding::Protobuf.decode::<ResizeArgs>(&[0x08, 1]);
    assert!(wrong_type.is_err());
}
