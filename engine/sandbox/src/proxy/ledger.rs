//! What became of requests, for the record of a node: a bounded list, then a count. Holds no header, no path and no
//! content, because any of them may hold what nobody should keep.

use std::sync::atomic::{AtomicU16, Ordering};
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
        Note { ledger: self.clone(), meter, status: AtomicU16::new(0), request: Request::default() }
    }
}

/// A request while it is under way.
#[derive(Debug)]
pub(super) struct Note {
    ledger: Ledger,
    meter: Arc<Meter>,
    status: AtomicU16,
    pub(super) request: Request,
}

impl Note {
    /// The host answered. Kept even if what comes behind the head of the answer does not.
    pub(super) fn answered(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        let mut request = std::mem::take(&mut self.request);
        request.status = Some(self.status.load(Ordering::Relaxed)).filter(|status| *status != 0);
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
