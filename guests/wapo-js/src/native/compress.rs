//! `native.compress`: gzip, deflate (zlib) and deflate-raw, in pieces.
//!
//! Compression Standard; RFC 1950, 1951 and 1952. A codec is given input only
//! when it has no more output, and gives a bounded piece of output at a time,
//! so what a few bytes unfold to is never in memory as a whole.

use std::cell::RefCell;
use std::io::Write as _;
use std::mem;

use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use flate2::{Compression, Decompress, FlushDecompress, Status};
use rquickjs::class::{Trace, Tracer};
use rquickjs::prelude::Func;
use rquickjs::{Class, Ctx, JsLifetime, Object, TypedArray, Value};

use super::Nullable;
use super::gzip::{Frame, Framed};
use crate::engine::Failure;
use crate::engine::bytes::{TextArg, vector};
use crate::engine::heap::Share;
use crate::engine::spare::room_for;

/// Bytes of one piece of output.
const PIECE_BYTES_MAX: usize = 64 * 1024;

/// What a codec counts of an isolate's memory. The window, tables and output of an
/// encoder are nearly all of it.
const ENCODER_BYTES: usize = 384 * 1024;
const DECODER_BYTES: usize = 128 * 1024;

/// `encoder(format)` and `decoder(format)`.
pub(super) fn object<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    let area = Object::new(ctx.clone())?;
    area.set(
        "encoder",
        Func::from(|ctx, TextArg(format): TextArg| {
            codec(ctx, ENCODER_BYTES, || Codec::encoder(&format))
        }),
    )?;
    area.set(
        "decoder",
        Func::from(|ctx, TextArg(format): TextArg| {
            codec(ctx, DECODER_BYTES, || Codec::decoder(&format))
        }),
    )?;
    Ok(area)
}

fn codec<'js>(
    ctx: Ctx<'js>,
    bytes: usize,
    make: impl FnOnce() -> Result<Codec, Failure>,
) -> rquickjs::Result<Class<'js, Codec>> {
    room_for(&ctx, bytes)?;
    let share = Share::take(&ctx, bytes);
    let share = share.ok_or_else(|| Failure::range_error("no memory for a codec"));
    let codec = share.and_then(|share| {
        let mut codec = make()?;
        codec.share = Some(share);
        Ok(codec)
    });
    let codec = codec.map_err(|failure| failure.throw(&ctx))?;
    Class::instance(ctx, codec)
}

/// Compresses or decompresses one stream.
#[derive(JsLifetime)]
#[rquickjs::class]
pub(crate) struct Codec {
    #[qjs(skip_trace)]
    side: RefCell<Side>,
    #[qjs(skip_trace)]
    share: Option<Share>,
}

enum Side {
    Encoder(Encoder),
    Decoder(Box<Decoder>),
    /// It has failed: whatever comes, it fails again.
    Failed,
}

impl<'js> Trace<'js> for Codec {
    fn trace<'a>(&self, _: Tracer<'a, 'js>) {}
}

impl Codec {
    fn new(side: Side) -> Self {
        Self {
            side: RefCell::new(side),
            share: None,
        }
    }

    fn encoder(format: &str) -> Result<Self, Failure> {
        let level = Compression::default();
        let packer = match format {
            "gzip" => Packer::Gzip(GzEncoder::new(Vec::new(), level)),
            "deflate" => Packer::Zlib(ZlibEncoder::new(Vec::new(), level)),
            "deflate-raw" => Packer::Raw(DeflateEncoder::new(Vec::new(), level)),
            _ => return Err(unknown(format)),
        };
        Ok(Self::new(Side::Encoder(Encoder {
            packer,
            ready: Vec::new(),
            given: 0,
        })))
    }

    fn decoder(format: &str) -> Result<Self, Failure> {
        let frame = match format {
            "gzip" => Some(Frame::default()),
            "deflate" | "deflate-raw" => None,
            _ => return Err(unknown(format)),
        };
        Ok(Self::new(Side::Decoder(Box::new(Decoder {
            inflate: Decompress::new(format == "deflate"),
            room: vec![0; PIECE_BYTES_MAX].into_boxed_slice(),
            frame,
            input: Vec::new(),
            at: 0,
            is_over: false,
            is_last: false,
        }))))
    }

    /// Does something; after a failure, nothing else.
    fn with<R>(
        &self,
        ctx: &Ctx<'_>,
        action: impl FnOnce(&mut Side) -> Result<R, Failure>,
    ) -> rquickjs::Result<R> {
        let done = {
            let mut side = self.side.borrow_mut();
            let done = action(&mut side);
            if done.is_err() {
                *side = Side::Failed;
            }
            done
        };
        // Not while it is borrowed: scripts may have a part in making an exception.
        done.map_err(|failure| failure.throw(ctx))
    }
}

