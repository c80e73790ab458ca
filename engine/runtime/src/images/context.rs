//! The files that a build may copy, as one archive that is the same for the same files. Reads below one folder of the project
//! and nowhere else: no link is followed, and none that leads out is sent. History and state of the project never are.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Seek as _, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::FileType;
use tar::{Builder, EntryType, Header};
use thiserror::Error;

use super::ignore::Ignores;
use crate::workspace::fsdir::{Dir, file_stat, file_type};

/// The largest context, in bytes of its files.
pub const MAX_CONTEXT: u64 = 256 << 20;
/// The most files, folders and links of a context.
const MAX_ENTRIES: u64 = 100_000;
/// How deep folders may lie inside each other.
const MAX_DEPTH: usize = 64;
/// The largest `.dockerignore`, in bytes.
const MAX_IGNORES: u64 = 1 << 20;
const IGNORES: &str = ".dockerignore";
/// The Dockerfile in an archive. Not one of the project's files: its text is known from elsewhere.
pub(super) const DOCKERFILE: &str = ".blueprint.dockerfile";
/// Where a project keeps its runs if nothing else is said.
const STATE: &str = ".blueprint";

/// Why the files cannot be sent.
#[derive(Debug, Error)]
pub enum ContextError {
    /// One cannot be read.
    #[error("`{path}` cannot be read")]
    Unreadable {
        /// Relative to the project.
        path: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A link leads out.
    #[error("`{path}` is a link that leads out of the files a build may see")]
    LeadsOut {
        /// Relative to the context.
        path: String,
    },
    /// Something that is no file.
    #[error("`{path}` is no file, folder or link")]
    Special {
        /// Relative to the context.
        path: String,
    },
    /// Its name is not text.
    #[error("a name in `{path}` is not text")]
    Name {
        /// The folder it is in.
        path: String,
    },
    /// They are too large.
    #[error("the files of `{path}` are more than 256 MiB")]
    TooLarge {
        /// The context.
        path: String,
    },
    /// There are too many of them.
    #[error("`{path}` holds more than 100000 files, or folders too deep inside each other")]
    TooMany {
        /// The context.
        path: String,
    },
    /// One changed while it was read.
    #[error("`{path}` changed while it was read")]
    Changed {
        /// Relative to the context.
        path: String,
    },
    /// The patterns cannot be understood.
    #[error("a line of `.dockerignore` cannot be understood: `{line}`")]
    Ignores {
        /// Which.
        line: String,
    },
    /// The archive could not be written.
    #[error("the archive of the files could not be written")]
    Archive(#[source] io::Error),
}

/// An archive of files.
#[derive(Debug)]
pub(super) struct Packed {
    /// It, from its beginning; a file without a name.
    pub(super) archive: File,
    /// BLAKE3 of it, as lower-case hex.
    pub(super) digest: String,
}

/// Packs the files of a folder of the project with a Dockerfile. Without a folder, the Dockerfile alone.
pub(super) fn pack(
    project: &Path,
    folder: Option<&str>,
    state: &Path,
    dockerfile: &str,
) -> Result<Packed, ContextError> {
    let file = tempfile::tempfile().map_err(ContextError::Archive)?;
    let sink = Sink { file: BufWriter::new(file), hash: blake3::Hasher::new() };
    let mut packer = Packer {
        archive: Builder::new(sink),
        ignores: Ignores::default(),
        context: folder.unwrap_or_default().to_owned(),
        state: std::fs::metadata(state).ok().map(|meta| (meta.dev(), meta.ino())),
        left: MAX_CONTEXT,
        entries: 0,
    };
    // The builder takes these two away again before it begins, because they say so themselves.
    packer.text(DOCKERFILE, dockerfile)?;
    packer.text(IGNORES, &format!("{IGNORES}\n{DOCKERFILE}\n"))?;
    if let Some(folder) = folder {
        let unreadable = |source| ContextError::Unreadable { path: folder.to_owned(), source };
        let root = project.canonicalize().map_err(unreadable)?;
        let mut dir = Dir::open_root(&root).map_err(unreadable)?;
        for part in folder.split('/').filter(|part| !part.is_empty()) {
            dir = dir.open_dir(part.as_bytes()).map_err(unreadable)?;
        }
        packer.ignores = Packer::ignores(&dir)?;
        packer.folder(&dir, "", 0)?;
    }
    let sink = packer.archive.into_inner().map_err(ContextError::Archive)?;
    let mut archive = sink.file.into_inner().map_err(|error| ContextError::Archive(error.into_error()))?;
    archive.rewind().map_err(ContextError::Archive)?;
    Ok(Packed { archive, digest: sink.hash.finalize().to_hex().to_string() })
}

struct Sink {
    file: BufWriter<File>,
    hash: blake3::Hasher,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

struct Packer {
    archive: Builder<Sink>,
    ignores: Ignores,
    context: String,
    /// Device and number of the folder that holds the runs.
    state: Option<(u64, u64)>,
    left: u64,
    entries: u64,
}

impl Packer {
    fn text(&mut self, name: &str, text: &str) -> Result<(), ContextError> {
        let mut header = header(EntryType::Regular, 0o644, text.len() as u64);
        self.archive.append_data(&mut header, name, text.as_bytes()).map_err(ContextError::Archive)
    }

    fn ignores(dir: &Dir) -> Result<Ignores, ContextError> {
        let unreadable = |source| ContextError::Unreadable { path: IGNORES.to_owned(), source };
        let file = match dir.open_file(IGNORES.as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ignores::default()),
            other => other.map_err(unreadable)?,
        };
        if !file.metadata().map_err(unreadable)?.is_file() {
            return Err(ContextError::Special { path: IGNORES.to_owned() });
        }
        let mut text = String::new();
        file.take(MAX_IGNORES + 1).read_to_string(&mut text).map_err(unreadable)?;
        if text.len() as u64 > MAX_IGNORES {
            return Err(ContextError::Ignores { line: "it is larger than 1 MiB".to_owned() });
        }
        Ignores::read(&text).map_err(|line| ContextError::Ignores { line })
    }

    fn folder(&mut self, dir: &Dir, path: &str, depth: usize) -> Result<(), ContextError> {
        let too_many = || ContextError::TooMany { path: self.context.clone() };
        if depth > MAX_DEPTH {
            return Err(too_many());
        }
        let unreadable = |path: &str, source| ContextError::Unreadable { path: path.to_owned(), source };
        let names =
            dir.names(MAX_ENTRIES).map_err(|source| unreadable(path, source))?.ok_or_else(too_many)?;
        for name in names {
            let name = std::str::from_utf8(&name)
                .map_err(|_| ContextError::Name { path: format!("{}/{path}", self.context) })?;
            let here = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            let reserved = path.is_empty() && [DOCKERFILE, IGNORES].contains(&name);
            let at_top = self.context.is_empty() && path.is_empty();
            if name.eq_ignore_ascii_case(".git") || reserved || (at_top && name == STATE) {
                continue;
            }
            let out = self.ignores.keeps_out(&here);
            let stat = dir.stat(name.as_bytes()).map_err(|source| unreadable(&here, source))?;
            let kind = file_type(&stat);
            if out && (kind != FileType::Directory || !self.ignores.brings_back()) {
                continue;
            }
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return Err(ContextError::TooMany { path: self.context.clone() });
            }
            match kind {
                FileType::Directory => {
                    let inner = dir.open_dir(name.as_bytes()).map_err(|source| unreadable(&here, source))?;
                    let stat = inner.own_stat().map_err(|source| unreadable(&here, source))?;
                    if self.state == Some((stat.st_dev, stat.st_ino)) {
                        continue;
                    }
                    if !out {
                        let mut header = header(EntryType::Directory, 0o755, 0);
                        let appended = self.archive.append_data(&mut header, format!("{here}/"), io::empty());
                        appended.map_err(ContextError::Archive)?;
                    }
                    self.folder(&inner, &here, depth + 1)?;
                }
                FileType::RegularFile => self.file(dir, name, &here)?,
                FileType::Symlink => {
                    let target =
                        dir.read_link(name.as_bytes()).map_err(|source| unreadable(&here, source))?;
                    let target = String::from_utf8(target)
                        .map_err(|_| ContextError::Name { path: format!("{}/{path}", self.context) })?;
                    if !stays(path, &target) {
                        return Err(ContextError::LeadsOut { path: here });
                    }
                    let mut header = header(EntryType::Symlink, 0o777, 0);
                    self.archive.append_link(&mut header, &here, target).map_err(ContextError::Archive)?;
                }
                _ => return Err(ContextError::Special { path: here }),
            }
        }
        Ok(())
    }

    fn file(&mut self, dir: &Dir, name: &str, here: &str) -> Result<(), ContextError> {
        let unreadable = |source| ContextError::Unreadable { path: here.to_owned(), source };
        let changed = || ContextError::Changed { path: here.to_owned() };
        let file = dir.open_file(name.as_bytes()).map_err(unreadable)?;
        let stat = file_stat(&file).map_err(unreadable)?;
        if file_type(&stat) != FileType::RegularFile {
            return Err(changed());
        }
        let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
        self.left = self
            .left
            .checked_sub(size)
            .ok_or_else(|| ContextError::TooLarge { path: self.context.clone() })?;
        let mode = if stat.st_mode & 0o100 == 0 { 0o644 } else { 0o755 };
        let mut read = Counted { inner: file.take(size), count: 0 };
        let appended = self.archive.append_data(&mut header(EntryType::Regular, mode, size), here, &mut read);
        appended.map_err(ContextError::Archive)?;
        if read.count == size { Ok(()) } else { Err(changed()) }
    }
}

struct Counted {
    inner: io::Take<File>,
    count: u64,
}

impl io::Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count += read as u64;
        Ok(read)
    }
}

