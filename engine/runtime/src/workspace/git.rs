//! The only place that starts git: a cleared environment, no configuration but ours, no work tree.
//! It must never run in, or be pointed at, a directory a sandbox wrote.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

/// Where git is looked for. The environment is not consulted: what a caller's shell puts first in
/// its path is no business of a run.
const SEARCH_PATH: &str = "/usr/local/bin:/usr/bin:/bin:/run/current-system/sw/bin:/opt/homebrew/bin";

/// How much of git's complaint is kept, in bytes.
const STDERR_KEPT: u64 = 4096;

/// A call of git that did not do its job.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The program is missing or could not be started.
    #[error("could not start `git {command}`")]
    Start {
        /// The subcommand and its arguments.
        command: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Git ran and reported failure.
    #[error("`git {command}` ended with {status}: {stderr}")]
    Failed {
        /// The subcommand and its arguments.
        command: String,
        /// The exit status in words.
        status: String,
        /// The beginning of what git said, without control characters.
        stderr: String,
    },
    /// The conversation with git broke off.
    #[error("lost the conversation with `git {command}`")]
    Pipe {
        /// The subcommand and its arguments.
        command: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Git answered in a form we do not understand.
    #[error("`git {command}` gave an answer that could not be read: {what}")]
    Answer {
        /// The subcommand.
        command: String,
        /// What was wrong with it.
        what: String,
    },
}

impl GitError {
    pub(crate) fn answer(command: &str, what: impl Into<String>) -> Self {
        Self::Answer { command: command.to_owned(), what: what.into() }
    }
}

/// What git reads on its standard input.
pub(crate) enum Input<'a> {
    Nothing,
    Bytes(&'a [u8]),
    File(File),
}

/// What a finished git said.
pub(crate) struct Answer {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    /// The answer was longer than allowed and git was stopped.
    pub(crate) cut: bool,
    pub(crate) stderr: String,
}

/// How to reach one git directory.
#[derive(Debug, Clone)]
pub(crate) struct Git {
    git_dir: PathBuf,
    /// Objects live somewhere else than in `git_dir`.
    objects: Option<PathBuf>,
    /// The list of commits whose parents are absent, for a shallow clone.
    shallow: Option<PathBuf>,
    /// An existing, private and empty directory: the working directory and the home of git.
    home: PathBuf,
    empty_tree: String,
}

impl Git {
    pub(crate) fn new(git_dir: &Path, home: &Path, empty_tree: String) -> Self {
        Self { git_dir: git_dir.to_owned(), objects: None, shallow: None, home: home.to_owned(), empty_tree }
    }

    pub(crate) fn with_objects(mut self, objects: &Path, shallow: &Path) -> Self {
        self.objects = Some(objects.to_owned());
        self.shallow = Some(shallow.to_owned());
        self
    }

    /// A command with everything that could make git look elsewhere or run something switched off.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, args: &[A]) -> Command {
        let mut command = Command::new("git");
        command
            .current_dir(&self.home)
            .env_clear()
            .env("PATH", SEARCH_PATH)
            .env("HOME", &self.home)
            .env("XDG_CONFIG_HOME", &self.home)
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_ATTR_SOURCE", &self.empty_tree)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_LITERAL_PATHSPECS", "1")
            .env("GIT_ALLOW_PROTOCOL", "none")
            .env("GIT_ADVICE", "0");
        if let Some(objects) = &self.objects {
            command.env("GIT_OBJECT_DIRECTORY", objects);
        }
        if let Some(shallow) = &self.shallow
            && shallow.exists()
        {
            command.env("GIT_SHALLOW_FILE", shallow);
        }
        command.arg(flag("--git-dir=", &self.git_dir));
        for setting in [
            "core.hooksPath=/dev/null",
            "core.fsmonitor=false",
            "core.attributesFile=/dev/null",
            "core.logAllRefUpdates=false",
            "core.fsync=committed",
            "core.fsyncMethod=batch",
            "protocol.allow=never",
            "protocol.ext.allow=never",
            "commit.gpgSign=false",
            "gc.auto=0",
            "maintenance.auto=false",
        ] {
            command.args(["-c", setting]);
        }
        command.args(args);
        command
    }

    /// Runs git to its end. A failure status is an answer here, not an error.
    pub(crate) fn ask<A: AsRef<OsStr>>(
        &self,
        args: &[A],
        input: Input<'_>,
        limit: u64,
    ) -> Result<Answer, GitError> {
        ask(self.command(args), args, input, limit)
    }

    /// Runs git to its end and insists on success.
    pub(crate) fn run<A: AsRef<OsStr>>(&self, args: &[A], input: Input<'_>) -> Result<Vec<u8>, GitError> {
        self.run_prepared(args, input, |_| ())
    }

    /// Like [`Git::run`], with additions to the environment.
    pub(crate) fn run_prepared<A: AsRef<OsStr>>(
        &self,
        args: &[A],
        input: Input<'_>,
        prepare: impl FnOnce(&mut Command),
    ) -> Result<Vec<u8>, GitError> {
        let mut command = self.command(args);
        prepare(&mut command);
        let answer = ask(command, args, input, u64::MAX)?;
        answer.success(args).map(|answer| answer.stdout)
    }

    /// Starts git for a conversation; the caller ends it.
    pub(crate) fn converse<A: AsRef<OsStr>>(&self, args: &[A]) -> Result<Child, GitError> {
        self.command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|source| GitError::Start { command: shown(args), source })
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }
}

