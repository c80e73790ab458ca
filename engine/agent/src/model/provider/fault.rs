//! Sorts failures into classes and words them. What a provider says is data: shortened, without control characters,
//! without the key, and dropped where it repeats the request. Nothing of `genai` is ever shown: it prints payloads.

use std::error::Error;
use std::time::Duration;

use reqwest::header::HeaderMap;
use serde_json::Value;

use super::reading::Complaint;
use super::wait::retry_after;
use super::{ProviderSettings, Secret};
use crate::model::{Message, ModelFault, Request};

/// The longest message, in characters.
const LONGEST: usize = 300;

/// A message that has this many characters in common with the request, blanks not counted, repeats it.
const ECHO: usize = 32;

/// A failure before it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) fault: ModelFault,
    pub(super) message: String,
    pub(super) retry_after: Option<Duration>,
    pub(super) maybe_billed: bool,
}

/// What happened on the way.
#[derive(Debug)]
pub(super) enum Broken {
    /// The provider answered with an error.
    Status { status: u16, headers: Box<HeaderMap>, body: String },
    /// No connection came about: nothing was sent.
    NoConnection(String),
    /// The connection broke.
    Lost(String),
    /// Nothing came in time.
    Silent,
    /// Nothing more came in time.
    Stalled,
    /// What came is no text, or a line without an end.
    Unreadable,
    /// The library cannot make sense of what came. The reader may.
    Opinion,
    /// The stream ended within a character.
    CutOff,
    /// The request could not be put together.
    Unsendable,
}

impl Broken {
    /// What an error of `genai` means. Its own words are not used.
    pub(super) fn of(error: &genai::Error) -> Self {
        match error {
            genai::Error::HttpError { status, body, headers, .. } => {
                Self::Status { status: status.as_u16(), headers: headers.clone(), body: body.clone() }
            }
            genai::Error::WebStream { error, .. } => Self::of_source(error.as_ref()),
            genai::Error::WebModelCall { webc_error: genai::webc::Error::Reqwest(error), .. } => {
                Self::of_http(error)
            }
            genai::Error::ChatResponse { .. }
            | genai::Error::StreamParse { .. }
            | genai::Error::JsonValueExt(_)
            | genai::Error::SerdeJson(_)
            | genai::Error::InvalidJsonResponseElement { .. } => Self::Opinion,
            _ => Self::Unsendable,
        }
    }

