//! A private folder for what takes long to make, and digests of what is given to a machine.
//! Whoever can write in it decides what runs in machines, so it must belong to the caller alone.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use nix::unistd::geteuid;
use sha2::{Digest, Sha256};

/// The folder.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    root: PathBuf,
}

impl Cache {
    /// Opens or makes it.
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(root)?;
        let meta = fs::metadata(root)?;
        if meta.uid() != geteuid().as_raw() || meta.mode() & 0o022 != 0 {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "others may write to it; give it to the caller alone (`chmod 700`)",
            ));
        }
        let cache = Self { root: root.to_owned() };
        cache.sweep();
        Ok(cache)
    }

    /// The file of this name, made now if it is not there. What is being made carries another name.
    pub(super) fn keep(
        &self,
        name: &str,
        make: impl FnOnce(&Path) -> Result<(), String>,
    ) -> Result<PathBuf, String> {
        let place = self.root.join(name);
        if place.exists() {
            return Ok(place);
        }
        let draft = self.draft();
        let finish = |draft: &Path| {
            // Readable for whom the emulator runs as; the folder keeps everybody else out.
            fs::set_permissions(draft, Permissions::from_mode(0o444))?;
            File::open(draft)?.sync_all()?;
            fs::rename(draft, &place)
        };
        let made = make(&draft).and_then(|()| {
            finish(&draft).map_err(|error| format!("`{}` cannot be kept: {error}", place.display()))
        });
        if made.is_err() {
            drop(fs::remove_file(&draft));
        }
        made.map(|()| place)
    }

    /// A file that is made now and then has no name any more.
    pub(super) fn passing(&self, make: impl FnOnce(&Path) -> Result<(), String>) -> Result<File, String> {
        let draft = self.draft();
        let made = make(&draft).and_then(|()| {
            File::open(&draft).map_err(|error| format!("`{}` cannot be read: {error}", draft.display()))
        });
        let removed = fs::remove_file(&draft);
        let file = made?;
        removed.map_err(|error| format!("`{}` cannot be removed: {error}", draft.display()))?;
        Ok(file)
    }

    /// The name of what this process is making.
    fn draft(&self) -> PathBuf {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        self.root.join(format!("blueprint-{}-{number}.draft", std::process::id()))
    }

    /// A file without a name, which is gone with its last user.
    pub(super) fn unnamed(&self) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).mode(0o600).custom_flags(libc::O_TMPFILE).open(&self.root)
    }

    /// The digest of a file, from memory as long as the file does not change.
    pub(super) fn digest(&self, path: &Path) -> Result<String, String> {
        let failed = |error: io::Error| format!("`{}` cannot be read: {error}", path.display());
        let mut file = File::open(path).map_err(failed)?;
        let meta = file.metadata().map_err(failed)?;
        let identity =
            (path, meta.dev(), meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec(), meta.ctime());
        let name = format!("{}.digest", hex(&Sha256::digest(format!("{identity:?}"))));
        let place = self.keep(&name, |draft| {
            let mut sum = Sha256::new();
            let mut buffer = vec![0; 1 << 20];
            loop {
                match file.read(&mut buffer).map_err(failed)? {
                    0 => break,
                    count => sum.update(buffer.get(..count).unwrap_or_default()),
                }
            }
            fs::write(draft, hex(&sum.finalize())).map_err(failed)
        })?;
        fs::read_to_string(place).map_err(failed)
    }

    /// Removes what processes that are gone did not finish.
    fn sweep(&self) {
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_name().to_str().is_some_and(is_abandoned)) {
            let folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            drop(if folder { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) });
        }
    }
}

/// Whether a name is that of a draft whose maker is gone.
fn is_abandoned(name: &str) -> bool {
    let maker = name.strip_prefix("blueprint-").and_then(|rest| rest.strip_suffix(".draft"));
    let maker = maker.and_then(|rest| rest.split_once('-')).and_then(|(pid, _)| pid.parse::<u32>().ok());
    maker.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
}

/// Bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // A text takes whatever is written to it.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_others_may_write_to_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        assert!(Cache::open(dir.path()).is_err());
        fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
        assert!(Cache::open(dir.path()).is_ok());
    }

    #[test]
    fn what_is_kept_is_made_once_and_what_fails_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        assert!(cache.keep("a", |_| Err("no".to_owned())).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        for text in ["first", "second"] {
            let place = cache.keep("a", |draft| fs::write(draft, text).map_err(|e| e.to_string())).unwrap();
            assert_eq!(fs::read(place).unwrap(), b"first");
        }
    }

    #[test]
    fn a_digest_follows_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&dir.path().join("cache")).unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "abc").unwrap();
        let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(cache.digest(&file).unwrap(), sum);
        fs::write(&file, "other").unwrap();
        assert_ne!(cache.digest(&file).unwrap(), sum);
    }

    #[test]
    fn only_abandoned_drafts_are_swept() {
        assert!(!is_abandoned(&format!("blueprint-{}-0.draft", std::process::id())));
        assert!(is_abandoned("blueprint-4194305-0.draft"), "no process can have this number");
        assert!(is_abandoned("blueprint-4194305-0.folder.draft"));
        assert!(!is_abandoned("initrd-abc"));
    }
}
