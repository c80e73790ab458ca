//! Counts the bytes of a connection and stops it when the command has moved as many as it may. Also tells whether anything
//! moves at all. Never counts what is on the other side of the proxy, which a command cannot see.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The counts of one connection.
#[derive(Debug)]
pub(super) struct Meter {
    up: AtomicU64,
    down: AtomicU64,
    /// What all connections of the command may still move.
    left: Arc<AtomicU64>,
}

impl Meter {
    pub(super) fn new(left: Arc<AtomicU64>) -> Arc<Self> {
        Arc::new(Self { up: AtomicU64::new(0), down: AtomicU64::new(0), left })
    }

    /// Bytes of the command, and bytes for it.
    pub(super) fn moved(&self) -> (u64, u64) {
        (self.up.load(Ordering::Relaxed), self.down.load(Ordering::Relaxed))
    }

    /// Whether the command has moved all it may.
    pub(super) fn is_spent(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }

    /// Returns once nothing has moved for this long.
    pub(super) async fn idle(&self, limit: Duration) {
        let mut before = self.moved();
        loop {
            tokio::time::sleep(limit).await;
            let now = self.moved();
            if now == before {
                return;
            }
            before = now;
        }
    }

    fn spend(&self, side: &AtomicU64, bytes: usize) {
        side.fetch_add(bytes as u64, Ordering::Relaxed);
        let spent = |left: u64| Some(left.saturating_sub(bytes as u64));
        // The closure never refuses.
        let _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spent);
    }
}

/// A connection that is counted.
#[derive(Debug)]
pub(super) struct Counted<S> {
    inner: S,
    meter: Arc<Meter>,
}

impl<S> Counted<S> {
    pub(super) fn new(inner: S, meter: Arc<Meter>) -> Self {
        Self { inner, meter }
    }

    fn check(&self) -> io::Result<()> {
        if self.meter.is_spent() {
            return Err(io::Error::other("the command has moved as many bytes as it may"));
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check()?;
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
        self.meter.spend(&self.meter.up, buffer.filled().len() - before);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        let left = usize::try_from(self.meter.left.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        let bytes = bytes.get(..left).unwrap_or(bytes);
        let polled = Pin::new(&mut self.inner).poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = &polled {
            self.meter.spend(&self.meter.down, *count);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
