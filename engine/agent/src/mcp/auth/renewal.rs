//! A login is renewed: once for all who use it, by whoever comes first, and only with those who granted it. What was
//! granted anew is kept before it is used.

use std::sync::Arc;

use rmcp::transport::auth::{AuthError, CredentialStore as _, InMemoryCredentialStore, OAuthClientConfig};

use super::flow::discover;
use super::login::Login;
use super::wire::Wire;
use super::words::words;
use crate::mcp::access::{Access, AccessError, Credentials};
use crate::mcp::address::ServerUrl;
use crate::mcp::foreign::complaint;
use crate::model::Secret;

/// What came of it.
pub(super) enum Renewal {
    /// There is a newer login.
    Done(Box<Login>),
    /// There is nothing left to renew, and why.
    Over(&'static str),
    /// It did not work this time.
    Failed(String),
}

impl From<AccessError> for Renewal {
    fn from(error: AccessError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Renews the login for a server that does not take the token `refused` any more. Goes on even if nobody waits for it
/// any longer: what renews a login can be used only once, so what comes back has to be kept.
pub(super) async fn renew(
    server: ServerUrl,
    refused: Option<Secret>,
    challenge: String,
    wire: Arc<Wire>,
    access: Arc<dyn Access>,
) -> Renewal {
    let work = tokio::spawn(async move {
        let _held = access.hold(&server).await?;
        let Credentials::Login { login, client_secret } = access.credentials(&server).await? else {
            return Err(Renewal::Over("somebody logged out of it"));
        };
        if refused.is_none_or(|refused| refused.expose() != login.access_token()) {
            // Somebody else was faster.
            return Ok(login);
        }
        let renewed = renewed(&login, client_secret.as_ref(), &server, &challenge, &wire).await?;
        access.keep(&renewed).await?;
        Ok(Box::new(renewed))
    });
    match work.await {
        Ok(Ok(login)) => Renewal::Done(login),
        Ok(Err(other)) => other,
        Err(error) => Renewal::Failed(error.to_string()),
    }
}

async fn renewed(
    login: &Login,
    client_secret: Option<&Secret>,
    server: &ServerUrl,
    challenge: &str,
    wire: &Arc<Wire>,
) -> Result<Login, Renewal> {
    const OVER: Renewal = Renewal::Over("the login for it is over");
    if !login.can_be_renewed() {
        return Err(OVER);
    }
    let failed = |error: AuthError| match error {
        AuthError::TokenRefreshRejected(_) | AuthError::AuthorizationRequired => OVER,
        other => Renewal::Failed(format!("the login for it could not be renewed: {}", words(&other, wire))),
    };
    let (mut manager, found) = discover(server, Some(challenge), wire).await.map_err(failed)?;
    if found.metadata.issuer.as_deref() != login.issuer() {
        // What one of them granted is none of the other's business.
        return Err(Renewal::Over("somebody else grants access to it now"));
    }
    let mut config = OAuthClientConfig::new(login.client_id(), server.as_str());
    if let Some(secret) = client_secret.map(Secret::expose).or(login.client_secret()) {
        config = config.with_client_secret(secret);
    }
    let store = InMemoryCredentialStore::new();
    let granted = async {
        manager.configure_client(config)?;
        store.save(login.stored()).await?;
        manager.set_credential_store(store.clone());
        manager.refresh_token().await?;
        store.load().await
    };
    let Some(stored) = granted.await.map_err(failed)? else { return Err(OVER) };
    login.renewed(stored).map_err(|error| Renewal::Failed(complaint(&error.to_string())))
}
