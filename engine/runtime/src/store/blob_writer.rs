//! A blob while it is written: a draft file that gets its name, the digest, when it is finished.
//! It must never show an unfinished blob under a digest.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::FlockOperation;

use super::blobs::{BlobError, Blobs};
use super::digest::Digest;
use super::fault::Fault;

static DRAFT: AtomicU64 = AtomicU64::new(0);

/// A blob being written. Dropped unfinished, it is removed; if the process dies, a sweep removes it.
#[derive(Debug)]
pub struct BlobWriter {
    blobs: Blobs,
    draft: PathBuf,
    file: File,
    hasher: blake3::Hasher,
    /// The draft was renamed or removed by `finish`.
    settled: bool,
}

impl BlobWriter {
    pub(super) fn in_folder(blobs: Blobs, folder: &Path) -> Result<Self, BlobError> {
        loop {
            let number = DRAFT.fetch_add(1, Ordering::Relaxed);
            let draft = folder.join(format!("{}-{number}", std::process::id()));
            let file = match OpenOptions::new().append(true).create_new(true).mode(0o600).open(&draft) {
                // A dead process of the same id left it, and no sweep came by.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                other => other.map_err(|e| Fault::io(&draft, e))?,
            };
            rustix::fs::flock(&file, FlockOperation::LockExclusive)
                .map_err(|e| Fault::io(&draft, e.into()))?;
            // A sweep may have come between the creation and the lock; then the file has no name any more.
            if file.metadata().map_err(|e| Fault::io(&draft, e))?.nlink() > 0 {
                return Ok(Self { blobs, draft, file, hasher: blake3::Hasher::new(), settled: false });
            }
        }
    }

    /// Appends to the blob. Readers of `path` see the bytes at once.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        self.write_all(bytes).map_err(|e| Fault::io(&self.draft, e).into())
    }

    /// The draft file, for following the output while it grows. Gone after `finish`.
    pub fn path(&self) -> &Path {
        &self.draft
    }

    /// Makes the blob durable and gives it its name. Returns the digest and the size in bytes.
    pub fn finish(mut self) -> Result<(Digest, u64), BlobError> {
        self.file.sync_data().map_err(|e| Fault::io(&self.draft, e))?;
        let digest = Digest::from(self.hasher.finalize());
        self.blobs.adopt(&self.draft, digest)?;
        self.settled = true;
        Ok((digest, self.hasher.count()))
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        if !self.settled {
            // If this fails, the next sweep finds a draft without a writer.
            drop(fs::remove_file(&self.draft));
        }
    }
}
