//! The log of one attempt: what a node wrote, line by line with its stream, redacted before it touches the disk.
//! Nothing is made for a node that writes nothing.

use std::path::{Path, PathBuf};

use blueprint_sandbox::Stream;

use blueprint_agent::scan::{LineScanner, Options, Scanner};

use crate::redact::{RedactStream, Redactor};
use crate::store::{BlobError, BlobWriter, Blobs, Digest};

/// The folder of a state folder in which logs can be followed.
pub const LIVE_FOLDER: &str = "live";
/// A line longer than this is cut into pieces.
const LONGEST_LINE: usize = 64 * 1024;
/// How much of the end is kept in memory, for fingerprints and reports.
const TAIL: usize = 16 * 1024;

/// A line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Where it was written.
    pub stream: Stream,
    /// Without its line end.
    pub text: Vec<u8>,
}

/// Writes the log of an attempt.
#[derive(Debug)]
pub struct LogWriter {
    blobs: Blobs,
    writer: Option<BlobWriter>,
    live: PathBuf,
    out: Half,
    err: Half,
    tail: Vec<u8>,
    stdout: Vec<u8>,
    stdout_limit: usize,
}

#[derive(Debug)]
struct Half {
    redact: Option<RedactStream>,
    line: Vec<u8>,
    /// Looks for what has the shape of a token or a key.
    shapes: LineScanner,
}

/// A finished log.
#[derive(Debug)]
pub struct Log {
    /// Where it is; nothing if the node wrote nothing.
    pub digest: Option<Digest>,
    /// Its end, both streams.
    pub tail: Vec<u8>,
    /// Standard output as far as it was asked for. One byte more than the limit says that it was longer.
    pub stdout: Vec<u8>,
}

/// Where the log of an attempt can be followed while it is written.
pub fn live_path(state: &Path, run: &str, node: &str, attempt: u32) -> PathBuf {
    let name: String =
        node.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '~' }).collect();
    state.join(LIVE_FOLDER).join(run).join(format!("{name}.{attempt}"))
}

impl LogWriter {
    /// Starts a log that keeps up to `stdout_limit` bytes of standard output in memory.
    pub fn new(blobs: &Blobs, redactor: &Redactor, live: PathBuf, stdout_limit: usize) -> Self {
        let shapes = Scanner::new(redactor, Options { markers: false, ..Options::default() });
        let half = || Half { redact: Some(redactor.stream()), line: Vec::new(), shapes: shapes.lines() };
        Self {
            blobs: blobs.clone(),
            writer: None,
            live,
            out: half(),
            err: half(),
            tail: Vec::new(),
            stdout: Vec::new(),
            stdout_limit,
        }
    }

    /// Takes in a piece of output; `seen` gets every line that is complete.
    pub fn push(
        &mut self,
        stream: Stream,
        bytes: &[u8],
        seen: &mut dyn FnMut(&Line),
    ) -> Result<(), BlobError> {
        let half = self.half(stream);
        let clean = half.redact.as_mut().map(|redact| redact.push(bytes)).unwrap_or_default();
        self.lines(stream, &clean, seen)
    }

    fn half(&mut self, stream: Stream) -> &mut Half {
        match stream {
            Stream::Stdout => &mut self.out,
            Stream::Stderr => &mut self.err,
        }
    }

    fn lines(&mut self, stream: Stream, clean: &[u8], seen: &mut dyn FnMut(&Line)) -> Result<(), BlobError> {
        if stream == Stream::Stdout && self.stdout.len() <= self.stdout_limit && self.stdout_limit > 0 {
            let room = self.stdout_limit + 1 - self.stdout.len();
            self.stdout.extend_from_slice(clean.get(..room.min(clean.len())).unwrap_or_default());
        }
        for piece in clean.split_inclusive(|byte| *byte == b'\n') {
            let ends = piece.last() == Some(&b'\n');
            let text = if ends { piece.get(..piece.len() - 1).unwrap_or_default() } else { piece };
            self.half(stream).line.extend_from_slice(text);
            while self.half(stream).line.len() > LONGEST_LINE {
                let rest = self.half(stream).line.split_off(LONGEST_LINE);
                let full = std::mem::replace(&mut self.half(stream).line, rest);
                self.write(&Line { stream, text: full }, seen)?;
            }
            if ends {
                let text = std::mem::take(&mut self.half(stream).line);
                self.write(&Line { stream, text }, seen)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, line: &Line, seen: &mut dyn FnMut(&Line)) -> Result<(), BlobError> {
        let shown = String::from_utf8_lossy(&line.text).into_owned();
        let Some(clean) = self.half(line.stream).shapes.line(&shown) else { return Ok(()) };
        // Bytes that are no text stay as they are, unless something had to go.
        let clean = (clean != shown).then(|| Line { stream: line.stream, text: clean.into_bytes() });
        let line = clean.as_ref().unwrap_or(line);
        if self.writer.is_none() {
            let writer = self.blobs.writer()?;
            // Only a convenience for `logs -f`; a log that cannot be followed is still complete in the end.
            if let Some(parent) = self.live.parent() {
                drop(std::fs::create_dir_all(parent));
            }
            drop(std::fs::remove_file(&self.live));
            drop(std::os::unix::fs::symlink(writer.path(), &self.live));
            self.writer = Some(writer);
        }
        let mark: &[u8] = if line.stream == Stream::Stdout { b"O " } else { b"E " };
        let mut bytes = Vec::with_capacity(line.text.len() + 3);
        bytes.extend_from_slice(mark);
        bytes.extend_from_slice(&line.text);
        bytes.push(b'\n');
        if let Some(writer) = &mut self.writer {
            writer.append(&bytes)?;
        }
        self.tail.extend_from_slice(bytes.get(2..).unwrap_or_default());
        if self.tail.len() > 2 * TAIL {
            self.tail.drain(..self.tail.len() - TAIL);
        }
        seen(line);
        Ok(())
    }

    /// Ends the log and makes it durable.
    pub fn finish(mut self, seen: &mut dyn FnMut(&Line)) -> Result<Log, BlobError> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            if let Some(redact) = self.half(stream).redact.take() {
                let rest = redact.finish();
                self.lines(stream, &rest, seen)?;
            }
            let text = std::mem::take(&mut self.half(stream).line);
            if !text.is_empty() {
                self.write(&Line { stream, text }, seen)?;
            }
        }
        let digest = match self.writer.take() {
            Some(writer) => {
                let (digest, _) = writer.finish()?;
                drop(std::fs::remove_file(&self.live));
                Some(digest)
            }
            None => None,
        };
        Ok(Log { digest, tail: self.tail, stdout: self.stdout })
    }
}

/// The lines of a stored log.
pub fn lines(log: &[u8]) -> impl Iterator<Item = Line> + '_ {
    log.split(|byte| *byte == b'\n').filter(|line| line.len() >= 2).map(|line| Line {
        stream: if line.first() == Some(&b'E') { Stream::Stderr } else { Stream::Stdout },
        text: line.get(2..).unwrap_or_default().to_vec(),
    })
}
