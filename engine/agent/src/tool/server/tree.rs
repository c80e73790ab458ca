//! Files below one folder. Every part of a path is opened by itself and none of them may be a symbolic link, so
//! there is no path that leads outside, and none that leads into `.git` under another name.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use cap_fs_ext::{DirExt as _, FollowSymlinks, OpenOptionsFollowExt as _};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, File, OpenOptions, Permissions, PermissionsExt as _};

use super::Fault;
use crate::tool::arguments::shown;

/// The largest file that is read or written, in bytes.
pub(super) const LARGEST: usize = 8 * 1024 * 1024;
/// The longest path, in bytes.
const LONGEST_PATH: usize = 4096;
/// How many folders a path may lead through: what is deeper is hard to get rid of again.
const DEEPEST: usize = 64;
/// What a file is written as before it takes its name. Left over only by a process that was killed, and then replaced
/// by the next one.
const UNFINISHED: &str = ".blueprint~unfinished";

/// A file as it was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) bytes: Vec<u8>,
    pub(super) permissions: Permissions,
}

impl Found {
    /// Its text; a change of anything else would be a guess.
    pub(super) fn text(&self, path: &str) -> Result<&str, Fault> {
        std::str::from_utf8(&self.bytes).map_err(|error| {
            let at = error.valid_up_to();
            Fault::at(path, format!("is not UTF-8 text (byte {at}), and only such files can be edited"))
        })
    }
}

/// What stands at a path.
#[derive(Debug)]
pub(super) enum Entry {
    Missing,
    Folder,
    File,
    Link(PathBuf),
    Other,
}

/// The folder everything is below.
#[derive(Debug)]
pub(super) struct Tree {
    root: Dir,
    /// Where it is, for walks.
    pub(super) path: PathBuf,
}

impl Tree {
    pub(super) fn open(path: &Path) -> Result<Self, Fault> {
        let root = Dir::open_ambient_dir(path, ambient_authority())
            .map_err(|error| Fault::Told(format!("the workspace cannot be opened: {error}")))?;
        Ok(Self { root, path: path.to_owned() })
    }

    /// What stands at `path`. Its folders must be there.
    pub(super) fn entry(&self, path: &str) -> Result<Entry, Fault> {
        let parts = parts(path)?;
        let Some((name, folders)) = parts.split_last() else { return Ok(Entry::Folder) };
        entry(&self.folder(path, folders)?, name).map_err(|error| system(path, &error))
    }

    /// Reads a file.
    pub(super) fn read(&self, path: &str) -> Result<Found, Fault> {
        let file = self.file(path)?;
        let metadata = file.metadata().map_err(|error| system(path, &error))?;
        let mut bytes = Vec::new();
        let size =
            file.take(LARGEST as u64 + 1).read_to_end(&mut bytes).map_err(|error| system(path, &error))?;
        if size > LARGEST {
            return Err(Fault::at(path, format!("is larger than {LARGEST} bytes")));
        }
        Ok(Found { bytes, permissions: metadata.permissions() })
    }

    /// Reads a file if there is one.
    pub(super) fn find(&self, path: &str) -> Result<Option<Found>, Fault> {
        let parts = parts(path)?;
        let mut folder = self.root.try_clone().map_err(|error| system(path, &error))?;
        for (at, part) in parts.iter().enumerate() {
            match entry(&folder, part).map_err(|error| system(path, &error))? {
                Entry::Missing => return Ok(None),
                Entry::Folder if at + 1 < parts.len() => {
                    folder = folder.open_dir_nofollow(part).map_err(|error| system(path, &error))?;
                }
                _ => return self.read(path).map(Some),
            }
        }
        Err(Fault::at(path, "is a folder, not a file"))
    }

    /// Opens a regular file for reading.
    pub(super) fn file(&self, path: &str) -> Result<File, Fault> {
        let parts = parts(path)?;
        let Some((name, folders)) = parts.split_last() else { return Err(not_a_file(path, &Entry::Folder)) };
        let folder = self.folder(path, folders)?;
        match entry(&folder, name).map_err(|error| system(path, &error))? {
            Entry::File => {}
            other => return Err(not_a_file(path, &other)),
        }
        let mut options = OpenOptions::new();
        options.read(true).follow(FollowSymlinks::No);
        folder.open_with(name, &options).map_err(|error| system(path, &error))
    }

    /// Makes `bytes` what the file holds, at once or not at all. Folders that are missing are made; `permissions` are
    /// those of the file before it, and none for a new file.
    pub(super) fn write(
        &self,
        path: &str,
        bytes: &[u8],
        permissions: Option<Permissions>,
    ) -> Result<(), Fault> {
        if bytes.len() > LARGEST {
            return Err(Fault::at(path, format!("would be larger than {LARGEST} bytes")));
        }
        let parts = parts(path)?;
        let Some((name, folders)) = parts.split_last() else { return Err(not_a_file(path, &Entry::Folder)) };
        let folder = self.made(path, folders)?;
        match entry(&folder, name).map_err(|error| system(path, &error))? {
            Entry::File | Entry::Missing => {}
            other => return Err(not_a_file(path, &other)),
        }
        let written =
            unfinished(&folder, bytes, permissions).and_then(|()| folder.rename(UNFINISHED, &folder, name));
        written.map_err(|error| {
            // What is left of it must not stay in the workspace; that it cannot be removed changes nothing here.
            let _gone = folder.remove_file(UNFINISHED).is_ok();
            system(path, &error)
        })
    }

