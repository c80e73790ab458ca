//! The guest's end of the disks: what the host changed comes in before a command, what it left goes out after.
//! Works only while no command does, so that nothing changes under it; the host believes none of what it sends.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs::{self, DirBuilder, File, FileTimes, Metadata, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::{
        fd::AsRawFd,
        unix::{
            ffi::OsStrExt,
            fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown, symlink},
        },
    },
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{
    disk,
    stamp::{self, Stamp},
    tree::{self, Entry, Kind, Label, MAX_DEPTH, MAX_ENTRIES, malformed},
};
use crate::{
    launcher::{During, INSIDE_ID},
    wire::{Failure, Stage},
};

/// The workspace inside, and what the host knows of it.
#[derive(Debug)]
pub(super) struct Exchange {
    /// The workspace without anything that was mounted in it. Its path reaches it whatever the view is.
    _directory: File,
    root: PathBuf,
    import: disk::Reader,
    /// Where what is left goes; nowhere if it is thrown away.
    export: Option<File>,
    imported: u64,
    exported: u64,
    /// What both sides have.
    shared: BTreeMap<Vec<u8>, Stamp>,
    most_bytes: u64,
}

impl Exchange {
    pub(super) fn new(directory: File, import: disk::Reader, export: Option<File>, most_bytes: u64) -> Self {
        // The dot makes it the directory and not the link to it.
        let root = PathBuf::from(format!("/proc/self/fd/{}/.", directory.as_raw_fd()));
        let shared = BTreeMap::new();
        Self { _directory: directory, root, import, export, imported: 0, exported: 0, shared, most_bytes }
    }

    /// Takes over what the host changed since the last time.
    pub(super) fn before_command(&mut self) -> Result<(), Failure> {
        let what = "the workspace cannot be taken in";
        let label = self.import.label().during(Stage::Source, what)?;
        if label.generation == self.imported {
            return Ok(());
        }
        self.unpack().during(Stage::Source, what)?;
        self.imported = label.generation;
        Ok(())
    }

    /// Gives the host what a command left. That it could not is on the disk, for the host to read.
    pub(super) fn after_command(&mut self) -> Result<(), Failure> {
        let what = "the workspace cannot be given back";
        let Some(export) = &self.export else { return Ok(()) };
        let mut writer = disk::Writer::on(export).during(Stage::Source, what)?;
        let sent = self.pack(&mut writer);
        self.exported += 1;
        let reason = match sent {
            Ok(shared) => {
                self.shared = shared;
                String::new()
            }
            Err(error) => error.to_string(),
        };
        writer.finish(&Label { generation: self.exported, reason }).during(Stage::Source, what)
    }

    fn at(&self, path: &[u8]) -> PathBuf {
        if path.is_empty() { self.root.clone() } else { self.root.join(OsStr::from_bytes(path)) }
    }

