//! The conversation with one MCP server: started, listened to, ended, and started a second time if it dies. What goes
//! wrong on its side is a text for the model, never an error of the session.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use rmcp::model::{
    CallToolRequestParams, ClientRequest, JsonObject, PaginatedRequestParams, ProtocolVersion, Tool as Listed,
};
use rmcp::service::{
    ClientCacheConfig, ClientInitializeError, ClientLifecycleMode, ClientServiceExt, RunningService,
};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{Peer, RoleClient, ServiceError};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::asked::Listener;
use super::auth::{Authorized, Keys, cause, is_about_keys};
use super::complaints::Complaints;
use super::config::{Server, Way};
use super::foreign::{complaint, result};
use super::outside::Outside;
use super::rounds::{NoResult, rounds};
use crate::tool::{Effect, HostError, Process, ToolHost, ToolOutcome};

/// Time a server may take to introduce itself, and again to name its tools, if a call may take that long.
const START_TIME: Duration = Duration::from_secs(30);

/// Time a server may take to say that it is there, after a call that took too long.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);

/// Time a server may take to end by itself.
const FAREWELL: Duration = Duration::from_secs(2);

/// The longest message of a server, in bytes.
const LONGEST_MESSAGE: usize = 4 << 20;

/// How many tools one server may have, and in how many pages.
const MOST_TOOLS: usize = 512;
const MOST_PAGES: usize = 64;

/// A server, whether it runs or not.
#[derive(Debug)]
pub(super) struct Connection {
    server: Server,
    outside: Outside,
    listener: Listener,
    /// The keys of a server that is reached over the network, unless the configuration says what it is sent.
    keys: Option<Arc<Keys>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    live: Option<Live>,
    /// How often it may still be started.
    starts: u32,
    /// Which start this is, so that a late complaint about one does not end the next.
    generation: u32,
    /// Why it is not there.
    why: String,
}

/// A server that runs.
#[derive(Debug)]
struct Live {
    service: RunningService<RoleClient, Listener>,
    process: Option<Process>,
    complaints: Complaints,
}

/// Why there is no answer.
enum Silence {
    /// The host says no, or failed.
    Host(HostError),
    /// The server, in a line for the model.
    Server(String),
}

impl From<HostError> for Silence {
    fn from(error: HostError) -> Self {
        match error {
            HostError::Denied(why) => Self::Server(why),
            other => Self::Host(other),
        }
    }
}

/// Why it did not start.
struct NoStart {
    /// If it came so far that it was spoken to.
    how: Option<ClientInitializeError>,
    silence: Silence,
}

impl<E: Into<Silence>> From<E> for NoStart {
    fn from(error: E) -> Self {
        Self { how: None, silence: error.into() }
    }
}

impl Connection {
    pub(super) fn new(server: Server, outside: Outside) -> Self {
        let state = State { live: None, starts: 2, generation: 0, why: String::new() };
        let listener = Listener { elicitation: server.elicitation, ..Listener::default() };
        let keys = match &server.way {
            Way::Http { url, headers } if headers.iter().all(|(name, _)| *name != AUTHORIZATION) => {
                Some(Arc::new(Keys::new(url, &outside)))
            }
            _ => None,
        };
        Self { server, outside, listener, keys, state: Mutex::new(state) }
    }

    /// How long a call may take, everything around it included.
    pub(super) fn longest_call(&self) -> Duration {
        // It may have to be started first, in two ways.
        self.server.timeout + self.patience() * 2 + SIGN_OF_LIFE * 2
    }

