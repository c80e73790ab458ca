//! Puts requests together: for `genai` on the wires it knows, and whole for Ollama. Marks what Anthropic is to keep in
//! its cache. What a model made up (names, ids, arguments that are no object) is made fit for the wire, or one bad
//! call would make every later request of the conversation a refused one.

use std::sync::Arc;

use genai::adapter::AdapterKind;
use genai::chat::{
    CacheControl, ChatFrameSink, ChatMessage, ChatOptions, ChatRequest, ContentPart, MessageContent,
    ReasoningEffort, Tool, ToolResponse,
};
use genai::resolver::{AuthData, Endpoint};
use genai::{Headers, ModelIden, ServiceTarget};
use serde_json::{Map, Value, json};

use super::reading::Wire;
use super::{Effort, Provider, ProviderKind, ProviderSettings};
use crate::model::{Message, Request, ToolCall, ToolResult};

/// The versions of Anthropic's API: the one in use, and the last one that took a temperature.
const ANTHROPIC_VERSION: &str = "2026-10-21";
const ANTHROPIC_VERSION_WITH_TEMPERATURE: &str = "2023-06-01";

/// The longest name of a tool that every provider takes.
const LONGEST_NAME: usize = 64;

/// All headers but those of HTTP itself.
pub(super) fn headers(settings: &ProviderSettings, request: Option<&Request>) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = Vec::new();
    let key = settings.key.as_ref().map(|key| key.expose().to_owned());
    if settings.kind == ProviderKind::Anthropic {
        let tempered = request.is_some_and(|request| request.temperature.is_some());
        let version = if tempered { ANTHROPIC_VERSION_WITH_TEMPERATURE } else { ANTHROPIC_VERSION };
        headers.push(("anthropic-version".to_owned(), version.to_owned()));
        headers.extend(key.map(|key| ("x-api-key".to_owned(), key)));
    } else {
        headers.extend(key.map(|key| ("authorization".to_owned(), format!("Bearer {key}"))));
    }
    for (name, value) in &settings.headers {
        headers.retain(|(ours, _)| !ours.eq_ignore_ascii_case(name));
        headers.push((name.clone(), value.expose().to_owned()));
    }
    headers
}

impl Provider {
    /// Where `genai` is to send a request. It is told the whole address and all headers, and knows no key.
    pub(super) fn target(&self, request: &Request) -> ServiceTarget {
        let kind = match self.settings.kind.wire() {
            Wire::Anthropic => AdapterKind::Anthropic,
            Wire::Responses => AdapterKind::OpenAIResp,
            Wire::Chat | Wire::Ollama => AdapterKind::OpenAI,
        };
        let headers = Headers::from(headers(&self.settings, Some(request)));
        ServiceTarget {
            endpoint: Endpoint::from_owned(self.base.as_str()),
            auth: AuthData::RequestOverride { url: self.url(), headers },
            model: ModelIden::new(kind, self.settings.model.as_str()),
        }
    }

    pub(super) fn options(&self, request: &Request, sink: Arc<dyn ChatFrameSink>) -> ChatOptions {
        let settings = &self.settings;
        let most = u32::try_from(request.max_output).unwrap_or(u32::MAX);
        // `genai` reads some names of models and sends others: this field is written last and wins.
        let mut body = Map::from_iter([("model".to_owned(), json!(settings.model))]);
        let mut options = ChatOptions::default()
            .with_capture_usage(true)
            .with_stream_header_timeout(settings.timeouts.first_byte)
            .with_stream_read_timeout(settings.timeouts.between_bytes)
            .with_raw_frame_sink_arc(sink);
        options.temperature = request.temperature;
        options.reasoning_effort = self.effort();
        match settings.kind {
            ProviderKind::Openai => {
                body.insert("max_completion_tokens".to_owned(), json!(most));
            }
            _ => options.max_tokens = Some(most),
        }
        if matches!(settings.kind, ProviderKind::Openai | ProviderKind::OpenaiResponses) {
            // Requests with the same start are to meet the same cache. Without a key `genai` turns the cache of some
            // models off.
            let start = blake3::hash(request.system.as_bytes()).to_hex();
            body.insert("prompt_cache_key".to_owned(), json!(&start[..16]));
            options.prompt_cache_key = Some(start[..16].to_owned());
        }
        if settings.kind == ProviderKind::OpenaiResponses && reasons(settings) {
            body.insert("include".to_owned(), json!(["reasoning.encrypted_content"]));
        }
        options.extra_body = Some(Value::Object(body));
        options
    }

