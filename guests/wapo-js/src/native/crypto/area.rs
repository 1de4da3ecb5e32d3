//! The functions of `native.crypto` as the boot code calls them.

use rquickjs::prelude::Func;
use rquickjs::{Class, Ctx, Object, Promise};
use zeroize::Zeroizing;

use super::digest::{self, Hash};
use super::ec::{self, Curve};
use super::okp::{self, Kind};
use super::pace::Pace;
use super::rsa::{self, Numbers, Scheme};
use super::{
    Buffer, Input, Key, Material, NativeKey, Outcome, Secret, aes, data, kdf, operation,
    other_kind, rsa_generate, rsa_oaep,
};
use crate::engine::bytes::TextArg;
use crate::engine::{Engine, Failure, promise};
use crate::native::random;

pub(in crate::native) fn object<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    Class::<NativeKey>::define(&Object::new(ctx.clone())?)?;
    let area = Object::new(ctx.clone())?;
    secrets(&area)?;
    ciphers(&area)?;
    derivations(&area)?;
    keys(&area)?;
    elliptic(&area)?;
    edwards(&area)?;
    rsa_keys(&area)?;
    rsa_computations(&area)?;
    Ok(area)
}

fn outcome<T>(action: impl FnOnce() -> Result<T, Failure>) -> Outcome<T> {
    Outcome(action())
}

impl Material {
    fn secret(&self) -> Result<&[u8], Failure> {
        match self {
            Self::Secret(bytes) => Ok(bytes),
            _ => Err(other_kind()),
        }
    }

    fn rsa_public(&self) -> Result<&::rsa::RsaPublicKey, Failure> {
        match self {
            Self::RsaPublic(key) => Ok(key),
            _ => Err(other_kind()),
        }
    }

    fn rsa_private(&self) -> Result<&::rsa::RsaPrivateKey, Failure> {
        match self {
            Self::RsaPrivate(key) => Ok(key),
            _ => Err(other_kind()),
        }
    }
}

/// Bytes of a secret key that is made at most: a hash's block has 128.
const SECRET_BYTES_MAX: usize = 64 * 1024;

fn secrets(area: &Object<'_>) -> rquickjs::Result<()> {
    area.set(
        "digest",
        Func::from(|hash: Hash, bytes: Input| Buffer(digest::digest(hash, &bytes.0))),
    )?;
    area.set(
        "secret",
        Func::from(|bytes: Secret| Material::Secret(bytes.0)),
    )?;
    area.set(
        "secretGenerate",
        Func::from(|length: usize| {
            outcome(|| {
                if length > SECRET_BYTES_MAX {
                    return Err(operation(format!(
                        "a key of {length} bytes: {SECRET_BYTES_MAX} is the most"
                    )));
                }
                let mut bytes = Zeroizing::new(vec![0; length]);
                random::draw(&mut bytes)?;
                Ok(Material::Secret(bytes))
            })
        }),
    )?;
    area.set(
        "secretBytes",
        Func::from(|key: Key<'_>| key.with(|key| Ok(Buffer(key.secret()?.to_vec())))),
    )?;
    area.set(
        "hmacSign",
        Func::from(|hash: Hash, key: Key<'_>, bytes: Input| {
            key.with(|key| Ok(Buffer(digest::hmac(hash, key.secret()?, &bytes.0))))
        }),
    )?;
    area.set(
        "hmacVerify",
        Func::from(|hash: Hash, key: Key<'_>, signature: Input, bytes: Input| {
            key.with(|key| {
                Ok(digest::verify_hmac(
                    hash,
                    key.secret()?,
                    &signature.0,
                    &bytes.0,
                ))
            })
        }),
    )
}