    fn of_source(error: &(dyn Error + Send + Sync + 'static)) -> Self {
        use genai::webc::StreamTimeout;
        if let Some(error) = error.downcast_ref::<genai::Error>() {
            return Self::of(error);
        }
        if let Some(error) = error.downcast_ref::<reqwest::Error>() {
            return Self::of_http(error);
        }
        if let Some(error) = error.downcast_ref::<std::string::FromUtf8Error>() {
            let cut = error.utf8_error().error_len().is_none();
            return if cut { Self::CutOff } else { Self::Unreadable };
        }
        match error.downcast_ref::<StreamTimeout>() {
            Some(StreamTimeout::Headers) => Self::Silent,
            Some(StreamTimeout::Read) => Self::Stalled,
            None => Self::Lost("the connection broke".to_owned()),
        }
    }

    pub(super) fn of_http(error: &reqwest::Error) -> Self {
        if error.is_builder() {
            return Self::Unsendable;
        }
        if error.is_connect() {
            let why = if error.is_timeout() { "no connection in time".to_owned() } else { innermost(error) };
            return Self::NoConnection(why);
        }
        if error.is_timeout() { Self::Stalled } else { Self::Lost(innermost(error)) }
    }

    /// Whether only what came is at fault, of which the reader knows more.
    pub(super) fn is_opinion(&self) -> bool {
        matches!(self, Self::Opinion)
    }

    pub(super) fn trouble(&self) -> Trouble {
        match self {
            Self::Status { status, headers, body } => of_status(*status, headers, body),
            Self::NoConnection(why) => {
                Trouble::new(ModelFault::Unreachable, &format!("no connection: {why}"), false)
            }
            Self::Lost(why) => {
                Trouble::new(ModelFault::Unreachable, &format!("the connection broke: {why}"), true)
            }
            Self::Silent => {
                Trouble::new(ModelFault::Timeout, "the provider did not begin to answer in time", true)
            }
            Self::Stalled => Trouble::new(ModelFault::Timeout, "the answer did not go on in time", true),
            Self::Unreadable | Self::Opinion => {
                Trouble::invalid("what came is not the format of the provider")
            }
            Self::CutOff => Trouble::broke_off(),
            Self::Unsendable => {
                Trouble::new(ModelFault::Rejected, "the request could not be put together", false)
            }
        }
    }
}

/// The last of the causes: those before it repeat the address.
fn innermost(error: &reqwest::Error) -> String {
    let mut last: Option<&(dyn Error + 'static)> = error.source();
    while let Some(next) = last.and_then(Error::source) {
        last = Some(next);
    }
    last.map_or_else(|| "no reason is given".to_owned(), ToString::to_string)
}

impl Trouble {
    pub(super) fn new(fault: ModelFault, message: &str, maybe_billed: bool) -> Self {
        Self { fault, message: message.to_owned(), retry_after: None, maybe_billed }
    }

    pub(super) fn invalid(message: &str) -> Self {
        Self::new(ModelFault::Invalid, message, true)
    }

    pub(super) fn broke_off() -> Self {
        Self::new(ModelFault::Unreachable, "the answer broke off before its end", true)
    }

    /// The provider failed in the middle of an answer.
    pub(super) fn of_complaint(complaint: &Complaint) -> Self {
        let fault = class(None, complaint);
        let message = if complaint.message.is_empty() { &complaint.code } else { &complaint.message };
        Self::new(fault, &format!("the provider failed while it answered: {message}"), true)
    }
}

fn of_status(status: u16, headers: &HeaderMap, body: &str) -> Trouble {
    let complaint = complaint(body);
    let said = &complaint.message;
    let message = if said.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}: {said}") };
    Trouble {
        fault: class(Some(status), &complaint),
        message: if (300..400).contains(&status) {
            format!("{message}: redirects are not followed")
        } else {
            message
        },
        retry_after: retry_after(headers),
        // Errors are not billed. Behind a gateway the provider may have answered all the same.
        maybe_billed: matches!(status, 502 | 504 | 524),
    }
}

/// The error in a body: `{"error": {...}}`, `{"error": "..."}`, or its fields themselves.
fn complaint(body: &str) -> Complaint {
    let Ok(body) = serde_json::from_str::<Value>(body) else { return Complaint::default() };
    let error = body.get("error").filter(|error| !error.is_null()).unwrap_or(&body);
    let text = |field: &str| error.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let codes = [text("code"), text("type")];
    Complaint {
        code: codes.into_iter().filter(|code| !code.is_empty()).collect::<Vec<_>>().join(" "),
        message: error.as_str().map_or_else(|| text("message"), str::to_owned),
    }
}

/// Words for a conversation that is too long, each with who says so.
const TOO_LONG: [&str; 12] = [
    "prompt is too long",                    // Anthropic
    "exceed context limit",                  // Anthropic, together with the answer
    "maximum context length",                // OpenAI, vLLM, DeepSeek, OpenRouter
    "exceeds the context window",            // OpenAI Responses
    "exceeds the context length",            // Ollama
    "input length exceeds",                  // Ollama, Bedrock
    "available context size",                // llama.cpp
    "exceeds the maximum number of tokens",  // Gemini
    "maximum prompt length",                 // xAI
    "input is too long",                     // Bedrock
    "reduce the length of the",              // Groq
    "maximum context length for this model", // Together
];

const BILLING: [&str; 5] = [
    "credit balance is too low",   // Anthropic
    "exceeded your current quota", // OpenAI
    "insufficient balance",        // DeepSeek
    "insufficient credits",        // OpenRouter
    "requires more credits",       // OpenRouter
];

/// The class of a failure, by the provider's own code and words first, by the status second.
fn class(status: Option<u16>, complaint: &Complaint) -> ModelFault {
    let code = complaint.code.to_ascii_lowercase();
    let message = complaint.message.to_ascii_lowercase();
    let coded = |words: &[&str]| words.iter().any(|word| code.contains(word));
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    let refused = matches!(status, None | Some(400 | 413 | 422 | 500));
    if coded(&["insufficient_quota", "billing", "insufficient_balance"])
        || status == Some(402)
        || says(&BILLING)
    {
        return ModelFault::Billing;
    }
    let too_long =
        ["context_length", "context_size", "context_window", "request_too_large", "string_above_max"];
    if status == Some(413) || (refused && (coded(&too_long) || says(&TOO_LONG))) {
        return ModelFault::TooLong;
    }
    match status {
        Some(401 | 403 | 407) => ModelFault::Auth,
        Some(404) => ModelFault::NoModel,
        Some(408) => ModelFault::Timeout,
        Some(429) => ModelFault::RateLimited,
        Some(500..) => ModelFault::Overloaded,
        Some(_) if coded(&["model_not_found"]) => ModelFault::NoModel,
        Some(_) => ModelFault::Rejected,
        None if coded(&["rate_limit", "429"]) => ModelFault::RateLimited,
        None if coded(&["authentication", "permission", "invalid_api_key"]) => ModelFault::Auth,
        None if coded(&["not_found"]) => ModelFault::NoModel,
        None if coded(&["invalid_request", "invalid_prompt"]) => ModelFault::Rejected,
        None if coded(&["timeout"]) => ModelFault::Timeout,
        None => ModelFault::Overloaded,
    }
}

/// A message that may be shown: one line, short, without the key or the headers, and nothing of the request.
pub(super) fn fit(message: &str, settings: &ProviderSettings, request: &Request) -> String {
    let mut message = message.to_owned();
    let secrets = settings.key.iter().chain(settings.headers.iter().map(|(_, value)| value));
    for secret in secrets.map(Secret::expose).filter(|secret| secret.len() >= 4) {
        message = message.replace(secret, "***");
    }
    let line: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() > LONGEST {
        line = line.chars().take(LONGEST - 1).chain(['…']).collect();
    }
    if !repeats(&line, request) {
        return line;
    }
    let head = line.split(':').next().filter(|head| head.len() < ECHO).unwrap_or("the provider failed");
    format!("{head}: its message repeats the request and is left out")
}

/// Whether a piece of the message stands in the request. Blanks are not compared: they may have been written otherwise.
fn repeats(message: &str, request: &Request) -> bool {
    let bare = |text: &str| -> String { text.chars().filter(|c| !c.is_whitespace() && *c != '\\').collect() };
    let message: Vec<char> = bare(message).chars().collect();
    let mut texts = vec![bare(&request.system)];
    for said in &request.messages {
        match said {
            Message::User { text } => texts.push(bare(text)),
            Message::Assistant { text, calls, .. } => {
                texts.push(bare(text));
                texts.extend(calls.iter().map(|call| bare(&call.arguments.to_string())));
            }
            Message::Tools { results } => texts.extend(results.iter().map(|result| bare(&result.content))),
        }
    }
    texts.extend(request.tools.iter().map(|tool| bare(&tool.schema.to_string())));
    texts.retain(|text| !text.is_empty());
    message.windows(ECHO).any(|window| {
        let window: String = window.iter().collect();
        texts.iter().any(|text| text.contains(&window))
    })
}
