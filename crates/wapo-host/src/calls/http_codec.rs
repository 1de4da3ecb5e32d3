//! SCALE of HTTP heads: the one place where they get the form that guests read and write.
//!
//! Requests are encoded from [`RequestHead`]s, into the guest's memory or a buffer; heads
//! of answers are decoded without a copy of each field, and limited before memory is taken
//! for them. Called by `http` and `channel`.

use bytes::Bytes;
use parity_scale_codec::{Compact, CompactLen as _, Decode as _, Encode as _, Output};

use crate::http_head::{RequestHead, ResponseHead};
use crate::limits::RESPONSE_HEADERS_MAX;

/// Bytes of an encoded length.
fn len_of(count: usize) -> usize {
    // Longer than any head may be.
    Compact::<u32>::compact_len(&u32::try_from(count).unwrap_or(u32::MAX))
}

fn text_len(text: &str) -> usize {
    len_of(text.len()) + text.len()
}

/// Bytes of an encoded head.
pub(super) fn request_head_len(head: &RequestHead) -> usize {
    let fields = head.fields();
    let count = len_of(fields.len());
    let fields = fields.map(|(name, value)| text_len(name) + text_len(value));
    text_len(head.method()) + text_len(head.url()) + count + fields.sum::<usize>()
}

/// Encodes a head as an `HttpHead`.
pub(super) fn encode_request_head<T: Output>(head: &RequestHead, to: &mut T) {
    head.method().encode_to(to);
    head.url().encode_to(to);
    let fields = head.fields();
    Compact(u32::try_from(fields.len()).unwrap_or(u32::MAX)).encode_to(to);
    for (name, value) in fields {
        name.encode_to(to);
        value.encode_to(to);
    }
}

/// Decodes an `HttpResponseHead` at the front of some bytes; what follows it is the rest.
/// `None` for what is none, or has more fields than are passed on.
pub(super) fn decode_response_head(bytes: &Bytes) -> Option<(ResponseHead, Bytes)> {
    let mut rest: &[u8] = bytes;
    let status = u16::decode(&mut rest).ok()?;
    let count = length(&mut rest)?;
    if count > RESPONSE_HEADERS_MAX {
        return None;
    }
    let mut fields = Vec::with_capacity(count);
    for _ in 0..count {
        let name = text(bytes, &mut rest)?;
        fields.push((name, text(bytes, &mut rest)?));
    }
    let rest = bytes.slice(bytes.len() - rest.len()..);
    Some((ResponseHead { status, fields }, rest))
}

fn length(rest: &mut &[u8]) -> Option<usize> {
    let length = Compact::<u32>::decode(rest).ok()?;
    usize::try_from(length.0).ok()
}

fn text(bytes: &Bytes, rest: &mut &[u8]) -> Option<Bytes> {
    let length = length(rest)?;
    let (text, after) = rest.split_at_checked(length)?;
    let begin = bytes.len() - rest.len();
    *rest = after;
    Some(bytes.slice(begin..begin + text.len()))
}

#[cfg(test)]
mod tests {
    use wapo_abi::message::{HttpHead, HttpResponseHead};

    use super::*;

    #[test]
    fn requests_have_the_form_of_the_contract() {
        let long = "v".repeat(70_000);
        let mut head = RequestHead::new("POST", &["http://h", "/p"], 2);
        head.push("host", "h");
        head.push("long", &long);
        let expected = HttpHead {
            method: "POST".into(),
            url: "http://h/p".into(),
            headers: vec![("host".into(), "h".into()), ("long".into(), long)],
        };
        let mut encoded = Vec::new();
        encode_request_head(&head, &mut encoded);
        assert_eq!(encoded, expected.encode());
        assert_eq!(request_head_len(&head), encoded.len());
    }

    #[test]
    fn answers_are_read_to_their_end_and_no_further() {
        let head = HttpResponseHead {
            status: 404,
            headers: vec![("a".into(), "1".into()), ("bc".into(), String::new())],
        };
        let mut encoded = head.encode();
        encoded.extend(b"body");
        let encoded = Bytes::from(encoded);
        let (decoded, rest) = decode_response_head(&encoded).expect("a head");
        assert_eq!(decoded.status, 404);
        let field = |name: &'static str, value: &'static str| (Bytes::from(name), value.into());
        assert_eq!(decoded.fields, [field("a", "1"), field("bc", "")]);
        assert_eq!(rest, "body");
        for end in 0..encoded.len() - 4 {
            assert!(
                decode_response_head(&encoded.slice(..end)).is_none(),
                "{end}"
            );
        }
    }

    #[test]
    fn an_answer_with_endless_fields_takes_no_memory() {
        let headers = vec![(String::new(), String::new()); RESPONSE_HEADERS_MAX + 1];
        let head = HttpResponseHead {
            status: 200,
            headers,
        };
        assert!(decode_response_head(&head.encode().into()).is_none());
        let claims = (200_u16, Compact(u32::MAX)).encode();
        assert!(decode_response_head(&claims.into()).is_none());
        // Lengths have one form.
        assert!(decode_response_head(&vec![200, 0, 1, 0].into()).is_none());
    }
}
