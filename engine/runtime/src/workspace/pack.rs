//! New objects on their way into the object database: one pack, one call of git.
//! Git reads and names every object itself; what we computed is never taken on trust.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::git::{Git, GitError, Input};
use super::ids::{ObjectFormat, ObjectId};

/// Up to this many objects are stored loose, so that small steps leave no trail of tiny packs.
const LOOSE_AT_MOST: u32 = 100;

/// Objects could not be stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PackError {
    #[error("could not write new objects to a temporary file")]
    Spool(#[from] io::Error),
    #[error("git did not accept the new objects")]
    Git(#[from] GitError),
}

/// What kind of object is added.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ObjectKind {
    Tree = 2,
    Blob = 3,
}

/// A pack being written to an unnamed temporary file.
#[derive(Debug)]
pub(crate) struct Pack {
    format: ObjectFormat,
    directory: PathBuf,
    /// Opened when the first object is added: most captures add none.
    file: Option<BufWriter<File>>,
    written: HashSet<ObjectId>,
}

impl Pack {
    pub(crate) fn new(git: &Git, format: ObjectFormat) -> Self {
        Self { format, directory: git.home().to_owned(), file: None, written: HashSet::new() }
    }

    fn open(directory: &Path) -> io::Result<BufWriter<File>> {
        let mut file = BufWriter::new(tempfile::tempfile_in(directory)?);
        file.write_all(b"PACK\0\0\0\x02\0\0\0\0")?;
        Ok(file)
    }

    pub(crate) fn holds(&self, id: ObjectId) -> bool {
        self.written.contains(&id)
    }

    /// Adds an object of exactly `size` bytes whose name is known to be `id`.
    pub(crate) fn add(
        &mut self,
        kind: ObjectKind,
        id: ObjectId,
        size: u64,
        content: &mut impl Read,
    ) -> io::Result<()> {
        if !self.written.insert(id) {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            closed => closed.insert(Self::open(&self.directory)?),
        };
        file.write_all(&entry_header(kind, size))?;
        let mut encoder = ZlibEncoder::new(file, Compression::fast());
        if io::copy(&mut content.take(size), &mut encoder)? != size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        encoder.finish()?;
        Ok(())
    }

    /// Hands everything to git. Does nothing when nothing was added.
    pub(crate) fn store(self, git: &Git) -> Result<(), PackError> {
        let count = self.written.len() as u32;
        let Some(file) = self.file else { return Ok(()) };
        let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.seek(SeekFrom::Start(8))?;
        file.write_all(&count.to_be_bytes())?;
        file.rewind()?;
        let mut hasher = self.format.hasher();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
        }
        file.write_all(hasher.finish().raw())?;
        file.rewind()?;
        if count <= LOOSE_AT_MOST {
            git.run(&["unpack-objects", "-q"], Input::File(file))?;
        } else {
            git.run(&["index-pack", "--stdin"], Input::File(file))?;
        }
        Ok(())
    }
}

/// Type and size: three bits and four bits in the first byte, seven in each that follows.
fn entry_header(kind: ObjectKind, size: u64) -> Vec<u8> {
    let mut rest = size >> 4;
    let mut bytes = vec![(kind as u8) << 4 | (size & 0x0f) as u8];
    while rest > 0 {
        if let Some(last) = bytes.last_mut() {
            *last |= 0x80;
        }
        bytes.push((rest & 0x7f) as u8);
        rest >>= 7;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_header_spreads_the_size_over_seven_bit_groups() {
        assert_eq!(entry_header(ObjectKind::Blob, 5), [0x35]);
        assert_eq!(entry_header(ObjectKind::Tree, 16), [0xa0, 0x01]);
        assert_eq!(entry_header(ObjectKind::Blob, (1 << 11) - 1), [0xbf, 0x7f]);
        assert_eq!(entry_header(ObjectKind::Blob, 1 << 11), [0xb0, 0x80, 0x01]);
    }
}
