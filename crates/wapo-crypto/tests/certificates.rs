//! Certificates: until when, for which apps and paths, how large, and who may
//! have signed what. Signed here with ed25519; that other schemes work in
//! certificates is shown by `query_signatures`.

mod support;

use ed25519_zebra::{SigningKey, VerificationKey};
use parity_scale_codec::Encode;
use support::ECHO;
use wapo_crypto::query_signature::verify;
use wapo_crypto::{Account, QuerySignatureError, SignableQuery, limits};

const NOW: u64 = 1_800_000_000;

type Scopes<'a> = Vec<(&'a [u8], Vec<&'a str>)>;

fn key(seed: u8) -> (SigningKey, [u8; 32]) {
    let key = SigningKey::from([seed; 32]);
    let public = VerificationKey::from(&key).into();
    (key, public)
}

fn sign(key: &SigningKey, tag: u8, encoded: &[u8]) -> Vec<u8> {
    key.sign(&[&[tag], encoded].concat()).to_bytes().to_vec()
}

/// A query signature by key 2, which key 1 has given this certificate.
fn certified(query: &SignableQuery<'_>, expiration: u64, scopes: &Scopes<'_>) -> Vec<u8> {
    certified_with_tags(query, expiration, scopes, 0, 2)
}

fn certified_with_tags(
    query: &SignableQuery<'_>,
    expiration: u64,
    scopes: &Scopes<'_>,
    certificate_tag: u8,
    query_tag: u8,
) -> Vec<u8> {
    let ((root, root_public), (session, session_public)) = (key(1), key(2));
    let body = (session_public.as_slice(), expiration, scopes).encode();
    let certificate = (
        0_u8,
        sign(&root, certificate_tag, &body),
        root_public.as_slice(),
    )
        .encode();
    let signature = (1_u8, 0_u8, sign(&session, query_tag, &query.encode()), 1_u8).encode();
    [signature, body, certificate].concat()
}

fn root_account() -> Account {
    Account(key(1).1)
}

fn echo_scope() -> Scopes<'static> {
    vec![(ECHO.address, vec!["/echo"])]
}

#[test]
fn a_certified_query_is_one_of_the_root_key() {
    let encoded = certified(&ECHO, NOW, &echo_scope());
    assert_eq!(verify(&ECHO, &encoded, NOW), Ok(Some(root_account())));
    assert_eq!(verify(&ECHO, &encoded, 0), Ok(Some(root_account())));
}

#[test]
fn a_certificate_counts_until_its_last_second_and_not_after() {
    let encoded = certified(&ECHO, NOW, &echo_scope());
    for now in [NOW + 1, u64::MAX] {
        let signer = verify(&ECHO, &encoded, now);
        assert_eq!(signer, Err(QuerySignatureError::CertificateExpired));
    }
    let endless = certified(&ECHO, u64::MAX, &echo_scope());
    assert_eq!(verify(&ECHO, &endless, u64::MAX), Ok(Some(root_account())));
}