impl Answer {
    pub(crate) fn success<A: AsRef<OsStr>>(self, args: &[A]) -> Result<Self, GitError> {
        if self.status.success() {
            return Ok(self);
        }
        Err(self.failure(args))
    }

    pub(crate) fn failure<A: AsRef<OsStr>>(self, args: &[A]) -> GitError {
        GitError::Failed { command: shown(args), status: self.status.to_string(), stderr: self.stderr }
    }
}

fn ask<A: AsRef<OsStr>>(
    mut command: Command,
    args: &[A],
    input: Input<'_>,
    limit: u64,
) -> Result<Answer, GitError> {
    let pipe = |source| GitError::Pipe { command: shown(args), source };
    let (stdin, bytes) = match input {
        Input::Nothing => (Stdio::null(), None),
        Input::File(file) => (Stdio::from(file), None),
        Input::Bytes(bytes) => (Stdio::piped(), Some(bytes)),
    };
    let mut child = command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| GitError::Start { command: shown(args), source })?;
    let (to, from, complaints) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (stdout, cut, stderr) = thread::scope(|scope| {
        scope.spawn(move || {
            if let (Some(mut to), Some(bytes)) = (to, bytes) {
                // A git that stops reading says why on its standard error and in its status.
                to.write_all(bytes).ok();
            }
        });
        let complaints = scope.spawn(move || read_complaints(complaints));
        let answer = read_limited(from, limit);
        if !matches!(answer, Ok((_, false))) {
            // Already ended is as good as killed; the status below tells which it was.
            child.kill().ok();
        }
        let stderr = complaints.join().unwrap_or_default();
        answer.map(|(stdout, cut)| (stdout, cut, stderr))
    })
    .map_err(pipe)?;
    let status = child.wait().map_err(pipe)?;
    Ok(Answer { status, stdout, cut, stderr })
}

fn read_limited(from: Option<impl Read>, limit: u64) -> io::Result<(Vec<u8>, bool)> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        from.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    }
    let cut = bytes.len() as u64 > limit;
    if cut {
        bytes.truncate(limit as usize);
    }
    Ok((bytes, cut))
}

fn read_complaints(from: Option<impl Read>) -> String {
    let Some(mut from) = from else { return String::new() };
    let mut kept = Vec::new();
    // The rest is read and dropped so that git is never blocked on a full pipe.
    let read = from.by_ref().take(STDERR_KEPT).read_to_end(&mut kept);
    if read.is_ok() {
        io::copy(&mut from, &mut io::sink()).ok();
    }
    printable(&kept)
}

/// Text of unknown origin as one line without control characters.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let mut line = String::new();
    for char in String::from_utf8_lossy(bytes).trim().chars() {
        match char {
            '\n' => line.push_str(" | "),
            _ if char.is_control() || super::names::is_invisible(char) => {
                // Writing into a string cannot fail.
                write!(line, "{}", char.escape_unicode()).ok();
            }
            _ => line.push(char),
        }
    }
    line
}

/// An option and its value as one argument, the value taken as bytes.
pub(crate) fn flag(name: &str, value: impl AsRef<OsStr>) -> OsString {
    let mut flag = OsString::from(name);
    flag.push(value);
    flag
}

fn shown<A: AsRef<OsStr>>(args: &[A]) -> String {
    let words: Vec<String> = args.iter().map(|arg| printable(arg.as_ref().as_encoded_bytes())).collect();
    words.join(" ")
}
