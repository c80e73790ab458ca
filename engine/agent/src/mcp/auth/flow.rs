//! Logging in: who grants access is found out, a person is shown where to go, and what comes back is exchanged for a
//! login. An answer that does not belong to this login, or comes from somebody else, is never exchanged.

use std::time::Duration;

use reqwest::Url;
use rmcp::transport::auth::{
    AuthError, AuthorizationManager, AuthorizationMetadata, AuthorizationRequest, AuthorizationSession,
    CredentialStore as _, InMemoryCredentialStore,
};
use thiserror::Error;

use super::login::{ClientSecret, Login, UselessGrant};
use super::redirect::{Answer, Redirect};
use super::seen::Seen;
use super::wire::{Wire, WireError};
use super::words::words;
use crate::mcp::access::{Person, Registration};
use crate::mcp::address::ServerUrl;
use crate::mcp::foreign::complaint;
use crate::mcp::outside::Outside;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct LoginRequest {
    /// The server.
    pub server: ServerUrl,
    /// What is asked for; what the server says if empty.
    pub scopes: Vec<String>,
    /// How long the person may take.
    pub patience: Duration,
}

/// Why nobody is logged in.
#[derive(Debug, Error)]
pub enum LoginError {
    /// It could not be found out who grants access.
    #[error("`{server}` does not say who grants access to it: {why}")]
    Unknown {
        /// The server.
        server: String,
        /// What was tried.
        why: String,
    },
    /// Nobody answers there as this protocol wants.
    #[error("`{server}` says nothing of logins, and what servers of old do does not work: {why}")]
    Silent {
        /// The server.
        server: String,
        /// What was tried.
        why: String,
    },
    /// This program is not known there.
    #[error("this program is not known to whoever grants access, and cannot register: {0}")]
    Unregistered(String),
    /// The address to go to is none that a person should open.
    #[error("the page to log in at is none to open: {0}")]
    Page(String),
    /// Nobody could be shown where to go.
    #[error("{0}")]
    NotShown(String),
    /// The answer cannot be waited for.
    #[error("the answer of a browser cannot be waited for: {0}")]
    Listener(String),
    /// Nobody came back.
    #[error("nobody came back within {0} s")]
    Late(u64),
    /// The person, or whoever grants access, said no.
    #[error("access was not granted: {0}")]
    Denied(String),
    /// The answer came from somebody else.
    #[error("the answer is not from who was asked, and was not used: {0}")]
    Impostor(String),
    /// What came back could not be exchanged.
    #[error("the answer could not be exchanged for access: {0}")]
    Exchange(String),
    /// What was granted is no use.
    #[error("{0}")]
    Useless(String),
}

/// Logs a person in.
pub async fn login(
    request: &LoginRequest,
    outside: &Outside,
    person: &dyn Person,
) -> Result<Login, LoginError> {
    let wire = Wire::new(outside, &request.server, &Seen::default());
    log_in(request, None, &wire, person).await
}

/// The same in the middle of a conversation, after the server has said what it wants.
pub(super) async fn log_in(
    request: &LoginRequest,
    challenge: Option<&str>,
    wire: &std::sync::Arc<Wire>,
    person: &dyn Person,
) -> Result<Login, LoginError> {
    let server = request.server.to_string();
    let unknown = |error: &AuthError| LoginError::Unknown { server: server.clone(), why: words(error, wire) };
    let (mut manager, found) =
        discover(&request.server, challenge, wire).await.map_err(|error| unknown(&error))?;
    let granted = InMemoryCredentialStore::new();
    manager.set_credential_store(granted.clone());
    let redirect = Redirect::open().await.map_err(|error| LoginError::Listener(error.to_string()))?;
    let (session, secret) = start(manager, request, person.registration(), &redirect, &found, wire).await?;
    let state = state(&session.auth_url, wire).map_err(|error| LoginError::Page(error.to_string()))?;
    let answer =
        async { redirect.answer(&state).await.map_err(|error| LoginError::Listener(error.to_string())) };
    let shown = async { person.show(&session.auth_url).await.map_err(LoginError::NotShown) };
    let both = tokio::time::timeout(request.patience, async { tokio::try_join!(answer, shown) });
    let late = |_| LoginError::Late(request.patience.as_secs());
    let (code, issuer) = match both.await.map_err(late)??.0 {
        Answer::Granted { code, issuer } => (code, issuer),
        Answer::Denied { error, description } => {
            let why =
                description.map_or_else(|| error.clone(), |description| format!("{error}: {description}"));
            return Err(LoginError::Denied(complaint(&wire.seen().redact(&why))));
        }
    };
    session.handle_callback_with_issuer(&code, &state, issuer.as_deref()).await.map_err(
        |error| match error {
            AuthError::AuthorizationServerMismatch { .. }
            | AuthError::AuthorizationServerMissingIssuer { .. }
            | AuthError::AuthorizationFailed(_) => LoginError::Impostor(words(&error, wire)),
            other => LoginError::Exchange(words(&other, wire)),
        },
    )?;
    let stored = granted.load().await.map_err(|error| LoginError::Exchange(words(&error, wire)))?;
    let stored = stored.ok_or_else(|| LoginError::Useless(UselessGrant::Nothing.to_string()))?;
    let login = Login::granted(&request.server, stored, secret);
    login.map_err(|error| LoginError::Useless(complaint(&error.to_string())))
}

