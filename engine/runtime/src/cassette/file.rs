//! Cassettes as files: JSON lines, the run as a whole first. Only for the eyes of the owner, and written whole or not at
//! all.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Body, Cassette, CassetteError, Head, VERSION};

/// The largest cassette that is read, in bytes.
const LARGEST: u64 = 1 << 30;

impl Cassette {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, CassetteError> {
        let file = std::fs::File::open(path)?;
        if file.metadata()?.len() > LARGEST {
            return Err(std::io::Error::from(std::io::ErrorKind::FileTooLarge).into());
        }
        Self::parse(BufReader::new(file.take(LARGEST)).lines())
    }

    /// Reads bytes that [`Self::bytes`] made.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CassetteError> {
        Self::parse(bytes.lines())
    }

    fn parse(lines: impl Iterator<Item = std::io::Result<String>>) -> Result<Self, CassetteError> {
        let mut head: Option<Head> = None;
        let mut entries = Vec::new();
        for (at, line) in lines.enumerate() {
            let line = line?;
            let bad = |source| CassetteError::Line { line: at + 1, source };
            if head.is_none() {
                // The version decides how the rest is read.
                let any: serde_json::Value = serde_json::from_str(&line).map_err(bad)?;
                let version = any["cassette"].as_u64().and_then(|version| u32::try_from(version).ok());
                match version {
                    Some(VERSION) | None => head = Some(serde_json::from_value(any).map_err(bad)?),
                    Some(other) => return Err(CassetteError::Version(other)),
                }
            } else {
                entries.push(serde_json::from_str(&line).map_err(bad)?);
            }
        }
        let empty = || std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the file is empty");
        Ok(Self { head: head.ok_or_else(empty)?, entries })
    }

    /// As it is written.
    pub fn bytes(&self) -> Result<Vec<u8>, CassetteError> {
        let unwritable = |error: serde_json::Error| CassetteError::File(error.into());
        let mut bytes = serde_json::to_vec(&self.head).map_err(unwritable)?;
        bytes.push(b'\n');
        for entry in &self.entries {
            serde_json::to_writer(&mut bytes, entry).map_err(unwritable)?;
            bytes.push(b'\n');
        }
        Ok(bytes)
    }

    /// Writes a file, which nobody but its owner may read.
    pub fn write(&self, path: &Path) -> Result<(), CassetteError> {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        // Made with mode 0600 from the start.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&self.bytes()?)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    }
}

impl Body {
    /// Of bytes.
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        String::from_utf8(bytes)
            .map_or_else(|error| Self::Base64(STANDARD.encode(error.into_bytes())), Self::Text)
    }

    /// The bytes; `None` if they are not written as they should.
    pub(super) fn bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::Text(text) => Some(text.clone().into_bytes()),
            Self::Base64(text) => STANDARD.decode(text).ok(),
        }
    }
}
