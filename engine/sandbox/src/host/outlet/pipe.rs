//! One connection of a command, between the frames and the task that carries it: two buffers of bounded size.
//! Never awaits anything itself, so that neither side can hold up the other.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
};

use crate::wire::EGRESS_WINDOW_BYTES;

/// What both ends know.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Bytes of the command for the task.
    pub(super) outward: VecDeque<u8>,
    /// The command says no more.
    pub(super) outward_ended: bool,
    /// Bytes the task took that the guest does not know of.
    pub(super) taken: usize,
    /// Bytes of the task for the command.
    pub(super) inward: VecDeque<u8>,
    /// The task says no more.
    pub(super) inward_ended: bool,
    /// The connection is over; both directions fail.
    pub(super) broken: bool,
    /// The task has gone.
    pub(super) dropped: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl State {
    pub(super) fn wake_reader(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }

    pub(super) fn wake_writer(&mut self) {
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
    }
}

/// The end that frames go to and come from.
#[derive(Debug)]
pub(super) struct Near(Arc<Mutex<State>>);

impl Near {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends both directions.
    pub(super) fn break_off(&self) {
        let mut state = self.lock();
        state.broken = true;
        state.outward.clear();
        state.inward.clear();
        state.wake_reader();
        state.wake_writer();
    }
}

/// The end that the task of the connection holds: an ordinary stream.
#[derive(Debug)]
pub(super) struct Far {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

/// Both ends. `changed` is told whenever the task did something.
pub(super) fn pair(changed: Arc<Notify>) -> (Near, Far) {
    let state = Arc::new(Mutex::new(State::default()));
    (Near(Arc::clone(&state)), Far { state, changed })
}

impl Far {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsyncRead for Far {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.lock();
        if state.broken {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let (front, _) = state.outward.as_slices();
        let count = front.len().min(buffer.remaining());
        if count == 0 && !state.outward_ended && buffer.remaining() > 0 {
            state.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        buffer.put_slice(front.get(..count).unwrap_or_default());
        state.outward.drain(..count);
        state.taken += count;
        drop(state);
        if count > 0 {
            self.changed.notify_one();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Far {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.lock();
        if state.broken || state.inward_ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let count = bytes.len().min(EGRESS_WINDOW_BYTES.saturating_sub(state.inward.len()));
        if count == 0 && !bytes.is_empty() {
            state.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        state.inward.extend(bytes.get(..count).unwrap_or_default());
        drop(state);
        self.changed.notify_one();
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().inward_ended = true;
        self.changed.notify_one();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        self.lock().dropped = true;
        self.changed.notify_one();
    }
}