fn ciphers(area: &Object<'_>) -> rquickjs::Result<()> {
    area.set(
        "aesCtr",
        Func::from(|key: Key<'_>, counter: Input, bits: u32, bytes: Input| {
            key.with(|key| aes::ctr(key.secret()?, &counter.0, bits, bytes.0).map(Buffer))
        }),
    )?;
    area.set(
        "aesCbc",
        Func::from(|encrypt: bool, key: Key<'_>, iv: Input, bytes: Input| {
            let computation = if encrypt {
                aes::cbc_encrypt
            } else {
                aes::cbc_decrypt
            };
            key.with(|key| computation(key.secret()?, &iv.0, &bytes.0).map(Buffer))
        }),
    )?;
    area.set(
        "aesGcm",
        Func::from(
            |encrypt: bool,
             key: Key<'_>,
             iv: Input,
             additional: Input,
             tag_bytes: usize,
             bytes: Input| {
                let gcm = aes::Gcm {
                    iv: &iv.0,
                    additional: &additional.0,
                    tag_bytes,
                };
                key.with(|key| {
                    let key = key.secret()?;
                    let bytes = if encrypt {
                        gcm.seal(key, bytes.0)
                    } else {
                        gcm.open(key, bytes.0)
                    };
                    bytes.map(Buffer)
                })
            },
        ),
    )?;
    area.set(
        "aesKw",
        Func::from(|wrap: bool, key: Key<'_>, bytes: Secret| {
            let computation = if wrap { aes::wrap } else { aes::unwrap };
            key.with(|key| computation(key.secret()?, &bytes.0).map(Buffer))
        }),
    )
}

fn derivations(area: &Object<'_>) -> rquickjs::Result<()> {
    area.set(
        "hkdf",
        Func::from(
            |hash: Hash, key: Key<'_>, salt: Input, info: Input, length: usize| {
                key.with(|key| kdf::hkdf(hash, key.secret()?, &salt.0, &info.0, length).map(Buffer))
            },
        ),
    )?;
    area.set("pbkdf2", Func::from(pbkdf2))
}

/// Slices at the cost of what runs at present.
fn pace_of(ctx: &Ctx<'_>) -> rquickjs::Result<Pace> {
    let engine = Engine::of(ctx).ok_or(rquickjs::Error::Unknown)?;
    Ok(Pace::new(engine.account()))
}

/// Gives a promise of a secret key: promises look for a `then` of what they
/// are resolved with, and no script shall see bytes because of that.
fn pbkdf2<'js>(
    ctx: Ctx<'js>,
    hash: Hash,
    key: Key<'js>,
    salt: Input,
    iterations: u32,
    length: usize,
) -> rquickjs::Result<Promise<'js>> {
    let password = key
        .with(|key| key.secret().map(<[u8]>::to_vec))
        .0
        .map_err(|failure| failure.throw(&ctx))?;
    let password = Zeroizing::new(password);
    let pace = pace_of(&ctx)?;
    promise(&ctx, async move {
        let derived = kdf::pbkdf2(hash, password, salt.0, iterations, length, pace).await?;
        Ok(Material::Secret(derived))
    })
}