    /// An effort of no tokens keeps `genai` from reading one out of the name of a model (`qwen-max`), and is not sent.
    fn effort(&self) -> Option<ReasoningEffort> {
        match self.settings.effort {
            Some(Effort::None) => Some(ReasoningEffort::Zero),
            Some(Effort::Low) => Some(ReasoningEffort::Low),
            Some(Effort::Medium) => Some(ReasoningEffort::Medium),
            Some(Effort::High) => Some(ReasoningEffort::High),
            Some(Effort::Max) => Some(ReasoningEffort::Max),
            None => (self.settings.kind.wire() != Wire::Anthropic).then_some(ReasoningEffort::Budget(0)),
        }
    }

    pub(super) fn chat(&self, request: &Request) -> ChatRequest {
        let anthropic = self.settings.kind == ProviderKind::Anthropic;
        let mut chat = ChatRequest::default();
        if !request.system.is_empty() {
            if anthropic {
                let system = ChatMessage::system(request.system.as_str());
                chat.messages.push(system.with_options(CacheControl::Ephemeral));
            } else {
                chat.system = Some(request.system.clone());
            }
        }
        chat.messages.extend(request.messages.iter().map(|message| self.message(message)));
        if anthropic {
            mark_last(&mut chat.messages);
        }
        if !request.tools.is_empty() {
            let mut tools: Vec<Tool> = request
                .tools
                .iter()
                .map(|spec| {
                    let tool = Tool::new(spec.wire_name())
                        .with_description(spec.description.as_str())
                        .with_schema(spec.schema.clone());
                    // Left out, Responses makes every argument a required one.
                    if self.settings.kind == ProviderKind::OpenaiResponses {
                        tool.with_strict(false)
                    } else {
                        tool
                    }
                })
                .collect();
            if let Some(last) = tools.last_mut().filter(|_| anthropic) {
                last.cache_control = Some(CacheControl::Ephemeral);
            }
            chat.tools = Some(tools);
        }
        chat
    }

    fn message(&self, message: &Message) -> ChatMessage {
        match message {
            Message::User { text } => ChatMessage::user(text.as_str()),
            Message::Assistant { text, calls, opaque } => {
                let mut parts = self.kept_parts(opaque.as_ref());
                if !text.is_empty() {
                    parts.push(ContentPart::from_text(text.as_str()));
                }
                parts.extend(calls.iter().map(|call| {
                    ContentPart::ToolCall(genai::chat::ToolCall {
                        call_id: self.id(&call.id),
                        fn_name: name(call),
                        fn_arguments: arguments(call),
                        thought_signatures: None,
                    })
                }));
                ChatMessage::assistant(MessageContent::from_parts(parts))
            }
            Message::Tools { results } => {
                let parts: Vec<ContentPart> = results.iter().map(|result| self.result(result)).collect();
                ChatMessage::tool(MessageContent::from_parts(parts))
            }
        }
    }

    fn result(&self, result: &ToolResult) -> ContentPart {
        if self.settings.kind != ProviderKind::Anthropic {
            let response = ToolResponse::new(result.id.as_str(), result.content.as_str());
            return ContentPart::ToolResponse(response);
        }
        // `genai` has no place for a call that failed.
        let block = json!({
            "type": "tool_result",
            "tool_use_id": self.id(&result.id),
            "content": result.content,
            "is_error": !result.ok,
        });
        ContentPart::from_custom(block, None)
    }

    /// Anthropic takes ids of these characters only; after a failover they may come from elsewhere.
    fn id(&self, id: &str) -> String {
        if self.settings.kind == ProviderKind::Anthropic { plain(id, usize::MAX) } else { id.to_owned() }
    }

    /// What this model is to see again of its earlier answer. What another one left is passed over.
    fn kept_parts(&self, opaque: Option<&Value>) -> Vec<ContentPart> {
        let wire = self.settings.kind.wire();
        self.kept(opaque)
            .iter()
            .filter_map(|block| match wire {
                Wire::Anthropic => Some(ContentPart::from_custom(block.clone(), None)),
                Wire::Responses => {
                    block.as_str().map(|sealed| ContentPart::ThoughtSignature(sealed.to_owned()))
                }
                // Not OpenAI itself: it neither sends this nor takes it.
                Wire::Chat if self.settings.kind == ProviderKind::OpenaiCompatible => {
                    let reasoning = block.get("reasoning_content")?.as_str()?;
                    Some(ContentPart::ReasoningContent(reasoning.to_owned()))
                }
                Wire::Chat | Wire::Ollama => None,
            })
            .collect()
    }

