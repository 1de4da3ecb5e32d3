//! A slice that is read from its beginning, as TLS has its fields.
//!
//! Lengths are checked before anything is taken. Used by `hello`.

use crate::reader::HelloError;

/// What has not been read yet.
#[derive(Clone, Copy)]
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl<'a> Bytes<'a> {
    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], HelloError> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or(HelloError::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    /// A number of one byte.
    pub(crate) fn u8(&mut self) -> Result<u8, HelloError> {
        Ok(self.take(1)?[0])
    }

    /// A number of two bytes.
    pub(crate) fn u16(&mut self) -> Result<u16, HelloError> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// What follows a length of one byte.
    pub(crate) fn after_u8(&mut self) -> Result<Self, HelloError> {
        let length = usize::from(self.u8()?);
        Ok(Self(self.take(length)?))
    }

    /// What follows a length of two bytes.
    pub(crate) fn after_u16(&mut self) -> Result<Self, HelloError> {
        let length = usize::from(self.u16()?);
        Ok(Self(self.take(length)?))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether everything was read.
    ///
    /// # Errors
    ///
    /// [`HelloError::Malformed`] when something is left.
    pub(crate) fn end(self) -> Result<(), HelloError> {
        match self.is_empty() {
            true => Ok(()),
            false => Err(HelloError::Malformed),
        }
    }
}
