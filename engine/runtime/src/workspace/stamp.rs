//! What a file looked like when its content was last read, to tell later whether it still is that.
//! A stamp that could hide a change is never called settled.

use rustix::fs::Stat;

/// A moment on the clock of a filesystem: seconds and nanoseconds.
pub(crate) type Moment = (i64, u32);

/// The metadata that must be unchanged for a content to be believed unread.
///
/// The change time is what carries this: a program can set a modification time back, not a change
/// time. The inode is cut to 32 bits, which is all git's index keeps of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) size: u64,
    pub(crate) modified: Moment,
    pub(crate) changed: Moment,
    pub(crate) inode: u32,
    /// The file had rested for longer than the clock's granularity when it was read, so any later
    /// change shows in the change time. Otherwise the content must be read again.
    pub(crate) settled: bool,
}

impl Stamp {
    pub(crate) fn of(stat: &Stat, read_at: Moment) -> Self {
        let changed = (stat.st_ctime, stat.st_ctime_nsec as u32);
        Self {
            size: stat.st_size as u64,
            modified: (stat.st_mtime, stat.st_mtime_nsec as u32),
            changed,
            inode: stat.st_ino as u32,
            settled: rested(changed, read_at),
        }
    }

    /// The same stamp as of another reading.
    pub(crate) fn read_at(self, read_at: Moment) -> Self {
        Self { settled: rested(self.changed, read_at), ..self }
    }

    /// Whether the metadata is the same, settled or not.
    pub(crate) fn agrees(&self, stat: &Stat) -> bool {
        let now = Self::of(stat, self.changed);
        (now.size, now.modified, now.changed, now.inode)
            == (self.size, self.modified, self.changed, self.inode)
    }
}

/// Whether `changed` lies before `read_at` by more than the clock's granularity: one tick of the
/// kernel on most filesystems, two seconds on one that keeps whole seconds only.
fn rested(changed: Moment, read_at: Moment) -> bool {
    const TICK_NANOS: i128 = 20_000_000;
    let nanos = |(seconds, nanos): Moment| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    let granularity = if read_at.1 == 0 { 2_000_000_000 } else { TICK_NANOS };
    nanos(changed) + granularity < nanos(read_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_changed_in_the_same_tick_has_not_rested() {
        assert!(!rested((10, 500), (10, 600)));
        assert!(rested((10, 500), (10, 50_000_000)));
        assert!(!rested((10, 500), (9, 0)), "a clock set back proves nothing");
        assert!(!rested((10, 0), (11, 0)), "whole seconds need more room");
    }
}
