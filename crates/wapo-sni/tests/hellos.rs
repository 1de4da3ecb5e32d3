//! Hellos of real clients, of hand and of a seeded generator, whole and in pieces.

mod made;

use std::sync::Arc;

use made::{Facts, Made, Random};
use rustls::crypto::ring;
use rustls::pki_types::DnsName;
use rustls::server::Acceptor;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use wapo_sni::limits::{HELLO_BYTES_MAX, RECORD_BYTES_MAX};
use wapo_sni::{Alert, ClientHello, HelloError, HelloReader, NameError, Progress, Version};

/// Sizes of pieces in which bytes come.
const PIECES: [usize; 4] = [usize::MAX, 1, 7, 100];

/// Reads bytes that come in pieces of a size; `None` when more would have to come.
fn read_in(piece: usize, bytes: &[u8]) -> Result<Option<ClientHello>, HelloError> {
    let mut reader = HelloReader::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        let count = piece.min(reader.room()).min(rest.len());
        let (some, behind) = rest.split_at(count);
        rest = behind;
        match reader.read(some)? {
            Progress::More(again) => reader = again,
            Progress::Done(hello) => return Ok(Some(hello)),
        }
    }
    Ok(None)
}

/// The same outcome in all sizes of pieces.
fn read(bytes: &[u8]) -> Result<Option<ClientHello>, HelloError> {
    let [whole, others @ ..] = PIECES.map(|piece| read_in(piece, bytes));
    let seen = |outcome: &Result<Option<ClientHello>, HelloError>| {
        let hello = outcome.as_ref().map_err(|error| *error)?;
        Ok::<_, HelloError>(hello.as_ref().map(facts))
    };
    for other in others {
        assert_eq!(seen(&whole), seen(&other), "{}", bytes.escape_ascii());
    }
    whole
}

fn facts(hello: &ClientHello) -> Facts {
    (
        hello.server_name().map(ToString::to_string),
        hello.protocols().map(<[u8]>::to_vec).collect(),
        hello.offers(Version::TLS_1_2),
        hello.offers(Version::TLS_1_3),
    )
}

fn complete(bytes: &[u8]) -> ClientHello {
    let hello = read(bytes).expect("a hello");
    hello.expect("a whole hello")
}

fn seed(text: &str) -> Vec<u8> {
    hex::decode(text.trim()).expect("hex digits")
}

macro_rules! seed {
    ($name:literal) => {
        seed(include_str!(concat!(
            "../../../fuzz/seeds/client_hello/",
            $name,
            ".hex"
        )))
    };
}

#[test]
fn hellos_of_real_clients_are_read() {
    let shop = Some("shop.example.com");
    let http: &[&[u8]] = &[b"h2", b"http/1.1"];
    let none: &[&[u8]] = &[];
    for (bytes, name, protocols, versions) in [
        (seed!("openssl"), shop, http, (true, true)),
        (seed!("openssl_tls12"), shop, none, (true, false)),
        (
            seed!("openssl_tls10"),
            Some("old.example.com"),
            none,
            (false, false),
        ),
        (seed!("openssl_no_name"), None, none, (true, true)),
        (seed!("openssl_small_records"), shop, none, (true, true)),
        (seed!("curl"), shop, http, (true, true)),
        (seed!("curl_address"), None, http, (true, true)),
        (seed!("trailing_dot"), shop, none, (true, false)),
        (seed!("chromium"), shop, http, (true, true)),
    ] {
        let hello = complete(&bytes);
        let protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let expected = (name.map(str::to_owned), protocols, versions.0, versions.1);
        assert_eq!(facts(&hello), expected);
        assert_eq!(hello.bytes(), bytes);
        for end in 0..bytes.len() {
            assert_eq!(read_in(usize::MAX, &bytes[..end]), Ok(None), "{end}");
        }
    }
}

