//! A conversation with `git cat-file --batch`, opened when the first content is needed.
//! It streams: no content is held in memory unless the caller collects it.

use std::io::{self, BufRead as _, BufReader, Read as _, Write};
use std::process::{Child, ChildStdin, ChildStdout};

use super::git::{Git, GitError};
use super::ids::ObjectId;

/// Reads blobs by name.
pub(crate) struct Blobs<'a> {
    git: &'a Git,
    open: Option<Conversation>,
}

struct Conversation {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

/// A blob could not be copied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    #[error("git could not provide an object")]
    Git(#[from] GitError),
    #[error("the object could not be written out")]
    Write(#[source] io::Error),
}

impl<'a> Blobs<'a> {
    pub(crate) fn new(git: &'a Git) -> Self {
        Self { git, open: None }
    }

    /// Copies a blob and returns its size in bytes.
    pub(crate) fn copy(&mut self, id: ObjectId, out: &mut impl Write) -> Result<u64, CopyError> {
        let conversation = match &mut self.open {
            Some(conversation) => conversation,
            closed => closed.insert(Conversation::open(self.git)?),
        };
        conversation.copy(id, out)
    }

    /// A whole blob that is expected to be short.
    pub(crate) fn read(&mut self, id: ObjectId) -> Result<Vec<u8>, CopyError> {
        let mut bytes = Vec::new();
        self.copy(id, &mut bytes)?;
        Ok(bytes)
    }
}

fn pipe(source: io::Error) -> GitError {
    GitError::Pipe { command: "cat-file --batch".to_owned(), source }
}

impl Conversation {
    fn open(git: &Git) -> Result<Self, GitError> {
        let mut child = git.converse(&["cat-file", "--batch"])?;
        let (to, from) = (child.stdin.take(), child.stdout.take());
        let (Some(to), Some(from)) = (to, from) else {
            return Err(pipe(io::ErrorKind::BrokenPipe.into()));
        };
        Ok(Self { child, to, from: BufReader::with_capacity(1 << 16, from) })
    }

    fn copy(&mut self, id: ObjectId, out: &mut impl Write) -> Result<u64, CopyError> {
        writeln!(self.to, "{id}").and_then(|()| self.to.flush()).map_err(pipe)?;
        let mut header = String::new();
        self.from.read_line(&mut header).map_err(pipe)?;
        let mut words = header.split_whitespace();
        let (name, kind, size) = (words.next(), words.next(), words.next());
        let size = match (kind, size.and_then(|size| size.parse::<u64>().ok())) {
            (Some("blob"), Some(size)) if name == Some(&id.to_string()) => size,
            _ => {
                let what = format!("no blob {id}: `{}`", header.trim_end());
                return Err(GitError::answer("cat-file", what).into());
            }
        };
        let mut left = size;
        let mut buffer = vec![0; 1 << 16];
        while left > 0 {
            let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = self.from.read(&mut buffer[..most]).map_err(pipe)?;
            if read == 0 {
                return Err(pipe(io::ErrorKind::UnexpectedEof.into()).into());
            }
            out.write_all(&buffer[..read]).map_err(CopyError::Write)?;
            left -= read as u64;
        }
        let mut newline = [0];
        self.from.read_exact(&mut newline).map_err(pipe)?;
        Ok(size)
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        // It may be in the middle of an answer nobody wants; nothing it does needs an orderly end.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
