//! The files a blueprint names. Says where they would be; never looks for them.

use std::ops::Range;

use super::document::Document;
use super::value::{Scalar, Sp, TextOr};
use crate::source::resolve_path;

/// What a file named by a blueprint is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileUse {
    /// Another blueprint.
    Blueprint,
    /// A text: a prompt, a template or a patch.
    Text,
    /// A Dockerfile.
    Dockerfile,
    /// A `devcontainer.json`, which may name a Dockerfile in turn.
    Devcontainer,
}

/// A file that a blueprint names: the first of the candidates that exists is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferencedFile {
    /// Paths to try, relative to the project. Empty if the name leaves the project.
    pub candidates: Vec<String>,
    /// The name as written, and where.
    pub name: String,
    /// Where it is named, in bytes.
    pub range: Range<usize>,
    /// What it is for.
    pub used_as: FileUse,
}

/// The paths at which the blueprint `name`, as named by the file `from`, may be.
pub fn blueprint_candidates(from: &str, name: &str) -> Vec<String> {
    if std::path::Path::new(name).extension().is_some_and(|ending| ending == "toml") {
        return resolve_path(from, name).into_iter().collect();
    }
    if name.is_empty() || name.contains(['/', '\\', '\0']) || name.starts_with('.') {
        return Vec::new();
    }
    vec![format!("blueprints/{name}/blueprint.toml"), format!("blueprints/{name}.toml")]
}

/// Every file that `document`, which is at `path`, names.
pub fn references(path: &str, document: &Document) -> Vec<ReferencedFile> {
    let mut found = Vec::new();
    let mut add = |name: &Sp<String>, used_as| {
        let candidates = match used_as {
            FileUse::Blueprint => blueprint_candidates(path, name),
            FileUse::Text => resolve_path(path, name).into_iter().collect(),
            // Of the project, wherever the blueprint is.
            FileUse::Dockerfile | FileUse::Devcontainer => resolve_path("", name).into_iter().collect(),
        };
        found.push(ReferencedFile {
            candidates,
            name: name.value.clone(),
            range: name.range.clone(),
            used_as,
        });
    };
    for name in &document.include {
        add(name, FileUse::Blueprint);
    }
    let images = document.nodes.iter().filter_map(|(_, node)| node.image.as_ref());
    for image in images.chain(&document.defaults.image) {
        let TextOr::Table(table) = &image.value else { continue };
        table.devcontainer.iter().for_each(|name| add(name, FileUse::Devcontainer));
        table.dockerfile.iter().for_each(|name| add(name, FileUse::Dockerfile));
    }
    for (_, node) in &document.nodes {
        if let Some(name) = &node.uses {
            add(name, FileUse::Blueprint);
        }
        for op in node.edit.iter().flat_map(|edit| &edit.0) {
            op.template.iter().chain(&op.patch).for_each(|name| add(name, FileUse::Text));
        }
        if let Some(agent) = &node.agent {
            agent
                .prompt
                .iter()
                .chain(&agent.system)
                .filter(|text| is_file(text))
                .for_each(|name| add(name, FileUse::Text));
            if let Some(model) = &agent.model
                && let Some(file) = model.strip_prefix(SCRIPTED)
            {
                add(&Sp { value: file.to_owned(), range: model.range.clone() }, FileUse::Text);
            }
        }
        for (_, text) in
            node.forge.iter().flat_map(|forge| forge.effects()).flat_map(|(_, effect)| effect.iter())
        {
            if let Scalar::Expression(name) = &text.value
                && is_file(name)
            {
                add(&Sp { value: name.clone(), range: text.range.clone() }, FileUse::Text);
            }
        }
    }
    found
}

/// The file that the `devcontainer.json` at `path` names, if it can be read and names one.
pub fn devcontainer_references(path: &str, text: &str) -> Vec<ReferencedFile> {
    let (devcontainer, _) = super::devcontainer::read(text);
    let named = devcontainer.dockerfile.into_iter().map(|name| ReferencedFile {
        candidates: resolve_path(path, &name).into_iter().collect(),
        name: name.value,
        range: name.range,
        used_as: FileUse::Dockerfile,
    });
    named.collect()
}

/// What the name of a model begins with whose answers are a file beside the blueprint.
pub const SCRIPTED: &str = "scripted/";

/// Whether a prompt or body is the name of a file rather than the text itself.
pub(crate) fn is_file(text: &str) -> bool {
    !text.contains(['\n', ' '])
        && std::path::Path::new(text).extension().is_some_and(|e| e == "md" || e == "txt")
}
