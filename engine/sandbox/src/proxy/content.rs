//! What passes behind the heads: contents of requests, in which no placeholder may leave, and contents of answers, in which
//! no secret may come back. Holds back only what may be the beginning of one.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::credential::{Credential, astray_at};

/// Takes secrets out of what passes.
pub trait Scrub: Send + Sync + fmt::Debug {
    /// A filter for one text that comes in pieces.
    fn begin(&self) -> Box<dyn Scrubbing>;
}

/// A filter for one text.
pub trait Scrubbing: Send {
    /// Takes a piece and gives what is certain to be clean.
    fn push(&mut self, piece: &[u8]) -> Vec<u8>;
    /// The end of the text; gives the rest.
    fn finish(self: Box<Self>) -> Vec<u8>;
}

/// The content of a request that ends where a placeholder begins.
pub(super) struct Watched {
    inner: Incoming,
    credentials: Vec<Credential>,
    held: Vec<u8>,
    ended: bool,
}

impl Watched {
    pub(super) fn new(inner: Incoming, credentials: &[Credential]) -> Self {
        Self { inner, credentials: credentials.to_vec(), held: Vec::new(), ended: false }
    }

    /// What may go on of what is held. `Err` if it is not to go anywhere.
    fn release(&mut self) -> io::Result<Bytes> {
        let at = |mark: &str| self.held.windows(mark.len()).position(|window| window == mark.as_bytes());
        if let Some(astray) = self.credentials.iter().find(|known| at(&known.placeholder).is_some()) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, astray_at(astray)));
        }
        // The longest end that one of them could begin with.
        let begins =
            |tail: &[u8]| self.credentials.iter().any(|known| known.placeholder.as_bytes().starts_with(tail));
        let longest = self.credentials.iter().map(|known| known.placeholder.len()).max().unwrap_or(0);
        let from = self.held.len().saturating_sub(longest);
        let cut = (from..self.held.len()).find(|at| begins(self.held.get(*at..).unwrap_or_default()));
        let cut = if self.ended { self.held.len() } else { cut.unwrap_or(self.held.len()) };
        Ok(self.held.drain(..cut).collect::<Vec<u8>>().into())
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        while !self.ended {
            match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
                Some(Ok(frame)) => {
                    // Trailers end here: no server needs them, and they are one more place to hide in.
                    let Ok(data) = frame.into_data() else { continue };
                    self.held.extend_from_slice(&data);
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(io::Error::other(error)))),
                None => self.ended = true,
            }
            let bytes = self.release()?;
            if !bytes.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.inner.size_hint();
        match rest.exact() {
            Some(exact) => SizeHint::with_exact(exact + self.held.len() as u64),
            None => SizeHint::new(),
        }
    }
}

/// The content of an answer, without secrets.
pub(super) struct Scrubbed {
    inner: Incoming,
    scrubbing: Option<Box<dyn Scrubbing>>,
}

impl Scrubbed {
    pub(super) fn new(inner: Incoming, scrubbing: Box<dyn Scrubbing>) -> Self {
        Self { inner, scrubbing: Some(scrubbing) }
    }
}

impl Body for Scrubbed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            let polled = ready!(Pin::new(&mut self.inner).poll_frame(context));
            let Some(scrubbing) = self.scrubbing.as_mut() else { return Poll::Ready(None) };
            let bytes = match polled {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => scrubbing.push(&data),
                    Err(_) => continue,
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(io::Error::other(error)))),
                None => match self.scrubbing.take() {
                    Some(scrubbing) => scrubbing.finish(),
                    None => Vec::new(),
                },
            };
            if !bytes.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(bytes.into()))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.scrubbing.is_none()
    }
}
