//! Signed answers: HTTP Message Signatures (RFC 9421) of what a worker or an app
//! answers, over the digest of the body (RFC 9530) and the request.
//!
//! A client that sends `Accept-Signature` with the label `wapo` gets an answer whose
//! signature binds who said it (`wapo-kind`: worker, error or app), which app, in which
//! session, to which request, when, and with the client's nonce. This module knows what
//! is covered and how that is written; it knows no key. Used by the daemon, which signs,
//! by `wapo-verify`, which checks, and by the command. No I/O.

pub mod file;

use data_encoding::BASE64;
use sfv::{BareItem, Dictionary, FieldType as _, InnerList, ListEntry, Parser};
use sha2::{Digest as _, Sha256};

use crate::limits::{ANSWER_NONCE_BYTES_MAX, SIGNATURE_FIELD_BYTES_MAX};

/// Asks for a signature.
pub const ACCEPT_SIGNATURE: &str = "accept-signature";
/// What a signature covers.
pub const SIGNATURE_INPUT: &str = "signature-input";
/// The signature.
pub const SIGNATURE: &str = "signature";
/// The digest of a body.
pub const CONTENT_DIGEST: &str = "content-digest";
/// Who answers.
pub const KIND: &str = "wapo-kind";
/// Address of the app that answers.
pub const APP: &str = "wapo-app";
/// Session of the worker.
pub const SESSION: &str = "wapo-session";
/// Why an answer that should be signed is not.
pub const UNSIGNED: &str = "wapo-unsigned";

/// The signature of the body alone, as clients of Wapo 0.x read it.
pub const OLDER_SIGNATURE: &str = "x-phactory-signature";

/// Fields that only the worker writes, whatever an app answers.
pub const OURS: &[&str] = &[KIND, APP, SESSION, UNSIGNED, OLDER_SIGNATURE];

/// Name of the signature among others.
pub const LABEL: &str = "wapo";
/// What the signature is for.
pub const TAG: &str = "wapo-answer";
/// How it is made.
pub const ALGORITHM: &str = "ecdsa-p256-sha256";

/// Fields of an answer that are covered when it has them.
const ANSWER_FIELDS: &[&str] = &[
    CONTENT_DIGEST,
    "content-type",
    "content-encoding",
    "content-range",
    "location",
    KIND,
    APP,
    SESSION,
];
/// What is covered of a request.
const REQUEST_PARTS: &[&str] = &["@method", "@authority", "@path", "@query", CONTENT_DIGEST];

/// Who answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The worker, about something that it did or knows.
    Worker,
    /// The worker, because a request could not be served.
    Error,
    /// An app.
    App,
}

impl Kind {
    /// As in the field `wapo-kind`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Error => "error",
            Self::App => "app",
        }
    }

    /// Reads the field.
    pub fn parse(text: &str) -> Option<Self> {
        let all = [Self::Worker, Self::Error, Self::App];
        all.into_iter().find(|kind| kind.name() == text)
    }
}

/// What an answer is bound to of the request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequestComponents {
    method: String,
    authority: String,
    path: String,
    query: String,
    content_digest: Option<String>,
}

impl RequestComponents {
    /// A request as it was sent. `content_digest` is the field of that name, if there
    /// is one.
    pub fn new(
        method: &str,
        scheme: &str,
        authority: &str,
        (path, query): (&str, Option<&str>),
        content_digest: Option<String>,
    ) -> Self {
        let authority = authority.to_ascii_lowercase();
        let default_port = if scheme == "https" { ":443" } else { ":80" };
        let without_port = authority.strip_suffix(default_port).map(str::to_owned);
        Self {
            method: method.to_owned(),
            authority: without_port.unwrap_or(authority),
            path: if path.is_empty() { "/" } else { path }.to_owned(),
            query: format!("?{}", query.unwrap_or_default()),
            content_digest,
        }
    }

    /// The digest that the request has of its body.
    pub fn content_digest(&self) -> Option<&str> {
        self.content_digest.as_deref()
    }

