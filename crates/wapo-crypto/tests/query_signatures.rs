//! Query signatures of all schemes: those of other people's code, those that
//! Wapo 0.x and a wallet made, and what may not be changed about them.

mod support;

use std::collections::BTreeSet;

use support::{ECHO, by_root, bytes, cases};
use wapo_crypto::query_signature::verify;
use wapo_crypto::{Account, QuerySignatureError, SignableQuery};

const ED25519: &str = "ed4928c628d1c2c6eae90338905995612959273a5c63f93636c14614ac8737d1";
const SR25519: &str = "c2e2bd71e04a6af2897c3414d6fd403477245060fd22daaa412ff51b83c0c22e";
const SECP256K1: &str = "0362c0a046dacce86ddd0343c6d3c7c79c2208ba0d9c9cf24a6d046d21d21f90f7";
const ECDSA_SIGNATURE: &str = "a982ea8b6e7a1a50fff7e60fdee5b3318a1ea3d0ba2f0a2f984a8e618077c942\
                               145d751ef5674062a96a346a6f5bc752e32600d3d49ea48b9b6344dc9e51f67901";
const EVM_ACCOUNT: &str = "d09ad14080d4b257a819a4f579b8485be88f086c4065766d5f61646472657373";

/// Scheme, public key, signature and account of [`ECHO`], as Wapo 0.x has them.
const EXISTING: [(u8, &str, &str, &str); 6] = [
    (
        0,
        ED25519,
        "59d8a1c89db2a3275cbdebb4fcafa448cc15fdb098d47daea46f4bb6a7068900\
         4ae50ca1017a626bbfc2ebf01623a4ee53fd3850c0ffdd83cfadaab1ce084701",
        ED25519,
    ),
    (
        3,
        ED25519,
        "8c8a85a78293fec80a5b44d222df7a3c91ac24a30d1eaecd735fe92fec21b25b\
         849215973e3874d423693dc31423bcaf0f4ec05adb5805883103a658120ccf06",
        ED25519,
    ),
    (
        1,
        SR25519,
        "46b49192a39442ba1759bb79fd61493a5037dacf7a685ef6b270f98706290f48\
         de028ab91e1127a90384334f07929ba540982d1f8e54492bac4080030e6f6384",
        SR25519,
    ),
    (
        2,
        SECP256K1,
        ECDSA_SIGNATURE,
        "7420373f918c7d08dc97ca40b058c8979e1455238b56bd468c1c3a84a39a56d1",
    ),
    (7, SECP256K1, ECDSA_SIGNATURE, EVM_ACCOUNT),
    (
        6,
        SECP256K1,
        "40f4f2e710008d78c13a00f6bbf89587bf5cd8c5ffeb831283726dc3c007e84e\
         0e1162751da9bf0e2b0586132a1dde5fda20466e8ffc03ef4dd51e6be2f19f0501",
        EVM_ACCOUNT,
    ),
];

fn account(hex: &str) -> Account {
    Account(bytes(hex).try_into().expect("32 bytes"))
}

#[test]
fn signatures_made_by_other_peoples_code_count_for_the_right_account() {
    for case in cases() {
        let expected = Account(case.account.as_slice().try_into().expect("32 bytes"));
        let signer = verify(&case.query(), &case.encoded, case.now);
        assert_eq!(signer, Ok(Some(expected)), "{}", case.name);
    }
}

#[test]
fn the_vectors_cover_every_scheme_as_root_and_in_certificates() {
    let (mut roots, mut certified) = (BTreeSet::new(), BTreeSet::new());
    for case in cases() {
        let schemes = match case.name.ends_with("by root") {
            true => &mut roots,
            false => &mut certified,
        };
        schemes.insert(case.encoded[1]);
    }
    assert_eq!(roots, (0..9).collect());
    assert_eq!(certified, (0..9).collect());
}

