//! The provider client against small servers with the real wire formats, which the providers' own clients accept:
//! `tests/wire/server.py`, held against them by `tests/wire/verify.py`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use blueprint_agent::model::{
    Answer, Delta, Message, Model, ModelError, Price, Provider, ProviderKind, ProviderSettings, Request,
    Secret, Timeouts, Watch, unheard,
};
use blueprint_agent::tool::{Effect, ToolSpec};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

mod answers;
mod faults;
mod models;
mod requests;
mod splits;

const KEY: &str = "sk-test-4f2a9c";

const KINDS: [ProviderKind; 5] = [
    ProviderKind::Anthropic,
    ProviderKind::Openai,
    ProviderKind::OpenaiResponses,
    ProviderKind::OpenaiCompatible,
    ProviderKind::Ollama,
];

/// The server of this process. It ends when its standard input does, and so with the process.
fn server() -> u16 {
    static SERVER: OnceLock<(Child, u16)> = OnceLock::new();
    let (_, port) = SERVER.get_or_init(|| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wire/server.py");
        let mut child = Command::new("python3")
            .args(["-B", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python3 is there");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (child, line.trim().parse().expect("the server prints its port"))
    });
    *port
}

async fn get(path: &str) -> Value {
    let body =
        reqwest::get(format!("http://127.0.0.1:{}{path}", server())).await.unwrap().text().await.unwrap();
    serde_json::from_str(&body).unwrap()
}

/// The last request the server got.
async fn last() -> Value {
    get("/log").await.as_array().unwrap().last().unwrap().clone()
}

fn settings(kind: ProviderKind) -> ProviderSettings {
    let port = server();
    let path = if kind == ProviderKind::Ollama { "" } else { "/v1" };
    ProviderSettings {
        name: format!("test/{kind:?}"),
        kind,
        model: "some-model".to_owned(),
        base_url: Some(format!("http://127.0.0.1:{port}{path}")),
        key: Some(Secret::new(KEY)),
        window: 32_000,
        longest_answer: 4000,
        price: Some(Price {
            input: 3.0,
            output: 15.0,
            cache_read: Some(0.3),
            cache_write: Some(3.75),
            ..Price::FREE
        }),
        effort: None,
        timeouts: Timeouts {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(20),
            between_bytes: Duration::from_secs(20),
            total: Duration::from_secs(30),
        },
        headers: Vec::new(),
    }
}

fn provider(kind: ProviderKind) -> Provider {
    Provider::new(settings(kind)).unwrap()
}

fn user(text: impl Into<String>) -> Message {
    Message::User { text: text.into() }
}

fn request(messages: Vec<Message>) -> Request {
    let tool = |name: &str| ToolSpec {
        name: name.to_owned(),
        description: format!("Does {name}."),
        schema: json!({ "type": "object", "properties": { "city": { "type": "string" } } }),
        effect: Effect::Read,
    };
    Request {
        system: "You are a test.".to_owned(),
        messages,
        tools: vec![tool("get_weather"), tool("get_time")],
        max_output: 777,
        temperature: None,
    }
}

fn scenario(what: &str) -> Request {
    request(vec![user(format!("scenario {what}"))])
}

async fn ask(provider: &Provider, request: &Request) -> Result<Answer, ModelError> {
    provider.answer(request, &mut unheard(), &CancellationToken::new()).await
}

/// What was seen while an answer arrived: text, reasoning, calls.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    text: String,
    reasoning: String,
    calls: Vec<String>,
}

async fn watch(provider: &Provider, request: &Request) -> (Result<Answer, ModelError>, Seen) {
    let mut seen = Seen::default();
    let mut on = Watch(|delta: Delta<'_>| match delta {
        Delta::Text(text) => seen.text.push_str(text),
        Delta::Reasoning(text) => seen.reasoning.push_str(text),
        Delta::Call(name) => seen.calls.push(name.to_owned()),
    });
    let answer = provider.answer(request, &mut on, &CancellationToken::new()).await;
    (answer, seen)
}

/// The arguments of the call of the server.
fn city() -> Value {
    json!({ "city": "Zürich \"☃\" \\ 😀", "days": 3, "units": { "wind": "km/h" } })
}
