//! A tree of files as a stream, and the block in front of it, the same in both directions.
//! Whoever reads one takes it for an enemy's: nothing is believed that was not checked, and nothing is kept in
//! memory because a header says so.

use std::io::{self, Read, Write};

/// Bytes in front of every path.
const HEADER_BYTES: usize = 25;

/// Longest target of a symbolic link, in bytes.
const MAX_TARGET_BYTES: u64 = 4095;

/// Longest path below the root of the tree, in bytes. Shorter than the kernel's own limit, which counts the
/// way to the root as well.
const MAX_PATH_BYTES: usize = 3840;

/// Longest name of a file, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// Deepest nesting.
pub(super) const MAX_DEPTH: usize = 64;

/// Most entries of a tree.
pub(super) const MAX_ENTRIES: usize = 1 << 20;

/// The repository at the top of a workspace: it goes in and never comes out.
const REPOSITORY: &[u8] = b".git";

/// What an entry is. The numbers are the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// There is no more.
    End = 0,
    /// A directory.
    Directory = 1,
    /// A regular file; its bytes follow.
    File = 2,
    /// A regular file that is as it was when it was sent last, in whichever direction.
    Unchanged = 3,
    /// A symbolic link; its target follows.
    Link = 4,
}

/// One entry, without the bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    /// Permissions.
    pub(super) mode: u16,
    /// When it was modified, in seconds and nanoseconds.
    pub(super) modified: (i64, u32),
    /// Where it is below the root, which itself is the empty path.
    pub(super) path: Vec<u8>,
    /// How many bytes follow.
    pub(super) size: u64,
}

impl Entry {
    /// What ends a tree.
    pub(super) fn end() -> Self {
        Self { kind: Kind::End, mode: 0, modified: (0, 0), path: Vec::new(), size: 0 }
    }

    /// Writes it. The bytes that follow are the caller's business.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let length = u16::try_from(self.path.len()).map_err(io::Error::other)?;
        let mut header = Vec::with_capacity(HEADER_BYTES + self.path.len());
        header.push(self.kind as u8);
        header.extend(self.mode.to_le_bytes());
        header.extend(self.modified.0.to_le_bytes());
        header.extend(self.modified.1.to_le_bytes());
        header.extend(length.to_le_bytes());
        header.extend(self.size.to_le_bytes());
        header.extend(&self.path);
        out.write_all(&header)
    }

    /// Reads one, and refuses what no honest writer writes.
    pub(super) fn read(input: &mut impl Read) -> io::Result<Self> {
        let mut header = [0; HEADER_BYTES];
        input.read_exact(&mut header)?;
        let [kind, m0, m1, s0, s1, s2, s3, s4, s5, s6, s7, n0, n1, n2, n3, l0, l1, size @ ..] = header;
        let kind = match kind {
            0 => Kind::End,
            1 => Kind::Directory,
            2 => Kind::File,
            3 => Kind::Unchanged,
            4 => Kind::Link,
            _ => return Err(malformed("an entry is of an unknown kind")),
        };
        let length = usize::from(u16::from_le_bytes([l0, l1]));
        let size = u64::from_le_bytes(size);
        if length > MAX_PATH_BYTES {
            return Err(malformed("a path is too long"));
        }
        let mut path = vec![0; length];
        input.read_exact(&mut path)?;
        check_path(&path)?;
        let mode = u16::from_le_bytes([m0, m1]);
        if mode & !0o777 != 0 {
            return Err(malformed("an entry has a mode that no workspace may hold"));
        }
        let nanoseconds = u32::from_le_bytes([n0, n1, n2, n3]);
        if nanoseconds >= 1_000_000_000 {
            return Err(malformed("an entry has an impossible time"));
        }
        match kind {
            Kind::End | Kind::Directory | Kind::Unchanged if size != 0 => {
                return Err(malformed("bytes follow an entry that has none"));
            }
            Kind::Link if size == 0 || size > MAX_TARGET_BYTES => {
                return Err(malformed("a link leads to an impossible place"));
            }
            Kind::File | Kind::Unchanged | Kind::Link if path.is_empty() => {
                return Err(malformed("the root is not a directory"));
            }
            _ => {}
        }
        let modified = (i64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]), nanoseconds);
        Ok(Self { kind, mode, modified, path, size })
    }

    /// Reads the target that follows a link.
    pub(super) fn target(&self, input: &mut impl Read) -> io::Result<Vec<u8>> {
        let mut target = vec![0; usize::try_from(self.size.min(MAX_TARGET_BYTES)).unwrap_or_default()];
        input.read_exact(&mut target)?;
        if target.contains(&0) {
            return Err(malformed("a link leads to an impossible place"));
        }
        Ok(target)
    }
}

/// Whether a path stays below its root, without a detour, and is one the kernel would take.
fn check_path(path: &[u8]) -> io::Result<()> {
    if path.is_empty() {
        return Ok(());
    }
    for name in path.split(|byte| *byte == b'/') {
        if name.is_empty() || name == b"." || name == b".." || name.contains(&0) {
            return Err(malformed("a path leaves its root or is none"));
        }
        if name.len() > MAX_NAME_BYTES {
            return Err(malformed("a name is too long"));
        }
    }
    if depth(path) > MAX_DEPTH { Err(malformed("directories are nested too deeply")) } else { Ok(()) }
}

/// Whether a path belongs to the repository at the top.
pub(super) fn is_repository(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').next().is_some_and(|first| first.eq_ignore_ascii_case(REPOSITORY))
}