    fn part(&self, name: &str) -> Option<&str> {
        match name {
            "@method" => Some(&self.method),
            "@authority" => Some(&self.authority),
            "@path" => Some(&self.path),
            "@query" => Some(&self.query),
            CONTENT_DIGEST => self.content_digest.as_deref(),
            _ => None,
        }
    }
}

/// What a client asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wish {
    /// Text that the answer is to have in its signature.
    pub nonce: Option<String>,
}

/// Why there is no signature; the word of the field `wapo-unsigned`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unsigned {
    /// The wish cannot be read, or is for something else than is covered.
    Wish,
    /// The answer has not come to its end in time, as a stream of events.
    Slow,
    /// It is longer than what is signed.
    TooLong,
    /// It has trailers.
    Trailers,
    /// It is the beginning of another protocol.
    Switch,
    /// The digest of the request is not that of its body, or the body was not read.
    RequestDigest,
    /// Too much is signed at the moment.
    Busy,
}

impl Unsigned {
    /// The word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wish => "wish",
            Self::Slow => "slow",
            Self::TooLong => "too-long",
            Self::Trailers => "trailers",
            Self::Switch => "switch",
            Self::RequestDigest => "request-digest",
            Self::Busy => "busy",
        }
    }
}

impl Wish {
    /// Reads the field `Accept-Signature`; `None` when it asks for nothing of ours.
    ///
    /// # Errors
    ///
    /// [`Unsigned::Wish`] for what cannot be given.
    pub fn read(field: &str) -> Option<Result<Self, Unsigned>> {
        if field.len() > SIGNATURE_FIELD_BYTES_MAX {
            return Some(Err(Unsigned::Wish));
        }
        let Ok(wishes) = Parser::new(field).parse::<Dictionary>() else {
            return Some(Err(Unsigned::Wish));
        };
        let wish = match wishes.get(LABEL)? {
            ListEntry::InnerList(list) => Self::of(list),
            ListEntry::Item(_) => None,
        };
        Some(wish.ok_or(Unsigned::Wish))
    }

    fn of(list: &InnerList) -> Option<Self> {
        let components = Component::all(list)?;
        let can_be_had = |one: &Component| match one.of_request {
            true => REQUEST_PARTS.contains(&one.name.as_str()),
            false => one.name == "@status" || ANSWER_FIELDS.contains(&one.name.as_str()),
        };
        if !components.iter().all(can_be_had) {
            return None;
        }
        let text = |name: &str| match list.params.get(name) {
            Some(BareItem::String(text)) => Some(text.as_str().to_owned()),
            _ => None,
        };
        let is_other = |name, expected| text(name).is_some_and(|text| text != expected);
        if is_other("alg", ALGORITHM) || is_other("tag", TAG) {
            return None;
        }
        let nonce = match list.params.get("nonce") {
            None => None,
            Some(BareItem::String(text)) if text.as_str().len() <= ANSWER_NONCE_BYTES_MAX => {
                Some(text.as_str().to_owned())
            }
            Some(_) => return None,
        };
        Some(Self { nonce })
    }

    /// The field that asks for a signature with a nonce of letters and digits.
    pub fn field(nonce: &str) -> String {
        format!("{LABEL}=();created;expires;keyid;nonce=\"{nonce}\";tag=\"{TAG}\"")
    }
}

/// One thing that a signature covers.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Component {
    name: String,
    of_request: bool,
}

impl Component {
    /// What a list names; `None` when it names something in a way that is not known.
    fn all(list: &InnerList) -> Option<Vec<Self>> {
        let read = |item: &sfv::Item| {
            let BareItem::String(name) = &item.bare_item else {
                return None;
            };
            let of_request = match item.params.len() {
                0 => false,
                1 => item.params.get("req") == Some(&BareItem::Boolean(true)),
                _ => return None,
            };
            if item.params.len() == 1 && !of_request {
                return None;
            }
            Some(Self {
                name: name.as_str().to_owned(),
                of_request,
            })
        };
        list.items.iter().map(read).collect()
    }