/// What keys of several kinds have.
fn keys(area: &Object<'_>) -> rquickjs::Result<()> {
    area.set(
        "publicOf",
        Func::from(|key: Key<'_>| {
            key.with(|key| match key {
                Material::EcPrivate(key) => key.public().map(Material::EcPublic),
                Material::OkpPrivate(key) => Ok(Material::OkpPublic(key.public())),
                Material::RsaPrivate(key) => Ok(Material::RsaPublic(key.to_public_key())),
                _ => Err(other_kind()),
            })
        }),
    )?;
    area.set(
        "spki",
        Func::from(|key: Key<'_>| {
            key.with(|key| match key {
                Material::EcPublic(key) => key.to_spki().map(Buffer),
                Material::OkpPublic(key) => Ok(Buffer(key.to_spki())),
                Material::RsaPublic(key) => rsa::to_spki(key).map(Buffer),
                _ => Err(other_kind()),
            })
        }),
    )?;
    area.set(
        "pkcs8",
        Func::from(|key: Key<'_>| {
            key.with(|key| match key {
                Material::EcPrivate(key) => key.to_pkcs8().map(Buffer),
                Material::OkpPrivate(key) => Ok(Buffer(key.to_pkcs8())),
                Material::RsaPrivate(key) => rsa::to_pkcs8(key).map(Buffer),
                _ => Err(other_kind()),
            })
        }),
    )?;
    area.set(
        "raw",
        Func::from(|key: Key<'_>| {
            key.with(|key| match key {
                Material::EcPublic(key) => Ok(Buffer(key.raw().to_vec())),
                Material::OkpPublic(key) => Ok(Buffer(key.bytes().to_vec())),
                _ => Err(other_kind()),
            })
        }),
    )?;
    area.set("parts", Func::from(|key: Key<'_>| key.with(parts)))?;
    area.set(
        "agree",
        Func::from(|private: Key<'_>, public: Key<'_>| {
            private.with(|private| {
                let agreed = public.with(|public| match (private, public) {
                    (Material::EcPrivate(private), Material::EcPublic(public)) => {
                        private.agree(public)
                    }
                    (Material::OkpPrivate(private), Material::OkpPublic(public)) => {
                        private.agree(public)
                    }
                    _ => Err(other_kind()),
                });
                agreed.0.map(Buffer)
            })
        }),
    )
}

/// The numbers of a key's JWK, in the order that the boot code knows.
fn parts(key: &Material) -> Result<Vec<Buffer>, Failure> {
    let parts = match key {
        Material::EcPublic(key) => {
            let (x, y) = key.parts();
            vec![x.to_vec(), y.to_vec()]
        }
        Material::EcPrivate(key) => {
            let public = key.public()?;
            let (x, y) = public.parts();
            vec![x.to_vec(), y.to_vec(), key.number().to_vec()]
        }
        Material::OkpPublic(key) => vec![key.bytes().to_vec()],
        Material::OkpPrivate(key) => vec![key.public().bytes().to_vec(), key.bytes().to_vec()],
        Material::RsaPublic(key) => rsa::public_parts(key),
        Material::RsaPrivate(key) => rsa::private_parts(key)?,
        Material::Secret(_) => return Err(other_kind()),
    };
    Ok(parts.into_iter().map(Buffer).collect())
}

fn elliptic(area: &Object<'_>) -> rquickjs::Result<()> {
    area.set(
        "ecGenerate",
        Func::from(|curve: Curve| Material::EcPrivate(ec::Private::generate(curve))),
    )?;
    area.set(
        "ecImport",
        Func::from(|curve: Curve, TextArg(format): TextArg, bytes: Secret| {
            outcome(|| match format.as_str() {
                "pkcs8" => ec::Private::from_pkcs8(curve, &bytes.0).map(Material::EcPrivate),
                "spki" => ec::Public::from_spki(curve, &bytes.0).map(Material::EcPublic),
                _ => ec::Public::from_raw(curve, &bytes.0).map(Material::EcPublic),
            })
        }),
    )?;
    area.set(
        "ecFromParts",
        Func::from(|curve: Curve, x: Input, y: Input, number: Option<Secret>| {
            outcome(|| match number {
                Some(number) => {
                    ec::Private::from_parts(curve, &x.0, &y.0, number.0).map(Material::EcPrivate)
                }
                None => ec::Public::from_parts(curve, &x.0, &y.0).map(Material::EcPublic),
            })
        }),
    )?;
    area.set(
        "ecdsaSign",
        Func::from(|hash: Hash, key: Key<'_>, bytes: Input| {
            key.with(|key| match key {
                Material::EcPrivate(key) => key.sign(hash, &bytes.0).map(Buffer),
                _ => Err(other_kind()),
            })
        }),
    )?;
    area.set(
        "ecdsaVerify",
        Func::from(|hash: Hash, key: Key<'_>, signature: Input, bytes: Input| {
            key.with(|key| match key {
                Material::EcPublic(key) => Ok(key.verify(hash, &signature.0, &bytes.0)),
                _ => Err(other_kind()),
            })
        }),
    )
}

fn edwards(area: &Object<'_>) -> rquickjs::Result<()> {
    area.set(
        "okpGenerate",
        Func::from(|kind: Kind| Outcome(okp::Private::generate(kind).map(Material::OkpPrivate))),
    )?;
    area.set(
        "okpImport",
        Func::from(|kind: Kind, TextArg(format): TextArg, bytes: Secret| {
            outcome(|| match format.as_str() {
                "pkcs8" => okp::Private::from_pkcs8(kind, &bytes.0).map(Material::OkpPrivate),
                "spki" => okp::Public::from_spki(kind, &bytes.0).map(Material::OkpPublic),
                _ => okp::Public::from_bytes(kind, &bytes.0).map(Material::OkpPublic),
            })
        }),
    )?;
    area.set(
        "okpFromParts",
        Func::from(|kind: Kind, x: Input, secret: Secret| {
            outcome(|| {
                let key = okp::Private::from_bytes(kind, &secret.0)?;
                if key.public().bytes() != x.0 {
                    return Err(data("the private key does not belong to the public one"));
                }
                Ok(Material::OkpPrivate(key))
            })
        }),
    )?;
    area.set(
        "edSign",
        Func::from(|key: Key<'_>, bytes: Input| {
            key.with(|key| match key {
                Material::OkpPrivate(key) => key.sign(&bytes.0).map(Buffer),
                _ => Err(other_kind()),
            })
        }),
    )?;
    area.set(
        "edVerify",
        Func::from(|key: Key<'_>, signature: Input, bytes: Input| {
            key.with(|key| match key {
                Material::OkpPublic(key) => Ok(key.verify(&signature.0, &bytes.0)),
                _ => Err(other_kind()),
            })
        }),
    )
}

