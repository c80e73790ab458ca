//! `http.fetch`: what somebody outside has to say, under the rules of the node for what may leave. Decides nothing
//! about these rules.

use std::fmt::Write as _;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{spec, text};
use crate::tool::arguments::shown;
use crate::tool::{Effect, Fetch, Fetched, HostError, Tool, ToolHost, ToolOutcome, ToolSpec};

/// When a request is given up.
const WALL: Duration = Duration::from_secs(30);
/// How much of an answer is kept, in bytes.
const KEEP: usize = 1024 * 1024;
/// A body with a NUL in so many of its first bytes is not text.
const LOOK: usize = 8000;

/// The tool.
#[derive(Debug)]
pub(super) struct HttpFetch(ToolSpec);

impl HttpFetch {
    pub(super) fn new() -> Self {
        Self(spec(
            "http.fetch",
            Effect::Network,
            "Gets a document by its http or https address, as far as this node may reach it.",
            &json!({"url": {"type": "string", "minLength": 8, "maxLength": 4096, "pattern": "^https?://"}}),
            &["url"],
        ))
    }
}

#[async_trait]
impl Tool for HttpFetch {
    fn spec(&self) -> &ToolSpec {
        &self.0
    }

    async fn call(
        &self,
        host: &dyn ToolHost,
        arguments: Value,
        cancel: &CancellationToken,
    ) -> Result<ToolOutcome, HostError> {
        let url = text(&arguments, "url").unwrap_or_default().to_owned();
        match host.fetch(Fetch { url, keep: KEEP, wall: WALL }, cancel).await {
            Ok(fetched) => Ok(ToolOutcome::Done(told(&fetched))),
            // The model can do without it.
            Err(HostError::Denied(reason)) => Ok(ToolOutcome::Failed(format!("not allowed: {reason}"))),
            Err(HostError::Unanswered(reason)) => Ok(ToolOutcome::Failed(reason)),
            Err(error) => Err(error),
        }
    }
}

fn told(fetched: &Fetched) -> String {
    let kind = fetched.content_type.as_deref().unwrap_or("unknown");
    let mut out = format!("status {}\ncontent-type: {}\n", fetched.status, shown(kind, 100));
    if let Some(location) = &fetched.location {
        let _ = writeln!(out, "location: {}", shown(location, 1000));
    }
    if fetched.truncated {
        let _ = writeln!(out, "[only the first {} bytes]", fetched.body.len());
    }
    if fetched.body.iter().take(LOOK).any(|byte| *byte == 0) {
        let _ = write!(out, "a binary body of {} bytes", fetched.body.len());
    } else {
        out.push('\n');
        out.push_str(&String::from_utf8_lossy(&fetched.body));
    }
    out
}