/// The first bytes of a client of the library that ends TLS for apps.
fn rustls_hello(name: &str) -> Vec<u8> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let mut config = config;
    config.alpn_protocols = vec![b"h2".to_vec(), b"acme-tls/1".to_vec()];
    let name = name.to_owned().try_into().expect("a name");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).expect("written");
    }
    bytes
}

#[test]
fn the_library_that_ends_tls_goes_on_where_the_reader_stopped() {
    let mut bytes = rustls_hello("shop.example.com");
    // Clients may send more before they hear anything.
    bytes.extend_from_slice(b"\x14\x03\x03\x00\x01\x01");
    let hello = read_in(usize::MAX, &bytes)
        .expect("a hello")
        .expect("whole");
    let protocols: Vec<_> = hello.protocols().collect();
    assert_eq!(protocols, [b"h2".as_slice(), b"acme-tls/1"]);
    assert_eq!(hello.bytes(), bytes);
    let mut acceptor = Acceptor::default();
    let kept = hello.into_bytes();
    let mut behind = kept.as_slice();
    while !behind.is_empty() {
        acceptor.read_tls(&mut behind).expect("read");
    }
    let accepted = acceptor.accept().ok().flatten().expect("a hello");
    let name = accepted.client_hello().server_name().map(str::to_owned);
    assert_eq!(name.as_deref(), Some("shop.example.com"));
}

#[test]
fn names_come_out_in_their_one_form() {
    for (sent, expected) in [
        ("Shop.Example.COM", Ok("shop.example.com")),
        ("shop.example.com.", Ok("shop.example.com")),
        ("my_shop.example.com", Ok("my_shop.example.com")),
        ("xn--bcher-kva.example", Ok("xn--bcher-kva.example")),
        ("bücher.example", Err(NameError::NotAscii)),
        ("192.0.2.1", Err(NameError::IsAddress)),
        ("2001:db8::1", Err(NameError::IsAddress)),
        ("*.example.com", Err(NameError::Malformed)),
        ("shop.example.com\0.evil.example", Err(NameError::Malformed)),
        (".", Err(NameError::Empty)),
    ] {
        let outcome = read(&Made::new().name(sent).bytes());
        let name = outcome.map(|hello| facts(&hello.expect("whole")).0);
        if let Ok(name) = expected {
            assert!(
                DnsName::try_from(name).is_ok(),
                "certificates have no {name}"
            );
        }
        let expected = expected.map(|name| Some(name.to_owned()));
        assert_eq!(name, expected.map_err(HelloError::Name), "{sent}");
    }
}

/// Bytes, what is wrong with them, and the number of the alert.
type Wrong = (Vec<u8>, HelloError, u8);

fn told(cases: impl IntoIterator<Item = Wrong>) {
    for (bytes, error, alert) in cases {
        assert_eq!(read(&bytes), Err(error), "{}", bytes.escape_ascii());
        assert_eq!(error.alert().number(), alert, "{error}");
    }
}

#[test]
fn what_is_no_hello_is_told_by_its_first_bytes() {
    let alert = Alert::DECODE_ERROR.record();
    let interrupted = b"\x16\x03\x01\0\x01\x01\x14\x03\x03\0\x01\x01";
    let cases: [(&[u8], _, _); 11] = [
        // Other protocols, and other parts of this one.
        (b"GET / HTTP/1.1\r\n", HelloError::NotHello, 10),
        (b"SSH-2.0-OpenSSH\r\n", HelloError::NotHello, 10),
        (&[0x80, 0x2e, 1, 3, 1], HelloError::NotHello, 10),
        (&alert, HelloError::NotHello, 10),
        (&[23, 3, 3, 0, 1, 0], HelloError::NotHello, 10),
        (&[22, 3, 1, 0, 4, 2, 0, 0, 0], HelloError::NotHello, 10),
        // A message that is interrupted by another record.
        (interrupted, HelloError::NotHello, 10),
        (&[22, 2, 0, 0, 4], HelloError::RecordVersion, 70),
        (&[22, 3, 1, 0x40, 1], HelloError::RecordTooLong, 22),
        (&[22, 3, 1, 0, 0], HelloError::Malformed, 50),
        (&[22, 3, 1, 0, 4, 1, 1, 0, 0], HelloError::TooLong, 47),
    ];
    told(cases.map(|(bytes, error, alert)| (bytes.to_vec(), error, alert)));
    // A client that has sent enough is not waited for.
    for (bytes, enough) in [(cases[0].0, 1), (cases[7].0, 2), (cases[10].0, 9)] {
        assert_eq!(read_in(1, &bytes[..enough - 1]), Ok(None));
        assert!(read_in(1, &bytes[..enough]).is_err());
    }
}

