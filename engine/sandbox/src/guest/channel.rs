//! The guest's end of the conversation: frames in from standard input, frames out to standard output.
//! Never blocks, so that no host and no command can keep the guest from killing what it must kill.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use nix::fcntl::{self, FcntlArg, OFlag};
use serde::Serialize;

use crate::wire::{self, Decoder, Frame, FrameError, Kind};

/// Bytes waiting for the host at which no more output is taken from commands.
const HIGH_WATER_BYTES: usize = 256 << 10;

/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;

/// Whether the host is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Present,
    Gone,
}

/// Both directions.
#[derive(Debug)]
pub(super) struct Channel {
    input: File,
    output: File,
    decoder: Decoder,
    waiting: VecDeque<u8>,
    buffer: Box<[u8]>,
}

impl Channel {
    pub(super) fn new(input: OwnedFd, output: OwnedFd) -> nix::Result<Self> {
        set_nonblocking(input.as_fd())?;
        set_nonblocking(output.as_fd())?;
        Ok(Self {
            input: input.into(),
            output: output.into(),
            decoder: Decoder::new(),
            waiting: VecDeque::new(),
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
        })
    }

    pub(super) fn input(&self) -> BorrowedFd<'_> {
        self.input.as_fd()
    }

    pub(super) fn output(&self) -> BorrowedFd<'_> {
        self.output.as_fd()
    }

    /// Takes what the host sent.
    pub(super) fn receive(&mut self) -> Host {
        match self.input.read(&mut self.buffer) {
            Ok(0) => Host::Gone,
            Ok(count) => {
                self.decoder.push(self.buffer.get(..count).unwrap_or_default());
                Host::Present
            }
            Err(error) if is_patience(&error) => Host::Present,
            Err(_) => Host::Gone,
        }
    }

    pub(super) fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        self.decoder.next_frame()
    }

    /// Queues bytes of a command or a small control payload.
    pub(super) fn send(&mut self, kind: Kind, stream: u32, payload: &[u8]) {
        let mut bytes = Vec::with_capacity(payload.len() + wire::HEADER_BYTES);
        // Every caller sends less than a frame may hold.
        if wire::encode(kind, stream, payload, &mut bytes).is_ok() {
            self.waiting.extend(bytes);
        }
    }

    /// Queues a control message.
    pub(super) fn send_json(&mut self, kind: Kind, stream: u32, message: &impl Serialize) {
        match serde_json::to_vec(message) {
            Ok(payload) => self.send(kind, stream, &payload),
            Err(error) => self.send(Kind::Error, stream, error.to_string().as_bytes()),
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < HIGH_WATER_BYTES
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Writes what the host will take now.
    pub(super) fn flush(&mut self) -> Host {
        while !self.waiting.is_empty() {
            let (front, _) = self.waiting.as_slices();
            match self.output.write(front) {
                Ok(count) => drop(self.waiting.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Host::Present,
                Err(_) => return Host::Gone,
            }
        }
        Host::Present
    }
}

/// Whether an error only means "not now".
pub(super) fn is_patience(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Makes reads and writes return instead of waiting.
pub(super) fn set_nonblocking(fd: BorrowedFd<'_>) -> nix::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl::fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl::fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).map(drop)
}
