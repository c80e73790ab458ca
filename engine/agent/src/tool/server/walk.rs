//! Walks over the workspace as git sees it: what is ignored is left out, `.git` always, and links are not followed.

use std::path::{Path, PathBuf};

use ignore::{DirEntry, WalkBuilder};

use super::Fault;
use super::tree::{Entry, Tree, is_git, parts};

/// Something a walk came to.
#[derive(Debug)]
pub(super) struct Step {
    /// Its path below the workspace.
    pub(super) path: PathBuf,
    /// What it is; `None` for what is neither file, folder nor link.
    pub(super) kind: Option<Kind>,
}

/// What a walk can come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    Link,
}

/// Everything below `folder`, in the order of names. The walk begins at the workspace itself, so that what is ignored
/// above `folder` is ignored in it as well.
pub(super) fn walk(
    tree: &Tree,
    folder: &str,
    depth: Option<usize>,
    ignored: bool,
) -> Result<impl Iterator<Item = Step>, Fault> {
    match tree.entry(folder)? {
        Entry::Folder | Entry::File => {}
        Entry::Missing => return Err(Fault::at(folder, "is not there")),
        Entry::Link(_) => return Err(Fault::at(folder, "is a symbolic link, and links are not followed")),
        Entry::Other => return Err(Fault::at(folder, "is neither a file nor a folder")),
    }
    let start: PathBuf = parts(folder)?.iter().collect();
    let above = start.components().count();
    let (root, target) = (tree.path.clone(), start.clone());
    let mut builder = WalkBuilder::new(&tree.path);
    builder
        .standard_filters(false)
        .git_ignore(!ignored)
        .require_git(false)
        .follow_links(false)
        .max_depth(depth.map(|depth| depth.saturating_add(above)))
        .sort_by_file_name(Ord::cmp)
        .filter_entry(move |entry| wanted(entry, &root, &target));
    let root = tree.path.clone();
    // Folders that cannot be read are left out, as they are for git.
    Ok(builder.build().filter_map(Result::ok).filter_map(move |entry| {
        let path = entry.path().strip_prefix(&root).ok()?.to_owned();
        let inside = path.starts_with(&start) && (path != start || is_file(&entry));
        let kind = entry.file_type().and_then(|kind| {
            if kind.is_file() {
                Some(Kind::File)
            } else if kind.is_dir() {
                Some(Kind::Folder)
            } else {
                kind.is_symlink().then_some(Kind::Link)
            }
        });
        inside.then_some(Step { path, kind })
    }))
}

fn is_file(entry: &DirEntry) -> bool {
    entry.file_type().is_some_and(|kind| kind.is_file())
}

/// On the way to the folder, or below it; never git's own.
fn wanted(entry: &DirEntry, root: &Path, target: &Path) -> bool {
    let path = entry.path().strip_prefix(root).unwrap_or(entry.path());
    let git = path.components().any(|part| part.as_os_str().to_str().is_some_and(is_git));
    !git && (path.starts_with(target) || target.starts_with(path))
}

/// A path as it is shown: on one line, whatever is in it.
pub(super) fn name(path: &Path) -> String {
    let text = path.to_string_lossy();
    if text.chars().any(char::is_control) { format!("{text:?}") } else { text.into_owned() }
}
