//! `fs.patch`: a unified diff over any number of files, applied as a whole or not at all. Line numbers are hints;
//! lines of context must be there exactly.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use cap_std::fs::{Permissions, PermissionsExt as _};
use diffy::patch_set::{FileMode, FileOperation, FilePatch, ParseOptions, PatchKind, PatchSet};
use diffy::{Line, Patch};
use serde::Deserialize;

use super::Fault;
use super::edit::{ends_in_crlf, nearest, to_crlf};
use super::tree::{Found, Tree, new_permissions, parts};
use crate::tool::arguments::shown;

mod recount;

/// How many files one patch may change.
const MOST_FILES: usize = 200;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Arguments {
    patch: String,
}

/// What one file becomes.
#[derive(Debug)]
struct Change {
    path: String,
    before: Option<Found>,
    /// What it holds and who may do what with it then; `None` if it goes away.
    after: Option<(String, Option<Permissions>)>,
}

pub(super) fn patch(tree: &Tree, arguments: Arguments) -> Result<String, Fault> {
    let mut patch = arguments.patch;
    if !patch.ends_with('\n') {
        patch.push('\n');
    }
    let counted = recount::recount(&patch).map_err(|reason| format!("the patch cannot be read: {reason}"))?;
    let (mut changes, mut hunks) = (Vec::new(), 0);
    for (number, file) in PatchSet::parse(&counted.text, ParseOptions::gitdiff()).enumerate() {
        let file = file.map_err(|error| {
            let error = shown(&error.to_string(), 300);
            Fault::Told(format!("file {} of the patch cannot be read: {error}", number + 1))
        })?;
        if number == MOST_FILES {
            return Err(Fault::Told(format!("the patch changes more than {MOST_FILES} files")));
        }
        hunks += file.patch().as_text().map_or(0, |patch| patch.hunks().len());
        changes.extend(change(tree, &file)?);
    }
    if hunks != counted.hunks {
        let all = counted.hunks;
        return Err(Fault::Told(format!(
            "only {hunks} of {all} hunks belong to a file: each file needs --- and +++"
        )));
    }
    if changes.is_empty() {
        return Err(Fault::Told("the patch changes nothing: it must be a unified diff".to_owned()));
    }
    let mut names = BTreeSet::new();
    for change in &changes {
        if !names.insert(parts(&change.path)?.join("/")) {
            return Err(Fault::at(&change.path, "is changed twice by the patch"));
        }
    }
    apply(tree, &changes)?;
    let mut out = String::new();
    for change in &changes {
        let done = match (&change.before, &change.after) {
            (None, _) => "created",
            (Some(_), Some(_)) => "changed",
            (Some(_), None) => "deleted",
        };
        let _ = writeln!(out, "{done} {}", shown(&change.path, 200));
    }
    Ok(out)
}

/// Writes all of them. If one cannot be written, those before it are put back.
fn apply(tree: &Tree, changes: &[Change]) -> Result<(), Fault> {
    for (at, change) in changes.iter().enumerate() {
        let done = match &change.after {
            Some((text, permissions)) => tree.write(&change.path, text.as_bytes(), permissions.clone()),
            None => tree.remove(&change.path),
        };
        let Err(fault) = done else { continue };
        let mut kept = Vec::new();
        for change in changes.iter().take(at).rev() {
            let back = match &change.before {
                Some(found) => tree.write(&change.path, &found.bytes, Some(found.permissions.clone())),
                None => tree.remove(&change.path),
            };
            if back.is_err() {
                kept.push(shown(&change.path, 200));
            }
        }
        let kept = if kept.is_empty() {
            "nothing was changed".to_owned()
        } else {
            format!("and these could not be put back: {}", kept.join(", "))
        };
        return Err(Fault::Told(format!("{fault}; {kept}")));
    }
    Ok(())
}

