//! `native.random` and `Math.random`: randomness of the host.
//!
//! Nothing is drawn before a program asks: the image of memory is taken
//! before, and instances must differ.

use std::cell::{Cell, RefCell};

use rquickjs::prelude::Func;
use rquickjs::{Ctx, Function, JsLifetime, Object, TypedArray};
use rsa::rand_core::{self, CryptoRng, RngCore};
use zeroize::Zeroizing;

use crate::engine::Failure;
use crate::engine::bytes::put;

/// Bytes of one call of `fill`, as for `crypto.getRandomValues`.
const FILL_BYTES_MAX: usize = 65_536;

/// Bytes that `Math.random` draws at a time: numbers are asked for one by one,
/// and a call of the host costs more than making one from these.
const NUMBERS_BYTES: usize = 512;

/// Bytes that the host gives at a time.
const DRAW_BYTES: usize = 512;

/// What is left of the bytes that were drawn for `Math.random`.
#[derive(JsLifetime)]
struct Numbers {
    bytes: RefCell<[u8; NUMBERS_BYTES]>,
    at: Cell<usize>,
}

/// `fill(bytes)`; also has `Math.random` use the host's randomness.
pub(super) fn object<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    let _ = ctx.store_userdata(Numbers {
        bytes: RefCell::new([0; NUMBERS_BYTES]),
        at: Cell::new(NUMBERS_BYTES),
    });
    let math: Object = ctx.globals().get("Math")?;
    let random = Function::new(ctx.clone(), number)?.with_name("random")?;
    math.prop(
        "random",
        rquickjs::object::Property::from(random)
            .writable()
            .configurable(),
    )?;
    let area = Object::new(ctx.clone())?;
    area.set("fill", Func::from(fill))?;
    Ok(area)
}

fn fill<'js>(ctx: Ctx<'js>, bytes: TypedArray<'js, u8>) -> rquickjs::Result<()> {
    let length = bytes.len();
    if length > FILL_BYTES_MAX {
        let message = format!("{length} bytes at once: {FILL_BYTES_MAX} is the most");
        return Err(Failure::dom("QuotaExceededError", message).throw(&ctx));
    }
    let mut drawn = Zeroizing::new(vec![0; length]);
    draw(&mut drawn).map_err(|failure| failure.throw(&ctx))?;
    if put(&bytes, &drawn) {
        Ok(())
    } else {
        Err(Failure::type_error("the array is detached").throw(&ctx))
    }
}

/// A number in [0, 1) with 53 random bits.
fn number(ctx: Ctx<'_>) -> rquickjs::Result<f64> {
    let Some(numbers) = ctx.userdata::<Numbers>() else {
        return Ok(0.0);
    };
    let mut bytes = numbers.bytes.borrow_mut();
    let mut at = numbers.at.get();
    if at >= NUMBERS_BYTES {
        draw(bytes.as_mut_slice()).map_err(|failure| failure.throw(&ctx))?;
        at = 0;
    }
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    numbers.at.set(at + 8);
    // Exact: 53 bits fit, and the factor is a power of two.
    Ok((u64::from_le_bytes(word) >> 11) as f64 * (-53.0_f64).exp2())
}

/// Fills a buffer with the host's randomness.
pub(super) fn draw(buffer: &mut [u8]) -> Result<(), Failure> {
    for piece in buffer.chunks_mut(DRAW_BYTES) {
        wapo::secret::random(piece).map_err(|error| {
            Failure::dom(
                "OperationError",
                format!("no randomness of the host: {error}"),
            )
        })?;
    }
    Ok(())
}

/// The host's randomness for the cryptographic crates.
///
/// Their functions cannot fail for want of randomness. The host's call fails
/// only for too many bytes at a time, and going on with others than random
/// ones would give keys away: the instance ends instead.
pub(super) struct HostRandom;

impl CryptoRng for HostRandom {}

impl RngCore for HostRandom {
    fn next_u32(&mut self) -> u32 {
        rand_core::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rand_core::impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, buffer: &mut [u8]) {
        if draw(buffer).is_err() {
            std::process::abort();
        }
    }

    fn try_fill_bytes(&mut self, buffer: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(buffer);
        Ok(())
    }
}
