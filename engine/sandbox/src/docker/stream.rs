//! The standard streams of an attached container, as two byte streams.
//! Ends when the container does: an engine may keep the stream of a container that died open for ever.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bollard::container::{AttachContainerResults, LogOutput};
use bytes::Bytes;
use futures::Stream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// Time for what a container wrote to arrive once it has ended.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Bytes of standard error that are kept for an error message.
const COMPLAINT_BYTES: usize = 4096;

/// The output of a container.
pub(crate) struct Incoming {
    output: Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>,
    ended: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    deadline: Option<Pin<Box<Sleep>>>,
    rest: Bytes,
    complaint: std::sync::Arc<std::sync::Mutex<Vec<u8>>>,
}

impl Incoming {
    /// Reads what was attached to until it closes, or until shortly after `ended` completes.
    pub(super) fn new(
        output: Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>,
        ended: impl Future<Output = ()> + Send + 'static,
        complaint: std::sync::Arc<std::sync::Mutex<Vec<u8>>>,
    ) -> Self {
        Self { output, ended: Some(Box::pin(ended)), deadline: None, rest: Bytes::new(), complaint }
    }
}

impl AsyncRead for Incoming {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if !this.rest.is_empty() {
                let piece = this.rest.split_to(this.rest.len().min(buf.remaining()));
                buf.put_slice(&piece);
                return Poll::Ready(Ok(()));
            }
            match this.output.as_mut().poll_next(cx) {
                Poll::Ready(Some(Ok(LogOutput::StdErr { message }))) => {
                    if let Ok(mut kept) = this.complaint.lock() {
                        let room = COMPLAINT_BYTES.saturating_sub(kept.len());
                        kept.extend(message.iter().take(room));
                    }
                }
                Poll::Ready(Some(Ok(output))) => this.rest = output.into_bytes(),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(io::Error::other(error))),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    if let Some(ended) = &mut this.ended {
                        ready!(ended.as_mut().poll(cx));
                        this.ended = None;
                        this.deadline = Some(Box::pin(sleep(LAST_WORDS)));
                    }
                    let Some(deadline) = &mut this.deadline else { return Poll::Pending };
                    ready!(deadline.as_mut().poll(cx));
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

/// The input of a container. Everything written goes out at once: a guest waits for whole frames.
pub(crate) struct Outgoing {
    input: Pin<Box<dyn AsyncWrite + Send>>,
}

impl Outgoing {
    pub(super) fn new(input: Pin<Box<dyn AsyncWrite + Send>>) -> Self {
        Self { input }
    }
}

impl AsyncWrite for Outgoing {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.input.as_mut().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.input.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.input.as_mut().poll_shutdown(cx)
    }
}

/// Both streams of an attached container.
pub(super) fn split(
    attached: AttachContainerResults,
    ended: impl Future<Output = ()> + Send + 'static,
    complaint: std::sync::Arc<std::sync::Mutex<Vec<u8>>>,
) -> (Incoming, Outgoing) {
    (Incoming::new(attached.output, ended, complaint), Outgoing::new(attached.input))
}
