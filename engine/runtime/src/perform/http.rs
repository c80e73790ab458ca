//! `http` nodes: one request to a host the blueprint names. Redirects are not followed, answers are bounded,
//! and retries carry the same idempotency key.

use std::sync::Arc;
use std::time::Duration;

use blueprint_core::expr::Expr;
use blueprint_core::format::HttpMethod;
use blueprint_core::graph::{Action, Http, HttpBody, Node};
use blueprint_core::run::{Failure, FailureClass, LostBecause, Success};
use reqwest::header::{HeaderName, HeaderValue};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::{Ending, Job, infra};
use crate::egress;
use crate::outputs::fits;
use crate::outside::HttpAnswer;
use crate::payload::keep;
use crate::scope::{as_text, value_of};
use crate::shared::Shared;

/// The largest answer, in bytes.
const MAX_ANSWER: usize = 10 << 20;
/// The time limit of a request without a `timeout`.
pub const TIMEOUT: Duration = Duration::from_mins(2);

pub(super) async fn run(
    shared: &Arc<Shared>,
    job: &Job,
    cancel: &CancellationToken,
) -> Result<Success, Ending> {
    let node = job.node(shared);
    let Action::Http(http) = &node.action else { return Err(Ending::Lost(LostBecause::Cancelled)) };
    let limit = node.timeout.unwrap_or(TIMEOUT);
    tokio::select! {
        () = cancel.cancelled() => Err(Ending::Lost(LostBecause::Cancelled)),
        done = tokio::time::timeout(limit, exchange(shared, job, node, http)) => match done {
            Ok(done) => done.map_err(Ending::Failed),
            Err(_) => Err(Failure::new(FailureClass::Timeout, format!("no complete answer within {}", crate::human(limit))).into()),
        },
    }
}

async fn exchange(shared: &Shared, job: &Job, node: &Node, http: &Http) -> Result<Success, Failure> {
    let bad = |what: String, error: &dyn std::error::Error| {
        Failure::new(FailureClass::Command, format!("{what} has no value: {error}"))
    };
    let url = http.url.render(&job.scope).map_err(|error| bad("the URL".to_owned(), &error))?;
    let method = match http.method {
        HttpMethod::Get => reqwest::Method::GET,
        HttpMethod::Head => reqwest::Method::HEAD,
        HttpMethod::Post => reqwest::Method::POST,
        HttpMethod::Put => reqwest::Method::PUT,
        HttpMethod::Patch => reqwest::Method::PATCH,
        HttpMethod::Delete => reqwest::Method::DELETE,
    };
    if shared.settings.outside.is_none() {
        egress::decide_own(shared, &url).map_err(|refusal| egress::refused(&refusal))?;
    }
    let mut request = egress::client(shared)?.request(method.clone(), &url);
    for (name, value) in &http.headers {
        let value =
            value_of(value, &job.scope).map_err(|error| bad(format!("the header `{name}`"), &error))?;
        let unusable =
            || Failure::new(FailureClass::Command, format!("the header `{name}` cannot hold its value"));
        let header: HeaderName = name.parse().map_err(|_| unusable())?;
        let mut value = HeaderValue::from_str(&as_text(&value)).map_err(|_| unusable())?;
        value.set_sensitive(true);
        request = request.header(header, value);
    }
    if http.idempotency_key {
        // Without the attempt: a second try must be seen as the same request.
        let key = blake3::hash(format!("{}\0{}\0{}", shared.run, job.path, job.round).as_bytes())
            .to_hex()
            .to_string();
        request = request.header("idempotency-key", key);
    }
    let body = match &http.body {
        HttpBody::Empty => None,
        HttpBody::Text(text) => {
            Some(text.render(&job.scope).map_err(|error| bad("the body".to_owned(), &error))?)
        }
        HttpBody::Json(fields) => {
            let mut body = Map::new();
            for (name, value) in fields {
                let value = value_of(value, &job.scope)
                    .map_err(|error| bad(format!("the field `{name}`"), &error))?;
                body.insert(name.clone(), value);
            }
            request = request.header("content-type", "application/json");
            Some(Value::Object(body).to_string())
        }
    };
    let asked = digest(shared, method.as_str(), &url, body.as_deref().unwrap_or_default());
    let HttpAnswer { status, headers, body: bytes } = match &shared.settings.outside {
        Some(outside) => {
            let body = body.as_deref().unwrap_or_default();
            outside.http(job.asker(shared), method.as_str(), &url, body.as_bytes())?
        }
        None => {
            send(match body {
                Some(body) => request.body(body),
                None => request,
            })
            .await?
        }
    };
    let bytes = shared.redactor.redact(&bytes);
    let log = (!bytes.is_empty()).then(|| shared.store.blobs().put(&bytes)).transpose();
    let log = log.map_err(|error| infra("the answer could not be kept", &error))?;
    let mut record = json!({ "status": status, "bytes": bytes.len(), "answer": log.map(|digest| digest.to_string()), "request": asked });
    let read = read_headers(shared, node, &headers);
    if !read.is_empty() {
        record["headers"] = Value::Object(read);
    }
    let accepted =
        if http.expect.is_empty() { (200..300).contains(&status) } else { http.expect.contains(&status) };
    if !accepted {
        // A server that is overloaded or broken may be well again later; a refusal stays a refusal.
        let class = if status == 429 || status >= 500 { FailureClass::Infra } else { FailureClass::Command };
        let message = format!("the server answered {status}");
        let fingerprint = Some(crate::fingerprint::of(&message, &bytes));
        return Err(Failure { class, message, fingerprint, tree: None, record });
    }
    let outputs = outputs(node, status, &headers, &bytes).map_err(|message| Failure {
        record: record.clone(),
        ..Failure::new(FailureClass::Command, message)
    })?;
    let outputs = outputs.map(|value| keep(shared.store.blobs(), value)).transpose();
    let outputs = outputs.map_err(|error| infra("the outputs could not be kept", &error))?;
    Ok(Success { outputs, tree: None, record })
}

