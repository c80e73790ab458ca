//! The wire that keys are asked for over: the client of the runtime, under its rules. Goes where nobody can listen and
//! the rules allow, follows nobody elsewhere, reads no answer without end, and remembers what must not be seen.

use std::error::Error as _;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use http::header::AUTHORIZATION;
use reqwest::Url;
use rmcp::transport::auth::{OAuthHttpClient, OAuthHttpClientFuture, OAuthHttpRequest};
use serde_json::Value;
use thiserror::Error;

use super::seen::Seen;
use crate::mcp::address::{ServerUrl, is_here, is_safe};
use crate::mcp::foreign::{bottom, complaint};
use crate::mcp::outside::Outside;

/// The longest answer, in bytes.
const LONGEST_ANSWER: usize = 512 << 10;

/// Time for one answer, if the library names none.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// Fields of requests that prove something.
const SENT: [&str; 7] = [
    "assertion",
    "client_assertion",
    "client_secret",
    "code",
    "code_verifier",
    "refresh_token",
    "subject_token",
];

/// Fields of answers that do.
const GIVEN: [&str; 5] =
    ["access_token", "client_secret", "id_token", "refresh_token", "registration_access_token"];

/// Why a request was not made or not answered. Never holds anything of what was sent.
#[derive(Debug, Error)]
pub(super) enum WireError {
    #[error("`{0}` is not asked: others could listen")]
    Open(String),
    #[error("`{0}` is not asked: a server elsewhere has no business on this machine")]
    Here(String),
    #[error("`{host}` is not asked: {why}")]
    Ruled { host: String, why: String },
    #[error("`{0}` is no address")]
    NotUrl(String),
    #[error("`{host}` did not answer: {why}")]
    Silent { host: String, why: String },
    #[error("`{host}` did not answer within {seconds} s")]
    Late { host: String, seconds: u64 },
    #[error("`{host}` answers with more than {LONGEST_ANSWER} bytes")]
    Long { host: String },
}

/// The wire for one server.
pub(super) struct Wire {
    outside: Outside,
    /// Whether the server is on this machine, and so may send us to others that are.
    here: bool,
    seen: Seen,
    last: Mutex<Option<String>>,
}

impl Wire {
    pub(super) fn new(outside: &Outside, server: &ServerUrl, seen: &Seen) -> Arc<Self> {
        Arc::new(Self {
            outside: outside.clone(),
            here: server.is_here(),
            seen: seen.clone(),
            last: Mutex::default(),
        })
    }

    pub(super) fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Why the last request was not made or not answered, if it was not: the library drops some reasons.
    pub(super) fn last_error(&self) -> Option<String> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether something may be asked for or shown.
    pub(super) fn check(&self, text: &str) -> Result<(), WireError> {
        let url = Url::parse(text).map_err(|_| WireError::NotUrl(complaint(text)))?;
        let host = host(&url);
        if !is_safe(&url) {
            return Err(WireError::Open(host));
        }
        if is_here(&url) && !self.here {
            return Err(WireError::Here(host));
        }
        (self.outside.allows)(text).map_err(|why| WireError::Ruled { host, why: complaint(&why) })
    }

    async fn ask(&self, asked: OAuthHttpRequest) -> Result<http::Response<Vec<u8>>, WireError> {
        let text = asked.request.uri().to_string();
        self.check(&text)?;
        self.remember_request(&asked.request);
        let request =
            reqwest::Request::try_from(asked.request).map_err(|_| WireError::NotUrl(complaint(&text)))?;
        let host = host(request.url());
        let time = asked.timeout.unwrap_or(ANSWER_TIME);
        let answer = tokio::time::timeout(time, self.answer(request, &host)).await;
        let answer = answer.map_err(|_| WireError::Late { host, seconds: time.as_secs() })??;
        self.remember_answer(answer.body());
        Ok(answer)
    }

    async fn answer(
        &self,
        request: reqwest::Request,
        host: &str,
    ) -> Result<http::Response<Vec<u8>>, WireError> {
        let silent = |error: reqwest::Error| {
            let deepest = error.source().map(|error| format!(": {}", bottom(error))).unwrap_or_default();
            // The address may hold what was asked for.
            let why = format!("{}{deepest}", error.without_url());
            WireError::Silent { host: host.to_owned(), why: complaint(&why) }
        };
        let response = self.outside.client.execute(request).await.map_err(silent)?;
        let (parts, body) = http::Response::<reqwest::Body>::from(response).into_parts();
        let mut stream = reqwest::Response::from(http::Response::new(body)).bytes_stream();
        let mut kept = Vec::new();
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(silent)?;
            if kept.len() + piece.len() > LONGEST_ANSWER {
                return Err(WireError::Long { host: host.to_owned() });
            }
            kept.extend_from_slice(&piece);
        }
        Ok(http::Response::from_parts(parts, kept))
    }

    fn remember_request(&self, request: &http::Request<Vec<u8>>) {
        if let Some(basic) = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()) {
            self.seen.add("authorization", basic.rsplit(' ').next().unwrap_or(basic));
        }
        let Ok(mut form) = Url::parse("http://form/") else { return };
        form.set_query(std::str::from_utf8(request.body()).ok());
        for (name, value) in form.query_pairs() {
            if let Some(name) = SENT.into_iter().find(|known| *known == name) {
                self.seen.add(name, &value);
            }
        }
    }

    fn remember_answer(&self, body: &[u8]) {
        let Ok(Value::Object(fields)) = serde_json::from_slice(body) else { return };
        for name in GIVEN {
            if let Some(value) = fields.get(name).and_then(Value::as_str) {
                self.seen.add(name, value);
            }
        }
    }
}

/// The host, which is what an error names.
fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or("nobody");
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

impl OAuthHttpClient for Wire {
    fn execute(&self, asked: OAuthHttpRequest) -> OAuthHttpClientFuture<'_> {
        // Redirects are never followed, whatever is asked for: the client has no say in where they lead.
        Box::pin(async move {
            let answer = self.ask(asked).await;
            let why = answer.as_ref().err().map(|error| self.seen.redact(&error.to_string()));
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = why;
            answer.map_err(Into::into)
        })
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

#[cfg(test)]
mod tests;
