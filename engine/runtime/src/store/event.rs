//! The envelope of an event: what is given to the journal and what comes back.
//! It must never look into a body; bodies are the caller's text.

use super::digest::Digest;

/// An event to append. Its sequence number follows from its place in the append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewEvent<'a> {
    /// When it happened, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// The kind, for listings and filters.
    pub kind: &'a str,
    /// The event itself as JSON text. Stored and returned byte for byte, never parsed here.
    pub body: &'a str,
}

/// An event as the journal holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Envelope version.
    pub v: i64,
    /// Sequence number in its run, from 1.
    pub seq: u64,
    /// When it happened, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// The kind.
    pub kind: String,
    /// The event itself as JSON text.
    pub body: String,
    /// The hash over the previous hash and all fields of the envelope.
    pub hash: Digest,
}
