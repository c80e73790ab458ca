//! Reads a blueprint and every file it names, below the project folder. Judges nothing: what is missing is
//! found by the check.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use blueprint_core::finding::Findings;
use blueprint_core::format::{FileUse, blueprint_candidates, devcontainer_references, read, references};
use blueprint_core::source::SourceSet;
use thiserror::Error;

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 16 << 20;
/// The most files of one blueprint.
const MAX_FILES: usize = 10_000;

/// Why a blueprint could not be read.
#[derive(Debug, Error)]
pub enum LoadError {
    /// There is no such blueprint.
    #[error("there is no blueprint `{name}`; looked for {}", .looked.join(", "))]
    NotFound {
        /// As it was asked for.
        name: String,
        /// The paths that were tried.
        looked: Vec<String>,
    },
    /// It lies outside the project.
    #[error("`{name}` is outside the project `{project}`")]
    Outside {
        /// As it was asked for.
        name: String,
        /// The project folder.
        project: PathBuf,
    },
    /// A file could not be read.
    #[error("`{path}` could not be read")]
    Read {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It names too many files.
    #[error("the blueprint names more than {MAX_FILES} files")]
    TooMany,
}

/// Reads the blueprint called `name`: a path from `cwd`, or a name of the project's `blueprints` folder.
pub fn load(project: &Path, cwd: &Path, name: &str) -> Result<SourceSet, LoadError> {
    let entry = find(project, cwd, name)?;
    let mut sources = SourceSet { entry: entry.clone(), ..SourceSet::default() };
    let mut tried = BTreeSet::from([entry.clone()]);
    let mut queue = vec![(entry, FileUse::Blueprint)];
    while let Some((path, used_as)) = queue.pop() {
        let text = match read_file(project, &path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && path != sources.entry => continue,
            Err(source) => return Err(LoadError::Read { path, source }),
        };
        let named = match used_as {
            FileUse::Blueprint => {
                let file: Arc<str> = path.as_str().into();
                let document = read(&file, &text, &mut Findings::default()).document;
                document.map(|document| references(&path, &document)).unwrap_or_default()
            }
            FileUse::Devcontainer => devcontainer_references(&path, &text),
            FileUse::Text | FileUse::Dockerfile => Vec::new(),
        };
        for file in named {
            for candidate in file.candidates {
                if tried.insert(candidate.clone()) {
                    queue.push((candidate, file.used_as));
                }
            }
        }
        sources.files.insert(path, text);
        if sources.files.len() > MAX_FILES {
            return Err(LoadError::TooMany);
        }
    }
    Ok(sources)
}

fn find(project: &Path, cwd: &Path, name: &str) -> Result<String, LoadError> {
    let looks_like_path =
        name.contains('/') || Path::new(name).extension().is_some_and(|ending| ending == "toml");
    let mut looked = Vec::new();
    if looks_like_path {
        let path = cwd.join(name);
        for path in [path.clone(), path.join("blueprint.toml")] {
            if path.is_file() {
                let inside = path.canonicalize().ok().and_then(|real| relative(project, &real));
                return inside.ok_or_else(|| LoadError::Outside {
                    name: name.to_owned(),
                    project: project.to_owned(),
                });
            }
            looked.push(path.display().to_string());
        }
    } else {
        for candidate in blueprint_candidates("", name) {
            if project.join(&candidate).is_file() {
                return Ok(candidate);
            }
            looked.push(candidate);
        }
    }
    Err(LoadError::NotFound { name: name.to_owned(), looked })
}

fn relative(project: &Path, real: &Path) -> Option<String> {
    let project = project.canonicalize().ok()?;
    let inside = real.strip_prefix(project).ok()?;
    let parts: Option<Vec<&str>> = inside.iter().map(|part| part.to_str()).collect();
    Some(parts?.join("/"))
}

/// Reads a file of the project, which must really lie in it.
fn read_file(project: &Path, path: &str) -> io::Result<String> {
    let full = project.join(path).canonicalize()?;
    if !full.starts_with(project.canonicalize()?) {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is a link out of the project"));
    }
    let meta = full.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
    }
    if meta.len() > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 16 MiB"));
    }
    std::fs::read_to_string(full)
}
