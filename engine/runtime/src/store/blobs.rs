//! Large bodies as files named by their BLAKE3 digest, beside the journal.
//! It must never return bytes that do not have the digest they were asked by.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::blob_writer::BlobWriter;
use super::digest::Digest;
use super::fault::Fault;
use super::forget::freshen;

/// Name of the folder for unfinished blobs. No digest's folder has four letters.
const DRAFTS: &str = "temp";

/// A folder of blobs. Its calls block for the time of a write or read of one file.
#[derive(Debug, Clone)]
pub struct Blobs {
    root: PathBuf,
}

/// Why a blob could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// There is no such blob.
    #[error("there is no blob `{digest}` at `{path}`")]
    Missing {
        /// Its digest.
        digest: Digest,
        /// Where it would be.
        path: PathBuf,
    },
    /// The file does not hold what its name says.
    #[error("the blob at `{path}` was altered or damaged")]
    Altered {
        /// The digest it should have.
        digest: Digest,
        /// The file.
        path: PathBuf,
    },
    /// The blob is sound but no text, where a text was asked for.
    #[error("the blob `{digest}` is not UTF-8 text")]
    NotText {
        /// Its digest.
        digest: Digest,
    },
    /// The file system said no.
    #[error("a blob's file could not be used")]
    Fault(#[from] Fault),
}

/// What a sweep removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Number of files.
    pub files: u64,
    /// Their size in bytes.
    pub bytes: u64,
}

impl Blobs {
    /// The blobs under `root`, which is created when the first blob is stored.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Stores `bytes`. They are on the disk when this returns.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, BlobError> {
        let mut writer = self.writer()?;
        writer.append(bytes)?;
        Ok(writer.finish()?.0)
    }

    /// Starts a blob that is written piece by piece, such as the output of a running process.
    pub fn writer(&self) -> Result<BlobWriter, BlobError> {
        let drafts = self.root.join(DRAFTS);
        // Nothing in it outlives a power loss on purpose, so neither need its name.
        if !drafts.is_dir() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&drafts)
                .map_err(|e| Fault::io(&drafts, e))?;
        }
        BlobWriter::in_folder(self.clone(), &drafts)
    }

    /// The whole blob, checked.
    pub fn get(&self, digest: Digest) -> Result<Vec<u8>, BlobError> {
        let path = self.path(digest);
        let bytes = fs::read(&path).map_err(|e| unopened(digest, &path, e))?;
        if Digest::of(&bytes) == digest { Ok(bytes) } else { Err(BlobError::Altered { digest, path }) }
    }

    /// The blob as a stream. A damaged one fails with `InvalidData` at its end, so nothing read from it may be
    /// relied on before the end was seen.
    pub fn open(&self, digest: Digest) -> Result<BlobReader, BlobError> {
        let path = self.path(digest);
        let file = File::open(&path).map_err(|e| unopened(digest, &path, e))?;
        Ok(BlobReader { file, digest, hasher: blake3::Hasher::new() })
    }

    /// Removes what writers that died have left. Safe while other processes write.
    pub fn sweep(&self) -> Result<Swept, BlobError> {
        let drafts = self.root.join(DRAFTS);
        let mut swept = Swept::default();
        let entries = match fs::read_dir(&drafts) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(swept),
            other => other.map_err(|e| Fault::io(&drafts, e))?,
        };
        for entry in entries {
            let path = entry.map_err(|e| Fault::io(&drafts, e))?.path();
            match remove_if_orphan(&path) {
                Ok(Some(bytes)) => {
                    swept.files += 1;
                    swept.bytes += bytes;
                }
                // In use, or its writer was faster than we.
                Ok(None) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(Fault::io(&path, e).into()),
            }
        }
        Ok(swept)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where the blob of this digest is, if it is stored.
    pub fn path(&self, digest: Digest) -> PathBuf {
        let name = digest.to_string();
        let (folder, file) = name.split_at(2);
        self.root.join(folder).join(file)
    }

    /// Moves a finished, synced draft to its name and makes the name durable.
    pub(super) fn adopt(&self, draft: &Path, digest: Digest) -> Result<(), BlobError> {
        let path = self.path(digest);
        let folder = path.parent().unwrap_or(&self.root);
        make_folder(folder)?;
        // An equal blob is kept, a damaged one is replaced by the sound one we hold.
        if self.open(digest).is_ok_and(|mut b| io::copy(&mut b, &mut io::sink()).is_ok()) && freshen(&path) {
            fs::remove_file(draft).map_err(|e| Fault::io(draft, e))?;
        } else {
            fs::rename(draft, &path).map_err(|e| Fault::io(&path, e))?;
        }
        sync_folder(folder)?;
        Ok(())
    }
}

/// A blob being read; see `Blobs::open`.
#[derive(Debug)]
pub struct BlobReader {
    file: File,
    digest: Digest,
    hasher: blake3::Hasher,
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        if count == 0 && !buffer.is_empty() && Digest::from(self.hasher.finalize()) != self.digest {
            let text = format!("the blob `{}` was altered or damaged", self.digest);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

fn unopened(digest: Digest, path: &Path, error: io::Error) -> BlobError {
    match error.kind() {
        io::ErrorKind::NotFound => BlobError::Missing { digest, path: path.to_owned() },
        _ => Fault::io(path, error).into(),
    }
}

/// A draft is its writer's as long as the writer holds a lock on it, and the kernel frees a dead process's locks.
fn remove_if_orphan(path: &Path) -> io::Result<Option<u64>> {
    let file = File::open(path)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            let bytes = file.metadata()?.len();
            fs::remove_file(path)?;
            Ok(Some(bytes))
        }
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

fn make_folder(folder: &Path) -> Result<(), Fault> {
    if folder.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|e| Fault::io(folder, e))?;
    // The folder's own name and, since the root may be as new, that of the root.
    for parent in folder.ancestors().skip(1).take(2) {
        sync_folder(parent)?;
    }
    Ok(())
}

fn sync_folder(folder: &Path) -> Result<(), Fault> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(|e| Fault::io(folder, e))
}