#[rquickjs::methods]
impl Codec {
    /// Gives input, after `pull()` had nothing more.
    fn push<'js>(&self, ctx: Ctx<'js>, bytes: Value<'js>) -> rquickjs::Result<()> {
        let bytes = vector(&ctx, &bytes)?;
        // Data that does not shrink comes out a little longer than it went in.
        room_for(&ctx, bytes.len().saturating_add(PIECE_BYTES_MAX))?;
        self.with(&ctx, |side| match side {
            Side::Encoder(encoder) => encoder.push(&bytes),
            Side::Decoder(decoder) => decoder.push(bytes),
            Side::Failed => Err(corrupt()),
        })
    }

    /// Says that no more input comes.
    fn finish(&self, ctx: Ctx<'_>) -> rquickjs::Result<()> {
        self.with(&ctx, |side| match side {
            Side::Encoder(encoder) => encoder.finish(),
            Side::Decoder(decoder) => {
                decoder.is_last = true;
                Ok(())
            }
            Side::Failed => Err(corrupt()),
        })
    }

    /// The next output; `null` when there is none for now.
    fn pull<'js>(&self, ctx: Ctx<'js>) -> rquickjs::Result<Nullable<TypedArray<'js, u8>>> {
        room_for(&ctx, PIECE_BYTES_MAX)?;
        let piece = self.with(&ctx, |side| match side {
            Side::Encoder(encoder) => Ok(encoder.pull()),
            Side::Decoder(decoder) => decoder.pull(),
            Side::Failed => Err(corrupt()),
        })?;
        let piece = piece.map(|piece| TypedArray::new(ctx, piece)).transpose()?;
        Ok(Nullable(piece))
    }
}

fn unknown(format: &str) -> Failure {
    Failure::type_error(format!("{format:?} is not a format of compression"))
}

fn corrupt() -> Failure {
    Failure::type_error("the compressed data is not valid")
}

/// Its output is never much more than its input.
struct Encoder {
    packer: Packer,
    /// Output, and how much of it was given.
    ready: Vec<u8>,
    given: usize,
}

enum Packer {
    Gzip(GzEncoder<Vec<u8>>),
    Zlib(ZlibEncoder<Vec<u8>>),
    Raw(DeflateEncoder<Vec<u8>>),
    Done,
}

impl Encoder {
    fn push(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let (written, into) = match &mut self.packer {
            Packer::Gzip(packer) => (packer.write_all(bytes), packer.get_mut()),
            Packer::Zlib(packer) => (packer.write_all(bytes), packer.get_mut()),
            Packer::Raw(packer) => (packer.write_all(bytes), packer.get_mut()),
            Packer::Done => return Err(Failure::type_error("the stream has ended")),
        };
        self.ready.append(into);
        written.map_err(|_| Failure::type_error("the data could not be compressed"))
    }

    fn finish(&mut self) -> Result<(), Failure> {
        let finished = match mem::replace(&mut self.packer, Packer::Done) {
            Packer::Gzip(packer) => packer.finish(),
            Packer::Zlib(packer) => packer.finish(),
            Packer::Raw(packer) => packer.finish(),
            Packer::Done => return Ok(()),
        };
        let mut last =
            finished.map_err(|_| Failure::type_error("the data could not be compressed"))?;
        self.ready.append(&mut last);
        Ok(())
    }

    fn pull(&mut self) -> Option<Vec<u8>> {
        let left = &self.ready[self.given..];
        if left.is_empty() {
            self.ready.clear();
            self.given = 0;
            return None;
        }
        let piece = left[..left.len().min(PIECE_BYTES_MAX)].to_vec();
        self.given += piece.len();
        Some(piece)
    }
}

struct Decoder {
    inflate: Decompress,
    /// Where a step of it writes.
    room: Box<[u8]>,
    /// What gzip has around the data.
    frame: Option<Frame>,
    input: Vec<u8>,
    at: usize,
    /// The end of the data was there.
    is_over: bool,
    /// No more input comes.
    is_last: bool,
}

impl Decoder {
    fn push(&mut self, bytes: Vec<u8>) -> Result<(), Failure> {
        if self.is_over && !bytes.is_empty() {
            return Err(left_over());
        }
        if self.at == self.input.len() {
            self.input = bytes;
            self.at = 0;
        } else {
            self.input.extend_from_slice(&bytes);
        }
        Ok(())
    }

    fn pull(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let piece = self.next()?;
        if piece.is_none() && self.is_last && !self.is_over {
            return Err(Failure::type_error("the compressed data ends too early"));
        }
        Ok(piece)
    }

    fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        loop {
            if self.is_over {
                return if self.at == self.input.len() {
                    Ok(None)
                } else {
                    Err(left_over())
                };
            }
            if let Some(frame) = &mut self.frame {
                match frame
                    .step(&self.input, &mut self.at)
                    .map_err(|()| corrupt())?
                {
                    Framed::More => return Ok(None),
                    Framed::End => {
                        self.is_over = true;
                        continue;
                    }
                    Framed::Data => {}
                }
            }
            let piece = self.inflate()?;
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
            if self.at == self.input.len() && !self.is_over {
                return Ok(None);
            }
        }
    }

    /// One step of decompression; empty when it needs input or has ended.
    fn inflate(&mut self) -> Result<Vec<u8>, Failure> {
        let (in_before, out_before) = (self.inflate.total_in(), self.inflate.total_out());
        let status = self
            .inflate
            .decompress(
                &self.input[self.at..],
                &mut self.room,
                FlushDecompress::None,
            )
            .map_err(|_| corrupt())?;
        // Both differences are at most the lengths of the slices.
        let read = (self.inflate.total_in() - in_before) as usize;
        let written = (self.inflate.total_out() - out_before) as usize;
        self.at += read;
        // A piece of its own size: the engine keeps all that a vector has room for.
        let piece = self.room[..written].to_vec();
        if let Some(frame) = &mut self.frame {
            frame.add(&piece);
        }
        match (status, &mut self.frame) {
            (Status::StreamEnd, Some(frame)) => frame.end_of_data(),
            (Status::StreamEnd, None) => self.is_over = true,
            // Neither input nor output goes on.
            _ if read == 0 && written == 0 && self.at < self.input.len() => return Err(corrupt()),
            _ => {}
        }
        Ok(piece)
    }
}

fn left_over() -> Failure {
    Failure::type_error("there is data after the end of the compressed data")
}
