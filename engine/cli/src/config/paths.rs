//! Paths in settings: where `~` and relative paths lead, and which ones a project may name.
//! Decides by the text alone; whether a path exists or is a link is for whoever opens it.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::sources::Sources;

/// The places settings are found in by default.
#[derive(Debug)]
pub(super) struct Places {
    home: Option<PathBuf>,
    state: PathBuf,
}

impl Places {
    pub(super) fn of(sources: &Sources) -> Self {
        let env = &sources.env;
        let home = absolute(env, "HOME");
        Self { home, state: sources.folder.join(".blueprint") }
    }

    /// Where runs are kept unless something else is said.
    pub(super) fn default_state(&self) -> PathBuf {
        self.state.clone()
    }

    /// A path the user wrote into a file in `folder`.
    pub(super) fn in_user_file(&self, folder: &Path, text: &str) -> Result<PathBuf, String> {
        let path = self.expanded(text)?;
        Ok(if path.is_absolute() { path } else { folder.join(path) })
    }

    /// A path from the environment; a relative one starts where the program does.
    pub(super) fn in_environment(&self, text: &str) -> Result<PathBuf, String> {
        self.expanded(text)
    }

    /// A folder of the host that sandboxes may read.
    pub(super) fn readable(&self, text: &str) -> Result<PathBuf, String> {
        let path = self.expanded(text)?;
        let shown = path.display();
        if !path.is_absolute() {
            return Err(format!("`{shown}` must be absolute or start with `~/`"));
        }
        if path.components().any(|part| matches!(part, Component::ParentDir)) {
            return Err(format!("`{shown}` must not contain `..`"));
        }
        if self.home.iter().any(|home| home.starts_with(&path)) || path.parent().is_none() {
            return Err(format!("`{shown}` holds the whole home folder: name the folders that are needed"));
        }
        Ok(path)
    }

    fn expanded(&self, text: &str) -> Result<PathBuf, String> {
        if text.is_empty() || text.contains('\0') {
            return Err("must be a path".to_owned());
        }
        let Some(rest) = text.strip_prefix('~') else { return Ok(PathBuf::from(text)) };
        let home = self.home.as_ref().ok_or("starts with `~`, and HOME is not set to an absolute path")?;
        match rest.strip_prefix('/') {
            Some(inside) => Ok(home.join(inside.trim_start_matches('/'))),
            None if rest.is_empty() => Ok(home.clone()),
            None => Err("may start with `~/`, but not name the home of another user".to_owned()),
        }
    }
}

/// A path a project wrote into its file in `folder`; it stays inside the project.
pub(super) fn in_project_file(folder: &Path, text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    let inside = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if text.is_empty() || text.starts_with('~') || text.contains(['\0', '\\']) || !inside {
        return Err(
            "must lie inside the project: a project file cannot name other places of this machine".to_owned()
        );
    }
    Ok(folder.join(path))
}

fn absolute(env: &BTreeMap<String, String>, name: &str) -> Option<PathBuf> {
    env.get(name).map(PathBuf::from).filter(|path| path.is_absolute())
}