#[test]
fn signatures_of_existing_clients_count() {
    for (scheme, public, signature, expected) in EXISTING {
        let encoded = by_root(scheme, &bytes(signature), &bytes(public));
        let signer = verify(&ECHO, &encoded, 0);
        assert_eq!(signer, Ok(Some(account(expected))), "scheme {scheme}");
    }
    let (_, public, signature, _) = EXISTING[0];
    let encoded = format!("0100 0101{signature}0080{public}").replace(' ', "");
    assert_eq!(
        by_root(0, &bytes(signature), &bytes(public)),
        bytes(&encoded)
    );
}

#[test]
fn a_signature_made_by_a_wallet_counts() {
    let query = SignableQuery {
        address: &[0x12, 0x34],
        path: "/api/resource",
        payload: &[0xab, 0xcd, 0xef],
    };
    let public = "029df1e69b8b7c2da2efe0069dc141c2cec0317bf3fd135abaeb69ee33801f5970";
    let signature = "d2cf3fc16983e15ba3c58f486725b81a2edd744a2b56dbf949af78f1beadbef0\
                     36783bdde9d866c0309af8c95dfeea5ffffbdb840850432ae0065f40efd0cced1b";
    let address = "77bb3d64ea13e4f0beafdd5d92508d4643bb09cb";
    let expected = account(&format!("{address}{}", hex::encode("@evm_address")));
    let encoded = by_root(6, &bytes(signature), &bytes(public));
    assert_eq!(verify(&query, &encoded, 0), Ok(Some(expected)));
}

#[test]
fn a_query_that_nobody_signed_has_no_account() {
    assert_eq!(verify(&ECHO, &[], 0), Ok(None));
    assert_eq!(verify(&ECHO, &[0], 0), Ok(None));
    let cluttered = verify(&ECHO, &[0, 0], 0);
    assert_eq!(cluttered, Err(QuerySignatureError::DecodeFailed));
}

#[test]
fn a_signature_does_not_count_for_another_query() {
    for case in cases() {
        let query = case.query();
        let longer = [query.payload, &[0]].concat();
        let changed = [
            SignableQuery {
                payload: &longer,
                ..query
            },
            SignableQuery {
                payload: &[],
                ..query
            },
            SignableQuery {
                path: "/api/other",
                ..query
            },
        ];
        for query in changed {
            let signer = verify(&query, &case.encoded, case.now);
            let expected = Err(QuerySignatureError::InvalidSignature);
            assert_eq!(signer, expected, "{}", case.name);
        }
        let elsewhere = SignableQuery {
            address: &[0x23; 32],
            ..query
        };
        assert!(verify(&elsewhere, &case.encoded, case.now).is_err());
    }
}

#[test]
fn an_encoding_with_any_byte_changed_cut_off_or_added_is_refused() {
    for (index, case) in cases().iter().enumerate() {
        let (query, encoded) = (case.query(), &case.encoded);
        // A third of the bytes of each: they are laid out alike, and there are many.
        for position in (index % 3..encoded.len()).step_by(3) {
            let mut flipped = encoded.clone();
            flipped[position] ^= 1 << (position % 8);
            let signer = verify(&query, &flipped, case.now);
            assert!(signer.is_err(), "{}, byte {position}", case.name);
        }
        for length in 1..encoded.len() {
            let signer = verify(&query, &encoded[..length], case.now);
            let expected = Err(QuerySignatureError::DecodeFailed);
            assert_eq!(signer, expected, "{}, {length} bytes", case.name);
        }
        let longer = [encoded.as_slice(), &[0]].concat();
        let signer = verify(&query, &longer, case.now);
        assert_eq!(signer, Err(QuerySignatureError::DecodeFailed));
    }
}

#[test]
fn a_number_that_is_no_scheme_is_named_as_the_fault() {
    for scheme in 9..=255 {
        let signer = verify(&ECHO, &by_root(scheme, &[0; 64], &[0; 32]), 0);
        assert_eq!(signer, Err(QuerySignatureError::InvalidSignatureType));
    }
}