#[test]
fn a_certificate_counts_for_the_apps_and_paths_that_it_names() {
    let other = [0x12; 32];
    let cases: [(Scopes<'_>, &str, bool); 12] = [
        (vec![], "/echo", false),
        (vec![(ECHO.address, vec![])], "/echo", false),
        (vec![(&other, vec!["/echo"])], "/echo", false),
        (
            vec![(&other, vec!["/*"]), (ECHO.address, vec![])],
            "/echo",
            false,
        ),
        (vec![(&ECHO.address[..31], vec!["/*"])], "/echo", false),
        (vec![(&[], vec!["/*"])], "/echo", false),
        (vec![(ECHO.address, vec!["/a/*"])], "/a/b", true),
        (vec![(ECHO.address, vec!["/a/*"])], "/ab", false),
        (vec![(ECHO.address, vec!["/a/*"])], "/a", false),
        (vec![(ECHO.address, vec!["/a/*"])], "/a/../admin", false),
        (
            vec![(ECHO.address, vec!["/x", "/y/*", "/echo"])],
            "/echo",
            true,
        ),
        (
            vec![
                (&other, vec![]),
                (ECHO.address, vec!["/x"]),
                (ECHO.address, vec!["/echo"]),
            ],
            "/echo",
            true,
        ),
    ];
    for (scopes, path, covered) in cases {
        let query = SignableQuery { path, ..ECHO };
        let expected = match covered {
            true => Ok(Some(root_account())),
            false => Err(QuerySignatureError::CertificateOutOfScope),
        };
        let signer = verify(&query, &certified(&query, NOW, &scopes), NOW);
        assert_eq!(signer, expected, "{scopes:?}, {path}");
    }
}

#[test]
fn signatures_for_one_thing_do_not_count_for_another() {
    for (certificate_tag, query_tag) in [(0, 0), (0, 1), (1, 2), (2, 2), (2, 0), (0, 3)] {
        let scopes = echo_scope();
        let encoded = certified_with_tags(&ECHO, NOW, &scopes, certificate_tag, query_tag);
        let signer = verify(&ECHO, &encoded, NOW);
        assert_eq!(signer, Err(QuerySignatureError::InvalidSignature));
    }
    // The session key's signature without its certificate, as if it were a root.
    let (session, public) = key(2);
    let signature = sign(&session, 2, &ECHO.encode());
    let signer = verify(&ECHO, &support::by_root(0, &signature, &public), NOW);
    assert_eq!(signer, Err(QuerySignatureError::InvalidSignature));
}

#[test]
fn a_session_key_cannot_widen_its_own_certificate() {
    let encoded = certified(&ECHO, NOW, &echo_scope());
    let expiration = NOW.to_le_bytes();
    let position = encoded
        .windows(8)
        .position(|window| window == expiration)
        .expect("expiration");
    let mut longer = encoded.clone();
    longer[position] += 1;
    let signer = verify(&ECHO, &longer, NOW);
    assert_eq!(signer, Err(QuerySignatureError::InvalidSignature));
}

#[test]
fn a_certificate_of_a_certificate_cannot_be_expressed() {
    let ((root, root_public), (middle, middle_public), (session, session_public)) =
        (key(1), key(3), key(2));
    let first = (middle_public.as_slice(), NOW, echo_scope()).encode();
    let second = (session_public.as_slice(), NOW, echo_scope()).encode();
    let by_root = (0_u8, sign(&root, 0, &first), root_public.as_slice()).encode();
    let by_middle = (0_u8, sign(&middle, 0, &second)).encode();
    let query = (1_u8, 0_u8, sign(&session, 2, &ECHO.encode()), 1_u8).encode();
    let chain = [query, second, by_middle, vec![1], first, by_root].concat();
    let signer = verify(&ECHO, &chain, NOW);
    assert_eq!(signer, Err(QuerySignatureError::DecodeFailed));
}

#[test]
fn everything_with_a_length_may_be_as_long_as_its_limit() {
    let text = "x".repeat(limits::RESOURCE_BYTES_MAX);
    let mut many = vec![""; limits::RESOURCES_MAX - 1];
    many.push("/echo");
    let long = vec![text.as_str(), "/echo"];
    let mut scopes = vec![(&[0; limits::SCOPE_APP_BYTES_MAX][..], vec![]); limits::SCOPES_MAX - 1];
    scopes.push((ECHO.address, vec!["/echo"]));
    for scopes in [
        vec![(ECHO.address, many)],
        vec![(ECHO.address, long)],
        scopes,
    ] {
        let encoded = certified(&ECHO, NOW, &scopes);
        assert_eq!(verify(&ECHO, &encoded, NOW), Ok(Some(root_account())));
    }
}

#[test]
fn everything_longer_than_its_limit_is_refused_as_unreadable() {
    let text = "x".repeat(limits::RESOURCE_BYTES_MAX + 1);
    let address = [0; limits::SCOPE_APP_BYTES_MAX + 1];
    let page = "x".repeat(limits::RESOURCE_BYTES_MAX);
    let pages = limits::ENCODED_SIGNATURE_BYTES_MAX / limits::RESOURCE_BYTES_MAX;
    let oversized: [Scopes<'_>; 5] = [
        vec![(ECHO.address, vec!["/echo"; limits::RESOURCES_MAX + 1])],
        vec![(ECHO.address, vec!["/echo", &text])],
        vec![(ECHO.address, vec!["/echo"]); limits::SCOPES_MAX + 1],
        vec![(ECHO.address, vec!["/echo"]), (&address, vec![])],
        vec![(ECHO.address, vec![page.as_str(); pages])],
    ];
    for scopes in oversized {
        let signer = verify(&ECHO, &certified(&ECHO, NOW, &scopes), NOW);
        assert_eq!(signer, Err(QuerySignatureError::DecodeFailed));
    }
    let (signature, public) = (
        vec![0; limits::SIGNATURE_BYTES_MAX + 1],
        vec![0; limits::PUBLIC_KEY_BYTES_MAX + 1],
    );
    for encoded in [
        support::by_root(0, &signature, &[0; 32]),
        support::by_root(0, &[0; 64], &public),
    ] {
        let signer = verify(&ECHO, &encoded, NOW);
        assert_eq!(signer, Err(QuerySignatureError::DecodeFailed));
    }
}