/// The BLAKE3 digest of a request, without secrets, in hexadecimal digits.
fn digest(shared: &Shared, method: &str, url: &str, body: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in [method, &shared.redactor.redact_str(url), &shared.redactor.redact_str(body)] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// The headers that outputs read, without secrets: the others are not kept.
fn read_headers(shared: &Shared, node: &Node, headers: &Map<String, Value>) -> Map<String, Value> {
    let references =
        || node.outputs.iter().filter_map(|output| output.from.as_ref()).flat_map(Expr::references);
    let read = |name: &String| {
        references().any(|reference| match reference.path.as_slice() {
            [root] => root == "headers",
            [root, header, ..] => root == "headers" && header == name,
            [] => false,
        })
    };
    let kept = headers.iter().filter(|(name, _)| read(name));
    kept.map(|(name, value)| {
        (name.clone(), Value::from(shared.redactor.redact_str(value.as_str().unwrap_or_default())))
    })
    .collect()
}

async fn send(request: reqwest::RequestBuilder) -> Result<HttpAnswer, Failure> {
    let failed = |error: reqwest::Error| egress::failed("the request was not answered", &error);
    let mut answer = request.send().await.map_err(failed)?;
    let status = answer.status().as_u16();
    let headers: Map<String, Value> = answer
        .headers()
        .iter()
        .filter_map(|(name, value)| {
            value.to_str().ok().map(|value| (name.as_str().to_owned(), Value::from(value)))
        })
        .collect();
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(Failure::new(
                FailureClass::Command,
                format!("the answer is larger than {MAX_ANSWER} bytes"),
            ));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(HttpAnswer { status, headers, body })
}

fn outputs(
    node: &Node,
    status: u16,
    headers: &Map<String, Value>,
    body: &[u8],
) -> Result<Option<Value>, String> {
    if node.outputs.is_empty() {
        return Ok(None);
    }
    let parsed = serde_json::from_slice(body)
        .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(body).into_owned()));
    let scope = json!({ "status": status, "headers": headers, "body": parsed });
    let mut outputs = Map::new();
    for output in &node.outputs {
        let value = match &output.from {
            Some(from) => from
                .eval(&scope)
                .map_err(|error| format!("the output `{}` has no value: {error}", output.name))?,
            None => scope["body"]
                .get(&*output.name)
                .cloned()
                .ok_or_else(|| format!("the output `{}` is missing in the answer", output.name))?,
        };
        if !fits(output.ty, &value) {
            return Err(format!("the output `{}` is not of type {}", output.name, output.ty));
        }
        outputs.insert(output.name.to_string(), value);
    }
    Ok(Some(Value::Object(outputs)))
}
