//! The client's side of the agent client protocol, version 1, as far as an agent without a person needs it: one
//! session, one prompt. The agent has its files and commands in the sandbox; it is offered none of ours.
//!
//! The messages are those of <https://agentclientprotocol.com/protocol/v1>.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::answer::outputs;
use super::lines::Lines;
use super::transcript::{Heard, Transcript};
use super::{End, Outcome, Work};
use crate::mcp::foreign::complaint;
use crate::tool::{Effect, HostError, RanEnd, ToolHost};

/// The version that is spoken.
const VERSION: u64 = 1;

/// Time an agent may take to end after it was told to.
const GRACE: Duration = Duration::from_secs(5);

/// The most messages of an agent.
const MOST_MESSAGES: u32 = 1_000_000;

/// JSON-RPC: there is no such method.
const NO_METHOD: i64 = -32601;

/// Anything that comes in.
#[derive(Debug, Deserialize)]
struct Message {
    id: Option<Value>,
    method: Option<String>,
    #[serde(default)]
    params: Value,
    result: Option<Value>,
    error: Option<Fault>,
}

#[derive(Debug, Deserialize)]
struct Fault {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    message: String,
}

/// What is asked of the agent, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Initialize = 1,
    NewSession = 2,
    Prompt = 3,
}

struct Client<'a> {
    work: &'a Work,
    host: &'a dyn ToolHost,
    say: mpsc::UnboundedSender<Vec<u8>>,
    asked: Asked,
    session: Option<String>,
    transcript: Transcript,
    answer: String,
    claimed_micros: Option<u64>,
}

pub(super) async fn run(
    work: &Work,
    host: &dyn ToolHost,
    cancel: &CancellationToken,
) -> Result<Outcome, HostError> {
    let mut process = tokio::select! {
        biased;
        () = cancel.cancelled() => return Err(HostError::Cancelled),
        opened = host.open(work.command.clone(), work.env.clone(), Effect::Destructive) => opened?,
        () = tokio::time::sleep(work.wall) => {
            return Err(HostError::Sandbox("the sandbox of the agent was not ready in the time of the agent".to_owned()));
        }
    };
    let mut stdin = std::mem::replace(&mut process.stdin, Box::new(tokio::io::sink()));
    let mut lines = Lines::new(std::mem::replace(&mut process.stdout, Box::new(tokio::io::empty())));
    let mut complaints = Lines::new(std::mem::replace(&mut process.stderr, Box::new(tokio::io::empty())));
    // Unbounded, so that an agent that does not listen cannot keep us from listening. What goes in are the prompt and
    // one short answer for each of a bounded number of messages.
    let (say, mut said) = mpsc::unbounded_channel::<Vec<u8>>();
    let kill = process.kill.clone();
    let writing = tokio::spawn(async move {
        kill.run_until_cancelled(async {
            while let Some(bytes) = said.recv().await {
                if stdin.write_all(&bytes).await.is_err() || stdin.flush().await.is_err() {
                    break;
                }
            }
        })
        .await;
    });
    let mut client = Client {
        work,
        host,
        say,
        asked: Asked::Initialize,
        session: None,
        transcript: Transcript::new(work.keep),
        answer: String::new(),
        claimed_micros: None,
    };
    client.ask(Asked::Initialize, "initialize", &introduction());
    let mut deadline = Instant::now() + work.wall;
    let mut stopping: Option<Stopping> = None;
    let mut silent = false;
    let mut messages = 0;
    let end = loop {
        tokio::select! {
            biased;
            () = cancel.cancelled(), if stopping.is_none() => {
                stopping = Some(Stopping::Cancelled);
                deadline = client.stop();
            }
            () = tokio::time::sleep_until(deadline) => match stopping {
                None => {
                    stopping = Some(Stopping::TimedOut);
                    deadline = client.stop();
                }
                Some(_) => break End::TimedOut,
            },
            line = lines.next() => {
                messages += 1;
                match line {
                    _ if messages > MOST_MESSAGES => break End::Broken("it does not stop talking".to_owned()),
                    Ok(Some(line)) => if let Some(end) = client.hear(&line) { break end },
                    Ok(None) => {
                        let ended = tokio::time::timeout(GRACE, &mut process.ended).await;
                        break End::Broken(format!("it ended in the middle of its work{}", words(ended.ok().and_then(Result::ok))));
                    }
                    Err(error) => break End::Broken(complaint(&error.to_string())),
                }
            }
            line = complaints.next(), if !silent => match line {
                Ok(Some(line)) => client.complain(&line),
                Ok(None) | Err(_) => silent = true,
            },
        }
    };
    // What it wrote to its standard error just before its end is still worth having.
    while !silent {
        match tokio::time::timeout(Duration::ZERO, complaints.next()).await {
            Ok(Ok(Some(line))) => client.complain(&line),
            Ok(Ok(None) | Err(_)) | Err(_) => silent = true,
        }
    }
    process.kill.cancel();
    drop(writing.await);
    match stopping {
        Some(Stopping::Cancelled) => Err(HostError::Cancelled),
        Some(Stopping::TimedOut) => Ok(client.finish(End::TimedOut)),
        None => Ok(client.finish(end)),
    }
}

