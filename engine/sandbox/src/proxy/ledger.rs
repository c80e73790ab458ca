//! What became of requests, for the record of a node: a bounded list, then a count. Holds no header, no path and no
//! content, because any of them may hold what nobody should keep.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::meter::Meter;

/// The most requests that are listed; the others are counted.
const MOST: usize = 200;

/// Longest text of a stranger in a record, in characters.
const LONGEST: usize = 120;

/// One request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Request {
    /// Its method, if it was readable.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub method: String,
    /// What it was made for, as `host:port`, if it was readable.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// Why it was not let through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Why it was let through and has no good end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// What the host answered, where we can see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The name of the secret that was put in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// Bytes the command sent.
    pub up: u64,
    /// Bytes the command was sent.
    pub down: u64,
}

/// The requests of a node.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    listed: Vec<Request>,
    more: u64,
}

impl Ledger {
    /// Those that are over: the first ones, and how many more there were.
    pub fn read(&self) -> (Vec<Request>, u64) {
        let kept = self.lock();
        (kept.listed.clone(), kept.more)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection begins. What it does is kept when the note is dropped, however that comes about.
    pub(super) fn note(&self, meter: Arc<Meter>) -> Note {
        Note { ledger: self.clone(), meter, seen: Mutex::default(), request: Request::default() }
    }
}

/// A request while it is under way.
#[derive(Debug)]
pub(super) struct Note {
    ledger: Ledger,
    meter: Arc<Meter>,
    seen: Mutex<Seen>,
    pub(super) request: Request,
}

/// What becomes known while a request is carried.
#[derive(Debug, Default)]
struct Seen {
    status: Option<u16>,
    refused: Option<String>,
    credential: Option<String>,
}

impl Note {
    /// The host answered. Kept even if what comes behind the head of the answer does not.
    pub(super) fn answered(&self, status: u16) {
        self.seen().status = Some(status);
    }

    /// It was refused for what is in it.
    pub(super) fn refused(&self, why: &str) {
        self.seen().refused = Some(why.to_owned());
    }

    /// A secret was put in.
    pub(super) fn swapped(&self, name: &str) {
        self.seen().credential = Some(name.to_owned());
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        let mut request = std::mem::take(&mut self.request);
        let seen = std::mem::take(&mut *self.seen());
        (request.status, request.credential) = (seen.status, seen.credential);
        if seen.refused.is_some() {
            (request.refused, request.failed) = (seen.refused, None);
        }
        if std::thread::panicking() {
            request.failed = Some("what carried it broke down".to_owned());
        }
        (request.up, request.down) = self.meter.moved();
        if request.host.is_empty() && request.refused.is_none() && request.failed.is_none() {
            // A connection that wanted nothing.
            return;
        }
        let mut kept = self.ledger.lock();
        if kept.listed.len() < MOST {
            kept.listed.push(request);
        } else {
            kept.more += 1;
        }
    }
}

/// A text of a stranger for a record or a message: short, and without what cannot be seen.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(LONGEST).map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect()
}
