//! The journal of one run in terms of the state machine: typed events in, typed events out, always in order.
//! Must never hand out an event that is not on disk.

use std::num::NonZero;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use blueprint_core::run::Event;
use thiserror::Error;

use crate::store::{Append, AppendError, Lease, MessageId, NewEvent, ReadError, Store, StoredEvent};

/// The start of a run holds its sources up to this many bytes, so that starting costs one sync and no files.
pub const LARGEST_START: usize = 2 << 20;

/// An append that takes less than this is worth waiting for without going to sleep: waking a thread on a processor
/// that sleeps costs up to a third of it. Beside a slower one the wake does not matter.
const QUICK: Duration = Duration::from_micros(500);
/// For so many appends one look at what else the machine does is good.
const APPENDS_A_LOOK: u32 = 16;

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

/// Decodes a stored event.
pub fn decode(stored: &StoredEvent) -> Result<Entry, JournalError> {
    let event = serde_json::from_str(&stored.body).map_err(|source| JournalError::Unknown {
        seq: stored.seq,
        kind: stored.kind.clone(),
        source,
    })?;
    Ok(Entry { seq: stored.seq, at_ms: u64::try_from(stored.at_ms).unwrap_or(0), event })
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
        Event::SessionAdvanced { .. } => "session_advanced",
    }
}

/// The writing end for a run that this process drives.
#[derive(Debug)]
pub struct Journal {
    lease: Lease,
    next_seq: u64,
    room: Room,
}

impl Journal {
    /// Writes behind `last_seq` under `lease`.
    pub fn new(lease: Lease, last_seq: u64) -> Self {
        Self { lease, next_seq: last_seq + 1, room: Room::of_this_machine() }
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
    ///
    /// `alone` says that no work of the run goes on. Only then may a processor be kept while the disk is waited for.
    pub async fn append(
        &mut self,
        store: &Store,
        events: &[(u64, Event)],
        taking: &[MessageId],
        status: Option<&str>,
        alone: bool,
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
        let append = Append { first_seq: self.next_seq, events: &new, taking, status, inline };
        let patience = if alone && self.room.may_keep() { QUICK } else { Duration::ZERO };
        let started = Instant::now();
        let appended = staying(patience, store.append(&self.lease, append)).await;
        self.room.took(started.elapsed());
        appended?;
        self.next_seq += u64::try_from(events.len()).unwrap_or(0);
        Ok(())
    }
}

/// Whether a processor may be kept while the disk is waited for. Where others want it the answer is no: they lose by
/// it, and so does the database's thread. A processor that is busy anyway wakes a thread at once.
#[derive(Debug)]
struct Room {
    processors: usize,
    is_free: bool,
    appends_left: u32,
}

impl Room {
    /// Nothing is known before the first look, which comes after some appends: a short run needs none.
    fn of_this_machine() -> Self {
        let processors = available_parallelism().map_or(1, NonZero::get);
        Self { processors, is_free: false, appends_left: APPENDS_A_LOOK }
    }

    fn may_keep(&mut self) -> bool {
        if self.processors > 1 && self.appends_left == 0 {
            let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
            // This thread counts as one, and one more is left for the database.
            self.is_free = runnable(&load).is_some_and(|threads| threads < self.processors);
            self.appends_left = APPENDS_A_LOOK;
        }
        self.appends_left = self.appends_left.saturating_sub(1);
        self.is_free
    }

    fn took(&mut self, time: Duration) {
        if time >= QUICK {
            self.is_free = false;
        }
    }
}

/// How many threads of the machine run or could run, by the text of `/proc/loadavg`; see `proc_loadavg(5)`.
fn runnable(load: &str) -> Option<usize> {
    load.split(' ').nth(3)?.split_once('/')?.0.parse().ok()
}

/// Awaits what another thread finishes, and does not go to sleep for the first `patience` of it.
async fn staying<F: Future>(patience: Duration, future: F) -> F::Output {
    let mut future = pin!(future);
    let mut patience = (!patience.is_zero()).then_some(patience);
    std::future::poll_fn(|task| {
        let Some(patience) = patience.take() else { return future.as_mut().poll(task) };
        let bell = Arc::new(Bell(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&bell));
        let until = Instant::now() + patience;
        while Instant::now() < until {
            if !bell.0.swap(false, Ordering::Acquire) {
                std::hint::spin_loop();
            } else if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return Poll::Ready(done);
            }
        }
        // From here on whoever finishes it wakes the task itself.
        future.as_mut().poll(task)
    })
    .await
}

/// Rung instead of waking a task: the task is awake and listens.
struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::thread;

    use tokio::sync::oneshot;

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicU32);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn one_who_stays_needs_no_wake() {
        let (send, receive) = oneshot::channel();
        let mut receive = pin!(receive);
        let mut send = Some(send);
        let mut others = Vec::new();
        let future = std::future::poll_fn(|task| {
            let polled = receive.as_mut().poll(task);
            // Sent from another thread, and only once the future was found unfinished.
            others.extend(send.take().map(|send| thread::spawn(move || send.send(7))));
            polled
        });
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let polled =
            pin!(staying(Duration::from_mins(1), future)).as_mut().poll(&mut Context::from_waker(&waker));
        assert!(matches!(polled, Poll::Ready(Ok(7))), "{polled:?}");
        assert_eq!(wakes.0.load(Ordering::SeqCst), 0);
        assert_eq!(others.len(), 1);
    }

    #[test]
    fn a_busy_machine_is_left_to_others() {
        assert_eq!(runnable("0.20 0.18 0.12 3/80 11206\n"), Some(3));
        assert_eq!(runnable(""), None);
        let mut room = Room { processors: 2, is_free: true, appends_left: 3 };
        assert!(room.may_keep());
        room.took(QUICK);
        assert!(!room.may_keep());
        // Nothing is free for a second thread here, whatever the machine does.
        let mut alone = Room { processors: 1, is_free: false, appends_left: 0 };
        assert!(!alone.may_keep());
    }

    #[test]
    fn one_whose_patience_ends_is_woken() {
        for patience in [Duration::ZERO, Duration::from_micros(1)] {
            let (send, receive) = oneshot::channel();
            let wakes = Arc::new(Wakes::default());
            let waker = Waker::from(Arc::clone(&wakes));
            let mut task = Context::from_waker(&waker);
            let mut waiting = pin!(staying(patience, receive));
            assert!(waiting.as_mut().poll(&mut task).is_pending());
            send.send(7).unwrap();
            assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
            assert_eq!(waiting.as_mut().poll(&mut task), Poll::Ready(Ok(7)));
        }
    }
}
