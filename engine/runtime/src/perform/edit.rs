//! `edit` nodes: changes to files of a checkout, one after the other. They count together or not at all: if one
//! does not fit, the node fails and its input stays its output. Never touches a file outside the checkout.

use std::sync::Arc;

use blueprint_core::expr::{EvalError, Text};
use blueprint_core::format::Workspace;
use blueprint_core::graph::{Action, Edit, EditKind};
use blueprint_core::run::{Failure, FailureClass, LostBecause, Success};
use serde_json::{Value, json};
use thiserror::Error;

use super::command::{origin, prepare};
use super::{Ending, Job, blocking};
use crate::scope::value_of;
use crate::shared::Shared;
use crate::trees::{Prepared, Trees};
use crate::workspace::{ApplyError, Clean};

use files::{FileError, Files};
use set::{Format, SetError};
use text::{Edited, TextError};

mod files;
mod json;
mod set;
mod text;
mod toml;
mod yaml;

#[cfg(test)]
mod tests;

/// The largest file that is edited, and that an edit leaves, in bytes.
const LARGEST: usize = 16 << 20;

/// An edit does not fit, or could not be tried.
#[derive(Debug, Error)]
enum EditError {
    /// A value of the edit cannot be computed.
    #[error("what to write has no value")]
    Value(#[from] EvalError),
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The text of the file does not fit.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The key cannot be set.
    #[error(transparent)]
    Set(#[from] SetError),
    /// The patch does not fit.
    #[error("the patch does not apply: {0}")]
    Patch(String),
    /// The machinery failed, or what is in the workspace cannot be kept.
    #[error("{}", .0.message)]
    Other(Box<Failure>),
}

/// Makes the edits of a node.
pub(super) async fn run(shared: &Arc<Shared>, job: &Job) -> Result<Success, Ending> {
    let node = job.node(shared);
    if !matches!(node.action, Action::Edit(_)) {
        return Err(Ending::Lost(LostBecause::Cancelled));
    }
    if !matches!(node.workspace, Workspace::Write | Workspace::Scratch) {
        let message = "edits need a workspace they may write: `workspace` of this node is neither \"write\" nor \"scratch\"";
        return Err(Failure::new(FailureClass::Policy, message).into());
    }
    let Some(mut prepared) = prepare(shared, job, node.workspace).await? else {
        return Err(Failure::new(FailureClass::Infra, "the run has no workspace").into());
    };
    let (shared, job) = (Arc::clone(shared), job.clone());
    let done = blocking(move || {
        let trees = shared
            .trees
            .as_ref()
            .ok_or_else(|| Failure::new(FailureClass::Infra, "the run has no workspace"))?;
        let done = all(&shared, trees, &job, &mut prepared);
        let left = prepared.commit.to_string();
        trees.give_back(prepared.checkout);
        done.map_err(|failure| Failure { tree: Some(left), ..failure })
    });
    Ok(done.await?)
}

/// Makes every edit, and keeps the result if the node's is to be kept.
fn all(shared: &Shared, trees: &Trees, job: &Job, prepared: &mut Prepared) -> Result<Success, Failure> {
    let node = job.node(shared);
    let Action::Edit(edits) = &node.action else {
        return Ok(Success { outputs: None, tree: None, record: Value::Null });
    };
    let mut made = Vec::new();
    for (at, edit) in edits.iter().enumerate() {
        let record = one(trees, job, edit, prepared).map_err(|error| failure(at + 1, edit, &error, &made))?;
        made.push(record);
    }
    let changed = made.iter().any(|record| record["changed"] == true);
    let mut record = json!({ "edits": made, "changed": changed });
    let mut tree = prepared.merged.then(|| prepared.commit.to_string());
    if node.workspace == Workspace::Write {
        let (commit, flagged) = trees.capture(prepared, origin(shared, job))?;
        if !flagged.is_empty() {
            record["flagged"] = json!(flagged);
        }
        tree = commit.map(|commit| commit.to_string());
        if changed && tree.as_deref().is_none_or(|tree| tree == prepared.commit.to_string()) {
            record["note"] = "what was written is left out by the ignore rules of the workspace, or undone by a later edit".into();
        }
    }
    if !changed {
        record["note"] = "nothing changed: the files say already what the edits make them say".into();
    }
    Ok(Success { outputs: None, tree, record })
}

/// Puts whole files into the workspace of a node, as what stands in for it does, and keeps the result. Returns the commit.
pub(super) async fn put(
    shared: &Arc<Shared>,
    job: &Job,
    texts: Vec<(String, String)>,
) -> Result<Option<String>, Ending> {
    let Some(mut prepared) = prepare(shared, job, Workspace::Write).await? else { return Ok(None) };
    let (shared, job) = (Arc::clone(shared), job.clone());
    let done = blocking(move || {
        let Some(trees) = shared.trees.as_ref() else { return Ok(None) };
        let written = texts.iter().try_for_each(|(path, text)| {
            let path = trees.in_tree(path);
            let files = Files::open(prepared.checkout.dir())?;
            files.write(&path, text, files.read(&path)?.as_ref())
        });
        let written = written.map_err(|error| {
            let message = format!("the stub could not write: {}", crate::chain(&error));
            Failure::new(FailureClass::Policy, message)
        });
        let kept = written.and_then(|()| trees.capture(&mut prepared, origin(&shared, &job)));
        trees.give_back(prepared.checkout);
        kept.map(|(commit, _)| commit.map(|commit| commit.to_string()))
    });
    Ok(done.await?)
}

fn failure(number: usize, edit: &Edit, error: &EditError, made: &[Value]) -> Failure {
    let subject = match &edit.kind {
        EditKind::Patch(_) => format!("edit {number} (patch)"),
        kind => format!("edit {number} ({} in `{}`)", name_of(kind), edit.file),
    };
    let class = match error {
        EditError::Other(failure) => failure.class,
        EditError::File(error) if error.blames_machine() => FailureClass::Infra,
        _ => FailureClass::Command,
    };
    let reason = crate::chain(error);
    let fingerprint =
        (class == FailureClass::Command).then(|| crate::fingerprint::of(&subject, reason.as_bytes()));
    let message = format!("{subject} was not made, and no other edit of the node counts: {reason}");
    Failure {
        fingerprint,
        record: json!({ "edits": made, "failed": number }),
        ..Failure::new(class, message)
    }
}

fn name_of(kind: &EditKind) -> &'static str {
    match kind {
        EditKind::Replace { .. } => "replace",
        EditKind::Regex { .. } => "regex",
        EditKind::InsertAtLine { .. } | EditKind::InsertAtEnd { .. } => "insert",
        EditKind::Template(_) => "template",
        EditKind::Patch(_) => "patch",
        EditKind::Set { .. } => "set",
    }
}

/// Makes one edit and says what it did.
fn one(trees: &Trees, job: &Job, edit: &Edit, prepared: &mut Prepared) -> Result<Value, EditError> {
    if let EditKind::Patch(patch) = &edit.kind {
        return apply(trees, patch, prepared);
    }
    let render = |text: &Text| text.render(&job.scope);
    let files = Files::open(prepared.checkout.dir())?;
    let path = trees.in_tree(&edit.file);
    let found = files.read(&path)?;
    let mut record = json!({ "kind": name_of(&edit.kind), "file": edit.file });
    let there = || found.as_ref().ok_or(FileError::Missing)?.text();
    let edited = match &edit.kind {
        EditKind::Replace { find, with, count } => text::replace(there()?, find, &render(with)?, *count)?,
        EditKind::Regex { find, with, count } => text::regex(there()?, find, &render(with)?, *count)?,
        EditKind::InsertAtLine { text, anchor, side } => {
            text::insert_at_line(there()?, &render(text)?, anchor, *side)?
        }
        EditKind::InsertAtEnd { text, place } => {
            let before = found.as_ref().map_or(Ok(""), |found| found.text())?;
            text::insert_at_end(before, &render(text)?, *place)?
        }
        EditKind::Template(text) => Edited { text: render(text)?, places: 1 },
        EditKind::Set { key, value } => {
            record["key"] = set::spelled(key).into();
            let format = Format::of(&edit.file).ok_or(SetError::UnknownFormat)?;
            Edited { text: set::set(format, there()?, key, &value_of(value, &job.scope)?)?, places: 1 }
        }
        EditKind::Patch(_) => return Err(FileError::Path.into()),
    };
    if matches!(edit.kind, EditKind::Replace { .. } | EditKind::Regex { .. }) {
        record["replacements"] = edited.places.into();
    }
    let changed = found.as_ref().is_none_or(|found| found.bytes != edited.text.as_bytes());
    record["changed"] = changed.into();
    if found.is_none() {
        record["created"] = true.into();
    }
    if changed {
        files.write(&path, &edited.text, found.as_ref())?;
    }
    Ok(record)
}

/// Applies a patch to what the workspace holds by now.
fn apply(trees: &Trees, patch: &str, prepared: &mut Prepared) -> Result<Value, EditError> {
    let repository = trees.repository();
    let infra = |what: &str, error: &dyn std::error::Error| {
        EditError::Other(Box::new(Failure::new(
            FailureClass::Infra,
            format!("{what}: {}", crate::chain(error)),
        )))
    };
    let before = prepared.checkout.capture(repository).map_err(|error| {
        let class = if error.blames_content() { FailureClass::Policy } else { FailureClass::Infra };
        let message = format!("the workspace cannot be read: {}", crate::chain(&error));
        EditError::Other(Box::new(Failure::new(class, message)))
    })?;
    let after = repository.apply_patch(before.tree, patch.as_bytes()).map_err(|error| match error {
        ApplyError::Rejected { reason } => EditError::Patch(reason.trim().to_owned()),
        other => infra("git could not apply the patch", &other),
    })?;
    prepared
        .checkout
        .set_to(repository, after, Clean::Untracked)
        .map_err(|error| infra("the checkout could not be brought to the result of the patch", &error))?;
    let touched = repository
        .diff_stat(before.tree, after)
        .map_err(|error| infra("git could not say what the patch changed", &error))?;
    let files: Vec<String> = touched.iter().map(|file| file.path.to_string()).collect();
    Ok(json!({ "kind": "patch", "files": files, "changed": before.tree != after }))
}
