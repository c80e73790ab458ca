//! The texts a blueprint is made of, and places in them. Holds text that was read elsewhere; never reads a
//! file itself.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A place in one of the texts of a [`SourceSet`], in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Span {
    /// Which text, as named in the set.
    pub file: Arc<str>,
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// A span over `range` of `file`.
    pub fn new(file: &Arc<str>, range: Range<usize>) -> Self {
        Self { file: Arc::clone(file), start: range.start, end: range.end }
    }

    /// The byte range without the file.
    pub fn range(&self) -> Range<usize> {
        self.start..self.end
    }
}

/// Every text that a blueprint refers to, by the path it was found at (project-relative, `/` separated).
///
/// It is stored with a run, so that a resumed run never depends on what the files say today.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceSet {
    /// The path of the blueprint itself.
    pub entry: String,
    /// All texts, the entry among them.
    pub files: BTreeMap<String, String>,
}

impl SourceSet {
    /// A set of a single text.
    pub fn single(path: impl Into<String>, text: impl Into<String>) -> Self {
        let entry = path.into();
        Self { files: BTreeMap::from([(entry.clone(), text.into())]), entry }
    }

    /// The text at `path`.
    pub fn get(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// BLAKE3 over the names and texts, as lower-case hex. Two sets with the same digest are the same blueprint.
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut field = |bytes: &[u8]| {
            hasher.update(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
            hasher.update(bytes);
        };
        field(self.entry.as_bytes());
        for (path, text) in &self.files {
            field(path.as_bytes());
            field(text.as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }
}

/// A path that a blueprint at `from` names as `target`, relative to the project.
///
/// Returns `None` if it is absolute, holds a backslash or NUL, or leaves the project.
pub fn resolve_path(from: &str, target: &str) -> Option<String> {
    if target.starts_with('/') || target.contains(['\\', '\0']) || target.is_empty() {
        return None;
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// One-based line and column (in characters) of byte `at` in `text`.
pub fn line_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at.min(text.len())).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |l| l.chars().count()) + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside_the_project() {
        assert_eq!(
            resolve_path("blueprints/a/blueprint.toml", "prompts/x.md").unwrap(),
            "blueprints/a/prompts/x.md"
        );
        assert_eq!(resolve_path("a.toml", "./b.toml").unwrap(), "b.toml");
        assert_eq!(resolve_path("x/a.toml", "../b.toml").unwrap(), "b.toml");
        assert_eq!(resolve_path("a.toml", "../b.toml"), None);
        assert_eq!(resolve_path("a.toml", "/etc/passwd"), None);
        assert_eq!(resolve_path("a.toml", "b\\c"), None);
    }

    #[test]
    fn the_digest_tells_names_from_texts() {
        let a = SourceSet::single("a", "bc");
        let b = SourceSet::single("ab", "c");
        assert_ne!(a.digest(), b.digest());
    }
}
