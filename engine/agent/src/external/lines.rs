//! Lines of a stranger: whole ones, none longer than a bound, and never more in memory than one.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// The longest line, in bytes.
pub(super) const LONGEST: usize = 4 << 20;

/// Lines of a pipe.
pub(super) struct Lines<R> {
    pipe: BufReader<R>,
    line: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(pipe: R) -> Self {
        Self { pipe: BufReader::with_capacity(16 << 10, pipe), line: Vec::new() }
    }

    /// The next line; `None` at the end. May be dropped half-way without losing a byte.
    pub(super) async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let bytes = self.pipe.fill_buf().await?;
            if bytes.is_empty() {
                return Ok(None);
            }
            let (taken, whole) = match bytes.iter().position(|byte| *byte == b'\n') {
                Some(at) => (at + 1, true),
                None => (bytes.len(), false),
            };
            self.line.extend_from_slice(bytes.get(..taken).unwrap_or_default());
            self.pipe.consume(taken);
            if self.line.len() > LONGEST {
                return Err(io::Error::new(
                    io::ErrorKind::FileTooLarge,
                    format!("a line is longer than {LONGEST} bytes"),
                ));
            }
            if whole {
                return Ok(Some(std::mem::take(&mut self.line)));
            }
        }
    }
}
