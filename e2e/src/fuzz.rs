//! Fuzz targets: readers of strangers' bytes, each with what must hold.
//!
//! A target is a function that takes any bytes and panics when a promise is
//! broken. `fuzz/fuzz_targets` hands each one to libFuzzer, which needs a nightly
//! compiler; `tests/fuzz.rs` runs all of them over the seeds in `fuzz/seeds` and
//! over changes of these, which a seeded generator makes. What reads HTTP is in
//! `wapod::fuzz`, because it is private there; the rest is public and here.

mod trust;

use std::fmt::Debug;
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use parity_scale_codec::{Decode, Encode};
use rustls::server::Acceptor;
use wapo_rpc::message::Manifest;
use wapo_rpc::statement::{
    self, AppMetrics, AttestationReport, SignedAppsMetrics, SignedSessionUpdate,
    SignedWorkerDescription, VersionedAppsMetrics, WorkerDescription, WorkerEndpointPayload,
    WorkerRegistrationInfoV2,
};
use wapo_rpc::{AppAddress, AppManifest, Encoding, HostName, ss58};
use wapo_sni::limits::HELLO_BYTES_MAX;
use wapo_sni::{HelloError, HelloReader, Progress, ServerName};
use wapo_verify::usage;
use wapod::{AppEgress, EgressPolicy as _, EgressRule, EgressRules, Host, special_range};

/// Bytes of a manifest and of its label, as SPECIFICATION.md has them.
const MANIFEST_BYTES_MAX: usize = 16 * 1024;
const LABEL_BYTES_MAX: usize = 64;

/// A reader under test.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Name of the file in `fuzz/fuzz_targets`, and of the folder of seeds.
    pub name: &'static str,
    /// Reads any bytes; panics when a promise is broken.
    pub run: fn(&[u8]),
}

/// All of them but `dispatch`, which needs a daemon (`probe::noise`), and
/// `precheck`, whose seeds the tests of `wapo-host` use.
pub const TARGETS: &[Target] = &[
    Target {
        name: "request_head",
        run: wapod::fuzz::request_head,
    },
    Target {
        name: "answer_head",
        run: wapod::fuzz::answer_head,
    },
    Target {
        name: "forwarded",
        run: wapod::fuzz::forwarded,
    },
    Target {
        name: "authority",
        run: wapod::fuzz::authority,
    },
    Target {
        name: "egress_rule",
        run: egress_rule,
    },
    Target {
        name: "client_hello",
        run: client_hello,
    },
    Target {
        name: "proxy_header",
        run: wapod::fuzz::proxy_header,
    },
    Target {
        name: "manifest",
        run: manifest,
    },
    Target {
        name: "rpc",
        run: rpc,
    },
    Target {
        name: "statements",
        run: statements,
    },
    Target {
        name: "quote",
        run: trust::quote,
    },
    Target {
        name: "evidence",
        run: trust::evidence,
    },
    Target {
        name: "usage_file",
        run: usage_file,
    },
];

impl Target {
    /// The target of a name.
    pub fn named(name: &str) -> Option<Self> {
        TARGETS.iter().find(|target| target.name == name).copied()
    }

    /// The seeds, by the names of their files, in the order of these. What is no
    /// text is written in hex.
    pub fn seeds(&self) -> Vec<(String, Vec<u8>)> {
        let folder = seeds_folder().join(self.name);
        let files = fs::read_dir(&folder).expect("a folder of seeds");
        let mut seeds: Vec<_> = files
            .map(|file| {
                let file = file.expect("a seed");
                let name = file.file_name().to_string_lossy().into_owned();
                let mut bytes = fs::read(file.path()).expect("a seed");
                if name.ends_with(".hex") {
                    bytes = hex::decode(bytes.trim_ascii()).expect("hex digits");
                }
                (name, bytes)
            })
            .collect();
        seeds.sort();
        seeds
    }
}

/// Where the seeds of all targets are.
pub fn seeds_folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/seeds"))
}

/// Changes seeds. The same number gives the same changes (xorshift64*).
#[derive(Clone, Debug)]
pub struct Changes(u64);

/// What is put into the midst of other bytes: ends of things, and edges.
const PIECES: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\0",
    b": ",
    b",",
    b";",
    b"@",
    b"[",
    b"]",
    b".",
    b"..",
    b"/",
    b"%00",
    b"\"",
    b"{",
    b"}",
    b"0x",
    b"-1",
    b"65536",
    b"18446744073709551616",
    b"\xff\xff\xff\xff\x0f",
    b"\x03\xff\xff\xff\xff",
    "\u{202e}".as_bytes(),
    "\u{85}".as_bytes(),
    b"\xe9",
];

