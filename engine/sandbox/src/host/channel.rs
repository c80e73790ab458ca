//! The host's end of a guest's channel.
//! Everything here may be dropped half-way and taken up again without losing or repeating a byte.

use std::io;

use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::wire::{self, Decoder, Frame, FrameError, Kind};

/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;

/// What came in.
#[derive(Debug)]
pub(super) enum Incoming {
    /// A frame.
    Frame(Frame),
    /// The guest is gone.
    Closed,
}

/// Why nothing came in.
#[derive(Debug)]
pub(super) enum Broken {
    Frame(FrameError),
    Io(io::Error),
}

/// Bytes from a guest, whatever carries them.
pub(super) type Incomings = Box<dyn AsyncRead + Send + Unpin>;

/// Bytes to a guest, whatever carries them.
pub(super) type Outgoings = Box<dyn AsyncWrite + Send + Unpin>;

/// Frames from the guest.
pub(super) struct Reader {
    pipe: Incomings,
    decoder: Decoder,
    buffer: Box<[u8]>,
}

impl Reader {
    pub(super) fn new(pipe: Incomings) -> Self {
        Self { pipe, decoder: Decoder::new(), buffer: vec![0; READ_BYTES].into_boxed_slice() }
    }

    /// Takes no more from the guest. Whoever carries the bytes need not keep them for us.
    pub(super) fn close(&mut self) {
        self.pipe = Box::new(tokio::io::empty());
    }

    pub(super) async fn next(&mut self) -> Result<Incoming, Broken> {
        loop {
            if let Some(frame) = self.decoder.next_frame().map_err(Broken::Frame)? {
                return Ok(Incoming::Frame(frame));
            }
            match self.pipe.read(&mut self.buffer).await {
                Ok(0) => return Ok(Incoming::Closed),
                Ok(count) => self.decoder.push(self.buffer.get(..count).unwrap_or_default()),
                // It went away without having read everything.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(Incoming::Closed),
                Err(error) => return Err(Broken::Io(error)),
            }
        }
    }
}

/// Frames to the guest.
pub(super) struct Writer {
    pipe: Option<Outgoings>,
    waiting: Vec<u8>,
    written: usize,
}

impl Writer {
    pub(super) fn new(pipe: Outgoings) -> Self {
        Self { pipe: Some(pipe), waiting: Vec::new(), written: 0 }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn queue(&mut self, kind: Kind, stream: u32, payload: &[u8]) -> Result<(), FrameError> {
        wire::encode(kind, stream, payload, &mut self.waiting)
    }

    pub(super) fn queue_json(
        &mut self,
        kind: Kind,
        stream: u32,
        message: &impl Serialize,
    ) -> Result<(), String> {
        let payload = serde_json::to_vec(message).map_err(|error| error.to_string())?;
        self.queue(kind, stream, &payload).map_err(|error| error.to_string())
    }

    /// Writes some of what waits. A guest that is gone swallows it: its silence is noticed by the reader.
    pub(super) async fn progress(&mut self) {
        let Some(pipe) = self.pipe.as_mut() else { return self.forget() };
        match pipe.write(self.waiting.get(self.written..).unwrap_or_default()).await {
            Ok(count) if count > 0 => {
                self.written += count;
                if self.written >= self.waiting.len() {
                    self.forget();
                }
            }
            Ok(_) | Err(_) => {
                self.pipe = None;
                self.forget();
            }
        }
    }

    fn forget(&mut self) {
        self.waiting.clear();
        self.written = 0;
    }

    /// Writes all that waits.
    pub(super) async fn flush(&mut self) {
        while !self.is_idle() {
            self.progress().await;
        }
    }

    /// Tells the guest to end.
    pub(super) fn close(&mut self) {
        self.pipe = None;
        self.forget();
    }
}
