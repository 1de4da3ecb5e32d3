//! `native.crypto`: the algorithms of the Web Cryptography API, from RustCrypto.
//!
//! The boot code knows names, usages and JWK; here are keys and computations.
//! Key material is in a [`NativeKey`], which scripts never see: the boot code
//! keeps it in a private field, and takes bytes out of it only to export.

mod aes;
mod area;
mod digest;
mod ec;
mod kdf;
mod okp;
mod pace;
mod rsa;
mod rsa_generate;
mod rsa_oaep;

use rquickjs::class::{Trace, Tracer};
use rquickjs::{ArrayBuffer, Class, Ctx, FromJs, IntoJs, JsLifetime, Value};
use zeroize::Zeroizing;

pub(super) use self::area::object;
use crate::engine::Failure;
use crate::engine::bytes::vector;

/// What a key is made of.
enum Material {
    Secret(Zeroizing<Vec<u8>>),
    EcPrivate(ec::Private),
    EcPublic(ec::Public),
    OkpPrivate(okp::Private),
    OkpPublic(okp::Public),
    RsaPrivate(Box<::rsa::RsaPrivateKey>),
    RsaPublic(::rsa::RsaPublicKey),
}

/// A key, whose bytes no script can reach.
#[derive(JsLifetime)]
#[rquickjs::class]
pub(crate) struct NativeKey {
    #[qjs(skip_trace)]
    material: Material,
}

impl<'js> Trace<'js> for NativeKey {
    fn trace<'a>(&self, _: Tracer<'a, 'js>) {}
}

#[rquickjs::methods]
impl NativeKey {}

impl<'js> IntoJs<'js> for Material {
    fn into_js(self, ctx: &Ctx<'js>) -> rquickjs::Result<Value<'js>> {
        let key = Class::instance(ctx.clone(), NativeKey { material: self })?;
        key.into_js(ctx)
    }
}

/// A key as an argument.
struct Key<'js>(Class<'js, NativeKey>);

impl<'js> FromJs<'js> for Key<'js> {
    fn from_js(ctx: &Ctx<'js>, value: Value<'js>) -> rquickjs::Result<Self> {
        Class::from_js(ctx, value).map(Self)
    }
}

impl Key<'_> {
    /// Computes with what the key is made of.
    fn with<R>(&self, action: impl FnOnce(&Material) -> Result<R, Failure>) -> Outcome<R> {
        Outcome(action(&self.0.borrow().material))
    }
}

/// Bytes as an argument, copied.
struct Input(Vec<u8>);

impl<'js> FromJs<'js> for Input {
    fn from_js(ctx: &Ctx<'js>, value: Value<'js>) -> rquickjs::Result<Self> {
        vector(ctx, &value).map(Self)
    }
}

/// Secret bytes as an argument, copied.
struct Secret(Zeroizing<Vec<u8>>);

impl<'js> FromJs<'js> for Secret {
    fn from_js(ctx: &Ctx<'js>, value: Value<'js>) -> rquickjs::Result<Self> {
        vector(ctx, &value).map(|bytes| Self(Zeroizing::new(bytes)))
    }
}

/// Bytes as a result: an `ArrayBuffer`.
struct Buffer(Vec<u8>);

impl<'js> IntoJs<'js> for Buffer {
    fn into_js(self, ctx: &Ctx<'js>) -> rquickjs::Result<Value<'js>> {
        ArrayBuffer::new(ctx.clone(), self.0)?.into_js(ctx)
    }
}

/// What a native gives or throws.
struct Outcome<T>(Result<T, Failure>);

impl<'js, T: IntoJs<'js>> IntoJs<'js> for Outcome<T> {
    fn into_js(self, ctx: &Ctx<'js>) -> rquickjs::Result<Value<'js>> {
        match self.0 {
            Ok(value) => value.into_js(ctx),
            Err(failure) => Err(failure.throw(ctx)),
        }
    }
}

/// `OperationError`: the computation cannot be done, or shall not say why.
fn operation(message: impl std::fmt::Display) -> Failure {
    Failure::dom("OperationError", message)
}

/// `DataError`: what is imported is no such key.
fn data(message: impl std::fmt::Display) -> Failure {
    Failure::dom("DataError", message)
}

/// A key of another kind was given, which the boot code does not do.
fn other_kind() -> Failure {
    Failure::dom("InvalidAccessError", "the key is of another kind")
}