impl Changes {
    /// Begins with any number but 0.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).expect("31 bits") % bound.max(1)
    }

    /// One seed, changed in one to four places.
    pub fn of(&mut self, seeds: &[(String, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = seeds[self.below(seeds.len())].1.clone();
        for _ in 0..=self.below(4) {
            bytes = self.change(&bytes, seeds);
        }
        bytes
    }

    fn change(&mut self, bytes: &[u8], seeds: &[(String, Vec<u8>)]) -> Vec<u8> {
        let start = self.below(bytes.len() + 1);
        let end = (start + self.below(12)).min(bytes.len());
        let (head, middle, tail) = (&bytes[..start], &bytes[start..end], &bytes[end..]);
        match self.below(7) {
            0 => [head, tail].concat(),
            1 => [head, middle, middle, tail].concat(),
            2 => [head, PIECES[self.below(PIECES.len())], middle, tail].concat(),
            3 => [head, PIECES[self.below(PIECES.len())], tail].concat(),
            4 => {
                let mask = self.next().to_be_bytes()[0];
                let flipped: Vec<u8> = middle.iter().map(|byte| byte ^ mask).collect();
                [head, &flipped, tail].concat()
            }
            5 => {
                let other = &seeds[self.below(seeds.len())].1;
                [head, &other[self.below(other.len())..]].concat()
            }
            _ => head.to_vec(),
        }
    }
}

/// A host that a guest wants to reach, and rules, each in a line. The same rule is read
/// from what it shows; a host has one form; without a rule no address that is not
/// public passes; and what the same rules deny and allow is denied.
fn egress_rule(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let (host, rules) = text.split_once('\n').unwrap_or((text, ""));
    let rules: Vec<EgressRule> = rules.lines().filter_map(|rule| rule.parse().ok()).collect();
    for rule in &rules {
        let shown = rule.to_string();
        assert_eq!(shown.parse().as_ref(), Ok(rule), "{shown}");
    }
    let Ok(host) = Host::parse(host) else {
        return;
    };
    let shown = host.to_string();
    assert_eq!(Host::parse(&shown), Ok(host.clone()), "{shown}");
    let address = match &host {
        Host::Address(address) => *address,
        Host::Name(name) => {
            assert!(name.is_ascii() && *name == name.to_ascii_lowercase());
            Ipv4Addr::LOCALHOST.into()
        }
    };
    let without = EgressRules::default();
    let checked = without.check_address(&shown, (address, 80).into());
    assert!(
        checked.is_err() || special_range(address).is_none(),
        "{shown}"
    );
    let app = |deny: &[EgressRule], allow: &[EgressRule]| {
        let app = AppEgress {
            deny: deny.iter().cloned().collect(),
            allow: allow.iter().cloned().collect(),
            ..AppEgress::default()
        };
        let rules = EgressRules::of(Arc::default(), Arc::default(), app);
        rules.check_address(&shown, (address, 80).into())
    };
    let is_special = checked.is_err();
    if is_special && app(&[], &rules).is_ok() {
        assert!(app(&rules, &rules).is_err(), "{shown}: {rules:?}");
    }
    if app(&rules, &[]).is_ok() {
        assert!(checked.is_ok(), "{shown}: a rule that denies opened it");
    }
}

/// What a client says first: the server's name, and protocols.
type Hello = (Option<String>, Vec<Vec<u8>>);

/// The first bytes of a connection to a TLS port. How they are cut into pieces
/// changes nothing, and where the library that ends TLS takes a hello as well, it
/// reads the same in it: nobody is served by one app with the name of another.
fn client_hello(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(HELLO_BYTES_MAX)];
    let whole = read_hello(bytes, HELLO_BYTES_MAX);
    for piece in [1, 7] {
        assert_eq!(read_hello(bytes, piece), whole, "in pieces of {piece}");
    }
    let Ok(Some(hello)) = whole else { return };
    if let Some(name) = &hello.0 {
        let again = name.parse::<ServerName>().expect("a name");
        assert_eq!(again.as_str(), name, "a name has one form");
    }
    if let Some(other) = rustls_hello(bytes) {
        assert_eq!(hello, other);
    }
}

fn read_hello(mut bytes: &[u8], piece: usize) -> Result<Option<Hello>, HelloError> {
    let mut reader = HelloReader::default();
    while !bytes.is_empty() {
        let count = piece.min(reader.room()).min(bytes.len());
        let (some, behind) = bytes.split_at(count);
        bytes = behind;
        match reader.read(some)? {
            Progress::More(again) => reader = again,
            Progress::Done(hello) => {
                let name = hello.server_name().map(ToString::to_string);
                let protocols = hello.protocols().map(<[u8]>::to_vec);
                return Ok(Some((name, protocols.collect())));
            }
        }
    }
    Ok(None)
}

/// The same by rustls; `None` when it takes no hello.
fn rustls_hello(mut bytes: &[u8]) -> Option<Hello> {
    let mut acceptor = Acceptor::default();
    loop {
        if acceptor.read_tls(&mut bytes).ok()? == 0 {
            return None;
        }
        let Some(accepted) = acceptor.accept().ok()? else {
            continue;
        };
        let hello = accepted.client_hello();
        let name = hello.server_name().map(|name| {
            let name = name.strip_suffix('.').unwrap_or(name);
            name.to_ascii_lowercase()
        });
        let protocols = hello.alpn().into_iter().flatten();
        return Some((name, protocols.map(<[u8]>::to_vec).collect()));
    }
}