#[test]
fn extensions_that_decide_are_read_strictly() {
    let names: [&[u8]; 7] = [
        b"",
        b"\0\0",
        b"\0\x03\0\0\0",
        b"\0\x04\0\0\x02a",
        b"\0\x04\0\0\x01a!",
        b"\0\x04\x01\0\x01a",
        b"\0\x08\0\0\x01a\0\0\x01b",
    ];
    let protocols: [&[u8]; 3] = [b"\0\0", b"\0\x01\0", b"\0\x03\x03h2"];
    let versions: [&[u8]; 2] = [b"\0", b"\x03\x03\x04\x03"];
    let names = names.map(|content| (0, content));
    let protocols = protocols.map(|content| (16, content));
    let versions = versions.map(|content| (43, content));
    let all = names.into_iter().chain(protocols).chain(versions);
    told(all.map(|(kind, content)| {
        let bytes = Made::new().extension(kind, content).bytes();
        (bytes, HelloError::Malformed, 50)
    }));
}

#[test]
fn names_that_are_none_and_extensions_that_are_there_twice_are_refused() {
    let twice = Made::new().extension(0xff, b"").extension(0xff, b"");
    told([
        (
            Made::new().name("192.0.2.1").bytes(),
            HelloError::Name(NameError::IsAddress),
            112,
        ),
        (
            Made::new().name("a b").bytes(),
            HelloError::Name(NameError::Malformed),
            47,
        ),
        (
            Made::new().name("a.example").name("b.example").bytes(),
            HelloError::Duplicate,
            47,
        ),
        // Any of them.
        (twice.bytes(), HelloError::Duplicate, 47),
    ]);
}

#[test]
fn every_length_has_to_fit() {
    let made = Made::new().name("a.example").bytes();
    let message = &made[5..];
    // A byte more or less anywhere, with the lengths outside of it put right.
    for end in 4..message.len() {
        let less = made::records(&made::message(&message[4..end]), RECORD_BYTES_MAX);
        // Up to the compression a hello is whole without extensions.
        if end != made::EXTENSIONS_AT + 4 {
            assert_eq!(read(&less), Err(HelloError::Malformed), "{end}");
        }
    }
    let more = [&message[4..], b"\0"].concat();
    let more = made::records(&made::message(&more), RECORD_BYTES_MAX);
    assert_eq!(read(&more), Err(HelloError::Malformed));
    for (session, suites, compressions, is_right) in [
        (32, 2, 1, true),
        (33, 2, 1, false),
        (0, 0, 1, false),
        (0, 3, 1, false),
        (0, 2, 0, false),
    ] {
        let zeros = |count| vec![0; count];
        let body = made::body_of(&zeros(session), &zeros(suites), &zeros(compressions));
        let bytes = made::records(&made::message(&body), RECORD_BYTES_MAX);
        let outcome = read(&bytes);
        match is_right {
            true => assert!(outcome.is_ok_and(|hello| hello.is_some())),
            false => assert_eq!(outcome, Err(HelloError::Malformed), "{session} {suites}"),
        }
    }
}

