//! Files of a workspace are read after a node is done with it: below the workspace only, never through links,
//! and never more than allowed.

use std::io::Read as _;
use std::path::Path;

use globset::{GlobBuilder, GlobSetBuilder};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use serde_json::{Value, json};

use crate::redact::Redactor;
use crate::store::Blobs;

/// The most files of one node.
const MAX_FILES: usize = 1000;
/// The largest file, in bytes.
pub const MAX_FILE: usize = 256 << 20;

/// Reads a file below `dir` that a sandbox may have made. `Err` says what is wrong, for people.
pub fn read_inside(dir: &Path, path: impl AsRef<Path>, limit: usize) -> Result<Vec<u8>, String> {
    let path = path.as_ref();
    let wrong = |why: String| format!("`{}` cannot be read: {why}", path.display());
    let root = rustix::fs::open(dir, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| wrong(e.to_string()))?;
    let file = rustix::fs::openat2(
        &root,
        path,
        OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    )
    .map_err(|e| wrong(e.to_string()))?;
    let file = std::fs::File::from(file);
    if !file.metadata().map_err(|e| wrong(e.to_string()))?.is_file() {
        return Err(wrong("it is not a file".to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(|e| wrong(e.to_string()))?;
    if bytes.len() > limit {
        return Err(wrong(format!("it is larger than {limit} bytes")));
    }
    Ok(bytes)
}

/// Keeps the files of a workspace that the globs name. A glob that names no file is a failure: somebody relies
/// on the artifact. So is a file that holds a secret of the run.
pub fn keep(blobs: &Blobs, redactor: &Redactor, dir: &Path, globs: &[String]) -> Result<Value, String> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        let glob = GlobBuilder::new(glob)
            .literal_separator(true)
            .build()
            .map_err(|e| format!("a glob of `artifacts` does not parse: {e}"))?;
        set.add(glob);
    }
    let set = set.build().map_err(|e| format!("the globs of `artifacts` cannot be used: {e}"))?;
    let mut found: Vec<(String, Vec<usize>)> = Vec::new();
    let walk = ignore::WalkBuilder::new(dir)
        .standard_filters(false)
        .follow_links(false)
        .sort_by_file_name(Ord::cmp)
        .build();
    for entry in walk {
        let entry = entry.map_err(|e| format!("the workspace cannot be searched for artifacts: {e}"))?;
        let is_file = entry.file_type().is_some_and(|ty| ty.is_file());
        let Ok(path) = entry.path().strip_prefix(dir) else { continue };
        if let (true, Some(path)) = (is_file, path.to_str()) {
            let matches = set.matches(path);
            if !matches.is_empty() {
                found.push((path.to_owned(), matches));
            }
        }
        if found.len() > MAX_FILES {
            return Err(format!("more than {MAX_FILES} files are named by `artifacts`"));
        }
    }
    if let Some(idle) = (0..globs.len()).find(|at| !found.iter().any(|(_, matches)| matches.contains(at))) {
        return Err(format!("no file is named by `{}` of `artifacts`", globs[idle]));
    }
    let mut kept = Vec::new();
    for (path, _) in found {
        let bytes = read_inside(dir, &path, MAX_FILE)?;
        if redactor.redact(&bytes) != bytes {
            return Err(format!("the artifact `{path}` holds a secret of this run"));
        }
        let digest = blobs
            .put(&bytes)
            .map_err(|error| format!("`{path}` could not be kept: {}", crate::chain(&error)))?;
        kept.push(json!({ "path": path, "bytes": bytes.len(), "blob": digest.to_string() }));
    }
    Ok(Value::Array(kept))
}
