//! Whether a file is the one that was seen before, without reading it.
//! In doubt it is not: a file that changes twice within one tick of the kernel's clock carries the same time twice.

use std::{fs::Metadata, io, os::unix::fs::MetadataExt, thread, time::Duration};

use nix::time::{ClockId, clock_gettime};

/// Longest time to wait for the clock to pass what was seen. Times that lie further ahead stay in doubt.
const PATIENCE: Duration = Duration::from_millis(100);

/// How often to look at the clock.
const INTERVAL: Duration = Duration::from_millis(1);

/// What is remembered of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    mode: u32,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    settled: bool,
}

impl Stamp {
    /// What to remember, seen at a time of [`settle`].
    pub(super) fn of(meta: &Metadata, now: (i64, i64)) -> Self {
        let changed = changed(meta);
        Self {
            mode: meta.mode(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed,
            settled: changed < now,
        }
    }

    /// Whether this is the same file with the same content, or a directory of the same mode: what is in it has
    /// stamps of its own.
    pub(super) fn is_of(&self, meta: &Metadata) -> bool {
        if meta.is_dir() {
            return self.mode == meta.mode();
        }
        self.settled && *self == Self { settled: true, ..Self::of(meta, (0, 0)) }
    }

    /// Whether it is a regular file's.
    #[cfg(feature = "host")]
    pub(super) fn is_file(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFREG
    }
}

fn changed(meta: &Metadata) -> (i64, i64) {
    (meta.ctime(), meta.ctime_nsec())
}

/// Waits until a change made from now on would carry a later time than any of these, and returns the time.
pub(super) fn settle<'a>(seen: impl IntoIterator<Item = &'a Metadata>) -> io::Result<(i64, i64)> {
    let newest = seen.into_iter().map(changed).max().unwrap_or_default();
    let mut waited = Duration::ZERO;
    loop {
        let now = clock_gettime(ClockId::CLOCK_REALTIME_COARSE)?;
        let now = (now.tv_sec(), now.tv_nsec());
        if now > newest || waited >= PATIENCE {
            return Ok(now);
        }
        thread::sleep(INTERVAL);
        waited += INTERVAL;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_recognised_until_it_changes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "one").unwrap();
        let meta = fs::metadata(file.path()).unwrap();
        let stamp = Stamp::of(&meta, settle([&meta]).unwrap());
        assert!(stamp.is_of(&fs::metadata(file.path()).unwrap()));
        fs::write(file.path(), "two").unwrap();
        assert!(!stamp.is_of(&fs::metadata(file.path()).unwrap()), "same size, but a later time");
    }

    #[test]
    fn a_file_seen_within_its_tick_is_never_recognised() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let meta = fs::metadata(file.path()).unwrap();
        assert!(!Stamp::of(&meta, changed(&meta)).is_of(&meta));
    }
}
