//! The guest protocol: what host and guest say to each other over one byte stream.
//! Free of any runtime, so that a small static guest can use it; it must never trust a length it was told.

mod frame;
mod message;

pub use frame::{Decoder, Frame, FrameError, HEADER_BYTES, Kind, MAX_PAYLOAD_BYTES, encode};
pub use message::{
    Boot, BootBackend, CHUNK_BYTES, Cause, EGRESS_CHUNK_BYTES, EGRESS_PORT, EGRESS_STREAMS,
    EGRESS_WINDOW_BYTES, End, ExitReport, Failure, Hello, PROTOCOL_VERSION, Ready, Request,
    STDIN_WINDOW_BYTES, SignalRequest, Stage, StopRequest, Translation,
};
