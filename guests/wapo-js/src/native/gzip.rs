//! What a gzip stream has around its data (RFC 1952): one member only, as the
//! Compression Standard asks.

use flate2::Crc;

const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];

/// Flags of the header.
const HEADER_CRC: u8 = 2;
const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;
const RESERVED: u8 = 0xe0;

/// What comes next.
pub(super) enum Framed {
    /// More input is needed.
    More,
    /// Compressed data.
    Data,
    /// Nothing: the stream is complete.
    End,
}

#[derive(Clone, Copy)]
enum Stage {
    Fixed,
    ExtraLength,
    Extra(usize),
    Name,
    Comment,
    HeaderCrc,
    Data,
    Trailer,
    End,
}

/// Where in the frame a stream is.
pub(super) struct Frame {
    stage: Stage,
    flags: u8,
    /// Bytes of a field that is not complete.
    field: Vec<u8>,
    /// Of the header, for its own check.
    header: Crc,
    /// Of the data.
    data: Crc,
}

impl Default for Frame {
    fn default() -> Self {
        Self {
            stage: Stage::Fixed,
            flags: 0,
            field: Vec::new(),
            header: Crc::new(),
            data: Crc::new(),
        }
    }
}

impl Frame {
    /// Reads what is of the frame; data is for the caller.
    pub(super) fn step(&mut self, input: &[u8], at: &mut usize) -> Result<Framed, ()> {
        loop {
            match self.stage {
                Stage::Data => return Ok(Framed::Data),
                Stage::End => return Ok(Framed::End),
                Stage::Trailer => {
                    let Some(field) = self.fixed::<8>(input, at) else {
                        return Ok(Framed::More);
                    };
                    let [a, b, c, d, e, f, g, h] = field;
                    let is_right = u32::from_le_bytes([a, b, c, d]) == self.data.sum()
                        && u32::from_le_bytes([e, f, g, h]) == self.data.amount();
                    if !is_right {
                        return Err(());
                    }
                    self.stage = Stage::End;
                }
                _ => {
                    if !self.header(input, at)? {
                        return Ok(Framed::More);
                    }
                }
            }
        }
    }

    /// One field of the header; `false` when it is not complete.
    fn header(&mut self, input: &[u8], at: &mut usize) -> Result<bool, ()> {
        let before = *at;
        let expected = self.header.sum() as u16;
        let next = match self.stage {
            Stage::Fixed => self.fixed::<10>(input, at).map(|field| {
                self.flags = field[3];
                let is_known = field[..3] == MAGIC && self.flags & RESERVED == 0;
                is_known.then_some(Stage::ExtraLength).ok_or(())
            }),
            Stage::ExtraLength if self.flags & EXTRA == 0 => Some(Ok(Stage::Name)),
            Stage::ExtraLength => self
                .fixed::<2>(input, at)
                .map(|field| Ok(Stage::Extra(u16::from_le_bytes(field).into()))),
            Stage::Extra(length) => {
                let taken = length.min(input.len() - *at);
                *at += taken;
                self.stage = Stage::Extra(length - taken);
                (length == taken).then_some(Ok(Stage::Name))
            }
            Stage::Name if self.flags & NAME == 0 => Some(Ok(Stage::Comment)),
            Stage::Name => past_zero(input, at).then_some(Ok(Stage::Comment)),
            Stage::Comment if self.flags & COMMENT == 0 => Some(Ok(Stage::HeaderCrc)),
            Stage::Comment => past_zero(input, at).then_some(Ok(Stage::HeaderCrc)),
            _ if self.flags & HEADER_CRC == 0 => Some(Ok(Stage::Data)),
            _ => self.fixed::<2>(input, at).map(|field| {
                let is_right = u16::from_le_bytes(field) == expected;
                is_right.then_some(Stage::Data).ok_or(())
            }),
        };
        if !matches!(self.stage, Stage::HeaderCrc) {
            self.header.update(&input[before..*at]);
        }
        match next {
            Some(stage) => {
                self.stage = stage?;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// A field of a fixed length, gathered over several inputs.
    fn fixed<const N: usize>(&mut self, input: &[u8], at: &mut usize) -> Option<[u8; N]> {
        let taken = (N - self.field.len()).min(input.len() - *at);
        self.field.extend_from_slice(&input[*at..*at + taken]);
        *at += taken;
        let field = <[u8; N]>::try_from(self.field.as_slice()).ok()?;
        self.field.clear();
        Some(field)
    }

    /// Notes decompressed data, for the check at the end.
    pub(super) fn add(&mut self, data: &[u8]) {
        self.data.update(data);
    }

    /// The data has ended: the trailer comes.
    pub(super) fn end_of_data(&mut self) {
        self.stage = Stage::Trailer;
    }
}

/// Skips a text that a zero ends; `false` when the zero is still to come.
fn past_zero(input: &[u8], at: &mut usize) -> bool {
    match input[*at..].iter().position(|&byte| byte == 0) {
        Some(length) => {
            *at += length + 1;
            true
        }
        None => {
            *at = input.len();
            false
        }
    }
}