/// A manifest in JSON, or a text that could be a label, a name, an address, an
/// account.
fn manifest(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        names(text.trim());
    }
    for encoding in [Encoding::Json, Encoding::Protobuf] {
        let message = encoding.decode::<Manifest>(bytes);
        let Some(Ok(manifest)) = message.ok().map(AppManifest::try_from) else {
            continue;
        };
        let label = manifest.label.as_str();
        let is_bounded = label.len() <= LABEL_BYTES_MAX && label.chars().count() <= 64;
        assert!(is_bounded, "{label:?}");
        assert!(!label.contains(['\0', '\n', '\u{1b}', '\u{85}', '\u{202e}', '\u{2066}']));
        names(label);
        let bytes = manifest.encode();
        assert!(bytes.len() <= MANIFEST_BYTES_MAX);
        assert!(!(manifest.on_demand && manifest.resizable));
        assert_eq!(statement::decode(&bytes), Ok(manifest.clone()));
        let again = AppManifest::try_from(Manifest::from(manifest.clone()));
        assert_eq!(again, Ok(manifest));
    }
}

/// What is made of a text is the same when it is read again; an account is only
/// read.
fn names(text: &str) {
    if let Some(name) = HostName::from_label(text) {
        let name = name.as_str();
        assert_eq!(
            HostName::from_label(name).as_ref().map(HostName::as_str),
            Some(name)
        );
        assert_eq!(name.parse::<HostName>().expect("a name").as_str(), name);
        assert!(name.len() <= 63 && AppAddress::from_base32(name).is_none());
    }
    for address in [text.parse().ok(), AppAddress::from_base32(text)] {
        let Some(address) = address else { continue };
        assert_eq!(address.to_string().parse(), Ok(address));
        assert_eq!(AppAddress::from_base32(&address.to_base32()), Some(address));
    }
    let _ = ss58::decode(text);
}

/// Every message of the interface, in both encodings.
fn rpc(bytes: &[u8]) {
    macro_rules! messages {
        ($service:ident $(
            $(#[doc = $doc:literal])*
            $name:ident: $function:ident($argument:ident) -> $answer:ident, $verb:ident, $size:ident;
        )*) => {
            $(
                message!($argument);
                message!($answer);
            )*
        };
    }
    macro_rules! message {
        ($message:ident) => {
            for encoding in [Encoding::Protobuf, Encoding::Json] {
                let Ok(read) = encoding.decode::<wapo_rpc::message::$message>(bytes) else {
                    continue;
                };
                for other in [Encoding::Protobuf, Encoding::Json] {
                    let again = other.decode(&other.encode(&read));
                    assert_eq!(
                        again,
                        Ok(read.clone()),
                        "{} in {other:?}",
                        stringify!($message)
                    );
                }
            }
        };
    }
    wapo_rpc::for_each_user_method!(messages);
    wapo_rpc::for_each_operation_method!(messages);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Encoding::choose(Some(text), Some(text));
        for encoding in [Encoding::Protobuf, Encoding::Json] {
            let error = encoding.encode_error(text);
            assert!(encoding == Encoding::Protobuf || std::str::from_utf8(&error).is_ok());
        }
    }
}

/// Everything that is signed, and what operators send in SCALE.
fn statements(bytes: &[u8]) {
    scale::<statement::SessionUpdate>(bytes);
    scale::<SignedSessionUpdate>(bytes);
    scale::<WorkerDescription>(bytes);
    scale::<SignedWorkerDescription>(bytes);
    scale::<WorkerEndpointPayload>(bytes);
    scale::<WorkerRegistrationInfoV2>(bytes);
    scale::<AttestationReport>(bytes);
    scale::<VersionedAppsMetrics>(bytes);
    scale::<SignedAppsMetrics>(bytes);
    scale::<AppMetrics>(bytes);
    scale::<AppManifest>(bytes);
    scale::<Option<[u8; 32]>>(bytes);
    scale::<Vec<String>>(bytes);
}

/// There is one way to write a value: what was read is what would be written.
/// Otherwise one statement could have two hashes.
fn scale<T: Decode + Encode + PartialEq + Debug>(bytes: &[u8]) {
    if let Ok(value) = statement::decode::<T>(bytes) {
        assert_eq!(value.encode(), bytes, "{value:?}");
    }
    if let Ok(value) = statement::decode_prefix::<T>(bytes) {
        assert!(bytes.starts_with(&value.encode()), "{value:?}");
    }
}

/// A bill is read as it was written or not at all, and none that an attacker could have
/// made without the worker's key is good.
fn usage_file(bytes: &[u8]) {
    let (verdict, bill) = usage::check(bytes, &usage::Expected::default());
    assert!(bill.is_none() && !verdict.is_good(), "nobody has signed it");
    let Ok(file) = wapo_rpc::usage_file::read(bytes) else {
        return;
    };
    let header = wapo_rpc::usage_file::header(&file.worker, file.app.as_ref());
    let lines = file.reports.iter().map(wapo_rpc::usage_file::line);
    let written = header + &lines.collect::<String>();
    assert_eq!(written.as_bytes(), bytes);
}