#[test]
fn keys_in_other_forms_are_refused() {
    let compressed = bytes(SECP256K1);
    let uncompressed = [&[4], &compressed[1..], &[7; 32]].concat();
    let compact = [&[5], &compressed[1..]].concat();
    let mut keys = vec![vec![], vec![0], vec![0; 31], vec![0xff; 33], vec![3; 66]];
    keys.extend([uncompressed, compact, vec![4; 65], vec![0; 128]]);
    for scheme in 0..9 {
        for key in &keys {
            let signer = verify(&ECHO, &by_root(scheme, &[1; 65], key), 0);
            let expected = Err(QuerySignatureError::InvalidPublicKey);
            assert_eq!(signer, expected, "scheme {scheme}, key {key:?}");
        }
    }
}

#[test]
fn only_the_recovery_ids_of_the_scheme_are_taken() {
    for case in cases().iter().filter(|case| case.name.ends_with("by root")) {
        // An option, the scheme, a length of two bytes, then the signature.
        let last = 4 + 64;
        let scheme = case.encoded[1];
        if matches!(scheme, 0 | 1 | 3 | 4) {
            continue;
        }
        let by_wallet = scheme == 6 || case.name.contains("personal");
        let right = case.encoded[last] % 27;
        for id in 0..=255 {
            let mut encoded = case.encoded.clone();
            encoded[last] = id;
            let counts = verify(&case.query(), &encoded, case.now).is_ok();
            let expected = id == right || (by_wallet && id == right + 27);
            assert_eq!(counts, expected, "{}, id {id}", case.name);
        }
    }
}

#[test]
fn the_second_form_of_an_ecdsa_signature_is_refused() {
    let order = bytes("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141");
    for scheme in [2, 7] {
        let mut signature = bytes(ECDSA_SIGNATURE);
        let mut borrow = 0;
        for index in (0..32).rev() {
            let digit = i32::from(order[index]) - i32::from(signature[32 + index]) - borrow;
            borrow = i32::from(digit < 0);
            signature[32 + index] = u8::try_from(digit.rem_euclid(256)).expect("a byte");
        }
        signature[64] ^= 1;
        let signer = verify(&ECHO, &by_root(scheme, &signature, &bytes(SECP256K1)), 0);
        assert_eq!(signer, Err(QuerySignatureError::InvalidSignature));
    }
}

#[test]
fn impossible_numbers_and_lengths_in_signatures_are_refused() {
    let order = bytes("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141");
    let mut numbers = vec![vec![0; 32], vec![0xff; 32], vec![1; 32], order];
    numbers.push([&[0; 31][..], &[1]].concat());
    for (scheme, public, _, _) in EXISTING {
        let refused = |signature: &[u8]| {
            let signer = verify(&ECHO, &by_root(scheme, signature, &bytes(public)), 0);
            let expected = Err(QuerySignatureError::InvalidSignature);
            assert_eq!(signer, expected, "scheme {scheme}, {signature:?}");
        };
        for first in &numbers {
            for second in &numbers {
                let both = [first.as_slice(), second].concat();
                refused(&both);
                for id in [0, 1, 2, 3, 4, 26, 27, 28, 29, 255] {
                    refused(&[both.as_slice(), &[id]].concat());
                }
            }
        }
        (0..=128).for_each(|length| refused(&vec![0x5a; length]));
    }
}

/// The first three keys have signatures for everything, and so sign for nobody;
/// what matters is that all who check come to the same result.
#[test]
fn ed25519_signatures_on_which_implementations_differ_count_as_zip_215_says() {
    let vectors = support::keys();
    for vector in vectors["zip_215"].as_array().expect("list") {
        let public = support::array_of(&vector["public"]);
        let encoded = by_root(0, &support::bytes_of(&vector["signature"]), &public);
        let signer = verify(&ECHO, &encoded, 0);
        assert_eq!(signer, Ok(Some(Account(public))), "{}", vector["name"]);
    }
}
