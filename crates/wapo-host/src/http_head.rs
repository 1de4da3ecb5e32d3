//! Heads of HTTP requests and answers, between an embedder and a lane of guests.
//!
//! Texts and bytes, whatever a guest reads or writes them in: the encoding is the
//! business of `calls`. Nothing here is checked against HTTP; the embedder does that.

use bytes::Bytes;

/// The head of a request. Its texts share one piece of memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequestHead {
    /// Method, URL, then name and value of each field.
    text: String,
    method_end: usize,
    url_end: usize,
    /// Where the name and the value of each field end.
    field_ends: Vec<(usize, usize)>,
}

/// Bytes that most heads have room in.
const USUAL_BYTES: usize = 512;

impl RequestHead {
    /// A head without fields, with room for so many. The URL comes in parts.
    pub fn new(method: &str, url: &[&str], fields: usize) -> Self {
        let mut text = String::with_capacity(USUAL_BYTES);
        text.push_str(method);
        url.iter().for_each(|part| text.push_str(part));
        Self {
            method_end: method.len(),
            url_end: text.len(),
            text,
            field_ends: Vec::with_capacity(fields),
        }
    }

    /// Adds a field behind the others.
    pub fn push(&mut self, name: &str, value: &str) {
        self.text.push_str(name);
        let name_end = self.text.len();
        self.text.push_str(value);
        self.field_ends.push((name_end, self.text.len()));
    }

    /// The method.
    pub fn method(&self) -> &str {
        &self.text[..self.method_end]
    }

    /// The URL.
    pub fn url(&self) -> &str {
        &self.text[self.method_end..self.url_end]
    }

    /// Names and values in order.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        let mut begin = self.url_end;
        self.field_ends.iter().map(move |&(name_end, value_end)| {
            let field = (&self.text[begin..name_end], &self.text[name_end..value_end]);
            begin = value_end;
            field
        })
    }

    /// Bytes of all texts.
    pub(crate) fn len_bytes(&self) -> usize {
        self.text.len()
    }
}

/// The head of a guest's answer, as the guest has written it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResponseHead {
    /// The status, any number.
    pub status: u16,
    /// Names and values in order; they share one piece of memory.
    pub fields: Vec<(Bytes, Bytes)>,
}

/// What a guest answers with at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpAnswer {
    /// The head.
    pub head: ResponseHead,
    /// The whole body, where the guest has given it with the head. Else it is read from
    /// the exchange.
    pub body: Option<Bytes>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_gives_back_what_was_put_in() {
        let mut head = RequestHead::new("GET", &["http", "://", "h", "/p?q"], 1);
        head.push("host", "h");
        head.push("empty", "");
        head.push("", "value");
        assert_eq!((head.method(), head.url()), ("GET", "http://h/p?q"));
        let fields: Vec<_> = head.fields().collect();
        assert_eq!(fields, [("host", "h"), ("empty", ""), ("", "value")]);
        assert_eq!(head.len_bytes(), 3 + 12 + 5 + 5 + 5);
    }
}