fn rsa_keys(area: &Object<'_>) -> rquickjs::Result<()> {
    area.set("rsaGenerate", Func::from(rsa_generate))?;
    area.set(
        "rsaImport",
        Func::from(|TextArg(format): TextArg, bytes: Secret| {
            outcome(|| match format.as_str() {
                "pkcs8" => {
                    let key = rsa::private_from_pkcs8(&bytes.0)?;
                    Ok(Material::RsaPrivate(Box::new(key)))
                }
                _ => rsa::public_from_spki(&bytes.0).map(Material::RsaPublic),
            })
        }),
    )?;
    area.set(
        "rsaFromParts",
        Func::from(|parts: Vec<Secret>| outcome(|| rsa_of(&parts))),
    )
}

fn rsa_generate(ctx: Ctx<'_>, bits: usize, exponent: f64) -> rquickjs::Result<Promise<'_>> {
    let pace = pace_of(&ctx)?;
    promise(&ctx, async move {
        // The boot code gives an integer that a double holds exactly.
        let key = rsa_generate::generate(bits, exponent as u64, pace).await?;
        Ok(Material::RsaPrivate(Box::new(key)))
    })
}

/// A key of RSA: of n and e, of n, e and d, or of all eight numbers.
fn rsa_of(parts: &[Secret]) -> Result<Material, Failure> {
    let number = |index: usize| {
        let part = parts
            .get(index)
            .ok_or_else(|| data("a number is missing"))?;
        Ok::<_, Failure>(rsa::number_of(&part.0))
    };
    if parts.len() <= 2 {
        return rsa::public(number(0)?, number(1)?).map(Material::RsaPublic);
    }
    let chinese = if parts.len() == 3 {
        None
    } else {
        Some([number(3)?, number(4)?, number(5)?, number(6)?, number(7)?])
    };
    let numbers = Numbers {
        n: number(0)?,
        e: number(1)?,
        d: number(2)?,
        chinese,
    };
    Ok(Material::RsaPrivate(Box::new(numbers.private()?)))
}

/// A length of salt is for RSA-PSS.
fn scheme(salt: Option<usize>) -> Scheme {
    salt.map_or(Scheme::Pkcs1, Scheme::Pss)
}

fn rsa_computations(area: &Object<'_>) -> rquickjs::Result<()> {
    area.set(
        "rsaSign",
        Func::from(
            |salt: Option<usize>, hash: Hash, key: Key<'_>, bytes: Input| {
                key.with(|key| {
                    rsa::sign(key.rsa_private()?, scheme(salt), hash, &bytes.0).map(Buffer)
                })
            },
        ),
    )?;
    area.set(
        "rsaVerify",
        Func::from(
            |salt: Option<usize>, hash: Hash, key: Key<'_>, signature: Input, bytes: Input| {
                key.with(|key| {
                    let key = key.rsa_public()?;
                    Ok(rsa::verify(key, scheme(salt), hash, &signature.0, &bytes.0))
                })
            },
        ),
    )?;
    area.set(
        "rsaEncrypt",
        Func::from(|hash: Hash, key: Key<'_>, label: Input, bytes: Input| {
            key.with(|key| {
                rsa_oaep::encrypt(key.rsa_public()?, hash, &label.0, &bytes.0).map(Buffer)
            })
        }),
    )?;
    area.set(
        "rsaDecrypt",
        Func::from(|hash: Hash, key: Key<'_>, label: Input, bytes: Input| {
            key.with(|key| {
                rsa_oaep::decrypt(key.rsa_private()?, hash, &label.0, &bytes.0).map(Buffer)
            })
        }),
    )
}
