//! The hash chain over a run's events: what each hash covers and how a reader checks it.
//! It must never depend on how SQLite stores a value, only on the envelope's fields.

use std::path::PathBuf;

use super::digest::Digest;
use super::event::StoredEvent;

/// The envelope version this code writes. Older ones stay readable, newer ones are refused.
pub const ENVELOPE_VERSION: i64 = 1;

/// Where a chain stands: the last event and its hash. Sequence numbers start at 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Sequence number of the last event; 0 before the first.
    pub seq: u64,
    /// Its hash, or the genesis hash of the run before the first event.
    pub hash: Digest,
}

/// The facts of a run that never change. They are hashed into the start of its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity<'a> {
    /// The run's id.
    pub id: &'a str,
    /// Name of the blueprint.
    pub blueprint: &'a str,
    /// Digest of the compiled blueprint, in the caller's spelling.
    pub digest: &'a str,
    /// Creation time in milliseconds since the Unix epoch.
    pub created_at_ms: i64,
}

/// Why a chain does not hold at some event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Break {
    /// Another sequence number was due: an event was removed, moved or put in.
    #[error("event {expected} was due, event {found} is there")]
    OutOfSequence {
        /// The number that was due.
        expected: u64,
        /// The number that was found.
        found: i64,
    },
    /// The event does not match its hash: a field of it, or of an earlier event, was changed.
    #[error("the event does not match its hash")]
    Altered,
    /// The chain ends before or after the head its run names, or with another hash.
    #[error("the run names event {expected} as its last, the journal ends at {found}")]
    WrongEnd {
        /// The last event by the run's own row.
        expected: i64,
        /// The last event there is.
        found: u64,
    },
    /// Events that were durable are gone: the anchor beside the journal names a later one.
    #[error("event {expected} was written to the disk, and the journal ends at {found}")]
    CutOff {
        /// The last event that is known to have been written.
        expected: u64,
        /// The last event there is.
        found: u64,
    },
    /// The events follow from each other, and are not those that the anchor beside the journal names.
    #[error("the journal was written anew: this is not the event that was written under its number")]
    Rewritten,
    /// The anchor beside the journal is damaged, so it is not known where the run ended.
    #[error("`{}`, which names the last event, is damaged", .0.display())]
    Anchor(PathBuf),
    /// The event was written by a newer engine.
    #[error("the envelope has version {0}, which this engine does not know")]
    UnknownVersion(i64),
    /// The event's body was kept in a file that is gone or altered.
    #[error("the body `{0}` is missing or altered")]
    Body(Digest),
    /// The row cannot be read at all.
    #[error("the row is not readable")]
    Unreadable,
}

/// Checks events one by one while they are read, for readers that do not want to fold an altered journal.
#[derive(Debug, Clone)]
pub struct ChainCheck<'a> {
    run: &'a str,
    head: Head,
}

impl Head {
    pub(super) fn genesis(run: Identity<'_>) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("blueprint journal: genesis of a run, version 1");
        field(&mut hasher, run.id.as_bytes());
        field(&mut hasher, run.blueprint.as_bytes());
        field(&mut hasher, run.digest.as_bytes());
        field(&mut hasher, &run.created_at_ms.to_le_bytes());
        Self { seq: 0, hash: hasher.finalize().into() }
    }

    pub(super) fn next(self, run: &str, v: i64, at_ms: i64, kind: &str, body: &str) -> Self {
        let seq = self.seq + 1;
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.hash.as_bytes());
        field(&mut hasher, &v.to_le_bytes());
        field(&mut hasher, run.as_bytes());
        field(&mut hasher, &seq.to_le_bytes());
        field(&mut hasher, &at_ms.to_le_bytes());
        field(&mut hasher, kind.as_bytes());
        field(&mut hasher, body.as_bytes());
        Self { seq, hash: hasher.finalize().into() }
    }
}

impl<'a> ChainCheck<'a> {
    /// A check that starts before the first event of a run.
    pub fn new(run: Identity<'a>) -> Self {
        Self { run: run.id, head: Head::genesis(run) }
    }

    /// A check that goes on after `head`, which the caller has checked before.
    pub fn after(run: &'a str, head: Head) -> Self {
        Self { run, head }
    }

    /// The last event that was admitted.
    pub fn head(&self) -> Head {
        self.head
    }

    /// Takes the next event, or says why it does not follow.
    pub fn admit(&mut self, event: &StoredEvent) -> Result<(), Break> {
        let expected = self.head.seq + 1;
        if event.seq != expected {
            return Err(Break::OutOfSequence { expected, found: event.seq as i64 });
        }
        if event.v != ENVELOPE_VERSION {
            return Err(Break::UnknownVersion(event.v));
        }
        let next = self.head.next(self.run, event.v, event.at_ms, &event.kind, &event.body);
        if next.hash != event.hash {
            return Err(Break::Altered);
        }
        self.head = next;
        Ok(())
    }
}

/// A length before every field, so that moving bytes from one field to the next changes the hash.
fn field(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}
