//! The worker's key and all that is made with it, against vectors made by other
//! people's code: `vectors/keys.json`.

mod support;

use support::{array_of, bytes_of, keys, text_of};
use wapo_crypto::sealed::{Label, Purpose};
use wapo_crypto::{ContentType, WorkerKey, envelope, report_data, sealed, verify};

const CONTENT_TYPES: [ContentType; 7] = [
    ContentType::RpcResponse,
    ContentType::EndpointInfo,
    ContentType::Metrics,
    ContentType::AppData,
    ContentType::WorkerAttestation,
    ContentType::WorkerDescription,
    ContentType::SessionUpdate,
];

fn worker() -> WorkerKey {
    WorkerKey::from_seed(array_of(&keys()["worker"]["seed"]))
}

#[test]
fn a_key_is_stored_and_read_as_others_expand_its_seed() {
    let vectors = keys();
    let stored = bytes_of(&vectors["worker"]["stored"]);
    assert_eq!(worker().to_bytes().as_slice(), stored);
    let read = WorkerKey::from_bytes(&stored).expect("key");
    assert_eq!(read.public(), array_of(&vectors["worker"]["public"]));
}

#[test]
fn statements_signed_by_other_code_count_for_their_own_purpose_only() {
    let vectors = keys();
    let statements = vectors["worker"]["statements"].as_array().expect("list");
    assert_eq!(statements.len(), CONTENT_TYPES.len());
    for (statement, made_for) in statements.iter().zip(CONTENT_TYPES) {
        assert_eq!(statement["content_type"], made_for as u8);
        let signature = bytes_of(&statement["signature"]);
        for content in CONTENT_TYPES {
            let counts = verify(&worker().public(), content, b"statement", &signature);
            assert_eq!(counts, content == made_for, "{made_for:?} as {content:?}");
        }
    }
}

#[test]
fn our_own_statements_count_for_their_own_purpose_only() {
    for made_for in CONTENT_TYPES {
        let signature = worker().sign(made_for, b"statement", [5; 32]);
        for content in CONTENT_TYPES {
            let counts = verify(&worker().public(), content, b"statement", &signature);
            assert_eq!(counts, content == made_for, "{made_for:?} as {content:?}");
        }
        for bit in 0..signature.len() * 8 {
            let mut flipped = signature;
            flipped[bit / 8] ^= 1 << (bit % 8);
            let counts = verify(&worker().public(), made_for, b"statement", &flipped);
            assert!(!counts, "{made_for:?}, bit {bit}");
        }
    }
}

#[test]
fn a_purpose_has_the_key_that_the_definition_gives() {
    let vectors = keys();
    let vector = &vectors["worker"]["purpose_key"];
    let key = worker().purpose_key(&text_of(&vector["purpose"]));
    assert_eq!(*key, array_of(&vector["key"]));
}

#[test]
fn encrypted_messages_of_other_code_are_read() {
    let vectors = keys();
    let vector = &vectors["worker"]["envelope"];
    let message = bytes_of(&vector["message"]);
    let opened = envelope::open(&worker(), &bytes_of(&vector["sender_public"]), &message);
    let plaintext = text_of(&vector["plaintext"]);
    assert_eq!(opened.expect("opened").as_slice(), plaintext.as_bytes());
}

#[test]
fn data_sealed_by_other_code_opens_and_ours_is_the_same() {
    let vectors = keys();
    let list = vectors["worker"]["sealed"].as_array().expect("list");
    for (vector, purpose) in list.iter().zip([Purpose::AppSecret, Purpose::BootData]) {
        assert_eq!(vector["purpose"], purpose as u8);
        let name = text_of(&vector["name"]);
        let label = Label {
            purpose,
            app_address: &[0x11; 32],
            name: &name,
        };
        let bytes = bytes_of(&vector["sealed"]);
        let opened = sealed::open(&worker(), label, &bytes);
        assert_eq!(opened.expect("opened").as_slice(), b"kept");
        let ours = sealed::seal(&worker(), label, b"kept", [7; 12]);
        assert_eq!(ours, Ok(bytes));
    }
}

#[test]
fn boot_data_of_existing_workers_opens_and_not_when_damaged_or_moved() {
    let vectors = keys();
    let vector = &vectors["legacy_boot_data"];
    let key = WorkerKey::from_seed(array_of(&vector["worker_seed"]));
    let (app, file) = (array_of(&vector["app"]), bytes_of(&vector["file"]));
    let opened = sealed::open_legacy_boot_data(&key, &app, &file);
    let plaintext = text_of(&vector["plaintext"]);
    assert_eq!(opened.expect("opened").as_slice(), plaintext.as_bytes());
    for bit in 0..file.len() * 8 {
        let mut flipped = file.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(sealed::open_legacy_boot_data(&key, &app, &flipped).is_err());
    }
    for length in 0..file.len() {
        assert!(sealed::open_legacy_boot_data(&key, &app, &file[..length]).is_err());
    }
    assert!(sealed::open_legacy_boot_data(&key, &[0x12; 32], &file).is_err());
    assert!(sealed::open_legacy_boot_data(&worker(), &app, &file).is_err());
    let label = Label {
        purpose: Purpose::BootData,
        app_address: &app,
        name: "",
    };
    let as_new = sealed::open(&key, label, &file);
    assert_eq!(as_new, Err(sealed::SealedError::Header));
}

#[test]
fn report_data_is_what_other_code_computes() {
    let vectors = keys();
    let vector = &vectors["worker"]["report_data"];
    let app = report_data::for_app(&[0x11; 32], b"nonce");
    assert_eq!(app.as_slice(), bytes_of(&vector["app"]));
    let registration = report_data::for_registration(b"info");
    assert_eq!(registration.as_slice(), bytes_of(&vector["registration"]));
}
