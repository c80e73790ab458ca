//! What a machine is shown read-only beside its base system: a directory or a single file of the host, on a disk.
//! Only what was named is on it, as it is when the machine is made; the machine can never write to it.

use std::{
    fs::{self, File, Permissions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::{
    boot::ONLY_FILE,
    cache::Cache,
    image::{self, Survey},
};
use crate::{contract::Backend, error::StartError};

/// Largest single file, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// Files up to here, in bytes, are packed for each machine and leave nothing in the cache: they are of one run, such as
/// certificates. Larger ones are programs, which are the same for many machines.
const PASSING_BYTES: u64 = 1 << 20;

/// The disk of one of them.
#[derive(Debug)]
pub(super) struct Shown {
    disk: File,
    within: &'static str,
}

impl Shown {
    /// Packs a file or directory of the host, unless that was done before.
    pub(super) fn of(cache: &Cache, host: &Path) -> Result<Self, StartError> {
        let source = |source| StartError::Source { path: host.to_owned(), source };
        let unsupported = |what: String| StartError::Unsupported { backend: Backend::Microvm, what };
        let meta = fs::metadata(host).map_err(source)?;
        if meta.is_dir() {
            let image = image::of_directory(cache, host).map_err(StartError::Missing)?;
            return Ok(Self { disk: File::open(image).map_err(source)?, within: "" });
        }
        if !meta.is_file() {
            return Err(unsupported(format!("`{}`, which is no file and no directory", host.display())));
        }
        // Its size and its content are of the same file, whatever is put in its place.
        let file = File::open(host).map_err(source)?;
        let meta = file.metadata().map_err(source)?;
        if !meta.is_file() || meta.size() > MAX_FILE_BYTES {
            let what = format!("`{}`: single files of more than {MAX_FILE_BYTES} bytes", host.display());
            return Err(unsupported(what));
        }
        let pack = |draft: &Path| {
            pack(&file, &meta, draft).map_err(|why| format!("`{}` cannot be packed: {why}", host.display()))
        };
        let disk = if meta.size() <= PASSING_BYTES {
            cache.passing(pack).map_err(StartError::Missing)?
        } else {
            let image = cache.keep(&format!("{}.ext4", Survey::of_file(host, &meta).key), pack);
            File::open(image.map_err(StartError::Missing)?).map_err(source)?
        };
        Ok(Self { disk, within: ONLY_FILE })
    }

    /// The disk.
    pub(super) fn disk(&self) -> &File {
        &self.disk
    }

    /// Where on the disk it is; empty for all of it.
    pub(super) fn within(&self) -> &Path {
        Path::new(self.within)
    }
}

/// Packs one file, by way of a folder that holds nothing else.
fn pack(file: &File, meta: &fs::Metadata, draft: &Path) -> Result<(), String> {
    let told = |error: io::Error| error.to_string();
    let folder = Folder(draft.with_extension("folder.draft"));
    fs::create_dir(&folder.0).map_err(told)?;
    let copy = folder.0.join(ONLY_FILE);
    let mut from = file.try_clone().map_err(told)?;
    let copied = io::copy(&mut (&mut from).take(meta.size()), &mut File::create_new(&copy).map_err(told)?);
    if copied.map_err(told)? != meta.size() {
        return Err("it became shorter while it was read".to_owned());
    }
    fs::set_permissions(&copy, Permissions::from_mode(meta.mode() & 0o777)).map_err(told)?;
    image::pack(&folder.0, &Survey::of(&folder.0)?, draft)
}

/// A folder that goes with its holder, and is swept with the drafts of the cache if its holder dies.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_files_leave_nothing_in_the_cache_and_large_ones_an_image_each() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("cache");
        let cache = Cache::open(&place).unwrap();
        let kept = || fs::read_dir(&place).unwrap().count();
        let (small, large) = (dir.path().join("small"), dir.path().join("large"));
        fs::write(&small, "certificates").unwrap();
        fs::write(&large, vec![7; 1 + PASSING_BYTES as usize]).unwrap();
        let shown = Shown::of(&cache, &small).unwrap();
        assert!(shown.disk().metadata().unwrap().size() > 1 << 20);
        assert_eq!((shown.within(), kept()), (Path::new("file"), 0));
        for _ in 0..2 {
            assert_eq!(Shown::of(&cache, &large).unwrap().within(), Path::new("file"));
            assert_eq!(kept(), 1);
        }
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Shown::of(&cache, folder.path()).unwrap().within(), Path::new(""));
    }

    #[test]
    fn what_cannot_be_shown_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&dir.path().join("cache")).unwrap();
        let huge = dir.path().join("huge");
        File::create(&huge).unwrap().set_len(MAX_FILE_BYTES + 1).unwrap();
        let error = Shown::of(&cache, &huge).unwrap_err().to_string();
        assert!(error.contains("huge") && error.contains("1073741824 bytes"), "{error}");
        let error = Shown::of(&cache, Path::new("/dev/null")).unwrap_err().to_string();
        assert!(error.contains("no file and no directory"), "{error}");
        assert!(matches!(Shown::of(&cache, Path::new("/no/such")), Err(StartError::Source { .. })));
    }
}