#[test]
fn a_client_that_names_no_server_is_told_so_in_its_version() {
    let old = complete(&Made::new().bytes());
    assert_eq!(old.server_name(), None);
    assert!(old.offers(Version::TLS_1_2) && !old.offers(Version::TLS_1_3));
    assert_eq!(old.alert_without_name(), Alert::UNRECOGNIZED_NAME);
    let young = Made::new().extension(43, b"\x02\x03\x04").bytes();
    let young = complete(&young);
    assert!(!young.offers(Version::TLS_1_2) && young.offers(Version::TLS_1_3));
    assert_eq!(young.alert_without_name(), Alert::MISSING_EXTENSION);
}

#[test]
fn a_version_that_is_only_claimed_is_not_offered() {
    let mut body = made::body(&[]);
    body[..2].copy_from_slice(&[3, 9]);
    let hello = complete(&made::records(&made::message(&body), 100));
    assert!(hello.offers(Version::TLS_1_2) && !hello.offers(Version::TLS_1_3));
    // Without any extensions, as the oldest clients are.
    body.truncate(made::EXTENSIONS_AT);
    body[..2].copy_from_slice(&[3, 1]);
    let hello = complete(&made::records(&made::message(&body), 100));
    assert_eq!(facts(&hello), (None, Vec::new(), false, false));
}

#[test]
fn a_message_may_go_on_in_any_number_of_records() {
    let made = Made::new().name("shop.example.com");
    let message = made::message(&made.body());
    for size in [1, 2, 3, 4, 5, 50, message.len()] {
        let bytes = made::records(&message, size);
        let hello = complete(&bytes);
        assert_eq!(facts(&hello).0.as_deref(), Some("shop.example.com"));
        assert_eq!(hello.bytes(), bytes, "as it came");
    }
}

#[test]
fn what_a_client_sends_before_it_is_known_is_bounded() {
    let message = |bytes: usize| {
        let empty = made::message(&Made::new().extension(0xff, b"").body()).len();
        let padding = vec![0; bytes - empty];
        made::message(&Made::new().extension(0xff, &padding).body())
    };
    // All that fits.
    let longest = made::records(&message(HELLO_BYTES_MAX - 5), RECORD_BYTES_MAX);
    assert_eq!(longest.len(), HELLO_BYTES_MAX);
    complete(&longest);
    // One more is refused when it is announced.
    let longer = made::records(&message(HELLO_BYTES_MAX - 4), RECORD_BYTES_MAX);
    assert_eq!(read_in(1, &longer[..8]), Ok(None));
    assert_eq!(read_in(1, &longer[..9]), Err(HelloError::TooLong));
    // Headers of records count.
    let scattered = made::records(&message(3000), 1);
    assert_eq!(read_in(1, &scattered[..HELLO_BYTES_MAX - 1]), Ok(None));
    let refused = read(&scattered[..HELLO_BYTES_MAX]);
    assert_eq!(refused, Err(HelloError::TooLong));
    // Nobody gets more in than there is room for.
    let reader = HelloReader::default();
    assert_eq!(reader.room(), HELLO_BYTES_MAX);
    let refused = reader.read(&vec![22; HELLO_BYTES_MAX + 1]).err();
    assert_eq!(refused, Some(HelloError::TooLong));
}

#[test]
fn what_was_put_into_a_hello_comes_out_of_it() {
    let mut random = Random::new(11);
    for _ in 0..500 {
        let (made, expected) = made::any(&mut random);
        let message = made::message(&made.body());
        let mut bytes = Vec::new();
        let mut rest = message.as_slice();
        while !rest.is_empty() {
            let (part, behind) = rest.split_at(1 + random.below(rest.len()));
            bytes.extend(made::records(part, RECORD_BYTES_MAX));
            rest = behind;
        }
        assert_eq!(facts(&complete(&bytes)), expected);
        // Whatever one byte becomes, the pieces do not matter, and a name is a name.
        let at = random.below(bytes.len());
        bytes[at] = random.byte();
        if let Ok(Some(hello)) = read(&bytes)
            && let Some(name) = hello.server_name()
        {
            assert_eq!(name.as_str().parse().as_ref(), Ok(name));
        }
    }
}