    fn text(&self) -> String {
        let req = if self.of_request { ";req" } else { "" };
        format!("\"{}\"{req}", self.name)
    }
}

/// What is written beside the list of what is covered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parameters {
    /// When it was signed, in seconds since 1970, by the worker's clock.
    pub created: u64,
    /// Until when it counts.
    pub expires: u64,
    /// The client's nonce.
    pub nonce: Option<String>,
    /// Which key has signed, see [`key_id`].
    pub key_id: String,
}

/// An answer, as far as it is signed: its status, and its fields with names in lower
/// case.
#[derive(Clone, Copy, Debug)]
pub struct SignedPart<'a> {
    /// Status of HTTP.
    pub status: u16,
    /// Names and values, each as often as it was sent.
    pub fields: &'a [(String, String)],
}

impl SignedPart<'_> {
    /// The value of a field: all of them in one line (RFC 9421, section 2.1).
    pub fn field(&self, name: &str) -> Option<String> {
        let values = self.fields.iter().filter(|(known, _)| known == name);
        let values: Vec<&str> = values.map(|(_, value)| value.trim()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    fn components(&self, request: &RequestComponents) -> Vec<Component> {
        let answer = std::iter::once("@status").chain(
            ANSWER_FIELDS
                .iter()
                .copied()
                .filter(|name| self.field(name).is_some()),
        );
        let asked = REQUEST_PARTS.iter().copied();
        let asked = asked.filter(|name| request.part(name).is_some());
        let component = |of_request| {
            move |name: &str| Component {
                name: name.to_owned(),
                of_request,
            }
        };
        answer
            .map(component(false))
            .chain(asked.map(component(true)))
            .collect()
    }

    /// What is signed, and the value of `Signature-Input` without the label.
    pub fn to_sign(
        &self,
        request: &RequestComponents,
        parameters: &Parameters,
    ) -> (String, String) {
        let components = self.components(request);
        let input = input(&components, parameters);
        let mut base = String::new();
        for component in &components {
            let value = match (component.of_request, component.name.as_str()) {
                (true, name) => request.part(name).unwrap_or_default().to_owned(),
                (false, "@status") => self.status.to_string(),
                (false, name) => self.field(name).unwrap_or_default(),
            };
            base.push_str(&format!("{}: {value}\n", component.text()));
        }
        base.push_str(&format!("\"@signature-params\": {input}"));
        (base, input)
    }
}

fn input(components: &[Component], parameters: &Parameters) -> String {
    let covered: Vec<String> = components.iter().map(Component::text).collect();
    let Parameters {
        created,
        expires,
        nonce,
        key_id,
    } = parameters;
    let nonce = nonce.as_deref().map_or_else(String::new, |nonce| {
        let escaped = nonce.replace('\\', "\\\\").replace('"', "\\\"");
        format!(";nonce=\"{escaped}\"")
    });
    format!(
        "({});created={created};expires={expires}{nonce};alg=\"{ALGORITHM}\";keyid=\"{key_id}\";tag=\"{TAG}\"",
        covered.join(" ")
    )
}

/// A signature as it stands in an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// What is said beside it.
    pub parameters: Parameters,
    /// The signature.
    pub signature: Vec<u8>,
    /// Exactly what was signed of this answer to this request.
    pub base: String,
}

