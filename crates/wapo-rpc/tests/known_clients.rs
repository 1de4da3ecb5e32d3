//! Calls as programs in the field send them, byte for byte.

use wapo_rpc::message::*;
use wapo_rpc::{AppManifest, Encoding, Method, OperationMethod};

/// What a request decides before its body is read.
fn json_by_content_type() -> Encoding {
    Encoding::choose(None, Some("application/json")).expect("an encoding")
}

fn json_by_url() -> Encoding {
    Encoding::choose(Some("json"), Some("text/plain;charset=UTF-8")).expect("an encoding")
}

#[test]
fn the_deploy_script_drops_the_query_part_and_is_understood_by_its_content_type() {
    let encoding = json_by_content_type();
    assert_eq!(encoding, Encoding::Json);
    assert_eq!(
        Method::parse("Operation.Info"),
        Some(Method::Operation(OperationMethod::Info))
    );
    assert_eq!(encoding.decode(b"{}"), Ok(Empty {}));
    assert_eq!(encoding.decode(b""), Ok(Empty {}));
    assert_eq!(encoding.decode(b"{}"), Ok(InitArgs::default()));
}

#[test]
fn the_deploy_script_stores_a_blob_without_a_hash() {
    let blob: Blob = json_by_content_type()
        .decode(br#"{"body":"0061736d01000000"}"#)
        .expect("a blob");
    assert_eq!(blob.hash, "");
    assert_eq!(blob.body, b"\0asm\x01\0\0\0");
    let answer = Blob {
        hash: "sha256:00ff".into(),
        body: vec![],
    };
    let text = json_by_content_type().encode(&answer);
    assert_eq!(text, br#"{"hash":"sha256:00ff","body":"0x"}"#);
}

#[test]
fn the_deploy_script_sends_environment_variables_as_arrays() {
    let hash = "ab".repeat(32);
    let text = format!(
        r#"{{"manifest":{{"version":1,"code_hash":"sha256:{hash}","args":[],"env_vars":[["RUST_LOG","info"]],"on_demand":false,"resizable":true,"max_query_size":10240,"label":"Test App","required_blobs":[]}},"reuse_instances":true}}"#
    );
    let args: DeployArgs = json_by_content_type()
        .decode(text.as_bytes())
        .expect("arguments");
    assert!(args.reuse_instances);
    assert_eq!(args.settings, None);
    let manifest = AppManifest::try_from(args.manifest.expect("a manifest")).expect("a good one");
    assert_eq!(manifest.env_vars, [("RUST_LOG".into(), "info".into())]);
    // The file that the chain's tool writes is the same manifest.
    let file = text
        .split_once(r#""manifest":"#)
        .and_then(|(_, rest)| rest.split_once(r#","reuse"#))
        .expect("the manifest")
        .0;
    let from_file: AppManifest = serde_json::from_str(file).expect("a manifest");
    assert_eq!(from_file.address(), manifest.address());
    assert_eq!(serde_json::to_string(&from_file).expect("json"), file);
}

#[test]
fn the_console_asks_in_json_by_url() {
    let encoding = json_by_url();
    assert_eq!(encoding, Encoding::Json);
    let address = "11".repeat(32);
    let resize: ResizeArgs = encoding
        .decode(format!(r#"{{"address":"0x{address}","instances":3}}"#).as_bytes())
        .expect("arguments");
    assert_eq!((resize.address, resize.instances), (vec![0x11; 32], 3));
    let query: QueryArgs = encoding
        .decode(
            format!(r#"{{"address":"0x{address}","path":"/echo","payload":"0x010203"}}"#)
                .as_bytes(),
        )
        .expect("arguments");
    assert_eq!(query.payload, [1, 2, 3]);
    assert!(query.encoded_signature.is_empty());
    let list: AppListArgs = encoding
        .decode(br#"{"start":0,"count":0}"#)
        .expect("arguments");
    assert_eq!(list, AppListArgs::default());
    let init: InitArgs = encoding
        .decode(
            br#"{"pnonce":"0x","recipient":"5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"}"#,
        )
        .expect("arguments");
    assert!(wapo_rpc::ss58::decode(&init.recipient).is_ok());
    let nothing = encoding.encode(&Empty {});
    assert_eq!(nothing, b"null");
}

#[test]
fn the_bridge_speaks_protobuf_without_a_content_type() {
    let encoding = Encoding::choose(None, None).expect("an encoding");
    assert_eq!(encoding, Encoding::Protobuf);
    // Address: field 1, 32 bytes.
    let mut bytes = vec![0x0a, 32];
    bytes.extend([0x22; 32]);
    let address: Address = encoding.decode(&bytes).expect("an address");
    assert_eq!(address.app().expect("32 bytes").0, [0x22; 32]);
    // SetBenchApp: no address, and 8 instances.
    let args: SetBenchAppArgs = encoding.decode(&[0x0a, 1, 0, 0x10, 8]).expect("arguments");
    let app: Option<[u8; 32]> =
        wapo_rpc::statement::decode_prefix(&args.app_address).expect("none");
    assert_eq!((app, args.instances), (None, 8));
    // Apps are field 2 of the list.
    let list = AppListResponse {
        apps: vec![AppInfo {
            sn: 1,
            ..AppInfo::default()
        }],
        ..AppListResponse::default()
    };
    assert_eq!(encoding.encode(&list), [0x12, 2, 0x08, 1]);
    assert_eq!(encoding.encode_error("no"), [0x0a, 2, b'n', b'o']);
}
