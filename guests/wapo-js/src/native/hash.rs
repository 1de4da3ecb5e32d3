//! `native.hash`: the hash functions of the `Wapo` object.

use blake2::{Blake2b, Blake2b512, digest::consts};
use rquickjs::prelude::Func;
use rquickjs::{Ctx, Object, TypedArray, Value};
use sha2::{Digest, Sha256};
use sha3::Keccak256;
use wyhash_final4::generics::WyHasher;
use wyhash_final4::wyhash64::WyHash64;

use super::Nullable;
use crate::engine::bytes::vector;

/// `hash(algorithm, bytes)`, which is `null` for an unknown algorithm.
pub(super) fn object<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    let area = Object::new(ctx.clone())?;
    area.set("hash", Func::from(hash))?;
    Ok(area)
}

fn hash<'js>(
    ctx: Ctx<'js>,
    algorithm: String,
    bytes: Value<'js>,
) -> rquickjs::Result<Nullable<TypedArray<'js, u8>>> {
    let bytes = vector(&ctx, &bytes)?;
    let digest = match algorithm.as_str() {
        "sha256" => Sha256::digest(&bytes).to_vec(),
        "keccak256" => Keccak256::digest(&bytes).to_vec(),
        "blake2b128" => Blake2b::<consts::U16>::digest(&bytes).to_vec(),
        "blake2b256" => Blake2b::<consts::U32>::digest(&bytes).to_vec(),
        "blake2b512" => Blake2b512::digest(&bytes).to_vec(),
        "wyhash64" => WyHasher::<WyHash64>::from_seed(0)
            .hash(&bytes)
            .to_le_bytes()
            .to_vec(),
        _ => return Ok(Nullable(None)),
    };
    TypedArray::new(ctx, digest).map(|digest| Nullable(Some(digest)))
}