/// Reads the signature of an answer, which has to cover everything that
/// [`SignedPart::to_sign`] covers, and nothing else. That it is a good one is for
/// the holder of the key to find out.
///
/// # Errors
///
/// A text that says what is missing or wrong.
pub fn find(answer: SignedPart<'_>, request: &RequestComponents) -> Result<Found, String> {
    let field = |name: &str| {
        let value = answer.field(name);
        let value = value.ok_or_else(|| format!("the answer has no `{name}`"))?;
        if value.len() > SIGNATURE_FIELD_BYTES_MAX {
            return Err(format!(
                "`{name}` has {} bytes, at most {SIGNATURE_FIELD_BYTES_MAX}",
                value.len()
            ));
        }
        let read = Parser::new(&value).parse::<Dictionary>();
        read.map_err(|error| format!("`{name}` cannot be read: {error}"))
    };
    let (inputs, signatures) = (field(SIGNATURE_INPUT)?, field(SIGNATURE)?);
    let Some(ListEntry::InnerList(list)) = inputs.get(LABEL) else {
        return Err(format!("no signature has the label `{LABEL}`"));
    };
    let signature = match signatures.get(LABEL) {
        Some(ListEntry::Item(item)) => match &item.bare_item {
            BareItem::ByteSequence(bytes) => bytes.clone(),
            _ => return Err("the signature is no sequence of bytes".to_owned()),
        },
        _ => return Err(format!("no signature has the label `{LABEL}`")),
    };
    let number = |name: &str| match list.params.get(name) {
        Some(BareItem::Integer(number)) => u64::try_from(i64::from(*number)).ok(),
        _ => None,
    };
    let text = |name: &str| match list.params.get(name) {
        Some(BareItem::String(text)) => Some(text.as_str().to_owned()),
        _ => None,
    };
    let parameters = Parameters {
        created: number("created").ok_or("the signature does not say when it was made")?,
        expires: number("expires").ok_or("the signature does not say until when it counts")?,
        nonce: text("nonce"),
        key_id: text("keyid").ok_or("the signature does not say with which key it was made")?,
    };
    // What it covers and says has to be what a worker covers and says, in that order.
    let (base, expected) = answer.to_sign(request, &parameters);
    let mut alone = Dictionary::new();
    let label = sfv::Key::from_string(LABEL.to_owned()).map_err(|(error, _)| error.to_string())?;
    alone.insert(label, ListEntry::InnerList(list.clone()));
    let written = alone.serialize().unwrap_or_default();
    if written
        .strip_prefix(LABEL)
        .and_then(|rest| rest.strip_prefix('='))
        != Some(&expected)
    {
        return Err(format!(
            "the signature covers {written}, and has to cover {LABEL}={expected}"
        ));
    }
    Ok(Found {
        parameters,
        signature,
        base,
    })
}

/// The value of `Content-Digest` for a body.
pub fn content_digest(body: &[u8]) -> String {
    digest_field(Sha256::digest(body).into())
}

/// The same for a digest that is known.
pub fn digest_field(sha256: [u8; 32]) -> String {
    format!("sha-256=:{}:", BASE64.encode(&sha256))
}

/// The value of `Signature` with the label.
pub fn signature_field(signature: &[u8]) -> String {
    format!("{LABEL}=:{}:", BASE64.encode(signature))
}

