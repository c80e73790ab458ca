//! Answers in lines of JSON, as Ollama sends them. Nothing without a bound is held: neither a line nor an error.

use std::time::Duration;

use reqwest::Response;

use super::Provider;
use super::exchange::Tap;
use super::fault::Broken;
use super::request::headers;
use crate::model::Request;

/// The longest line, in bytes.
const LONGEST_LINE: usize = 16 << 20;

/// As much of an error as is looked at, in bytes.
const LONGEST_ERROR: usize = 64 << 10;

/// A response that is read line by line.
pub(super) struct Lines {
    response: Response,
    rest: Vec<u8>,
    ended: bool,
    patience: Duration,
}

impl Lines {
    /// Sends the request and waits for the head of the answer.
    pub(super) async fn open(provider: &Provider, request: &Request) -> Result<Self, Broken> {
        let timeouts = provider.settings.timeouts;
        let mut post = provider.http.post(provider.url()).json(&provider.ollama(request));
        for (name, value) in headers(&provider.settings, Some(request)) {
            post = post.header(name, value);
        }
        let response = tokio::time::timeout(timeouts.first_byte, post.send())
            .await
            .map_err(|_| Broken::Silent)?
            .map_err(|error| Broken::of_http(&error))?;
        let mut lines = Self { response, rest: Vec::new(), ended: false, patience: timeouts.between_bytes };
        if lines.response.status().is_success() { Ok(lines) } else { Err(lines.error().await) }
    }

    async fn error(&mut self) -> Broken {
        let mut body = Vec::new();
        while body.len() < LONGEST_ERROR {
            match self.chunk().await {
                Ok(Some(more)) => body.extend_from_slice(&more),
                Ok(None) | Err(_) => break,
            }
        }
        Broken::Status {
            status: self.response.status().as_u16(),
            headers: Box::new(self.response.headers().clone()),
            body: String::from_utf8_lossy(&body).into_owned(),
        }
    }

    async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Broken> {
        let chunk = tokio::time::timeout(self.patience, self.response.chunk());
        let chunk = chunk.await.map_err(|_| Broken::Stalled)?.map_err(|error| Broken::of_http(&error))?;
        Ok(chunk.map(Vec::from))
    }

    /// Waits for more and gives whole lines to the reader.
    pub(super) async fn more(&mut self, tap: &Tap) -> Option<Result<(), Broken>> {
        if self.ended {
            return None;
        }
        let from = self.rest.len();
        match self.chunk().await {
            Ok(Some(more)) => self.rest.extend_from_slice(&more),
            Ok(None) => {
                // A last line without its end: complete, or cut off within.
                self.ended = true;
                let rest = std::mem::take(&mut self.rest);
                tap.reading().data(&String::from_utf8_lossy(&rest));
                return Some(Ok(()));
            }
            Err(broken) => return Some(Err(broken)),
        }
        if let Some(end) = self.rest[from..].iter().rposition(|byte| *byte == b'\n') {
            let rest = self.rest.split_off(from + end + 1);
            let lines = std::mem::replace(&mut self.rest, rest);
            let mut reading = tap.reading();
            for line in lines.split(|byte| *byte == b'\n') {
                reading.data(&String::from_utf8_lossy(line));
            }
        }
        Some(if self.rest.len() > LONGEST_LINE { Err(Broken::Unreadable) } else { Ok(()) })
    }
}
