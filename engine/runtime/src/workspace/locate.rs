//! Finds the user's git directory and sets up our own.
//! The search reads file names only; nothing found on the way is run or obeyed.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::git::{Git, GitError, Input, flag, printable};
use super::ids::ObjectFormat;
use super::repository::RepositoryError;

/// The oldest git that has everything used here.
pub(crate) const OLDEST_GIT: (u32, u32) = (2, 40);
/// The repository a project belongs to.
#[derive(Debug)]
pub(crate) struct UserRepository {
    /// The git directory of this work tree.
    pub(crate) git_dir: PathBuf,
    /// The git directory all work trees share.
    pub(crate) common: PathBuf,
    /// Absent for a bare repository.
    pub(crate) work_tree: Option<PathBuf>,
}

pub(crate) fn check_version(home: &Path) -> Result<(), RepositoryError> {
    let git = Git::new(home, home, ObjectFormat::Sha1.empty_tree().to_string());
    let answer = git.run(&["version"], Input::Nothing)?;
    let found = printable(&answer);
    let mut numbers =
        found.trim_start_matches("git version ").split('.').map(|part| part.parse::<u32>().ok());
    let version = (numbers.next().flatten(), numbers.next().flatten());
    match version {
        (Some(major), Some(minor)) if (major, minor) >= OLDEST_GIT => Ok(()),
        _ => Err(RepositoryError::OldGit { found }),
    }
}

/// Looks for the git directory, from the project upwards, without asking git: its own search would
/// consult configuration that is switched off here.
pub(crate) fn find(project: &Path) -> Result<Option<UserRepository>, RepositoryError> {
    for dir in project.ancestors() {
        let path = dir.join(".git");
        let Ok(metadata) = std::fs::symlink_metadata(&path) else { continue };
        let git_dir = if metadata.is_file() {
            let broken = || RepositoryError::BrokenLink { path: path.clone() };
            linked(&path, "gitdir: ").and_then(|to| dir.join(to).canonicalize().ok()).ok_or_else(broken)?
        } else {
            path.canonicalize().map_err(|source| RepositoryError::Directory { path: path.clone(), source })?
        };
        if !git_dir.join("HEAD").exists() {
            // An empty or half-made `.git`; git walks on as well.
            continue;
        }
        return Ok(Some(UserRepository {
            common: common_of(&git_dir),
            git_dir,
            work_tree: Some(dir.to_owned()),
        }));
    }
    let is_bare = ["HEAD", "objects", "refs", "config"].iter().all(|name| project.join(name).exists());
    Ok(is_bare.then(|| UserRepository {
        git_dir: project.to_owned(),
        common: common_of(project),
        work_tree: None,
    }))
}

fn common_of(git_dir: &Path) -> PathBuf {
    linked(&git_dir.join("commondir"), "")
        .and_then(|to| git_dir.join(to).canonicalize().ok())
        .unwrap_or_else(|| git_dir.to_owned())
}

/// The path written in a file, after some word.
fn linked(file: &Path, word: &str) -> Option<PathBuf> {
    let text = std::fs::read(file).ok()?;
    let path = text.strip_prefix(word.as_bytes())?.trim_ascii_end();
    Some(PathBuf::from(OsStr::from_bytes(path)))
}

pub(crate) fn format_of(user: &UserRepository, home: &Path) -> Result<ObjectFormat, RepositoryError> {
    let git = Git::new(&user.git_dir, home, ObjectFormat::Sha1.empty_tree().to_string());
    let answer = git.run(&["rev-parse", "--show-object-format"], Input::Nothing)?;
    let name = printable(&answer);
    ObjectFormat::from_name(&name).ok_or(RepositoryError::UnknownFormat { format: name })
}

/// Makes an empty repository with a work tree. `home` is an existing, private directory.
pub(crate) fn init(git_dir: &Path, home: &Path) -> Result<(), GitError> {
    let git = Git::new(git_dir, home, ObjectFormat::Sha1.empty_tree().to_string());
    git.run(&["init", "--quiet", "--template=", "--initial-branch=main"], Input::Nothing).map(drop)
}

/// Makes a bare repository without templates, hooks or configuration of anybody. It appears whole.
pub(crate) fn set_up(private: &Path, home: &Path, format: ObjectFormat) -> Result<(), RepositoryError> {
    if private.exists() {
        return Ok(());
    }
    let failed = |source| RepositoryError::Directory { path: private.to_owned(), source };
    let parent = private.parent().unwrap_or(home);
    let new = tempfile::tempdir_in(parent).map_err(failed)?;
    let git = Git::new(new.path(), home, format.empty_tree().to_string());
    let format = flag("--object-format=", format.name());
    git.run(
        &[
            OsStr::new("init"),
            OsStr::new("--quiet"),
            OsStr::new("--bare"),
            OsStr::new("--template="),
            &format,
        ],
        Input::Nothing,
    )?;
    match std::fs::rename(new.path(), private) {
        // Somebody else was faster.
        Err(_) if private.join("HEAD").exists() => Ok(()),
        other => other.map_err(failed),
    }
}
