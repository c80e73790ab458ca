//! A client for one server that sends its key and nothing to anybody else. What the server refuses is asked again with
//! another key, if there is one, a few times and no more.

use std::collections::HashMap;
use std::sync::Arc;

use futures::stream::BoxStream;
use reqwest::header::{HeaderName, HeaderValue};
use rmcp::model::ClientJsonRpcMessage;
use rmcp::transport::streamable_http_client::{
    AuthRequiredError, SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
};

use super::keys::{Keys, Token};
use crate::mcp::foreign::bottom;

/// How often one request is made.
const MOST_TRIES: u32 = 4;

type Failure = StreamableHttpError<reqwest::Error>;
type Events = BoxStream<'static, Result<sse_stream::Sse, SseError>>;

/// The client. Without keys it sends what it is told to.
#[derive(Debug, Clone)]
pub(in crate::mcp) struct Authorized {
    pub(in crate::mcp) client: reqwest::Client,
    pub(in crate::mcp) keys: Option<Arc<Keys>>,
}

/// What a server wants.
enum Wants {
    Key,
    More(Option<String>),
}

impl Authorized {
    async fn with_key<T, F, Fut>(&self, call: F) -> Result<T, Failure>
    where
        F: Fn(Option<String>) -> Fut,
        Fut: Future<Output = Result<T, Failure>>,
    {
        let Some(keys) = &self.keys else { return call(None).await };
        // What is refused here has no answer of the server behind it.
        let unusable = |_| Failure::AuthRequired(AuthRequiredError::new(String::new()));
        let mut token: Option<Token> = keys.token().await.map_err(unusable)?;
        let mut tries = 0;
        loop {
            tries += 1;
            let error = match call(token.as_ref().map(|token| token.expose().to_owned())).await {
                Ok(done) => {
                    keys.accept(token.as_ref());
                    return Ok(done);
                }
                Err(error) => error,
            };
            let Some((wants, challenge)) = wants(&error).filter(|_| tries < MOST_TRIES) else {
                return Err(error);
            };
            let next = match wants {
                Wants::Key => keys.renew(token.as_ref(), &challenge).await,
                Wants::More(scope) => {
                    keys.accept(token.as_ref());
                    keys.widen(token.as_ref(), &challenge, scope.as_deref()).await
                }
            };
            match next {
                Ok(next) => token = Some(next),
                Err(_) => return Err(error),
            }
        }
    }
}

/// What a failure asks for, with the words of the server.
fn wants(error: &Failure) -> Option<(Wants, String)> {
    match error {
        Failure::AuthRequired(required) => Some((Wants::Key, required.www_authenticate_header.clone())),
        Failure::InsufficientScope(more) => {
            Some((Wants::More(more.required_scope.clone()), more.www_authenticate_header.clone()))
        }
        // Servers of old say no more than that.
        Failure::UnexpectedServerResponse(said) if said.starts_with("HTTP 401") => {
            Some((Wants::Key, String::new()))
        }
        _ => None,
    }
}

/// Whether a failure is about keys, so that what is known about these says more than it does.
pub(in crate::mcp) fn is_about_keys(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    error.downcast_ref::<Failure>().is_some_and(|failure| wants(failure).is_some())
}

/// What lies at the bottom of a failure of a transport. The library does not pass on what its client said.
pub(in crate::mcp) fn cause(error: &(dyn std::error::Error + Send + Sync + 'static)) -> String {
    match error.downcast_ref::<Failure>() {
        Some(Failure::Client(error)) => bottom(error).to_string(),
        _ => bottom(error).to_string(),
    }
}

impl StreamableHttpClient for Authorized {
    type Error = reqwest::Error;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        _auth_header: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, Failure> {
        self.with_key(|token| {
            self.client.post_message(
                Arc::clone(&uri),
                message.clone(),
                session_id.clone(),
                token,
                headers.clone(),
            )
        })
        .await
    }

    async fn post_message_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        _auth_header: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
        most: usize,
    ) -> Result<StreamableHttpPostResponse, Failure> {
        self.with_key(|token| {
            self.client.post_message_with_max_sse_event_size(
                Arc::clone(&uri),
                message.clone(),
                session_id.clone(),
                token,
                headers.clone(),
                most,
            )
        })
        .await
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session_id: Arc<str>,
        _auth_header: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), Failure> {
        self.with_key(|token| {
            self.client.delete_session(Arc::clone(&uri), Arc::clone(&session_id), token, headers.clone())
        })
        .await
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        _auth_header: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<Events, Failure> {
        self.with_key(|token| {
            self.client.get_stream(
                Arc::clone(&uri),
                session_id.clone(),
                last_event_id.clone(),
                token,
                headers.clone(),
            )
        })
        .await
    }

    async fn get_stream_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        _auth_header: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
        most: usize,
    ) -> Result<Events, Failure> {
        self.with_key(|token| {
            self.client.get_stream_with_max_sse_event_size(
                Arc::clone(&uri),
                session_id.clone(),
                last_event_id.clone(),
                token,
                headers.clone(),
                most,
            )
        })
        .await
    }
}
