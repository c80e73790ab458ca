//! The journal of one run in terms of the state machine: typed events in, typed events out, always in order.
//! Must never hand out an event that is not on disk.

use blueprint_core::run::Event;
use thiserror::Error;

use crate::store::{Append, AppendError, Lease, MessageId, NewEvent, ReadError, Store, StoredEvent};

/// The start of a run holds its sources up to this many bytes, so that starting costs one sync and no files.
pub const LARGEST_START: usize = 2 << 20;

/// Why the journal of a run cannot be read.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The store could not give it.
    #[error("the journal of the run could not be read")]
    Read(#[from] ReadError),
    /// An event is not one this release knows.
    #[error("event {seq} of kind `{kind}` is not known to this release; a newer one wrote it")]
    Unknown {
        /// Its place.
        seq: u64,
        /// Its kind.
        kind: String,
        /// What did not fit.
        #[source]
        source: serde_json::Error,
    },
}

/// An event with its place and time.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its place, from 1.
    pub seq: u64,
    /// When it was journalled, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The fact.
    pub event: Event,
}

/// Decodes stored events.
pub fn decode(stored: &[StoredEvent]) -> Result<Vec<Entry>, JournalError> {
    stored
        .iter()
        .map(|stored| {
            let event = serde_json::from_str(&stored.body).map_err(|source| JournalError::Unknown {
                seq: stored.seq,
                kind: stored.kind.clone(),
                source,
            })?;
            Ok(Entry { seq: stored.seq, at_ms: u64::try_from(stored.at_ms).unwrap_or(0), event })
        })
        .collect()
}

/// The name of an event in listings.
pub fn kind(event: &Event) -> &'static str {
    match event {
        Event::RunStarted(_) => "run_started",
        Event::DriverStarted { .. } => "driver_started",
        Event::Issued(_) => "issued",
        Event::NodeEvaluated { .. } => "node_evaluated",
        Event::NodeSucceeded { .. } => "node_succeeded",
        Event::NodeFailed { .. } => "node_failed",
        Event::CommandLost { .. } => "command_lost",
        Event::GateOpened { .. } => "gate_opened",
        Event::GateDecided { .. } => "gate_decided",
        Event::TimerFired { .. } => "timer_fired",
        Event::Escalated { .. } => "escalated",
        Event::CancelRequested { .. } => "cancel_requested",
        Event::RetryRequested { .. } => "retry_requested",
        Event::NodeAdopted { .. } => "node_adopted",
    }
}

/// The writing end for a run that this process drives.
#[derive(Debug)]
pub struct Journal {
    lease: Lease,
    next_seq: u64,
}

impl Journal {
    /// Writes behind `last_seq` under `lease`.
    pub fn new(lease: Lease, last_seq: u64) -> Self {
        Self { lease, next_seq: last_seq + 1 }
    }

    /// The lease.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Gives the lease back.
    pub fn into_lease(self) -> Lease {
        self.lease
    }

    /// Makes events durable, in one transaction. When it returns an error, nothing may be done that depends on
    /// them, and the run must be read again before it goes on.
    pub async fn append(
        &mut self,
        store: &Store,
        events: &[(u64, Event)],
        taking: &[MessageId],
        status: Option<&str>,
    ) -> Result<(), AppendError> {
        let bodies: Vec<String> = events
            .iter()
            .map(|(_, event)| serde_json::to_string(event).expect("events hold nothing that JSON cannot"))
            .collect();
        let new: Vec<NewEvent<'_>> = events
            .iter()
            .zip(&bodies)
            .map(|((at, event), body)| NewEvent {
                at_ms: i64::try_from(*at).unwrap_or(i64::MAX),
                kind: kind(event),
                body,
            })
            .collect();
        let starts = events.iter().any(|(_, event)| matches!(event, Event::RunStarted(_)));
        let inline = starts.then_some(LARGEST_START);
        store
            .append(&self.lease, Append { first_seq: self.next_seq, events: &new, taking, status, inline })
            .await?;
        self.next_seq += u64::try_from(events.len()).unwrap_or(0);
        Ok(())
    }
}
