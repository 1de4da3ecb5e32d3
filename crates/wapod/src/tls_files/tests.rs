//! Certificate files that change, and files that cannot be used. What clients see is
//! in `e2e`.

use std::os::unix::fs::symlink;

use rcgen::{CertificateParams, KeyPair};

use super::*;

/// A certificate for a name and its key, both as PEM texts.
fn issue(name: &str) -> (String, String) {
    let key = KeyPair::generate().expect("key");
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    params.not_after = rcgen::date_time_ymd(2100, 1, 1);
    let certificate = params.self_signed(&key).expect("certificate");
    (certificate.pem(), key.serialize_pem())
}

fn chain_of(current: &FileCertificate) -> Vec<u8> {
    current.current.read().expect("whole").cert[0].to_vec()
}

#[test]
fn files_are_written_with_a_comma_between_them() {
    let both: TlsFiles = "a.pem, b.key".parse().expect("two files");
    assert_eq!(both.key.as_deref(), Some("b.key".as_ref()));
    assert_eq!(both.to_string(), "a.pem,b.key");
    let one: TlsFiles = "a.pem".parse().expect("one file");
    assert_eq!((one.key.clone(), one.to_string()), (None, "a.pem".into()));
    for none in ["", ",", "a,", ",b", " "] {
        assert!(none.parse::<TlsFiles>().is_err(), "{none}");
    }
}

#[test]
fn what_cannot_be_used_is_refused_with_the_file_and_the_reason() {
    let folder = tempfile::tempdir().expect("folder");
    let path = |name: &str| folder.path().join(name);
    let (cert, key) = issue("a.example");
    let (_, other) = issue("b.example");
    let sealed =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (chain, key, file, reason) in [
        ("", &*key, "c", "there is no certificate"),
        (&cert, "", "k", "there is no private key"),
        (&cert, &other, "k", "does not belong to the first"),
        (&cert, sealed, "k", "encrypted"),
        (damaged, &key, "c", "cannot be read"),
        (&cert.repeat(TLS_CHAIN), &key, "c", "more than 10"),
        (&"x".repeat(2 << 20), &key, "c", "larger than"),
    ] {
        fs::write(path("c"), chain).expect("written");
        fs::write(path("k"), key).expect("written");
        let files = TlsFiles {
            certificate: path("c"),
            key: Some(path("k")),
        };
        let error = files.check().expect_err(reason);
        assert!(error.contains(reason), "{error}");
        assert!(error.contains(&path(file).display().to_string()), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    let folder_as_file = TlsFiles {
        certificate: folder.path().to_owned(),
        key: None,
    };
    let error = folder_as_file.check().expect_err("a folder");
    assert!(error.contains("is not a file"), "{error}");
}

/// One more than are allowed.
const TLS_CHAIN: usize = crate::limits::TLS_CHAIN_MAX + 1;

#[test]
fn a_change_is_taken_over_and_a_bad_one_is_not() {
    let folder = tempfile::tempdir().expect("folder");
    let path = |name: &str| folder.path().join(name);
    let (cert, key) = issue("a.example");
    fs::write(path("first"), format!("{cert}{key}")).expect("written");
    symlink(path("first"), path("current")).expect("a link");
    let files = path("current").display().to_string().parse();
    let current = FileCertificate::open("user", files.expect("a file")).expect("usable");
    let first = chain_of(&current);
    assert_eq!(current.reading().not_after, 4_102_444_800);

    current.look();
    assert_eq!(current.reading().adopted, 0, "nothing has changed");
    // As a program does that renews: another file, and the link moves.
    let (cert, key) = issue("a.example");
    fs::write(path("second"), format!("{cert}{key}")).expect("written");
    fs::remove_file(path("current")).expect("removed");
    current.look();
    current.look();
    assert_eq!(
        (current.reading().refused, chain_of(&current)),
        (1, first.clone())
    );
    symlink(path("second"), path("current")).expect("a link");
    current.look();
    let second = chain_of(&current);
    assert_ne!(second, first);
    assert_eq!(current.reading().adopted, 1);

    fs::write(path("second"), cert).expect("half of it");
    current.look();
    assert_eq!((current.reading().refused, chain_of(&current)), (2, second));
}