/// What was found out about who grants access to a server.
pub(super) struct Found {
    pub(super) metadata: AuthorizationMetadata,
    /// Whether anybody said so, and it is not merely what servers of old used to do.
    pub(super) published: bool,
}

/// Finds out who grants access, from what the server says now.
pub(super) async fn discover(
    server: &ServerUrl,
    challenge: Option<&str>,
    wire: &std::sync::Arc<Wire>,
) -> Result<(AuthorizationManager, Found), AuthError> {
    let client = std::sync::Arc::clone(wire);
    let mut manager = AuthorizationManager::new_with_oauth_http_client(server.as_str(), client).await?;
    let found = manager.resolve_metadata_from_challenge(challenge).await?;
    let published = found.source.is_discovered();
    manager.set_metadata(found.metadata.clone());
    Ok((manager, Found { metadata: found.metadata, published }))
}

/// Makes this program known and puts the address together that a person is to open.
async fn start(
    mut manager: AuthorizationManager,
    request: &LoginRequest,
    known: Registration,
    redirect: &Redirect,
    found: &Found,
    wire: &Wire,
) -> Result<(AuthorizationSession, ClientSecret), LoginError> {
    let unregistered = |error: &AuthError| {
        let why = words(error, wire);
        if found.published {
            LoginError::Unregistered(why)
        } else {
            LoginError::Silent { server: request.server.to_string(), why }
        }
    };
    let mut wanted = AuthorizationRequest::new(redirect.uri())
        .with_scopes(request.scopes.iter().cloned())
        .with_initial_scope_selection();
    let mut secret = ClientSecret::default();
    let describes = found.metadata.additional_fields.get("client_id_metadata_document_supported");
    let describes = describes.and_then(serde_json::Value::as_bool) == Some(true);
    if let Some(id) = known.client_id {
        wanted = wanted.with_preregistered_client(id);
        if let Some(named) = known.client_secret {
            wanted = wanted.with_client_secret(named.secret.expose());
            secret.variable = Some(named.variable);
        }
    } else if let Some(url) = known.metadata_url.filter(|_| describes) {
        wanted = wanted.with_client_metadata_url(url);
    } else {
        // The library would register by itself, and keep the secret that comes back to itself.
        let scopes = match &request.scopes[..] {
            [] => manager.select_initial_scopes(&[]).await,
            scopes => scopes.to_vec(),
        };
        let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
        let client = manager
            .register_client("blueprint", redirect.uri(), &scopes)
            .await
            .map_err(|error| unregistered(&error))?;
        wanted = wanted.with_preregistered_client(client.client_id);
        if let Some(issued) = client.client_secret {
            wanted = wanted.with_client_secret(&issued);
            secret.registered = Some(issued);
        }
    }
    match AuthorizationSession::new(manager, wanted).await {
        Ok(session) => Ok((session, secret)),
        Err((_, error)) => Err(unregistered(&error)),
    }
}

/// The secret of this login, which the answer has to know. An address that no person should open is an error.
fn state(page: &str, wire: &Wire) -> Result<String, WireError> {
    wire.check(page)?;
    let url = Url::parse(page).map_err(|_| WireError::NotUrl(complaint(page)))?;
    let state = url.query_pairs().find(|(name, _)| name == "state").map(|(_, value)| value.into_owned());
    state.ok_or_else(|| WireError::NotUrl(complaint(page)))
}
