//! Content that is about to become an object, searched for the secrets of a run.
//! What holds one becomes no object: it would outlive the run, and be pushed with it.

use std::io::{self, Read};

use super::findings::ScanError;
use super::ids::Hasher;
use super::names::TreePath;
use crate::redact::{RedactStream, Redactor};

/// The largest new or changed file that is searched, in bytes. A run with secrets keeps no larger one.
pub(crate) const SEARCHED_AT_MOST: u64 = 256 << 20;

/// Refuses a path or the target of a link that holds a secret.
pub(crate) fn refuse(secrets: Option<&Redactor>, path: &TreePath, bytes: &[u8]) -> Result<(), ScanError> {
    match secrets {
        Some(secrets) if secrets.redact(bytes) != bytes => Err(ScanError::Secret { path: path.clone() }),
        _ => Ok(()),
    }
}

/// Hashes and searches what passes through, so that what is stored is what was named and what was searched.
pub(crate) struct WatchedReader<R> {
    inner: R,
    hasher: Hasher,
    search: Option<Search>,
}

/// What comes out of redaction is what went in, as long as there is nothing to redact.
struct Search {
    stream: Option<RedactStream>,
    /// Read, and not judged yet.
    waiting: Vec<u8>,
    found: bool,
}

impl<R: Read> WatchedReader<R> {
    pub(crate) fn new(inner: R, hasher: Hasher, secrets: Option<&Redactor>) -> Self {
        let search = secrets.map(|secrets| Search {
            stream: Some(secrets.stream()),
            waiting: Vec::new(),
            found: false,
        });
        Self { inner, hasher, search }
    }

    /// The name of what was read, and whether a secret was in it.
    pub(crate) fn finish(self) -> (super::ids::ObjectId, bool) {
        (self.hasher.finish(), self.search.is_some_and(Search::finish))
    }
}

impl Search {
    fn push(&mut self, bytes: &[u8]) {
        let Some(stream) = self.stream.as_mut().filter(|_| !self.found) else { return };
        self.waiting.extend_from_slice(bytes);
        let clean = stream.push(bytes);
        self.found = !self.waiting.starts_with(&clean);
        self.waiting.drain(..clean.len().min(self.waiting.len()));
    }

    fn finish(mut self) -> bool {
        let rest = self.stream.take().map(RedactStream::finish).unwrap_or_default();
        self.found || rest != self.waiting
    }
}

impl<R: Read> Read for WatchedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let bytes = buffer.get(..read).unwrap_or_default();
        self.hasher.update(bytes);
        if let Some(search) = &mut self.search {
            search.push(bytes);
            if search.found {
                // Nothing more of it needs to be read or written down.
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::super::ids::ObjectFormat;
    use super::*;

    fn holds(content: &[u8], step: usize) -> bool {
        struct Slow<'a>(&'a [u8], usize);
        impl Read for Slow<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let count = self.1.min(self.0.len()).min(buffer.len());
                buffer[..count].copy_from_slice(&self.0[..count]);
                self.0 = &self.0[count..];
                Ok(count)
            }
        }
        let secrets = Redactor::new(&[("token", "s3cr3t-Zx81")]).unwrap();
        let mut reader = WatchedReader::new(Slow(content, step), ObjectFormat::Sha1.hasher(), Some(&secrets));
        match io::copy(&mut reader, &mut io::sink()) {
            Ok(read) => {
                assert_eq!(read, content.len() as u64);
                reader.finish().1
            }
            Err(error) => error.kind() == io::ErrorKind::InvalidData,
        }
    }

    #[test]
    fn a_secret_is_found_wherever_the_pieces_are_cut() {
        for step in [1, 2, 3, 7, 4096] {
            assert!(holds(b"key = s3cr3t-Zx81\n", step), "in steps of {step}");
            assert!(holds(b"key = s3cr3t-Zx81", step), "at the end, in steps of {step}");
            assert!(!holds(b"key = s3cr3t-Zx8", step), "the beginning of one, in steps of {step}");
            assert!(!holds(b"", step));
            assert!(!holds(&[b'-'; 10_000], step));
        }
    }
}
