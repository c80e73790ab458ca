//! Images of directories: what a machine sees of the host without reaching it.
//! Packed once for each content; a directory that changed is packed again and never shown as it was.

use std::{
    fs::{self, File, Metadata},
    io::{Read, Seek, SeekFrom},
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    process::Command,
};

use sha2::{Digest, Sha256};

use super::cache::{Cache, hex};

/// What packs a directory. It is on every Debian, and every kernel reads what it makes.
const MKE2FS: [&str; 3] = ["/usr/sbin/mke2fs", "/sbin/mke2fs", "/usr/bin/mke2fs"];

/// Bytes the file system needs for itself at least.
const OVERHEAD_BYTES: u64 = 8 << 20;

/// Size of a block of the file system, in bytes.
const BLOCK_BYTES: u64 = 4096;

/// An image of a directory, as it is now.
pub(super) fn of_directory(cache: &Cache, directory: &Path) -> Result<PathBuf, String> {
    let survey = Survey::of(directory)?;
    cache.keep(&format!("{}.ext4", survey.key), |draft| pack(directory, &survey, draft))
}

pub(super) fn pack(directory: &Path, survey: &Survey, to: &Path) -> Result<(), String> {
    let program = MKE2FS
        .iter()
        .map(Path::new)
        .find(|path| path.exists())
        .ok_or("`mke2fs` is missing, which packs directories; install `e2fsprogs`")?;
    let inodes = survey.entries + survey.entries / 16 + 64;
    let bytes = survey.bytes + survey.bytes / 16 + inodes * 256 + OVERHEAD_BYTES;
    let output = Command::new(program)
        .env_clear()
        .args(["-q", "-F", "-t", "ext4", "-O", "^has_journal,^resize_inode", "-m", "0", "-b", "4096"])
        .args(["-E", "nodiscard", "-N", &inodes.to_string(), "-d"])
        .arg(directory)
        .arg(to)
        .arg(format!("{}k", bytes.div_ceil(1024)))
        .output()
        .map_err(|error| format!("`{}` could not be started: {error}", program.display()))?;
    if output.status.success() {
        Ok(())
    } else {
        let why = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
        Err(format!("`{}` cannot be packed: {why}", directory.display()))
    }
}

/// What there is to pack, and a name for exactly that.
pub(super) struct Survey {
    pub(super) key: String,
    entries: u64,
    bytes: u64,
}

impl Survey {
    /// That of one file.
    pub(super) fn of_file(path: &Path, meta: &Metadata) -> Self {
        let mut sum = Sha256::new();
        sum.update(path.as_os_str().as_bytes());
        sum.update(format!("\0{:?}\0", (meta.dev(), meta.ino(), identity(meta))));
        Self { key: hex(&sum.finalize()), entries: 1, bytes: meta.len().next_multiple_of(BLOCK_BYTES) }
    }

    /// That of a directory.
    pub(super) fn of(directory: &Path) -> Result<Self, String> {
        let failed = |path: &Path, error| format!("`{}` cannot be read: {error}", path.display());
        let mut sum = Sha256::new();
        sum.update(directory.as_os_str().as_bytes());
        let (mut entries, mut bytes) = (0, 0);
        let mut open = vec![directory.to_owned()];
        while let Some(place) = open.pop() {
            let mut found: Vec<_> =
                fs::read_dir(&place).map_err(|error| failed(&place, error))?.flatten().collect();
            found.sort_by_key(fs::DirEntry::file_name);
            for entry in found {
                let path = entry.path();
                let meta = entry.metadata().map_err(|error| failed(&path, error))?;
                sum.update(path.as_os_str().as_bytes());
                sum.update(format!("\0{:?}\0", identity(&meta)));
                entries += 1;
                bytes += meta.len().next_multiple_of(BLOCK_BYTES);
                if meta.is_dir() {
                    open.push(path);
                }
            }
        }
        Ok(Self { key: hex(&sum.finalize()), entries, bytes })
    }
}

/// What changes when a file does.
fn identity(meta: &Metadata) -> (u32, u32, u64, i64, i64, i64, i64) {
    let (modified, changed) = (meta.mtime(), meta.ctime());
    (meta.mode(), meta.uid(), meta.size(), modified, meta.mtime_nsec(), changed, meta.ctime_nsec())
}

/// The type of an image's file system, as the kernel calls it.
pub(super) fn file_system(image: &Path) -> Result<&'static str, String> {
    let read = || {
        let mut file = File::open(image)?;
        let mut first = [0; 4];
        file.read_exact(&mut first)?;
        let mut second = [0; 64];
        file.seek(SeekFrom::Start(1024))?;
        file.read_exact(&mut second)?;
        Ok((first, second))
    };
    let (first, second) =
        read().map_err(|error: std::io::Error| format!("`{}` cannot be read: {error}", image.display()))?;
    if first == *b"hsqs" {
        Ok("squashfs")
    } else if second.starts_with(&0xE0F5_E1E2_u32.to_le_bytes()) {
        Ok("erofs")
    } else if second.get(56..58) == Some(&[0x53, 0xEF]) {
        Ok("ext4")
    } else {
        Err(format!("`{}` is no ext4, squashfs or erofs image", image.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_packed_once_and_again_when_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&dir.path().join("cache")).unwrap();
        let source = dir.path().join("source");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("file"), "one").unwrap();
        let first = of_directory(&cache, &source).unwrap();
        assert_eq!(file_system(&first).unwrap(), "ext4");
        assert_eq!(of_directory(&cache, &source).unwrap(), first);
        fs::write(source.join("file"), "three").unwrap();
        assert_ne!(of_directory(&cache, &source).unwrap(), first);
    }

    #[test]
    fn what_is_no_image_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), vec![7; 8192]).unwrap();
        assert!(file_system(file.path()).unwrap_err().contains("no ext4"));
        fs::write(file.path(), "hsqs").unwrap();
        assert!(file_system(file.path()).is_err(), "too short for anything");
    }
}
