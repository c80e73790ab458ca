//! The connections of one sandbox: what its guest says about them, held against the protocol, and what it is told.
//! Bounded in number and in bytes whatever the guest does; a guest that breaks the rules is reported, never obeyed.

use std::{collections::BTreeMap, fmt, ops::Bound, sync::Arc};

use tokio::{sync::Notify, task::JoinSet};

use super::pipe::{self, Near};
use crate::{
    attestation::Network,
    error::ExecError,
    host::channel::Writer,
    proxy::{Proxy, Session},
    wire::{EGRESS_CHUNK_BYTES, EGRESS_STREAMS, EGRESS_WINDOW_BYTES, Frame, FrameError, Kind},
};

/// Bytes queued for the guest at one time, so that the command's input has its turn as well.
const SHARE_BYTES: usize = 4 * EGRESS_CHUNK_BYTES;

/// Bytes the task must have taken before the guest is told that it may send more.
const GRANT_BYTES: usize = EGRESS_WINDOW_BYTES / 4;

/// The way out of one sandbox, or that there is none.
#[derive(Default)]
pub(in crate::host) struct Outlet {
    proxy: Option<Arc<Proxy>>,
    session: Option<Session>,
    streams: BTreeMap<u32, Stream>,
    newest: u32,
    served: u32,
    /// Bytes that may be on their way for connections that are over here.
    late: usize,
    first: bool,
    tasks: JoinSet<()>,
    changed: Arc<Notify>,
}

impl fmt::Debug for Outlet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Outlet").field("streams", &self.streams.len()).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Stream {
    pipe: Near,
    /// Bytes the guest may still send.
    allowance: usize,
    /// Bytes the guest may still be sent.
    credit: usize,
    /// The guest says no more.
    heard_all: bool,
    /// We said that we say no more.
    said_all: bool,
}

/// What became of a stream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    Open,
    Over,
}

impl Outlet {
    /// The way out through this proxy; without one there is none.
    pub(in crate::host) fn new(proxy: Option<Arc<Proxy>>) -> Self {
        Self { proxy: proxy.filter(|proxy| !proxy.hosts().is_empty()), ..Self::default() }
    }

    /// Whether what a guest attests is what it was told.
    pub(in crate::host) fn fits(&self, network: &Network) -> bool {
        match network {
            Network::Proxied { hosts } => *hosts == self.hosts(),
            Network::LoopbackOnly => self.proxy.is_none(),
            Network::Host => false,
        }
    }

    /// The hosts a guest is to say that it leads to.
    pub(in crate::host) fn hosts(&self) -> Vec<String> {
        self.proxy.as_ref().map(|proxy| proxy.hosts()).unwrap_or_default()
    }

    /// A command begins.
    pub(in crate::host) fn begin(&mut self) {
        self.session = self.proxy.as_ref().map(Proxy::session);
    }

    /// A command is over, and with it every connection it had.
    pub(in crate::host) async fn clear(&mut self) {
        self.session = None;
        for stream in std::mem::take(&mut self.streams).into_values() {
            self.late += stream.late();
            stream.pipe.break_off();
        }
        self.tasks.shutdown().await;
    }

    /// Waits until a task did something. May be dropped half-way.
    pub(in crate::host) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Whether connections go first this time: they and the command's input take turns.
    pub(in crate::host) fn goes_first(&mut self) -> bool {
        self.first = !self.first;
        self.first
    }

    /// Takes a frame of the guest.
    pub(in crate::host) fn take(&mut self, frame: &Frame) -> Result<(), ExecError> {
        let number = frame.stream;
        if frame.kind == Kind::EgressOpen {
            return self.open(number);
        }
        if number == 0 || number > self.newest {
            return Err(broken("a connection that was never opened"));
        }
        // One that is over here may still be on its way out there.
        let Some(stream) = self.streams.get_mut(&number) else {
            let late = self.late.checked_sub(frame.payload.len());
            self.late = late.ok_or_else(|| broken("bytes of connections that are over"))?;
            return Ok(());
        };
        let left = match frame.kind {
            Kind::EgressData => stream.data(&frame.payload)?,
            Kind::EgressCredit => stream.grant(&frame.payload)?,
            Kind::EgressClose => stream.close()?,
            _ => {
                stream.pipe.break_off();
                Left::Over
            }
        };
        if left == Left::Over {
            self.streams.remove(&number);
        }
        Ok(())
    }

