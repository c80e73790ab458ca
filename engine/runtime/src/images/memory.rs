//! Which image was built of what, remembered in the state folder. An image that merely carries the label of a recipe is
//! never taken for it: whatever was built, or inherits, may carry any label.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

const FILE: &str = "images.json";
/// The most that are remembered.
const MAX_KNOWN: usize = 256;
/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// The images that were built, by the digest of what went in.
#[derive(Debug)]
pub(super) struct Memory {
    path: PathBuf,
    known: BTreeMap<String, String>,
}

impl Memory {
    /// What is remembered in a state folder. What cannot be read is not known, and is built again.
    pub(super) fn of(state: &Path) -> Self {
        let path = state.join(FILE);
        let small = std::fs::metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() <= MAX_FILE);
        let text = small.then(|| std::fs::read(&path).ok()).flatten();
        let known = text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        Self { path, known }
    }

    /// The id of what was built.
    pub(super) fn get(&self, digest: &str) -> Option<&str> {
        self.known.get(digest).map(String::as_str)
    }

    /// Remembers. If that cannot be written, it is built again the next time.
    pub(super) fn keep(&mut self, digest: &str, id: &str) {
        while self.known.len() >= MAX_KNOWN {
            self.known.pop_first();
        }
        self.known.insert(digest.to_owned(), id.to_owned());
        drop(self.write());
    }

    fn write(&self) -> std::io::Result<()> {
        use std::os::unix::fs::DirBuilderExt as _;
        let folder = self.path.parent().unwrap_or(&self.path);
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut draft = tempfile::NamedTempFile::new_in(folder)?;
        draft.write_all(&serde_json::to_vec(&self.known)?)?;
        draft.persist(&self.path)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_built_is_remembered_and_nonsense_is_nothing() {
        let state = tempfile::tempdir().unwrap();
        let folder = state.path().join("new");
        Memory::of(&folder).keep("a", "sha256:1");
        assert_eq!(Memory::of(&folder).get("a"), Some("sha256:1"));
        assert_eq!(Memory::of(&folder).get("b"), None);
        std::fs::write(folder.join(FILE), "[1]").unwrap();
        assert_eq!(Memory::of(&folder).get("a"), None);
    }
}