    /// Time for its introduction.
    fn patience(&self) -> Duration {
        self.server.timeout.min(START_TIME)
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// Whether the server said that its tools are others now, since this was asked last.
    pub(super) fn take_changed(&self) -> bool {
        self.listener.changed.swap(false, Ordering::AcqRel)
    }

    /// The tools of the server. The inner error is why there are none.
    pub(super) async fn list(
        &self,
        host: &dyn ToolHost,
        cancel: &CancellationToken,
    ) -> Result<Result<Vec<Listed>, String>, HostError> {
        let work = async {
            let (peer, _) = self.peer(host).await?;
            match timeout(self.patience(), pages(&peer)).await {
                Ok(Ok(tools)) => Ok(tools),
                Ok(Err(error)) => Err(Silence::Server(self.explain(host, &error).await)),
                Err(_) => Err(Silence::Server("it did not name its tools in time".to_owned())),
            }
        };
        let listed = cancel.run_until_cancelled(Box::pin(work)).await.ok_or(HostError::Cancelled)?;
        match listed {
            Ok(tools) => Ok(Ok(tools)),
            Err(Silence::Server(why)) => Ok(Err(self.redact(host, &why))),
            Err(Silence::Host(error)) => Err(error),
        }
    }

    /// Calls a tool. Dropping the call tells the server that nobody waits for it any more.
    pub(super) async fn call(
        &self,
        host: &dyn ToolHost,
        tool: &str,
        arguments: JsonObject,
        cancel: &CancellationToken,
    ) -> Result<ToolOutcome, HostError> {
        let work = async {
            let (peer, generation) = self.peer(host).await?;
            let params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
            let Ok(answer) = timeout(self.server.timeout, rounds(&self.listener, &peer, params)).await else {
                self.look_after(&peer, generation).await;
                let seconds = self.server.timeout.as_secs();
                return Err(Silence::Server(format!("no answer within {seconds} s; the call was cancelled")));
            };
            match answer {
                Ok(result) => Ok(result),
                Err(NoResult::Ours(why)) => Err(Silence::Server(why)),
                Err(NoResult::Theirs(error)) => Err(Silence::Server(self.explain(host, &error).await)),
            }
        };
        let answer = cancel.run_until_cancelled(Box::pin(work)).await.ok_or(HostError::Cancelled)?;
        for line in self.listener.questions.take() {
            host.note(&self.redact(host, &format!("the MCP server `{}`: {line}", self.server.name)));
        }
        match answer {
            Ok(answer) => {
                let text = self.redact(host, &result(&answer));
                Ok(if answer.is_error == Some(true) {
                    ToolOutcome::Failed(text)
                } else {
                    ToolOutcome::Done(text)
                })
            }
            Err(Silence::Server(why)) => {
                let why = format!("the MCP server `{}`: {why}", self.server.name);
                Ok(ToolOutcome::Failed(self.redact(host, &why)))
            }
            Err(Silence::Host(error)) => Err(error),
        }
    }

    /// Says goodbye.
    pub(super) async fn stop(&self) {
        let mut state = self.state.lock().await;
        state.starts = 0;
        "it was stopped".clone_into(&mut state.why);
        if let Some(mut live) = state.live.take() {
            drop(live.service.close_with_timeout(FAREWELL).await);
            // Its input is closed now. What does not end by itself is killed.
            if let Some(process) = &mut live.process {
                drop(timeout(FAREWELL, &mut process.ended).await);
            }
        }
    }

    /// Whom to speak to. Starts the server if it does not run and may be started.
    async fn peer(&self, host: &dyn ToolHost) -> Result<(Peer<RoleClient>, u32), Silence> {
        let mut state = self.state.lock().await;
        if let Some(live) = &mut state.live {
            if !live.service.is_transport_closed() {
                return Ok((live.service.peer().clone(), state.generation));
            }
            let why = live.last_words(host);
            state.why = why;
            state.live = None;
        }
        if state.starts == 0 {
            return Err(Silence::Server(format!("it is not there any more: {}", state.why)));
        }
        state.starts -= 1;
        state.generation += 1;
        match self.start(host).await {
            Ok(live) => {
                let peer = live.service.peer().clone();
                state.live = Some(live);
                Ok((peer, state.generation))
            }
            Err(Silence::Server(why)) => {
                // What does not start will not start the second time; what died may.
                state.starts = 0;
                state.why.clone_from(&why);
                Err(Silence::Server(why))
            }
            Err(host) => Err(host),
        }
    }

    async fn start(&self, host: &dyn ToolHost) -> Result<Live, Silence> {
        // Servers since 2026-07-28 are asked what they speak; older ones refuse that and are greeted instead.
        let ask = ClientLifecycleMode::Auto {
            preferred_versions: vec![ProtocolVersion::V_2026_07_28],
            legacy_version: Some(ProtocolVersion::LATEST_WITH_INITIALIZE),
        };
        match self.introduce(host, ask).await {
            // Some of the older ones answer nonsense to what they do not know.
            Err(NoStart { how: Some(error), .. })
                if !matches!(error, ClientInitializeError::LegacyFallbackFailed { .. })
                    && !wants_key(&error) =>
            {
                self.introduce(host, ClientLifecycleMode::Initialize).await
            }
            other => other,
        }
        .map_err(|no| no.silence)
    }

    async fn introduce(&self, host: &dyn ToolHost, mode: ClientLifecycleMode) -> Result<Live, NoStart> {
        let listener = self.listener.clone();
        let complaints = Complaints::default();
        let patience = self.patience();
        let mut reader = None;
        let (started, mut process) = match &self.server.way {
            Way::Command { argv, env } => {
                let env = self.values(env.iter().map(String::as_str))?;
                let mut process = host.open(argv.clone(), env, Effect::Destructive).await?;
                let stdin = std::mem::replace(&mut process.stdin, Box::new(tokio::io::sink()));
                let stdout = std::mem::replace(&mut process.stdout, Box::new(tokio::io::empty()));
                let stderr = std::mem::replace(&mut process.stderr, Box::new(tokio::io::empty()));
                reader = Some(tokio::spawn(complaints.clone().remember(stderr, process.kill.clone())));
                let transport =
                    AsyncRwTransport::new_client(stdout, stdin).with_max_line_length(LONGEST_MESSAGE);
                (timeout(patience, listener.serve_with_lifecycle(transport, mode)).await, Some(process))
            }
            Way::Http { url, headers } => {
                let config = self.http(url, headers)?;
                let client = Authorized { client: self.outside.client.clone(), keys: self.keys.clone() };
                let transport = StreamableHttpClientTransport::with_client(client, config);
                (timeout(patience, listener.serve_with_lifecycle(transport, mode)).await, None)
            }
        };
        match started {
            Ok(Ok(service)) => {
                // Lists are asked for when they changed; nothing else is worth keeping.
                service.set_response_cache_config(ClientCacheConfig::disabled()).await;
                Ok(Live { service, process, complaints })
            }
            Ok(Err(error)) => {
                // A server that closed the conversation is about to say why, or has not been heard yet.
                if let Some(reader) = reader {
                    drop(timeout(FAREWELL, reader).await);
                }
                let said = complaints.words(process.as_mut());
                let why = match self.no_key().filter(|_| wants_key(&error)) {
                    Some(why) => why,
                    None => format!("it did not start: {}{said}", complaint(&reason(&error))),
                };
                Err(NoStart { how: Some(error), silence: Silence::Server(self.redact(host, &why)) })
            }
            Err(_) => {
                let said = complaints.words(process.as_mut());
                let why = format!("it did not introduce itself within {} s{said}", patience.as_secs());
                Err(Silence::Server(host.redact(&why)).into())
            }
        }
    }

    fn http(
        &self,
        url: &str,
        headers: &[(HeaderName, String)],
    ) -> Result<StreamableHttpClientTransportConfig, Silence> {
        (self.outside.allows)(url).map_err(Silence::Server)?;
        let values = self.values(headers.iter().map(|(_, name)| name.as_str()))?;
        let mut sent = HashMap::new();
        for (header, name) in headers {
            let value = values.get(name).map(|value| HeaderValue::from_str(value));
            let Some(Ok(mut value)) = value else {
                return Err(Silence::Server(format!("the value of `{name}` does not fit into a header")));
            };
            value.set_sensitive(true);
            sent.insert(header.clone(), value);
        }
        Ok(StreamableHttpClientTransportConfig::with_uri(url)
            .custom_headers(sent)
            .max_sse_event_size(LONGEST_MESSAGE))
    }

    fn values<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<BTreeMap<String, String>, Silence> {
        names
            .map(|name| match (self.outside.value)(name) {
                Some(value) => Ok((name.to_owned(), value)),
                None => Err(Silence::Server(format!("`{name}` has no value here"))),
            })
            .collect()
    }

    /// After a call that took too long: a server that does not even answer that it is there is ended.
    async fn look_after(&self, peer: &Peer<RoleClient>, generation: u32) {
        let ping = peer.send_request(ClientRequest::PingRequest(rmcp::model::PingRequest::default()));
        // Any answer is a sign of life, a refusal as well.
        let alive = matches!(
            timeout(SIGN_OF_LIFE, ping).await,
            Ok(Ok(_) | Err(ServiceError::McpError(_) | ServiceError::UnexpectedResponse))
        );
        let mut state = self.state.lock().await;
        if !alive && state.generation == generation {
            "it did not answer any more and was ended".clone_into(&mut state.why);
            state.live = None;
        }
    }

    /// What went wrong, in a line.
    async fn explain(&self, host: &dyn ToolHost, error: &ServiceError) -> String {
        match error {
            ServiceError::McpError(error) => {
                format!("it refused ({}): {}", error.code.0, complaint(&error.message))
            }
            ServiceError::TransportClosed => {
                let mut state = self.state.lock().await;
                let said = state.live.as_mut().map(|live| live.last_words(host)).unwrap_or_default();
                format!("it went away in the middle of it, and what it has done is not known; {said}")
            }
            ServiceError::TransportSend(error) if is_about_keys(error.error.as_ref()) => {
                self.no_key().unwrap_or_else(|| "it does not let us in".to_owned())
            }
            ServiceError::TransportSend(error) => {
                format!("it was not reached: {}", complaint(&cause(error.error.as_ref())))
            }
            other => complaint(&other.to_string()),
        }
    }

    /// Why there was no key for it.
    fn no_key(&self) -> Option<String> {
        self.keys.as_ref().and_then(|keys| keys.take_refusal())
    }

    /// A text for others: without the secrets of the run, and without the keys of this server.
    pub(super) fn redact(&self, host: &dyn ToolHost, text: &str) -> String {
        match &self.keys {
            Some(keys) => host.redact(&keys.redact(text)),
            None => host.redact(text),
        }
    }
}

/// Why a server did not start, without what the library calls its parts.
fn reason(error: &ClientInitializeError) -> String {
    match error {
        ClientInitializeError::TransportError { error, .. } => cause(error.error.as_ref()),
        ClientInitializeError::LegacyFallbackFailed { fallback, .. } => reason(fallback),
        other => other.to_string(),
    }
}

/// Whether a server did not start because it wants a key.
fn wants_key(error: &ClientInitializeError) -> bool {
    match error {
        ClientInitializeError::TransportError { error, .. } => is_about_keys(error.error.as_ref()),
        ClientInitializeError::LegacyFallbackFailed { discover, fallback } => {
            wants_key(discover) || wants_key(fallback)
        }
        _ => false,
    }
}

impl Live {
    /// What is known about its end.
    fn last_words(&mut self, host: &dyn ToolHost) -> String {
        let said = self.complaints.words(self.process.as_mut());
        host.redact(if said.is_empty() {
            "it closed the conversation"
        } else {
            said.trim_start_matches("; ")
        })
    }
}

/// All tools, page by page, as far as is bearable.
async fn pages(peer: &Peer<RoleClient>) -> Result<Vec<Listed>, ServiceError> {
    let mut tools = Vec::new();
    let mut cursor = None;
    for _ in 0..MOST_PAGES {
        let page = peer.list_tools(Some(PaginatedRequestParams::default().with_cursor(cursor))).await?;
        tools.extend(page.tools);
        cursor = page.next_cursor;
        if cursor.is_none() || tools.len() >= MOST_TOOLS {
            break;
        }
    }
    tools.truncate(MOST_TOOLS);
    Ok(tools)
}
