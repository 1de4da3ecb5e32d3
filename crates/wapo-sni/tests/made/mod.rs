//! Hellos that are put together here.

/// Where extensions begin in the body of a message: behind version, random, no
/// session, one suite and one compression.
pub(crate) const EXTENSIONS_AT: usize = 2 + 32 + 1 + 4 + 2;

/// A hello of a client of TLS 1.2 with the extensions that it is given.
#[derive(Default)]
pub(crate) struct Made {
    extensions: Vec<u8>,
}

impl Made {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn extension(mut self, kind: u16, content: &[u8]) -> Self {
        self.extensions.extend(kind.to_be_bytes());
        self.extensions.extend(after_u16(content));
        self
    }

    /// Asks for a server.
    pub(crate) fn name(self, name: &str) -> Self {
        let entry = [vec![0], after_u16(name.as_bytes())].concat();
        self.extension(0, &after_u16(&entry))
    }

    /// Offers protocols.
    pub(crate) fn protocols(self, names: &[Vec<u8>]) -> Self {
        let list: Vec<u8> = names.iter().flat_map(|name| after_u8(name)).collect();
        self.extension(16, &after_u16(&list))
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        body(&self.extensions)
    }

    /// In one record.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        records(&message(&self.body()), 1 << 14)
    }
}

fn after_u8(content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).expect("short");
    [&[length], content].concat()
}

fn after_u16(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("short");
    [&length.to_be_bytes(), content].concat()
}

/// The body of a hello.
pub(crate) fn body(extensions: &[u8]) -> Vec<u8> {
    let mut body = body_of(&[], &[0x13, 1], &[0]);
    assert_eq!(body.len(), EXTENSIONS_AT);
    body.extend(after_u16(extensions));
    body
}

/// The body of a hello without extensions.
pub(crate) fn body_of(session: &[u8], suites: &[u8], compressions: &[u8]) -> Vec<u8> {
    let random = [7; 32];
    [
        &[3, 3],
        random.as_slice(),
        &after_u8(session),
        &after_u16(suites),
        &after_u8(compressions),
    ]
    .concat()
}

/// A hello's message with its header.
pub(crate) fn message(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("short").to_be_bytes();
    [&[1], &length[1..], body].concat()
}

/// A message in records of at most `size` bytes.
pub(crate) fn records(message: &[u8], size: usize) -> Vec<u8> {
    let records = message.chunks(size);
    let record = |part: &[u8]| [vec![22, 3, 1], after_u16(part)].concat();
    records.flat_map(record).collect()
}

/// Numbers that are the same in each run (xorshift64*).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).expect("31 bits") % bound.max(1)
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// Name, protocols, whether TLS 1.2 and 1.3 are offered.
pub(crate) type Facts = (Option<String>, Vec<Vec<u8>>, bool, bool);

/// Some hello, and what is to be read in it.
pub(crate) fn any(random: &mut Random) -> (Made, Facts) {
    let mut parts = vec![0, 1, 2, 3, 4];
    let mut made = Made::new();
    let (mut name, mut protocols) = (None, Vec::new());
    let (mut has_12, mut has_13) = (true, false);
    // Some of them, in any order.
    for _ in 0..random.below(6) {
        made = match parts.swap_remove(random.below(parts.len())) {
            0 => {
                let labels = ["a", "shop", "xn--p1ai", "my_host", "0-0"];
                let label = |random: &mut Random| (*random.one_of(&labels)).to_owned();
                let labels: Vec<_> = (0..=random.below(5)).map(|_| label(random)).collect();
                name = Some(labels.join(".") + ".example");
                made.name(name.as_deref().expect("made"))
            }
            1 => {
                let some = |random: &mut Random| vec![random.byte(); 1 + random.below(20)];
                protocols = (0..=random.below(4)).map(|_| some(random)).collect();
                made.protocols(&protocols)
            }
            2 => {
                let lists: [(&[u8], _, _); 4] = [
                    (b"\x02\x03\x03", true, false),
                    (b"\x02\x03\x04", false, true),
                    (b"\x06\x7a\x7a\x03\x04\x03\x03", true, true),
                    (b"\x02\x03\x01", false, false),
                ];
                let list = random.one_of(&lists);
                (has_12, has_13) = (list.1, list.2);
                made.extension(43, list.0)
            }
            // Of which nothing is read.
            kind => {
                let kind = 0x1a1a + 0x1010 * kind;
                let content = vec![random.byte(); random.below(600)];
                made.extension(kind, &content)
            }
        };
    }
    (made, (name, protocols, has_12, has_13))
}
