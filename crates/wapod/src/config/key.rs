//! The file of the worker's key, and its passphrase. Part of
//! [`Config`](super::Config), used by `identity`.

use std::fmt;
use std::path::PathBuf;

use zeroize::Zeroizing;

/// Where the worker's key is kept.
#[derive(Clone, Default, Debug)]
pub struct KeySettings {
    /// The file; `None` for the one in the data folder.
    pub file: Option<PathBuf>,
    /// What opens it; `None` for a file in the clear.
    pub secret: Option<KeySecret>,
}

/// What opens the file of a key.
#[derive(Clone, Debug)]
pub enum KeySecret {
    /// Is at hand.
    Known(Passphrase),
    /// A program prints it, such as the client of a key service: name and arguments, with
    /// spaces between, without a shell.
    Command(String),
}

/// A secret that people or key services give. Printed nowhere, wiped when it is dropped.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl Passphrase {
    /// Bytes of one at most. More is likely another file.
    pub const BYTES_MAX: usize = 4096;

    /// Takes a secret. One line break at the end is not part of it.
    ///
    /// # Errors
    ///
    /// What is wrong with it; not what it is.
    pub fn new(bytes: Vec<u8>) -> Result<Self, String> {
        let mut bytes = Zeroizing::new(bytes);
        for end in [b'\n', b'\r'] {
            if bytes.last() == Some(&end) {
                bytes.pop();
            }
        }
        match bytes.len() {
            0 => Err("it is empty".to_owned()),
            length if length > Self::BYTES_MAX => {
                Err(format!("it has more than {} bytes", Self::BYTES_MAX))
            }
            _ => Ok(Self(bytes)),
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_break_is_not_part_of_a_passphrase() {
        let of = |text: &str| Passphrase::new(text.into());
        for text in ["a b", "a b\n", "a b\r\n"] {
            assert_eq!(of(text).expect("one").bytes(), b"a b");
        }
        assert_eq!(of("a\n\n").expect("one").bytes(), b"a\n");
        assert!(of("").is_err() && of("\n").is_err());
        assert!(of(&"x".repeat(4097)).is_err());
        let shown = format!("{:?}", KeySecret::Known(of("hush").expect("one")));
        assert!(!shown.contains("hush"), "{shown}");
    }
}
