//! What flows to and from one command: output against its cap, input against what the guest granted.
//! Holds at most one piece of output, so memory stays bounded however fast a command writes.

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
    bytes: Option<Vec<u8>>,
    sent: usize,
    credit: usize,
}

impl Input {
    pub(super) fn new(bytes: Option<Vec<u8>>) -> Self {
        Self { bytes, sent: 0, credit: STDIN_WINDOW_BYTES }
    }

    pub(super) fn grant(&mut self, payload: &[u8]) -> Result<(), ExecError> {
        let granted = payload
            .first_chunk()
            .map(|bytes| u32::from_le_bytes(*bytes) as usize)
            .ok_or_else(|| ExecError::Protocol("a grant without an amount".to_owned()))?;
        self.credit = self.credit.saturating_add(granted).min(STDIN_WINDOW_BYTES);
        Ok(())
    }

    pub(super) fn offer(&mut self, stream: u32, writer: &mut Writer) -> Result<(), ExecError> {
        let Some(bytes) = &self.bytes else { return Ok(()) };
        if !writer.is_idle() {
            return Ok(());
        }
        let rest = bytes.get(self.sent..).unwrap_or_default();
        if rest.is_empty() {
            self.bytes = None;
            return Ok(writer.queue(Kind::StdinClose, stream, &[])?);
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