    fn open(&mut self, number: u32) -> Result<(), ExecError> {
        // Between commands nobody is there to open one, and a guest in order says nothing.
        let Some(session) = &self.session else {
            return Err(broken("a connection, though there is no way out"));
        };
        if number <= self.newest {
            return Err(broken("a connection whose number was used before"));
        }
        if self.streams.len() >= EGRESS_STREAMS {
            return Err(broken("more connections than it may have"));
        }
        self.newest = number;
        let (near, far) = pipe::pair(Arc::clone(&self.changed));
        let stream = Stream {
            pipe: near,
            allowance: EGRESS_WINDOW_BYTES,
            credit: EGRESS_WINDOW_BYTES,
            heard_all: false,
            said_all: false,
        };
        self.streams.insert(number, stream);
        while self.tasks.try_join_next().is_some() {}
        self.tasks.spawn(session.clone().serve(far));
        Ok(())
    }

    /// Queues what the guest is to be told, beginning behind the stream that was served last.
    pub(in crate::host) fn offer(&mut self, writer: &mut Writer) -> Result<(), FrameError> {
        if self.streams.is_empty() || !writer.is_idle() {
            return Ok(());
        }
        let behind = self.streams.range((Bound::Excluded(self.served), Bound::Unbounded));
        let order: Vec<u32> =
            behind.chain(self.streams.range(..=self.served)).map(|(number, _)| *number).collect();
        let mut share = SHARE_BYTES;
        for number in order {
            let Some(stream) = self.streams.get_mut(&number) else { continue };
            let before = share;
            let left = stream.offer(number, writer, &mut share)?;
            if share < before {
                self.served = number;
            }
            if left == Left::Over
                && let Some(stream) = self.streams.remove(&number)
            {
                self.late += stream.late();
            }
        }
        if share == 0 {
            // There may be more; whoever writes this away comes again.
            self.changed.notify_one();
        }
        Ok(())
    }
}

impl Stream {
    /// Bytes the guest may have sent before it hears that this is over: contents, and what it granted.
    fn late(&self) -> usize {
        self.allowance + EGRESS_WINDOW_BYTES
    }

    fn data(&mut self, bytes: &[u8]) -> Result<Left, ExecError> {
        if self.heard_all || bytes.is_empty() || bytes.len() > self.allowance {
            return Err(broken("bytes of a connection that were not granted"));
        }
        self.allowance -= bytes.len();
        let mut state = self.pipe.lock();
        // A task that has gone takes nothing more, and nothing more will be granted.
        if !state.dropped {
            state.outward.extend(bytes);
            state.wake_reader();
        }
        Ok(Left::Open)
    }

    fn grant(&mut self, payload: &[u8]) -> Result<Left, ExecError> {
        let granted = payload.first_chunk().filter(|_| payload.len() == 4);
        let granted = granted.map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize);
        let credit = self.credit.saturating_add(granted);
        if granted == 0 || credit > EGRESS_WINDOW_BYTES {
            return Err(broken("a grant for a connection that nobody owes"));
        }
        self.credit = credit;
        Ok(Left::Open)
    }

    fn close(&mut self) -> Result<Left, ExecError> {
        if self.heard_all {
            return Err(broken("the end of a connection twice"));
        }
        self.heard_all = true;
        let mut state = self.pipe.lock();
        state.outward_ended = true;
        state.wake_reader();
        Ok(if self.said_all { Left::Over } else { Left::Open })
    }

    fn offer(&mut self, number: u32, writer: &mut Writer, share: &mut usize) -> Result<Left, FrameError> {
        let mut state = self.pipe.lock();
        if !self.heard_all && (state.taken >= GRANT_BYTES || (state.taken > 0 && state.outward.is_empty())) {
            let granted = u32::try_from(state.taken).unwrap_or(u32::MAX);
            writer.queue(Kind::EgressCredit, number, &granted.to_le_bytes())?;
            self.allowance += state.taken;
            state.taken = 0;
        }
        let count = state.inward.len().min(self.credit).min(*share).min(EGRESS_CHUNK_BYTES);
        if count > 0 {
            let bytes: Vec<u8> = state.inward.drain(..count).collect();
            writer.queue(Kind::EgressData, number, &bytes)?;
            self.credit -= count;
            *share -= count;
            state.wake_writer();
        }
        if !state.inward.is_empty() {
            return Ok(Left::Open);
        }
        if state.inward_ended && !self.said_all {
            writer.queue(Kind::EgressClose, number, &[])?;
            self.said_all = true;
            if self.heard_all {
                return Ok(Left::Over);
            }
        }
        if state.dropped && !(self.said_all && self.allowance == EGRESS_WINDOW_BYTES) {
            // Gone without a good end, or the command goes on talking to nobody.
            writer.queue(Kind::EgressReset, number, &[])?;
            return Ok(Left::Over);
        }
        Ok(Left::Open)
    }
}

fn broken(what: &str) -> ExecError {
    ExecError::Protocol(format!("a guest that behaves does not send {what}"))
}
