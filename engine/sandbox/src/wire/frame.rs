//! Length-prefixed frames: `u32` little-endian payload length, `u8` kind, `u32` little-endian stream id, payload.
//! The decoder must never panic and never reserve memory because a header asked for it.

use thiserror::Error;

/// Bytes in front of every payload.
pub const HEADER_BYTES: usize = 9;

/// The largest payload a frame may carry, in bytes. A longer announcement ends the conversation.
pub const MAX_PAYLOAD_BYTES: usize = 1 << 20;

/// Consumed bytes the decoder keeps before it moves the rest to the front.
const COMPACT_AFTER_BYTES: usize = 64 << 10;

/// What a frame means. The numbers are the wire format and never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Host to launcher, once: which sandbox to build.
    Boot = 1,
    /// Host to guest, once: protocol version and nonce.
    Hello = 2,
    /// Guest to host: the answer to `Hello`, with the attestation.
    Ready = 3,
    /// Host to guest: run a command.
    Exec = 4,
    /// Host to guest: bytes for the command's standard input.
    Stdin = 5,
    /// Host to guest: no more standard input.
    StdinClose = 6,
    /// Guest to host: how many more standard input bytes (`u32` little-endian) may be sent.
    StdinCredit = 7,
    /// Guest to host: bytes the command wrote to standard output.
    Stdout = 8,
    /// Guest to host: bytes the command wrote to standard error.
    Stderr = 9,
    /// Guest to host: the command is over and nothing of it is left.
    Exit = 10,
    /// Host to guest: deliver a signal to the command's process group.
    Signal = 11,
    /// Host to guest: stop the command, politely for the grace period, then all at once.
    Kill = 12,
    /// Guest to host: the sandbox (not the command) failed.
    Error = 13,
    /// Either way: are you there? The payload comes back in `Pong`.
    Ping = 14,
    /// The answer to `Ping`.
    Pong = 15,
    /// Guest to host: a command opened a connection outwards. The stream's number is the guest's choice, and each
    /// is larger than the one before.
    EgressOpen = 16,
    /// Either way: bytes of a connection, never none, and never more than the other side granted.
    EgressData = 17,
    /// Either way: how many more bytes (`u32` little-endian) of a connection may be sent.
    EgressCredit = 18,
    /// Either way: no more bytes of a connection follow from this side.
    EgressClose = 19,
    /// Either way: a connection is over, and what is under way is void.
    EgressReset = 20,
    /// Host to guest, between commands: empty the private folders, for another command.
    Renew = 21,
    /// Guest to host: they are empty.
    Renewed = 22,
}

impl Kind {
    const ALL: [Self; 22] = [
        Self::Boot,
        Self::Hello,
        Self::Ready,
        Self::Exec,
        Self::Stdin,
        Self::StdinClose,
        Self::StdinCredit,
        Self::Stdout,
        Self::Stderr,
        Self::Exit,
        Self::Signal,
        Self::Kill,
        Self::Error,
        Self::Ping,
        Self::Pong,
        Self::EgressOpen,
        Self::EgressData,
        Self::EgressCredit,
        Self::EgressClose,
        Self::EgressReset,
        Self::Renew,
        Self::Renewed,
    ];

    /// Whether it is about a connection outwards. Those have numbers of their own, apart from those of commands.
    pub fn is_egress(self) -> bool {
        matches!(
            self,
            Self::EgressOpen | Self::EgressData | Self::EgressCredit | Self::EgressClose | Self::EgressReset
        )
    }

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte).checked_sub(1)?).copied()
    }
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it means.
    pub kind: Kind,
    /// Which command or connection it belongs to; 0 is the conversation itself.
    pub stream: u32,
    /// Its content.
    pub payload: Vec<u8>,
}

/// Why bytes are not a frame.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum FrameError {
    /// A header announced more than [`MAX_PAYLOAD_BYTES`], or a sender tried to.
    #[error("a frame of {0} bytes is longer than the protocol allows")]
    TooLong(usize),
    /// A header carried a kind nobody knows.
    #[error("frame kind {0} is unknown")]
    UnknownKind(u8),
}

/// Appends one frame to `out`.
pub fn encode(kind: Kind, stream: u32, payload: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
    let length = u32::try_from(payload.len()).map_err(|_| FrameError::TooLong(payload.len()))?;
    if payload.len() > MAX_PAYLOAD_BYTES {
        return Err(FrameError::TooLong(payload.len()));
    }
    out.reserve(HEADER_BYTES + payload.len());
    out.extend_from_slice(&length.to_le_bytes());
    out.push(kind as u8);
    out.extend_from_slice(&stream.to_le_bytes());
    out.extend_from_slice(payload);
    Ok(())
}

/// Turns a byte stream back into frames, however the bytes were cut.
///
/// Holds only bytes that were really received. After an error it stays in error: there is no way to find
/// the next frame boundary in a stream that has lied once.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    consumed: usize,
}

impl Decoder {
    /// An empty decoder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.consumed == self.buffer.len() {
            self.buffer.clear();
            self.consumed = 0;
        } else if self.consumed >= COMPACT_AFTER_BYTES {
            self.buffer.drain(..self.consumed);
            self.consumed = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, or `None` if more bytes are needed.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let rest = self.buffer.get(self.consumed..).unwrap_or_default();
        let Some((header, body)) = rest.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let [l0, l1, l2, l3, kind, s0, s1, s2, s3] = *header;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if length > MAX_PAYLOAD_BYTES {
            return Err(FrameError::TooLong(length));
        }
        let kind = Kind::from_byte(kind).ok_or(FrameError::UnknownKind(kind))?;
        let Some(payload) = body.get(..length) else { return Ok(None) };
        let frame = Frame { kind, stream: u32::from_le_bytes([s0, s1, s2, s3]), payload: payload.to_vec() };
        self.consumed += HEADER_BYTES + length;
        Ok(Some(frame))
    }

    /// Received bytes that no frame has claimed yet.
    pub fn pending_bytes(&self) -> usize {
        self.buffer.len() - self.consumed
    }

    /// Memory held, in bytes.
    pub fn held_bytes(&self) -> usize {
        self.buffer.capacity()
    }
}