    fn unpack(&mut self) -> io::Result<()> {
        let mut listed = BTreeSet::new();
        let mut directories = Vec::new();
        loop {
            let entry = Entry::read(&mut self.import)?;
            let at = self.at(&entry.path);
            match entry.kind {
                Kind::End => break,
                Kind::Directory => {
                    if !entry.path.is_empty() && !is_directory(&at) {
                        remove(&at)?;
                        DirBuilder::new().mode(0o700).create(&at)?;
                    }
                    directories.push(entry.clone());
                }
                Kind::File => {
                    remove(&at)?;
                    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&at)?;
                    let copied = io::copy(&mut (&mut self.import).take(entry.size), &mut file)?;
                    if copied != entry.size {
                        return Err(malformed("a file ends too early"));
                    }
                    lchown(&at, Some(INSIDE_ID), Some(INSIDE_ID))?;
                    dress(&file, &entry)?;
                }
                Kind::Link => {
                    remove(&at)?;
                    let target = entry.target(&mut self.import)?;
                    symlink(OsStr::from_bytes(&target), &at)?;
                    lchown(&at, Some(INSIDE_ID), Some(INSIDE_ID))?;
                }
                Kind::Unchanged => {
                    // What never comes out may differ from the host's.
                    let kept_apart = self.export.is_none() || tree::is_repository(&entry.path);
                    if !kept_apart && !fs::symlink_metadata(&at)?.is_file() {
                        return Err(malformed("a file that should be here is not"));
                    }
                }
            }
            listed.insert(entry.path);
        }
        // What only this side has stays; what both had and the host has no more goes.
        for path in self.shared.keys().rev().filter(|path| !listed.contains(*path)) {
            remove(&self.at(path))?;
        }
        for entry in directories.iter().rev() {
            let at = self.at(&entry.path);
            lchown(&at, Some(INSIDE_ID), Some(INSIDE_ID))?;
            dress(&File::open(&at)?, entry)?;
        }
        let mut shared = self.walk()?;
        shared.retain(|(path, _)| listed.contains(path));
        self.shared = stamped(shared)?;
        Ok(())
    }

    fn pack(&self, out: &mut impl Write) -> io::Result<BTreeMap<Vec<u8>, Stamp>> {
        let found = self.walk()?;
        let bytes: u64 = found.iter().filter(|(_, meta)| meta.is_file()).map(|(_, meta)| meta.len()).sum();
        if bytes > self.most_bytes {
            return Err(malformed("it holds more bytes than a workspace may"));
        }
        let mut sent = Vec::with_capacity(found.len());
        for (path, meta) in found {
            let mut entry = Entry {
                kind: Kind::Directory,
                mode: (meta.mode() & 0o777) as u16,
                modified: (meta.mtime(), u32::try_from(meta.mtime_nsec()).unwrap_or_default()),
                path: path.clone(),
                size: 0,
            };
            if meta.is_dir() {
                entry.write(out)?;
            } else if meta.is_symlink() {
                let target = fs::read_link(self.at(&path))?;
                let target = target.as_os_str().as_bytes();
                (entry.kind, entry.size) = (Kind::Link, target.len() as u64);
                entry.write(out)?;
                out.write_all(target)?;
            } else if meta.is_file() {
                if self.shared.get(&path).is_some_and(|known| known.is_of(&meta)) {
                    entry.kind = Kind::Unchanged;
                    entry.write(out)?;
                } else {
                    (entry.kind, entry.size) = (Kind::File, meta.len());
                    entry.write(out)?;
                    let file = File::open(self.at(&path))?;
                    if io::copy(&mut file.take(meta.len()), out)? != meta.len() {
                        return Err(malformed("a file changed while it was read"));
                    }
                }
            } else {
                // Pipes, sockets and devices mean nothing outside.
                continue;
            }
            sent.push((path, meta));
        }
        Entry::end().write(out)?;
        stamped(sent)
    }

    /// Everything but the repository at the top, which never leaves; directories before what is in them.
    fn walk(&self) -> io::Result<Vec<(Vec<u8>, Metadata)>> {
        let mut found = vec![(Vec::new(), fs::metadata(&self.root)?)];
        let mut next = 0;
        while let Some((path, meta)) = found.get(next) {
            next += 1;
            if !meta.is_dir() {
                continue;
            }
            if tree::depth(path) >= MAX_DEPTH {
                return Err(malformed("directories are nested too deeply"));
            }
            let prefix = path.clone();
            let mut names: Vec<_> = fs::read_dir(self.at(&prefix))?.collect::<io::Result<_>>()?;
            names.sort_by_key(fs::DirEntry::file_name);
            for entry in names {
                let mut path = prefix.clone();
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend(entry.file_name().as_bytes());
                if !tree::is_repository(&path) {
                    found.push((path, entry.metadata()?));
                }
            }
            if found.len() > MAX_ENTRIES {
                return Err(malformed("it holds more files than a workspace may"));
            }
        }
        Ok(found)
    }
}

fn stamped(found: Vec<(Vec<u8>, Metadata)>) -> io::Result<BTreeMap<Vec<u8>, Stamp>> {
    let now = stamp::settle(found.iter().map(|(_, meta)| meta))?;
    Ok(found.into_iter().map(|(path, meta)| (path, Stamp::of(&meta, now))).collect())
}

fn is_directory(at: &Path) -> bool {
    fs::symlink_metadata(at).is_ok_and(|meta| meta.is_dir())
}

/// Removes whatever is there.
fn remove(at: &Path) -> io::Result<()> {
    let removed = if is_directory(at) { fs::remove_dir_all(at) } else { fs::remove_file(at) };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Gives a file or directory its permissions and its time.
fn dress(file: &File, entry: &Entry) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(u32::from(entry.mode)))?;
    let (seconds, nanoseconds) = entry.modified;
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let second = if seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(whole)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(whole)
    };
    let time = second.and_then(|time| time.checked_add(Duration::from_nanos(nanoseconds.into())));
    file.set_times(FileTimes::new().set_modified(time.ok_or_else(|| malformed("an impossible time"))?))
}