/// Whose it was and when it was written says nothing about what is built.
fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

/// Whether a link in a folder of the context stays in the context.
fn stays(folder: &str, target: &str) -> bool {
    let mut depth = folder.split('/').filter(|part| !part.is_empty()).count();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => match depth.checked_sub(1) {
                Some(up) => depth = up,
                None => return false,
            },
            _ => depth += 1,
        }
    }
    !target.starts_with('/') && !target.is_empty()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    struct Project(tempfile::TempDir);

    impl Project {
        fn new() -> Self {
            let project = Self(tempfile::tempdir().unwrap());
            project.write("ci/a", "a").write("ci/sub/b", "b").write("secret", "s");
            project
        }

        fn write(&self, path: &str, text: &str) -> &Self {
            let path = self.0.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
            self
        }

        fn path(&self, path: &str) -> std::path::PathBuf {
            self.0.path().join(path)
        }

        fn pack(&self, folder: &str) -> Result<Packed, ContextError> {
            pack(self.0.path(), Some(folder), &self.path("elsewhere"), "FROM scratch\n")
        }

        fn digest(&self) -> String {
            self.pack("ci").unwrap().digest
        }

        fn names(&self, folder: &str) -> Vec<String> {
            let mut archive = tar::Archive::new(self.pack(folder).unwrap().archive);
            let entries = archive.entries().unwrap();
            let names = entries.map(|entry| entry.unwrap().path().unwrap().to_str().unwrap().to_owned());
            names.filter(|name| ![IGNORES, DOCKERFILE].contains(&name.as_str())).collect()
        }
    }

    #[test]
    fn the_same_files_give_the_same_archive_and_other_files_another() {
        let project = Project::new();
        let first = project.digest();
        project.write("ci/a", "a").write("secret", "t");
        assert_eq!(project.digest(), first, "neither time nor what is outside counts");
        project.write("ci/a", "A");
        let second = project.digest();
        assert_ne!(second, first);
        std::fs::set_permissions(project.path("ci/a"), std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_ne!(project.digest(), second);
        let other = pack(project.0.path(), Some("ci"), &project.path("x"), "FROM a\n").unwrap();
        assert_ne!(other.digest, project.digest());
    }

    #[test]
    fn history_state_and_what_is_ignored_are_never_sent() {
        let project = Project::new();
        project
            .write(".git/config", "")
            .write("ci/.git/x", "")
            .write(".blueprint/x", "")
            .write("state/x", "");
        project.write(".dockerignore", "secret\nci/sub\n!ci/sub/b\n").write("ci/sub/c", "");
        let packed = pack(project.0.path(), Some(""), &project.path("state"), "").unwrap();
        let mut archive = tar::Archive::new(packed.archive);
        let names: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(names, [DOCKERFILE, IGNORES, "ci/", "ci/a", "ci/sub/b"]);
        assert_eq!(project.names("ci"), ["a", "sub/", "sub/b", "sub/c"], "each context has its own file");
    }

    #[test]
    fn no_link_leads_out_and_no_folder_is_one() {
        let project = Project::new();
        symlink("sub/b", project.path("ci/inside")).unwrap();
        assert_eq!(project.names("ci"), ["a", "inside", "sub/", "sub/b"]);
        for target in ["../secret", "/etc/passwd", "sub/../../secret"] {
            let link = project.path("ci/out");
            symlink(target, &link).unwrap();
            assert!(matches!(project.pack("ci"), Err(ContextError::LeadsOut { .. })), "{target}");
            project.write("ci/.dockerignore", "out");
            assert!(!project.names("ci").contains(&"out".to_owned()));
            std::fs::remove_file(&link).unwrap();
            std::fs::remove_file(project.path("ci/.dockerignore")).unwrap();
        }
        symlink("/etc", project.path("etc")).unwrap();
        symlink("ci", project.path("alias")).unwrap();
        for folder in ["etc", "alias", "alias/sub", "none", "secret"] {
            assert!(matches!(project.pack(folder), Err(ContextError::Unreadable { .. })), "{folder}");
        }
        symlink("/etc/hostname", project.path("ci/.dockerignore")).unwrap();
        assert!(matches!(project.pack("ci"), Err(ContextError::Unreadable { .. })));
    }

    #[test]
    fn what_is_no_file_or_too_much_is_refused() {
        let project = Project::new();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            project.path("ci/pipe"),
            FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        assert!(matches!(project.pack("ci"), Err(ContextError::Special { .. })));
        std::fs::remove_file(project.path("ci/pipe")).unwrap();
        File::create(project.path("ci/hole")).unwrap().set_len(MAX_CONTEXT + 1).unwrap();
        assert!(matches!(project.pack("ci"), Err(ContextError::TooLarge { .. })));
        std::fs::remove_file(project.path("ci/hole")).unwrap();
        project.write("ci/.dockerignore", "a**b");
        assert!(matches!(project.pack("ci"), Err(ContextError::Ignores { .. })));
        std::fs::remove_file(project.path("ci/.dockerignore")).unwrap();
        let deep = "ci/".to_owned() + &"d/".repeat(MAX_DEPTH + 2);
        std::fs::create_dir_all(project.path(&deep)).unwrap();
        assert!(matches!(project.pack("ci"), Err(ContextError::TooMany { .. })));
    }
}
