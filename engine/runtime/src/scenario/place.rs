//! Where a scenario runs: a temporary folder with a git repository of its own, so that neither the user's repository nor
//! the state folder of the project is ever looked at. Gone when it is dropped, unless it is kept.

use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use thiserror::Error;

use super::Start;
use crate::workspace::{GitError, init};

/// The state folder in a place, where the command line looks for it.
const STATE: &str = ".blueprint";

/// Why there is no place for a scenario.
#[derive(Debug, Error)]
pub enum PlaceError {
    /// A file or folder could not be made.
    #[error("`{path}` could not be made or copied")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A fixture holds something that is not a file or a folder.
    #[error("`{0}` is neither a file nor a folder, and a fixture holds nothing else")]
    Kind(PathBuf),
    /// Git could not make a repository.
    #[error("no repository could be made for the scenario")]
    Git(#[from] GitError),
}

/// A temporary project.
#[derive(Debug)]
pub struct Place {
    dir: TempDir,
}

impl Place {
    /// Makes one with these files in it.
    pub fn new(start: &Start) -> Result<Self, PlaceError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| PlaceError::Io { path, source }
        };
        let dir = TempDir::with_prefix("blueprint-test-").map_err(failed(&std::env::temp_dir()))?;
        let place = Self { dir };
        match start {
            Start::Files(files) => {
                for (path, text) in files {
                    let path = place.project().join(path);
                    let folder = path.parent().unwrap_or(place.project());
                    std::fs::create_dir_all(folder).map_err(failed(folder))?;
                    std::fs::write(&path, text).map_err(failed(&path))?;
                }
            }
            Start::Folder(folder) => copy(folder, place.project())?,
        }
        let state = place.state();
        std::fs::create_dir_all(&state).map_err(failed(&state))?;
        init(&place.project().join(".git"), &state)?;
        Ok(place)
    }

    /// The project folder.
    pub fn project(&self) -> &Path {
        self.dir.path()
    }

    /// The state folder, where the command line looks for that of the project.
    pub fn state(&self) -> PathBuf {
        self.dir.path().join(STATE)
    }

    /// Leaves it where it is.
    pub fn keep(self) -> PathBuf {
        self.dir.keep()
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), PlaceError> {
    let failed = |source| PlaceError::Io { path: from.to_owned(), source };
    for entry in std::fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().map_err(failed)?;
        let own = [".git", STATE].iter().any(|own| entry.file_name() == *own);
        if kind.is_dir() && !own {
            std::fs::create_dir_all(&target).map_err(failed)?;
            copy(&source, &target)?;
        } else if kind.is_file() && !own {
            std::fs::copy(&source, &target)
                .map_err(|error| PlaceError::Io { path: source.clone(), source: error })?;
        } else {
            return Err(PlaceError::Kind(source));
        }
    }
    Ok(())
}