    /// Removes a file.
    pub(super) fn remove(&self, path: &str) -> Result<(), Fault> {
        let parts = parts(path)?;
        let Some((name, folders)) = parts.split_last() else { return Err(not_a_file(path, &Entry::Folder)) };
        let folder = self.folder(path, folders)?;
        match entry(&folder, name).map_err(|error| system(path, &error))? {
            // A link is removed itself, not what it leads to.
            Entry::File | Entry::Link(_) => folder.remove_file(name).map_err(|error| system(path, &error)),
            other => Err(not_a_file(path, &other)),
        }
    }

    fn folder(&self, path: &str, parts: &[&str]) -> Result<Dir, Fault> {
        let mut folder = self.root.try_clone().map_err(|error| system(path, &error))?;
        for part in parts {
            folder = open_folder(&folder, part, path)?;
        }
        Ok(folder)
    }

    fn made(&self, path: &str, parts: &[&str]) -> Result<Dir, Fault> {
        let mut folder = self.root.try_clone().map_err(|error| system(path, &error))?;
        for part in parts {
            if matches!(entry(&folder, part), Ok(Entry::Missing)) {
                folder.create_dir(part).map_err(|error| system(path, &error))?;
            }
            folder = open_folder(&folder, part, path)?;
        }
        Ok(folder)
    }
}

/// The names a path is made of; none of them for the folder itself.
pub(super) fn parts(path: &str) -> Result<Vec<&str>, Fault> {
    if path.len() > LONGEST_PATH {
        return Err(Fault::at(path, format!("is longer than {LONGEST_PATH} bytes")));
    }
    if path.contains('\0') {
        return Err(Fault::at(path, "holds a NUL"));
    }
    if path.starts_with('/') {
        return Err(Fault::at(path, "is absolute; paths are relative to the workspace"));
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.len() > DEEPEST {
        return Err(Fault::at(path, format!("leads through more than {DEEPEST} folders")));
    }
    if parts.contains(&"..") {
        return Err(Fault::at(path, "goes up with `..`"));
    }
    if parts.iter().any(|part| is_git(part)) {
        return Err(Fault::at(path, "belongs to git, and file tools never touch that"));
    }
    Ok(parts)
}

/// Whether a name is that of git's own folder.
pub(super) fn is_git(name: &str) -> bool {
    name.eq_ignore_ascii_case(".git")
}

fn entry(folder: &Dir, name: &str) -> io::Result<Entry> {
    let metadata = match folder.symlink_metadata(name) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Entry::Missing),
        Err(error) => return Err(error),
    };
    let kind = metadata.file_type();
    Ok(if kind.is_file() {
        Entry::File
    } else if kind.is_dir() {
        Entry::Folder
    } else if kind.is_symlink() {
        Entry::Link(folder.read_link_contents(name)?)
    } else {
        Entry::Other
    })
}

fn open_folder(folder: &Dir, name: &str, path: &str) -> Result<Dir, Fault> {
    match entry(folder, name).map_err(|error| system(path, &error))? {
        Entry::Folder => folder.open_dir_nofollow(name).map_err(|error| system(path, &error)),
        Entry::Missing => Err(Fault::at(path, format!("the folder `{}` is not there", shown(name, 200)))),
        Entry::Link(to) => {
            let (name, to) = (shown(name, 200), shown(&to.to_string_lossy(), 200));
            Err(Fault::at(path, format!("`{name}` is a symbolic link to `{to}`, and links are not followed")))
        }
        _ => Err(Fault::at(path, format!("`{}` is not a folder", shown(name, 200)))),
    }
}

fn not_a_file(path: &str, entry: &Entry) -> Fault {
    let reason = match entry {
        Entry::Missing => "is not there".to_owned(),
        Entry::Folder => "is a folder, not a file".to_owned(),
        Entry::Link(to) => {
            let to = shown(&to.to_string_lossy(), 200);
            format!("is a symbolic link to `{to}`, and links are not followed")
        }
        Entry::File | Entry::Other => "is a device, a socket or a pipe, not a file".to_owned(),
    };
    Fault::at(path, reason)
}

fn unfinished(folder: &Dir, bytes: &[u8], permissions: Option<Permissions>) -> io::Result<()> {
    if !matches!(entry(folder, UNFINISHED)?, Entry::Missing) {
        folder.remove_file(UNFINISHED)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).follow(FollowSymlinks::No);
    let mut file = folder.open_with(UNFINISHED, &options)?;
    file.write_all(bytes)?;
    permissions.map_or(Ok(()), |permissions| file.set_permissions(permissions))
}

/// The permissions of a new file that can be run, or cannot.
pub(super) fn new_permissions(executable: bool) -> Permissions {
    Permissions::from_mode(if executable { 0o755 } else { 0o644 })
}

fn system(path: &str, error: &io::Error) -> Fault {
    let reason = match error.kind() {
        io::ErrorKind::NotFound => "is not there".to_owned(),
        io::ErrorKind::PermissionDenied => "may not be touched: permission denied".to_owned(),
        io::ErrorKind::InvalidFilename => "has a name that is too long".to_owned(),
        _ => error.to_string(),
    };
    Fault::at(path, reason)
}