    fn kept<'a>(&self, opaque: Option<&'a Value>) -> &'a [Value] {
        let ours = opaque.filter(|opaque| opaque["model"] == self.settings.name.as_str());
        ours.and_then(|opaque| opaque["kept"].as_array()).map_or(&[], Vec::as_slice)
    }

    /// The whole body for Ollama. It is told to load what the window holds, and to refuse what does not fit instead of
    /// dropping the start of it.
    pub(super) fn ollama(&self, request: &Request) -> Value {
        let mut messages = Vec::new();
        if !request.system.is_empty() {
            messages.push(json!({ "role": "system", "content": request.system }));
        }
        for message in &request.messages {
            match message {
                Message::User { text } => messages.push(json!({ "role": "user", "content": text })),
                Message::Assistant { text, calls, opaque } => {
                    let mut said = json!({ "role": "assistant", "content": text });
                    if let Some(thinking) =
                        self.kept(opaque.as_ref()).first().and_then(|kept| kept.get("thinking"))
                    {
                        said["thinking"] = thinking.clone();
                    }
                    if !calls.is_empty() {
                        let call =
                            |call: &ToolCall| json!({ "name": name(call), "arguments": arguments(call) });
                        let calls = calls.iter().map(|made| json!({ "function": call(made) }));
                        said["tool_calls"] = calls.collect();
                    }
                    messages.push(said);
                }
                Message::Tools { results } => messages.extend(results.iter().map(|result| {
                    json!({
                        "role": "tool",
                        "tool_name": plain(&result.name, LONGEST_NAME),
                        "content": result.content,
                    })
                })),
            }
        }
        let mut options = json!({ "num_ctx": self.settings.window, "num_predict": request.max_output });
        if let Some(temperature) = request.temperature {
            options["temperature"] = json!(temperature);
        }
        let mut body = json!({
            "model": self.settings.model,
            "stream": true,
            "truncate": false,
            "shift": false,
            "options": options,
            "messages": messages,
        });
        if !request.tools.is_empty() {
            let tool = |name: String, description: &str, schema: &Value| {
                json!({
                    "type": "function",
                    "function": { "name": name, "description": description, "parameters": schema },
                })
            };
            let tools = request.tools.iter();
            body["tools"] =
                tools.map(|spec| tool(spec.wire_name(), &spec.description, &spec.schema)).collect();
        }
        match self.settings.effort {
            Some(Effort::None) => body["think"] = json!(false),
            Some(Effort::Low) => body["think"] = json!("low"),
            Some(Effort::Medium) => body["think"] = json!("medium"),
            Some(Effort::High | Effort::Max) => body["think"] = json!("high"),
            None => {}
        }
        body
    }
}

/// Whether a model of OpenAI thinks, and so can seal what it thought. Others refuse to be asked for it.
fn reasons(settings: &ProviderSettings) -> bool {
    let model = settings.model.as_str();
    let number = |prefix: &str| {
        let rest = model.strip_prefix(prefix)?;
        rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<u32>().ok()
    };
    settings.effort.is_some_and(|effort| effort != Effort::None)
        || number("gpt-").is_some_and(|version| version >= 5)
        || number("o").is_some()
}

/// The cache of Anthropic ends behind the last message of ours, so that the next turn finds all of this one.
fn mark_last(messages: &mut [ChatMessage]) {
    let ours = |message: &&mut ChatMessage| {
        let empty = message.content.texts().iter().any(|text| text.is_empty());
        matches!(message.role, genai::chat::ChatRole::User | genai::chat::ChatRole::Tool) && !empty
    };
    if let Some(last) = messages.last_mut().filter(ours) {
        *last = last.clone().with_options(CacheControl::Ephemeral);
    }
}

fn name(call: &ToolCall) -> String {
    plain(&call.name, LONGEST_NAME)
}

/// Providers take objects only.
fn arguments(call: &ToolCall) -> Value {
    match &call.arguments {
        object @ Value::Object(_) => object.clone(),
        other => json!({ "unreadable": other }),
    }
}

fn plain(text: &str, longest: usize) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' };
    let plain: String = text.chars().map(fits).take(longest).collect();
    if plain.is_empty() { "_".to_owned() } else { plain }
}
