//! The pieces of running a direct child: its group, its pipes and the lookup of its program.
//! No policy: the loop that uses them decides when something ends.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{self, FcntlArg, OFlag},
    sys::signal::{self, Signal},
    unistd::{self, Pid},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::ChildStdin,
    sync::mpsc,
};

use crate::{
    contract::{NotStarted, Output, Stream},
    wire::CHUNK_BYTES,
};

/// The command's process group, killed even if nobody waits for the command any more.
pub(super) struct Group(Option<Pid>);

impl Group {
    pub(super) fn led_by(id: Option<u32>) -> Self {
        Self(id.and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw))
    }

    pub(super) fn signal(&self, signal: Signal) {
        if let Some(leader) = self.0 {
            // A group that is already gone needs no signal.
            let _ = signal::killpg(leader, signal);
        }
    }
}

impl Group {
    /// Kills it a last time. Afterwards its number may belong to somebody else.
    pub(super) fn finish(&mut self) {
        self.signal(Signal::SIGKILL);
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.finish();
    }
}

pub(super) struct Kept {
    pub(super) bytes: u64,
    pub(super) cap: u64,
    pub(super) truncated: bool,
}

impl Kept {
    pub(super) fn keep(&mut self, piece: Option<Output>) -> Option<Output> {
        let mut piece = piece?;
        let room = usize::try_from(self.cap - self.bytes).unwrap_or(usize::MAX);
        self.truncated |= piece.bytes.len() > room;
        piece.bytes.truncate(room);
        self.bytes += piece.bytes.len() as u64;
        Some(piece).filter(|piece| !piece.bytes.is_empty())
    }
}

pub(super) struct Tap<P> {
    stream: Stream,
    pipe: P,
    buffer: Box<[u8]>,
    pub(super) open: bool,
}

impl<P: AsyncRead + Unpin + IntoFile> Tap<P> {
    pub(super) fn new(stream: Stream, pipe: P) -> Self {
        Self { stream, pipe, buffer: vec![0; CHUNK_BYTES].into_boxed_slice(), open: true }
    }

    pub(super) async fn next(&mut self) -> Option<Output> {
        match self.pipe.read(&mut self.buffer).await {
            Ok(count) if count > 0 => {
                Some(Output { stream: self.stream, bytes: self.buffer.get(..count)?.to_vec() })
            }
            Ok(_) | Err(_) => {
                self.open = false;
                None
            }
        }
    }

    pub(super) fn into_rest(self) -> io::Result<Option<(Stream, File)>> {
        if !self.open {
            return Ok(None);
        }
        let file = self.pipe.into_file()?;
        let flags = OFlag::from_bits_retain(fcntl::fcntl(&file, FcntlArg::F_GETFL)?);
        fcntl::fcntl(&file, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        Ok(Some((self.stream, file)))
    }
}

pub(super) trait IntoFile {
    fn into_file(self) -> io::Result<File>;
}

impl IntoFile for tokio::process::ChildStdout {
    fn into_file(self) -> io::Result<File> {
        self.into_owned_fd().map(File::from)
    }
}

impl IntoFile for tokio::process::ChildStderr {
    fn into_file(self) -> io::Result<File> {
        self.into_owned_fd().map(File::from)
    }
}

/// What is still to be written to the command's standard input.
pub(super) struct Feed {
    pipe: Option<ChildStdin>,
    bytes: Vec<u8>,
    sent: usize,
    source: Option<mpsc::Receiver<Vec<u8>>>,
}

impl Feed {
    /// The bytes first, then what comes from the source.
    pub(super) fn new(bytes: Option<Vec<u8>>, source: Option<mpsc::Receiver<Vec<u8>>>) -> Self {
        Self { pipe: None, bytes: bytes.unwrap_or_default(), sent: 0, source }
    }

    pub(super) fn connect(&mut self, pipe: Option<ChildStdin>) {
        self.pipe = pipe;
        self.close_if_done();
    }

    pub(super) fn has_work(&self) -> bool {
        self.pipe.is_some() || self.source.is_some()
    }

    /// Writes something, or waits for something to write. May be dropped half-way without losing a byte.
    pub(super) async fn progress(&mut self) {
        let rest = self.bytes.get(self.sent..).unwrap_or_default();
        match (&mut self.pipe, &mut self.source) {
            (Some(pipe), _) if !rest.is_empty() => match pipe.write(rest).await {
                Ok(count) => self.sent += count,
                // The command does not want it.
                Err(_) => self.pipe = None,
            },
            (_, Some(source)) => match source.recv().await {
                Some(bytes) => {
                    self.bytes = bytes;
                    self.sent = 0;
                }
                None => self.source = None,
            },
            (_, None) => {}
        }
        self.close_if_done();
    }

    fn close_if_done(&mut self) {
        if self.sent >= self.bytes.len() && self.source.is_none() {
            self.pipe = None;
        }
    }
}

/// Looks a program up as a shell would, so that the child need not.
pub(super) fn find(name: &str, path: Option<&str>, cwd: &Path) -> Result<PathBuf, NotStarted> {
    let candidates: Vec<PathBuf> = if name.contains('/') {
        vec![cwd.join(name)]
    } else {
        path.unwrap_or("/usr/local/bin:/usr/bin:/bin")
            .split(':')
            .map(|dir| cwd.join(dir).join(name))
            .collect()
    };
    let mut reason = NotStarted::ProgramNotFound;
    for candidate in candidates {
        let Ok(meta) = fs::metadata(&candidate) else { continue };
        let executable = meta.is_file()
            && meta.permissions().mode() & 0o111 != 0
            && unistd::access(&candidate, unistd::AccessFlags::X_OK).is_ok();
        if executable {
            return Ok(candidate);
        }
        reason = NotStarted::NotExecutable { errno: Errno::EACCES as i32 };
    }
    Err(reason)
}
