//! The host's end of a machine's workspace: what goes in before a command, and what it knows the machine has.
//! Reads the workspace as it is on disk and follows nothing in it; writing it is the business of `take`.

use std::{
    collections::BTreeMap,
    fs::{File, Metadata},
    io::{self, BufWriter, Read, Seek, SeekFrom, Write},
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
};

use super::{
    place::Place,
    stamp::{self, Stamp},
    take,
    tree::{self, Entry, Kind, Label, MAX_DEPTH, MAX_ENTRIES, STREAM_AT, malformed},
};

/// A workspace of the host and the disks its content travels on.
#[derive(Debug)]
pub(super) struct Workspace {
    pub(super) place: Place,
    import: File,
    /// Where the machine puts what a command left; it has none if that is thrown away.
    pub(super) export: Option<File>,
    /// What both sides have.
    pub(super) shared: BTreeMap<Vec<u8>, Stamp>,
    imported: u64,
    pub(super) exported: u64,
    pub(super) most_bytes: u64,
}

impl Workspace {
    /// Opens it and puts all of it on the disk.
    pub(super) fn open(path: &Path, import: File, export: Option<File>, most_bytes: u64) -> io::Result<Self> {
        let place = Place::open(path)?;
        take::sweep(&place)?;
        let mut workspace =
            Self { place, import, export, shared: BTreeMap::new(), imported: 0, exported: 0, most_bytes };
        workspace.send()?;
        Ok(workspace)
    }

    /// The disk on which content goes in.
    pub(super) fn import_disk(&self) -> &File {
        &self.import
    }

    /// Puts on the disk what changed since the machine was told last.
    pub(super) fn send(&mut self) -> io::Result<()> {
        let found = self.walk()?;
        let same = self.imported > 0
            && found.len() == self.shared.len()
            && found.iter().all(|(path, meta)| self.shared.get(path).is_some_and(|known| known.is_of(meta)));
        if same {
            return Ok(());
        }
        let bytes: u64 = found.iter().filter(|(_, meta)| meta.is_file()).map(|(_, meta)| meta.len()).sum();
        if bytes > self.most_bytes {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("it holds {bytes} bytes, and the machine is made for {}", self.most_bytes),
            ));
        }
        let now = stamp::settle(found.iter().map(|(_, meta)| meta))?;
        self.import.seek(SeekFrom::Start(STREAM_AT))?;
        let mut out = BufWriter::with_capacity(1 << 20, &self.import);
        for (path, meta) in &found {
            self.send_one(path, meta, &mut out)?;
        }
        Entry::end().write(&mut out)?;
        // Whoever reads the disk reads whole pieces.
        out.flush()?;
        drop(out);
        self.imported += 1;
        let label = Label { generation: self.imported, reason: String::new() };
        self.import.write_all_at(&label.to_block(), 0)?;
        self.shared = found.into_iter().map(|(path, meta)| (path, Stamp::of(&meta, now))).collect();
        Ok(())
    }

    fn send_one(&self, path: &[u8], meta: &Metadata, out: &mut impl Write) -> io::Result<()> {
        let mut entry = Entry {
            kind: Kind::Directory,
            mode: (meta.mode() & 0o777) as u16,
            modified: (meta.mtime(), u32::try_from(meta.mtime_nsec()).unwrap_or_default()),
            path: path.to_vec(),
            size: 0,
        };
        if meta.is_dir() {
            return entry.write(out);
        }
        if meta.is_symlink() {
            let target = self.place.target(path)?;
            (entry.kind, entry.size) = (Kind::Link, target.len() as u64);
            entry.write(out)?;
            return out.write_all(&target);
        }
        if self.shared.get(path).is_some_and(|known| known.is_of(meta)) {
            entry.kind = Kind::Unchanged;
            return entry.write(out);
        }
        (entry.kind, entry.size) = (Kind::File, meta.len());
        entry.write(out)?;
        let file = self.place.read(path)?;
        if io::copy(&mut file.take(meta.len()), out)? == meta.len() {
            Ok(())
        } else {
            Err(malformed("a file changed while it was read"))
        }
    }

    /// Everything that can be shown: no pipes, sockets and devices. Directories come before what is in them.
    fn walk(&self) -> io::Result<Vec<(Vec<u8>, Metadata)>> {
        let mut found = vec![(Vec::new(), self.place.look(b"")?)];
        let mut next = 0;
        while let Some((prefix, meta)) = found.get(next).cloned() {
            next += 1;
            if !meta.is_dir() {
                continue;
            }
            if tree::depth(&prefix) >= MAX_DEPTH {
                return Err(malformed("its directories are nested too deeply"));
            }
            for name in self.place.names(&prefix)? {
                let mut path = prefix.clone();
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend(name);
                let meta = self.place.look(&path)?;
                if meta.is_file() || meta.is_dir() || meta.is_symlink() {
                    found.push((path, meta));
                }
            }
            if found.len() > MAX_ENTRIES {
                return Err(malformed("it holds more files than a machine takes"));
            }
        }
        Ok(found)
    }
}