/// How many directories a path lies in, the root among them; 0 for the root itself.
pub(super) fn depth(path: &[u8]) -> usize {
    if path.is_empty() { 0 } else { path.split(|byte| *byte == b'/').count() }
}

/// The parent of a path; the root's is itself.
#[cfg(feature = "host")]
pub(super) fn parent(path: &[u8]) -> &[u8] {
    path.iter().rposition(|byte| *byte == b'/').and_then(|at| path.get(..at)).unwrap_or_default()
}

/// The last name of a path.
#[cfg(feature = "host")]
pub(super) fn name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

/// An error about what was read, not about reading.
pub(super) fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Where the stream begins on a disk.
pub(super) const STREAM_AT: u64 = 4096;

/// Marks a disk that holds a tree.
const MAGIC: [u8; 8] = *b"bptree1\n";

/// Longest explanation of why there is no tree, in bytes.
const MAX_REASON_BYTES: usize = 1024;

/// The block in front of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Label {
    /// Grows with each tree that is put on this disk; 0 means none was.
    pub(super) generation: u64,
    /// Why there is no tree; empty if there is one.
    pub(super) reason: String,
}

impl Label {
    /// As a whole block.
    pub(super) fn to_block(&self) -> Vec<u8> {
        let mut block = Vec::with_capacity(STREAM_AT as usize);
        let reason = self.reason.as_bytes();
        let reason = reason.get(..reason.len().min(MAX_REASON_BYTES)).unwrap_or_default();
        block.extend(MAGIC);
        block.extend(self.generation.to_le_bytes());
        block.extend((reason.len() as u32).to_le_bytes());
        block.extend(reason);
        block.resize(STREAM_AT as usize, 0);
        block
    }

    /// From the beginning of a disk. An empty disk has generation 0.
    pub(super) fn from_block(block: &[u8]) -> io::Result<Self> {
        let none = || malformed("the disk between host and machine carries no label");
        let (magic, rest) = block.split_first_chunk::<8>().ok_or_else(none)?;
        if magic.iter().all(|byte| *byte == 0) {
            return Ok(Self { generation: 0, reason: String::new() });
        }
        let (generation, rest) = rest.split_first_chunk::<8>().ok_or_else(none)?;
        let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(none)?;
        let length = u32::from_le_bytes(*length) as usize;
        if *magic != MAGIC || length > MAX_REASON_BYTES {
            return Err(none());
        }
        let reason = String::from_utf8_lossy(rest.get(..length).ok_or_else(none)?).into_owned();
        Ok(Self { generation: u64::from_le_bytes(*generation), reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str) -> Entry {
        Entry {
            kind: Kind::File,
            mode: 0o644,
            modified: (1_700_000_000, 5),
            path: path.as_bytes().to_vec(),
            size: 3,
        }
    }

    fn round(entry: &Entry) -> io::Result<Entry> {
        let mut bytes = Vec::new();
        entry.write(&mut bytes)?;
        Entry::read(&mut bytes.as_slice())
    }

    #[test]
    fn an_entry_comes_back_as_it_was() {
        for path in ["a", "a/b/c", "..a/b..", "\u{fc}/\u{1f980}"] {
            assert_eq!(round(&entry(path)).unwrap(), entry(path));
        }
        assert_eq!(round(&Entry::end()).unwrap(), Entry::end());
    }

    #[test]
    fn paths_that_leave_the_root_are_refused() {
        let long = "x".repeat(256);
        let deep = "d/".repeat(64) + "f";
        for path in ["", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/.", "a\0b", &long, &deep] {
            assert!(round(&entry(path)).is_err(), "{path:?}");
        }
    }

    #[test]
    fn paths_are_taken_apart() {
        assert_eq!((depth(b""), depth(b"a"), depth(b"a/b")), (0, 1, 2));
        assert_eq!((parent(b"a"), parent(b"a/b/c")), (b"".as_slice(), b"a/b".as_slice()));
        assert_eq!((name(b"a"), name(b"a/b/c")), (b"a".as_slice(), b"c".as_slice()));
    }

    #[test]
    fn modes_that_change_who_runs_a_file_are_refused() {
        for mode in [0o4755, 0o2755, 0o1755, 0o10_0644] {
            assert!(round(&Entry { mode, ..entry("a") }).is_err(), "{mode:o}");
        }
    }

    #[test]
    fn other_kinds_are_refused() {
        let mut bytes = Vec::new();
        entry("a").write(&mut bytes).unwrap();
        for kind in 5..=u8::MAX {
            if let Some(first) = bytes.first_mut() {
                *first = kind;
            }
            assert!(Entry::read(&mut bytes.as_slice()).is_err());
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_are_too_strange(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let mut input = bytes.as_slice();
            if let Ok(entry) = Entry::read(&mut input) {
                drop(entry.target(&mut input));
            }
            drop(Label::from_block(&bytes));
        }
    }

    #[test]
    fn a_size_reserves_no_memory() {
        let huge = Entry { size: u64::MAX, kind: Kind::Link, ..entry("a") };
        assert!(round(&huge).is_err());
        assert!(round(&Entry { size: u64::MAX, ..entry("a") }).is_ok(), "a file is read piece by piece");
    }

    #[test]
    fn labels_come_back_and_strangers_do_not() {
        let label = Label { generation: 7, reason: "no".to_owned() };
        assert_eq!(Label::from_block(&label.to_block()).unwrap(), label);
        assert_eq!(Label::from_block(&[0; 4096]).unwrap().generation, 0);
        assert!(Label::from_block(&[1; 4096]).is_err());
        assert!(Label::from_block(b"bptree1\n").is_err());
    }
}