/// By which a signature names a key: SHA-256 of the key in DER, as hex digits.
pub fn key_id(public_der: &[u8]) -> String {
    hex::encode(Sha256::digest(public_der))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(digest: Option<&str>) -> RequestComponents {
        let target = ("/a", Some("b=c"));
        RequestComponents::new(
            "POST",
            "http",
            "Shop.Example:80",
            target,
            digest.map(str::to_owned),
        )
    }

    fn fields() -> Vec<(String, String)> {
        let fields = [
            ("content-digest", "sha-256=:AA==:"),
            ("content-type", "text/plain"),
            ("wapo-kind", "app"),
            ("wapo-app", "11"),
            ("wapo-session", "22"),
            ("x-other", "1"),
        ];
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        fields.into_iter().map(own).collect()
    }

    fn parameters() -> Parameters {
        Parameters {
            created: 5,
            expires: 9,
            nonce: Some("n\"1".to_owned()),
            key_id: "k".to_owned(),
        }
    }

    #[test]
    fn what_is_signed_is_written_as_the_standard_says() {
        let fields = fields();
        let answer = SignedPart {
            status: 200,
            fields: &fields,
        };
        let (base, input) = answer.to_sign(&request(Some("sha-256=:BB==:")), &parameters());
        let expected = "\"@status\": 200\n\
             \"content-digest\": sha-256=:AA==:\n\
             \"content-type\": text/plain\n\
             \"wapo-kind\": app\n\
             \"wapo-app\": 11\n\
             \"wapo-session\": 22\n\
             \"@method\";req: POST\n\
             \"@authority\";req: shop.example\n\
             \"@path\";req: /a\n\
             \"@query\";req: ?b=c\n\
             \"content-digest\";req: sha-256=:BB==:\n\
             \"@signature-params\": (\"@status\" \"content-digest\" \"content-type\" \"wapo-kind\" \
             \"wapo-app\" \"wapo-session\" \"@method\";req \"@authority\";req \"@path\";req \
             \"@query\";req \"content-digest\";req);created=5;expires=9;nonce=\"n\\\"1\";\
             alg=\"ecdsa-p256-sha256\";keyid=\"k\";tag=\"wapo-answer\"";
        assert_eq!(base, expected);
        assert!(base.ends_with(&input));
    }

    #[test]
    fn a_signature_that_covers_less_or_says_more_is_not_found() {
        let request = request(None);
        let fields = fields();
        fn part(fields: &[(String, String)]) -> SignedPart<'_> {
            SignedPart {
                status: 200,
                fields,
            }
        }
        let (base, input) = part(&fields).to_sign(&request, &parameters());
        let with = |input: &str| {
            let mut fields = fields.clone();
            fields.push((SIGNATURE_INPUT.to_owned(), format!("wapo={input}")));
            fields.push((SIGNATURE.to_owned(), signature_field(b"sig")));
            find(part(&fields), &request)
        };
        let found = with(&input).expect("found");
        assert_eq!((found.base, found.parameters), (base, parameters()));
        assert_eq!(found.signature, b"sig");
        for (from, to) in [
            ("\"wapo-kind\" ", ""),
            ("\"@status\" ", ""),
            ("\"@path\";req", "\"@path\""),
            ("\"content-type\"", "\"content-type\";sf"),
            (";expires=9", ""),
            (";tag=\"wapo-answer\"", ";tag=\"other\""),
            (";tag=\"wapo-answer\"", ";tag=\"wapo-answer\";x"),
            ("created=5;expires=9", "expires=9;created=5"),
            ("created=5", "created=-5"),
        ] {
            assert!(input.contains(from), "{from}");
            assert!(with(&input.replacen(from, to, 1)).is_err(), "{from}");
        }
        assert!(with("()").is_err());
        assert!(with("1").is_err());
        assert!(with(&"(".repeat(SIGNATURE_FIELD_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn wishes_are_read_with_bounds() {
        let nonce = |field: &str| Wish::read(field).map(|wish| wish.map(|wish| wish.nonce));
        let some = |text: &str| Some(Ok(Some(text.to_owned())));
        assert_eq!(nonce(&Wish::field("abc")), some("abc"));
        assert_eq!(
            nonce("wapo=(\"@status\" \"@path\";req);nonce=\"x\""),
            some("x")
        );
        assert_eq!(nonce("wapo=()"), Some(Ok(None)));
        assert_eq!(nonce("sig1=(\"@status\");created"), None);
        let long = "n".repeat(ANSWER_NONCE_BYTES_MAX + 1);
        for bad in [
            "wapo",
            "wapo=1",
            "wapo=(",
            "wapo=(\"x-other\")",
            "wapo=(\"@status\";req)",
            "wapo=(\"@path\")",
            "wapo=(a)",
            "wapo=();alg=\"rsa-v1_5-sha256\"",
            "wapo=();tag=\"x\"",
            "wapo=();nonce=1",
            &Wish::field(&long),
            &"(".repeat(SIGNATURE_FIELD_BYTES_MAX + 1),
        ] {
            assert_eq!(nonce(bad), Some(Err(Unsigned::Wish)), "{bad}");
        }
    }
}
