//! Object names: parsed, printed and computed the way git does.
//! A name that is not full-length hexadecimal never becomes one of these types.

use std::fmt;
use std::str::FromStr;

use sha1::Digest as _;

const LONGEST: usize = 32;

/// The text was not a full object name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a full object name of 40 or 64 hexadecimal digits")]
pub struct IdError;

/// The hash function of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectFormat {
    /// SHA-1, 20 bytes.
    Sha1,
    /// SHA-256, 32 bytes.
    Sha256,
}

impl ObjectFormat {
    /// The name `git init --object-format` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name {
            "sha1" => Some(Self::Sha1),
            "sha256" => Some(Self::Sha256),
            _ => None,
        }
    }

    pub(crate) fn hasher(self) -> Hasher {
        match self {
            Self::Sha1 => Hasher::Sha1(sha1::Sha1::new()),
            Self::Sha256 => Hasher::Sha256(sha2::Sha256::new()),
        }
    }

    pub(crate) fn object(self, kind: &str, content: &[u8]) -> ObjectId {
        let mut hasher = self.hasher();
        hasher.update(format!("{kind} {}\0", content.len()).as_bytes());
        hasher.update(content);
        hasher.finish()
    }

    /// The tree without entries.
    pub fn empty_tree(self) -> TreeId {
        TreeId(self.object("tree", b""))
    }
}

/// A running hash in the repository's format.
pub(crate) enum Hasher {
    Sha1(sha1::Sha1),
    Sha256(sha2::Sha256),
}

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(hasher) => hasher.update(bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> ObjectId {
        let mut bytes = [0; LONGEST];
        let len = match self {
            Self::Sha1(hasher) => {
                bytes[..20].copy_from_slice(&hasher.finalize());
                20
            }
            Self::Sha256(hasher) => {
                bytes.copy_from_slice(&hasher.finalize());
                LONGEST
            }
        };
        ObjectId { bytes, len: len as u8 }
    }
}

/// The name of any object.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ObjectId {
    bytes: [u8; LONGEST],
    len: u8,
}

impl ObjectId {
    pub(crate) fn raw(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    pub(crate) fn from_raw(raw: &[u8]) -> Result<Self, IdError> {
        if raw.len() != 20 && raw.len() != LONGEST {
            return Err(IdError);
        }
        let mut bytes = [0; LONGEST];
        bytes[..raw.len()].copy_from_slice(raw);
        Ok(Self { bytes, len: raw.len() as u8 })
    }

    pub(crate) fn from_hex(hex: &[u8]) -> Result<Self, IdError> {
        if hex.len() != 40 && hex.len() != 2 * LONGEST {
            return Err(IdError);
        }
        let mut bytes = [0; LONGEST];
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self { bytes, len: (hex.len() / 2) as u8 })
    }
}

fn digit(hex: u8) -> Result<u8, IdError> {
    match hex {
        b'0'..=b'9' => Ok(hex - b'0'),
        b'a'..=b'f' => Ok(hex - b'a' + 10),
        _ => Err(IdError),
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! object_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub(crate) ObjectId);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                ObjectId::from_hex(text.as_bytes()).map(Self)
            }
        }
    };
}

object_name! {
    /// The name of a tree object: the whole content of a workspace.
    TreeId
}
object_name! {
    /// The name of a commit object: one node's output, or the base of a run.
    CommitId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_tree_has_its_well_known_name() {
        assert_eq!(ObjectFormat::Sha1.empty_tree().to_string(), "4b825dc642cb6eb9a060e54bf8d69288fbee4904");
        assert_eq!(
            ObjectFormat::Sha256.empty_tree().to_string(),
            "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321"
        );
    }

    #[test]
    fn only_full_lowercase_hexadecimal_is_an_object_name() {
        for text in ["", "HEAD", "--all", "4b825dc6", &"G".repeat(40), &"A".repeat(40), &"a".repeat(41)] {
            assert_eq!(text.parse::<TreeId>(), Err(IdError), "{text}");
        }
        let name = "a".repeat(64);
        assert_eq!(name.parse::<CommitId>().unwrap().to_string(), name);
    }
}
