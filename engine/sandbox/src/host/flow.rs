//! What flows to and from one command: output against its cap, input against what the guest granted.
//! Holds at most one piece of output, so memory stays bounded however fast a command writes.

use tokio::sync::mpsc;

use crate::{
    contract::{Output, Stream},
    error::ExecError,
    host::channel::Writer,
    wire::{CHUNK_BYTES, Frame, Kind, STDIN_WINDOW_BYTES},
};

#[derive(PartialEq, Eq)]
pub(super) enum Cap {
    Kept,
    Exceeded,
}

pub(super) struct Progress {
    pub(super) kept: u64,
    pub(super) cap: u64,
    pub(super) pending: Option<Output>,
}

impl Progress {
    pub(super) fn take(&mut self, frame: Frame) -> Cap {
        let stream = if frame.kind == Kind::Stdout { Stream::Stdout } else { Stream::Stderr };
        let mut bytes = frame.payload;
        let room = usize::try_from(self.cap - self.kept).unwrap_or(usize::MAX);
        let cap = if bytes.len() > room { Cap::Exceeded } else { Cap::Kept };
        bytes.truncate(room);
        self.kept += bytes.len() as u64;
        self.pending = Some(Output { stream, bytes });
        cap
    }
}

/// What is still to be sent to the command's standard input, and how much of it may be.
pub(super) struct Input {
    open: bool,
    bytes: Vec<u8>,
    sent: usize,
    source: Option<mpsc::Receiver<Vec<u8>>>,
    credit: usize,
}

impl Input {
    /// The bytes first, then what comes from the source.
    pub(super) fn new(bytes: Option<Vec<u8>>, source: Option<mpsc::Receiver<Vec<u8>>>) -> Self {
        Self {
            open: bytes.is_some() || source.is_some(),
            bytes: bytes.unwrap_or_default(),
            sent: 0,
            source,
            credit: STDIN_WINDOW_BYTES,
        }
    }

    pub(super) fn grant(&mut self, payload: &[u8]) -> Result<(), ExecError> {
        let granted = payload
            .first_chunk()
            .map(|bytes| u32::from_le_bytes(*bytes) as usize)
            .ok_or_else(|| ExecError::Protocol("a grant without an amount".to_owned()))?;
        self.credit = self.credit.saturating_add(granted).min(STDIN_WINDOW_BYTES);
        Ok(())
    }

    /// Whether all it has is on its way, and more may come.
    pub(super) fn wants_more(&self) -> bool {
        self.source.is_some() && self.sent >= self.bytes.len()
    }

    /// Waits for more. May be dropped half-way without losing a byte.
    pub(super) async fn more(&mut self) {
        let Some(source) = &mut self.source else { return };
        match source.recv().await {
            Some(bytes) => {
                self.bytes = bytes;
                self.sent = 0;
            }
            None => self.source = None,
        }
    }

    pub(super) fn offer(&mut self, stream: u32, writer: &mut Writer) -> Result<(), ExecError> {
        if !self.open || !writer.is_idle() {
            return Ok(());
        }
        let rest = self.bytes.get(self.sent..).unwrap_or_default();
        if rest.is_empty() {
            if self.source.is_none() {
                self.open = false;
                writer.queue(Kind::StdinClose, stream, &[])?;
            }
            return Ok(());
        }
        let piece = rest.get(..rest.len().min(CHUNK_BYTES).min(self.credit)).unwrap_or_default();
        if !piece.is_empty() {
            writer.queue(Kind::Stdin, stream, piece)?;
            self.sent += piece.len();
            self.credit -= piece.len();
        }
        Ok(())
    }
}
