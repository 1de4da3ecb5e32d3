//! Lists and texts with a limit that is part of their type.
//!
//! Encoded like what is inside. Reading refuses a longer one by its length,
//! before anything of it is read.

use std::ops::Deref;

use parity_scale_codec::{Compact, Decode, Encode, EncodeLike, Error, Input, Output};

/// At most `MAX` elements, or bytes of text.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Bounded<T, const MAX: usize>(T);

/// More than fits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("too long: {actual}, at most {max}")]
pub struct TooLong {
    /// What there is.
    pub actual: usize,
    /// What there may be.
    pub max: usize,
}

/// What has a length.
pub trait Length {
    /// Elements, or bytes of text.
    fn length(&self) -> usize;
}

impl<T> Length for Vec<T> {
    fn length(&self) -> usize {
        self.len()
    }
}

impl Length for String {
    fn length(&self) -> usize {
        self.len()
    }
}

impl<T: Length, const MAX: usize> Bounded<T, MAX> {
    /// Takes what fits.
    ///
    /// # Errors
    ///
    /// [`TooLong`]
    pub fn new(inner: T) -> Result<Self, TooLong> {
        match inner.length() {
            actual if actual > MAX => Err(TooLong { actual, max: MAX }),
            _ => Ok(Self(inner)),
        }
    }

    /// What is inside.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<const LENGTH: usize, const MAX: usize> From<[u8; LENGTH]> for Bounded<Vec<u8>, MAX> {
    fn from(bytes: [u8; LENGTH]) -> Self {
        const { assert!(LENGTH <= MAX, "an array that never fits") };
        Self(bytes.to_vec())
    }
}

impl<T, const MAX: usize> Deref for Bounded<T, MAX> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Encode, const MAX: usize> Encode for Bounded<T, MAX> {
    fn size_hint(&self) -> usize {
        self.0.size_hint()
    }

    fn encode_to<O: Output + ?Sized>(&self, output: &mut O) {
        self.0.encode_to(output);
    }
}

impl<T: Encode, const MAX: usize> EncodeLike for Bounded<T, MAX> {}

fn check_length<I: Input>(input: &mut I, max: usize) -> Result<usize, Error> {
    let length = Compact::<u32>::decode(input)?.0;
    usize::try_from(length)
        .ok()
        .filter(|length| *length <= max)
        .ok_or_else(|| Error::from("a list or text is longer than it may be"))
}

impl<T: Decode, const MAX: usize> Decode for Bounded<Vec<T>, MAX> {
    fn decode<I: Input>(input: &mut I) -> Result<Self, Error> {
        let length = check_length(input, MAX)?;
        (0..length)
            .map(|_| T::decode(input))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl<const MAX: usize> Decode for Bounded<String, MAX> {
    fn decode<I: Input>(input: &mut I) -> Result<Self, Error> {
        let mut bytes = vec![0; check_length(input, MAX)?];
        input.read(&mut bytes)?;
        String::from_utf8(bytes)
            .map(Self)
            .map_err(|_| Error::from("a text is not UTF-8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Short = Bounded<Vec<u8>, 3>;

    #[test]
    fn what_fits_is_encoded_like_a_plain_list() {
        let short = Short::new(vec![1, 2, 3]).expect("fits");
        assert_eq!(short.encode(), vec![1u8, 2, 3].encode());
        assert_eq!(Short::decode(&mut &short.encode()[..]), Ok(short));
        let text = Bounded::<String, 2>::new("hi".into()).expect("fits");
        assert_eq!(Decode::decode(&mut &text.encode()[..]), Ok(text));
    }

    #[test]
    fn what_does_not_fit_is_refused_before_it_is_read() {
        let error = Short::new(vec![0; 4]).expect_err("too long");
        assert_eq!(error, TooLong { actual: 4, max: 3 });
        // A length of a gigabyte and nothing behind it.
        let lie = Compact(1u32 << 30).encode();
        assert!(Short::decode(&mut &lie[..]).is_err());
        assert!(Bounded::<String, 2>::decode(&mut &"abc".encode()[..]).is_err());
        assert!(Bounded::<String, 2>::decode(&mut &[4u8, 0xff][..]).is_err());
    }
}