fn change(tree: &Tree, file: &FilePatch<'_, str>) -> Result<Vec<Change>, Fault> {
    let operation = stripped(file.operation());
    let executable = match file.new_mode() {
        None => None,
        Some(FileMode::Regular) => Some(false),
        Some(FileMode::Executable) => Some(true),
        Some(FileMode::Symlink | FileMode::Gitlink) => {
            return Err(Fault::Told("the patch makes a link, and only files can be made".to_owned()));
        }
    };
    let PatchKind::Text(patch) = file.patch() else {
        return Err(Fault::Told("the patch changes a binary file, and only text can be patched".to_owned()));
    };
    let one = |path, before, after| vec![Change { path, before, after }];
    Ok(match operation {
        FileOperation::Create(path) => {
            if tree.find(&path)?.is_some() {
                return Err(Fault::at(&path, "the patch creates it, but it is there already"));
            }
            let text = applied(&path, "", patch)?;
            let permissions = executable.map(new_permissions);
            one(path.into_owned(), None, Some((text, permissions)))
        }
        FileOperation::Delete(path) => {
            let before = tree.read(&path)?;
            let text = before.text(&path)?;
            let left = applied(&path, text, patch)?;
            if !patch.hunks().is_empty() && !left.is_empty() {
                return Err(Fault::at(
                    &path,
                    "the patch deletes it, but there is more in it than the patch takes out",
                ));
            }
            one(path.into_owned(), Some(before), None)
        }
        FileOperation::Modify { original, modified } => {
            if original != modified {
                let reason =
                    format!("the patch names it `{}` as well; to rename it, say so", shown(&modified, 200));
                return Err(Fault::at(&original, reason));
            }
            if patch.hunks().is_empty() && executable.is_none() {
                return Err(Fault::at(&original, "the patch names it and changes nothing"));
            }
            let before = tree.read(&original)?;
            let after =
                (applied(&original, before.text(&original)?, patch)?, Some(mode(&before, executable)));
            one(original.into_owned(), Some(before), Some(after))
        }
        FileOperation::Rename { from, to } => {
            let (before, after) = moved(tree, &from, &to, patch, executable)?;
            vec![
                Change { path: to.into_owned(), before: None, after: Some(after) },
                Change { path: from.into_owned(), before: Some(before), after: None },
            ]
        }
        FileOperation::Copy { from, to } => {
            let (_, after) = moved(tree, &from, &to, patch, executable)?;
            one(to.into_owned(), None, Some(after))
        }
    })
}

fn moved(
    tree: &Tree,
    from: &str,
    to: &str,
    patch: &Patch<'_, str>,
    executable: Option<bool>,
) -> Result<(Found, (String, Option<Permissions>)), Fault> {
    if tree.find(to)?.is_some() {
        return Err(Fault::at(to, "the patch creates it, but it is there already"));
    }
    let before = tree.read(from)?;
    let after = (applied(from, before.text(from)?, patch)?, Some(mode(&before, executable)));
    Ok((before, after))
}

/// The permissions it had, with the bits to run it as the patch says.
fn mode(before: &Found, executable: Option<bool>) -> Permissions {
    let old = before.permissions.mode();
    Permissions::from_mode(match executable {
        Some(true) => old | 0o111,
        Some(false) => old & !0o111,
        None => old,
    })
}

/// Paths without the `a/` and `b/` that git puts in front of them. Names of renames have none.
fn stripped<'a>(operation: &'a FileOperation<'_, str>) -> FileOperation<'a, str> {
    let strip = match operation {
        FileOperation::Create(path) => path.starts_with("b/"),
        FileOperation::Delete(path) => path.starts_with("a/"),
        FileOperation::Modify { original, modified } => {
            (original.starts_with("a/") && modified.starts_with("b/"))
                || (original == modified && original.starts_with("b/"))
        }
        FileOperation::Rename { .. } | FileOperation::Copy { .. } => false,
    };
    operation.strip_prefix(usize::from(strip))
}

fn applied(path: &str, text: &str, patch: &Patch<'_, str>) -> Result<String, Fault> {
    let crlf = ends_in_crlf(text) && !patch.hunks().iter().flat_map(diffy::Hunk::lines).any(in_crlf);
    let base = if crlf { text.replace("\r\n", "\n") } else { text.to_owned() };
    for (number, hunk) in patch.hunks().iter().enumerate() {
        let insert_only = hunk.lines().iter().all(|line| matches!(line, Line::Insert(_)));
        if insert_only && !base.is_empty() {
            let reason = format!("hunk {} has no lines of context, so there is no place for it", number + 1);
            return Err(Fault::at(path, reason));
        }
    }
    let after = diffy::apply(&base, patch).map_err(|error| {
        let mut reason = error.to_string();
        for (number, hunk) in patch.hunks().iter().enumerate() {
            let wanted: String = hunk.lines().iter().filter_map(old_line).collect();
            if !base.contains(&wanted) {
                let _ = write!(reason, "; the lines hunk {} is to change are not there", number + 1);
                reason.push_str(&nearest(&base, &wanted));
                if !base.ends_with('\n') {
                    reason.push_str("\n(the last line of the file has no end)");
                }
                return Fault::at(path, reason);
            }
        }
        reason
            .push_str("; its lines are only where an earlier hunk changed them, or in the middle of others");
        Fault::at(path, reason)
    })?;
    Ok(if crlf { to_crlf(&after) } else { after })
}

fn in_crlf(line: &Line<'_, str>) -> bool {
    let (Line::Context(line) | Line::Delete(line) | Line::Insert(line)) = line;
    line.ends_with("\r\n")
}

fn old_line<'a>(line: &Line<'a, str>) -> Option<&'a str> {
    match line {
        Line::Context(line) | Line::Delete(line) => Some(line),
        Line::Insert(_) => None,
    }
}
