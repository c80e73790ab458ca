//! A place to test in: a project, a state directory, and a git of the test's own that behaves as a
//! user's does. What the tests plant stays below one temporary directory.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use blueprint_runtime::workspace::{
    Captured, Checkout, Clean, CommitId, CommitInfo, Repository, TreeId, TreePath,
};

pub(super) struct Ground {
    root: tempfile::TempDir,
}

impl Ground {
    pub(super) fn new() -> Self {
        let ground = Self { root: tempfile::tempdir().unwrap() };
        fs::create_dir_all(ground.project()).unwrap();
        fs::create_dir_all(ground.path("home")).unwrap();
        ground
    }

    /// A project that is a repository with one commit.
    pub(super) fn with_repository() -> Self {
        let ground = Self::new();
        ground.git(&["init", "-q", "-b", "main"]);
        ground.write("README", b"hello\n");
        ground.write("src/lib.rs", b"fn main() {}\n");
        ground.git(&["add", "-A"]);
        ground.git(&["commit", "-qm", "first"]);
        ground
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub(super) fn project(&self) -> PathBuf {
        self.path("project")
    }

    pub(super) fn state(&self) -> PathBuf {
        self.path("state")
    }

    pub(super) fn write(&self, path: &str, content: &[u8]) {
        write(&self.project().join(path), content);
    }

    pub(super) fn repository(&self) -> Repository {
        Repository::discover(&self.project(), &self.state()).unwrap()
    }

    pub(super) fn checkout(&self, name: &str) -> Checkout {
        Checkout::open_or_create(&self.state().join("checkouts").join(name)).unwrap()
    }

    /// Runs the user's git in the project.
    pub(super) fn git(&self, args: &[&str]) -> String {
        self.git_in(&self.project(), args)
    }

    pub(super) fn git_in(&self, dir: &Path, args: &[&str]) -> String {
        let output = self.try_git(dir, args);
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    pub(super) fn try_git<A: AsRef<OsStr>>(&self, dir: &Path, args: &[A]) -> std::process::Output {
        Command::new("git")
            .current_dir(dir)
            .args(args)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.path("home"))
            .envs([
                ("GIT_AUTHOR_NAME", "user"),
                ("GIT_AUTHOR_EMAIL", "user@localhost"),
                ("GIT_COMMITTER_NAME", "user"),
                ("GIT_COMMITTER_EMAIL", "user@localhost"),
                ("GIT_CONFIG_NOSYSTEM", "1"),
            ])
            .output()
            .unwrap()
    }

    /// Runs git on the objects that runs of this ground have made.
    pub(super) fn objects(&self, args: &[&str]) -> String {
        let git_dir = if self.project().join(".git").exists() {
            self.project().join(".git")
        } else {
            let mut found =
                fs::read_dir(self.state().join("git")).unwrap().map(|entry| entry.unwrap().path());
            found.find(|path| path.extension() == Some(OsStr::new("git"))).unwrap()
        };
        self.git_in(&git_dir, args)
    }

    /// Takes git away from the repository: any call of it fails until the guard is dropped.
    pub(super) fn without_git(&self) -> WithoutGit {
        let (from, to) = (self.state().join("git"), self.state().join("git.away"));
        fs::rename(&from, &to).unwrap();
        WithoutGit { from, to }
    }
}

pub(super) struct WithoutGit {
    from: PathBuf,
    to: PathBuf,
}

impl Drop for WithoutGit {
    fn drop(&mut self) {
        fs::rename(&self.to, &self.from).unwrap();
    }
}

pub(super) fn write(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

pub(super) fn make_executable(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

pub(super) fn info<'a>(run: &'a str, node: &'a str) -> CommitInfo<'a> {
    CommitInfo { run, node, attempt: 1, blueprint: "demo", at_ms: 1_700_000_000_000, message: "work" }
}

/// Writes files on top of a commit and commits the result, as a node would.
pub(super) fn node_output(
    repository: &Repository,
    checkout: &mut Checkout,
    from: CommitId,
    node: &str,
    files: &[(&str, &[u8])],
) -> CommitId {
    checkout.set_to(repository, repository.tree_of(from).unwrap(), Clean::All).unwrap();
    for (path, content) in files {
        write(&checkout.dir().join(path), content);
    }
    let captured = checkout.capture(repository).unwrap();
    repository.commit(captured.tree, &[from], &info("run", node)).unwrap()
}

pub(super) fn empty(repository: &Repository) -> TreeId {
    repository.format().empty_tree()
}

pub(super) fn paths(captured: &Captured) -> Vec<String> {
    captured.changed.iter().map(|change| change.path.to_string()).collect()
}

pub(super) fn content(repository: &Repository, tree: TreeId, path: &str) -> Option<Vec<u8>> {
    repository.read_file(tree, &TreePath::from(path), 1 << 20).unwrap()
}

/// Everything below a directory: path, mode, kind, content and modification time.
pub(super) fn fingerprint(dir: &Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt as _;
    let mut lines = Vec::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(next) = waiting.pop() {
        let metadata = fs::symlink_metadata(&next).unwrap();
        let content = if metadata.is_symlink() {
            shown(&fs::read_link(&next).unwrap())
        } else if metadata.is_file() {
            blake3::hash(&fs::read(&next).unwrap()).to_string()
        } else {
            waiting.extend(fs::read_dir(&next).unwrap().map(|entry| entry.unwrap().path()));
            String::new()
        };
        let time = if metadata.is_dir() { 0 } else { metadata.mtime_nsec() };
        lines.push(format!("{} {:o} {time} {content}", shown(&next), metadata.mode()));
    }
    lines.sort();
    lines
}

fn shown(path: &Path) -> String {
    path.as_os_str().as_bytes().escape_ascii().to_string()
}
