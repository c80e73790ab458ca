//! `http.fetch` of agents: one GET to a host the node may reach, with an answer of bounded size. Nothing that holds a
//! secret is sent, no redirect is followed, and every request is on record.

use std::sync::{Mutex, PoisonError};

use blueprint_agent::scan::Scanner;
use blueprint_agent::tool::{Fetch, Fetched, HostError};
use blueprint_sandbox::egress::Rules;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::egress;
use crate::shared::Shared;

/// The most requests that the record of a node lists; the others are counted.
const MOST: usize = 200;

/// What a node may reach, and what it asked for.
#[derive(Debug)]
pub(super) struct Outbound {
    rules: Rules,
    requests: Mutex<(Vec<Value>, usize)>,
}

impl Outbound {
    pub(super) fn new(rules: Rules) -> Self {
        Self { rules, requests: Mutex::default() }
    }

    /// The requests so far, for the record of the node: the first ones, and how many more there were.
    pub(super) fn requests(&self) -> (Vec<Value>, usize) {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn list(&self, request: Value) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        if requests.0.len() < MOST {
            requests.0.push(request);
        } else {
            requests.1 += 1;
        }
    }

    pub(super) async fn fetch(
        &self,
        shared: &Shared,
        scanner: &Scanner,
        fetch: &Fetch,
        cancel: &CancellationToken,
    ) -> Result<Fetched, HostError> {
        if scanner.redact(&fetch.url) != fetch.url {
            return Err(HostError::Denied("the address holds a secret".to_owned()));
        }
        let endpoint = egress::decide(&self.rules, &fetch.url).map_err(|refusal| {
            self.list(json!({ "method": "GET", "refused": refusal.to_string() }));
            HostError::Denied(refusal.to_string())
        })?;
        let client = egress::client(shared).map_err(|failure| HostError::Infra(failure.message))?;
        let asked = tokio::time::timeout(fetch.wall, ask(client, fetch));
        let answer = cancel.run_until_cancelled(asked).await.ok_or(HostError::Cancelled)?;
        let late = || Err(format!("no complete answer within {}", crate::human(fetch.wall)));
        match answer.unwrap_or_else(|_| late()) {
            Ok(mut fetched) => {
                self.list(json!({ "method": "GET", "host": endpoint, "status": fetched.status, "bytes": fetched.body.len() }));
                fetched.body = shared.redactor.redact(&fetched.body);
                Ok(fetched)
            }
            Err(why) => {
                self.list(json!({ "method": "GET", "host": endpoint, "failed": why }));
                Err(HostError::Unanswered(why))
            }
        }
    }
}

async fn ask(client: reqwest::Client, fetch: &Fetch) -> Result<Fetched, String> {
    let failed = |error: reqwest::Error| egress::failed("there is no answer", &error.without_url()).message;
    let mut answer = client.get(&fetch.url).send().await.map_err(failed)?;
    let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (content_type, location) = (header(reqwest::header::CONTENT_TYPE), header(reqwest::header::LOCATION));
    let status = answer.status().as_u16();
    let (mut body, mut truncated) = (Vec::new(), false);
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        let room = fetch.keep - body.len();
        body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
        if chunk.len() > room {
            truncated = true;
            break;
        }
    }
    Ok(Fetched { status, content_type, location, body, truncated })
}