/// Why an agent is being ended.
enum Stopping {
    Cancelled,
    TimedOut,
}

fn words(end: Option<RanEnd>) -> String {
    match end {
        Some(RanEnd::Exit(code)) => format!("; it returned {code}"),
        Some(RanEnd::Signal(signal)) => format!("; signal {signal} ended it"),
        Some(RanEnd::NotStarted) => "; the program was not found or could not be started".to_owned(),
        Some(RanEnd::TimedOut) => "; its time was up".to_owned(),
        Some(RanEnd::Limit) => "; it used more than it may".to_owned(),
        None => String::new(),
    }
}

/// What we are, and that we offer nothing.
fn introduction() -> Value {
    json!({
        "protocolVersion": VERSION,
        "clientCapabilities": { "fs": { "readTextFile": false, "writeTextFile": false }, "terminal": false },
        "clientInfo": { "name": "blueprint", "version": env!("CARGO_PKG_VERSION") },
    })
}

impl Client<'_> {
    fn send(&self, message: &Value) {
        let mut line = message.to_string().into_bytes();
        line.push(b'\n');
        // An agent that is gone is noticed by its silence.
        drop(self.say.send(line));
    }

    fn ask(&self, asked: Asked, method: &str, params: &Value) {
        self.send(&json!({ "jsonrpc": "2.0", "id": asked as u32, "method": method, "params": params }));
    }

    /// Tells it to stop, and until when it has time to.
    fn stop(&self) -> Instant {
        if let Some(session) = &self.session {
            let params = json!({ "sessionId": session });
            self.send(&json!({ "jsonrpc": "2.0", "method": "session/cancel", "params": params }));
            return Instant::now() + GRACE;
        }
        Instant::now()
    }

    fn complain(&mut self, line: &[u8]) {
        self.transcript.hear(Heard::Complaint(String::from_utf8_lossy(line).trim_end().to_owned()));
    }

    /// Takes in a line; the end, if it is that.
    fn hear(&mut self, line: &[u8]) -> Option<End> {
        let Ok(message) = serde_json::from_slice::<Message>(line) else {
            // Some print a greeting before they begin to speak.
            self.complain(line);
            return None;
        };
        match (message.method.as_deref(), message.id) {
            (Some(method), Some(id)) => {
                self.answer(method, &id, &message.params);
                None
            }
            (Some("session/update"), None) => {
                self.update(message.params.get("update").unwrap_or(&Value::Null));
                None
            }
            (None, id) if id == Some(json!(self.asked as u32)) => self.go_on(message.result, message.error),
            // Something else it tells, or an answer to something nobody asked.
            (_, _) => None,
        }
    }

    /// The answer to what was asked last.
    fn go_on(&mut self, result: Option<Value>, error: Option<Fault>) -> Option<End> {
        if let Some(fault) = error {
            return Some(End::Broken(format!("it refused ({}): {}", fault.code, complaint(&fault.message))));
        }
        let result = result.unwrap_or_default();
        match self.asked {
            Asked::Initialize => {
                if result.get("protocolVersion").and_then(Value::as_u64) != Some(VERSION) {
                    return Some(End::Broken(format!("it does not speak version {VERSION} of the protocol")));
                }
                self.asked = Asked::NewSession;
                let params = json!({ "cwd": self.host.workspace(), "mcpServers": [] });
                self.ask(Asked::NewSession, "session/new", &params);
                None
            }
            Asked::NewSession => {
                let Some(session) = result.get("sessionId").and_then(Value::as_str) else {
                    return Some(End::Broken("it began a session without a name".to_owned()));
                };
                self.session = Some(session.to_owned());
                self.asked = Asked::Prompt;
                let prompt = json!([{ "type": "text", "text": self.work.prompt }]);
                self.ask(Asked::Prompt, "session/prompt", &json!({ "sessionId": session, "prompt": prompt }));
                None
            }
            Asked::Prompt => Some(match result.get("stopReason").and_then(Value::as_str) {
                Some("end_turn") => End::Finished,
                Some("max_tokens") => End::GaveUp("it had no tokens left".to_owned()),
                Some("max_turn_requests") => End::GaveUp("it had no turns left".to_owned()),
                Some("refusal") => End::GaveUp("it refused".to_owned()),
                Some("cancelled") => End::GaveUp("it was cancelled".to_owned()),
                _ => End::Broken("it ended without a reason".to_owned()),
            }),
        }
    }

    /// What the agent tells of its work.
    fn update(&mut self, update: &Value) {
        let text = |key: &str| update.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let said = || update.pointer("/content/text").and_then(Value::as_str).unwrap_or_default().to_owned();
        match update.get("sessionUpdate").and_then(Value::as_str) {
            Some("agent_message_chunk") => {
                let said = said();
                if self.answer.len() + said.len() <= self.work.keep {
                    self.answer.push_str(&said);
                } else {
                    // What it ends with is what counts, and that is not known any more.
                    self.answer.clear();
                    self.transcript.truncated = true;
                }
                self.transcript.hear(Heard::Message(said));
            }
            Some("agent_thought_chunk") => self.transcript.hear(Heard::Thought(said())),
            Some("tool_call") => {
                let title = text("title");
                self.host.note(&self.host.redact(&complaint(&title)));
                self.transcript.hear(Heard::Tool(title));
            }
            Some("tool_call_update") if text("status") == "failed" => {
                self.transcript.hear(Heard::Tool(format!("{} failed", text("toolCallId"))));
            }
            Some("usage_update") => {
                let cost = update.get("cost").filter(|cost| cost.get("currency") == Some(&json!("USD")));
                let amount = cost.and_then(|cost| cost.get("amount")).and_then(Value::as_f64);
                if let Some(amount) = amount.filter(|amount| (0.0..1e9).contains(amount)) {
                    self.claimed_micros = Some((amount * 1e6).ceil() as u64);
                }
            }
            _ => {}
        }
    }

    /// What the agent asks of us.
    fn answer(&mut self, method: &str, id: &Value, params: &Value) {
        let reply = if method == "session/request_permission" {
            let (outcome, allowed) = permission(params, |effect| self.work.ceiling.contains(&effect));
            let what = params.pointer("/toolCall/title").and_then(Value::as_str).unwrap_or("something");
            self.transcript.hear(Heard::Asked { what: what.to_owned(), allowed });
            json!({ "jsonrpc": "2.0", "id": id, "result": { "outcome": outcome } })
        } else {
            self.transcript.hear(Heard::Refused(complaint(method)));
            let error = json!({ "code": NO_METHOD, "message": "this is not offered here" });
            json!({ "jsonrpc": "2.0", "id": id, "error": error })
        };
        self.send(&reply);
    }

    fn finish(self, end: End) -> Outcome {
        let outputs = outputs(&self.host.redact(&self.answer));
        let end = match end {
            End::Broken(why) => End::Broken(self.host.redact(&why)),
            other => other,
        };
        let (transcript, truncated) = self.transcript.finish(self.host);
        Outcome { end, outputs, transcript, truncated, claimed_micros: self.claimed_micros }
    }
}

/// What a tool of this kind may do at worst. The kind is the agent's word; a kind nobody knows is the worst.
fn effect(kind: Option<&str>) -> Effect {
    match kind {
        Some("read" | "search" | "think") => Effect::Read,
        Some("edit" | "delete" | "move") => Effect::Write,
        Some("fetch") => Effect::Network,
        _ => Effect::Destructive,
    }
}

/// The answer to a question for permission, and whether it is a yes. Never one that holds for later questions.
fn permission(params: &Value, allows: impl Fn(Effect) -> bool) -> (Value, bool) {
    let kind = params.pointer("/toolCall/kind").and_then(Value::as_str);
    let options = params.get("options").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let option = |kind: &str| {
        let found = options.iter().find(|option| option.get("kind").and_then(Value::as_str) == Some(kind));
        found.and_then(|option| option.get("optionId")).cloned()
    };
    let chosen = |id: Value| json!({ "outcome": "selected", "optionId": id });
    if allows(effect(kind))
        && let Some(id) = option("allow_once")
    {
        return (chosen(id), true);
    }
    match option("reject_once").or_else(|| option("reject_always")) {
        Some(id) => (chosen(id), false),
        None => (json!({ "outcome": "cancelled" }), false),
    }
}
