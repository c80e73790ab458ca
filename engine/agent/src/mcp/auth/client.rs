//! Clients of the user that are let in for themselves: by a secret, by a signature, or by the identity of a company. A
//! proof is shown to whoever the user said, or, if they did not say, to whoever the server names.

use std::sync::Arc;

use oauth2::TokenResponse as _;
use rmcp::transport::auth::enterprise::{
    EmaAuthorizationServer, EmaClientAuthentication, EmaExchangeRequest,
};
use rmcp::transport::auth::{
    AuthError, AuthorizationManager, ClientCredentialsConfig, JwtSigningAlgorithm, OAuthClientConfig,
};
use serde_json::Value;

use super::flow::{Found, discover};
use super::wire::Wire;
use super::words::{identity_words, words};
use crate::mcp::access::{Algorithm, ClientCredentials, Identity, Proof};
use crate::mcp::address::ServerUrl;
use crate::mcp::foreign::complaint;
use crate::model::Secret;

/// Lets a client in; the token, or why there is none.
pub(super) async fn let_in(
    client: &ClientCredentials,
    server: &ServerUrl,
    challenge: &str,
    wire: &Arc<Wire>,
) -> Result<Secret, String> {
    let found = discover(server, Some(challenge), wire).await;
    let (mut manager, found) = found.map_err(|error| words(&error, wire))?;
    if let Some(expected) = &client.issuer
        && found.metadata.issuer.as_ref() != Some(expected)
    {
        let named = found.metadata.issuer.as_deref().map_or("nobody".to_owned(), complaint);
        return Err(format!("it is `{named}` who grants access, and the settings say `{expected}`"));
    }
    let resource = resource(&mut manager, client, server).await;
    if let Some(identity) = &client.identity {
        return by_identity(client, identity, &resource, &found, wire).await;
    }
    let (client_id, scopes) = (client.client_id.clone(), scopes(client, &manager).await);
    let config = match &client.proof {
        Proof::Secret(secret) => ClientCredentialsConfig::ClientSecret {
            client_id,
            client_secret: secret.expose().to_owned(),
            scopes,
            resource: Some(resource),
        },
        Proof::Key { pem, algorithm } => ClientCredentialsConfig::PrivateKeyJwt {
            client_id,
            signing_key: pem.expose().as_bytes().to_vec(),
            signing_algorithm: match algorithm {
                Algorithm::RS256 => JwtSigningAlgorithm::RS256,
                Algorithm::RS384 => JwtSigningAlgorithm::RS384,
                Algorithm::RS512 => JwtSigningAlgorithm::RS512,
                Algorithm::ES256 => JwtSigningAlgorithm::ES256,
                Algorithm::ES384 => JwtSigningAlgorithm::ES384,
            },
            token_endpoint_audience: None,
            scopes,
            resource: Some(resource),
        },
    };
    let granted = exchange(manager, config).await?;
    granted.map_err(|error| words(&error, wire))
}

/// Exchanges what proves the client for a token. The future of the library cannot move between threads, so it stays on
/// one of its own.
async fn exchange(
    mut manager: AuthorizationManager,
    config: ClientCredentialsConfig,
) -> Result<Result<Secret, AuthError>, String> {
    let runtime = tokio::runtime::Handle::current();
    let work = move || {
        manager.validate_client_credentials_metadata(&config)?;
        manager.configure_client_credentials(&config)?;
        let token = runtime.block_on(manager.exchange_client_credentials(&config))?;
        Ok(Secret::new(token.access_token().secret()))
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())
}

/// What to ask for: what the settings say, or else what the server does.
async fn scopes(client: &ClientCredentials, manager: &AuthorizationManager) -> Vec<String> {
    if client.scopes.is_empty() {
        let mut scopes = manager.select_initial_scopes(&[]).await;
        // Nobody is offline here: there is nothing to renew.
        scopes.retain(|scope| scope != "offline_access");
        scopes
    } else {
        client.scopes.clone()
    }
}

/// What the server calls itself. The library knows it and says so only in the address of a page to log in at.
async fn resource(
    manager: &mut AuthorizationManager,
    client: &ClientCredentials,
    server: &ServerUrl,
) -> String {
    let config = OAuthClientConfig::new(client.client_id.clone(), server.as_str());
    let page = match manager.configure_client(config) {
        Ok(()) => manager.get_authorization_url(&[]).await.ok(),
        Err(_) => None,
    };
    let page = page.and_then(|page| reqwest::Url::parse(&page).ok());
    let named = page.as_ref().and_then(|page| page.query_pairs().find(|(name, _)| name == "resource"));
    named.map_or_else(|| server.to_string(), |(_, value)| value.into_owned())
}

/// Exchanges the identity for an assertion, and that for a token.
async fn by_identity(
    client: &ClientCredentials,
    identity: &Identity,
    resource: &str,
    found: &Found,
    wire: &Arc<Wire>,
) -> Result<Secret, String> {
    let Proof::Secret(secret) = &client.proof else {
        return Err("a client with an identity proves itself by a secret".to_owned());
    };
    let Some(issuer) = &found.metadata.issuer else {
        return Err("whoever grants access to it does not say who they are".to_owned());
    };
    let methods = found.metadata.additional_fields.get("token_endpoint_auth_methods_supported");
    let methods = methods.and_then(Value::as_array);
    let takes = |method: &str| methods.is_none_or(|known| known.iter().any(|known| known == method));
    let secret = oauth2::ClientSecret::new(secret.expose().to_owned());
    let proof = if takes("client_secret_basic") {
        EmaClientAuthentication::ClientSecretBasic(secret)
    } else {
        EmaClientAuthentication::ClientSecretPost(secret)
    };
    let provider =
        EmaAuthorizationServer::new(&identity.issuer, &identity.token_endpoint, &identity.client_id);
    let grants = EmaAuthorizationServer::new(issuer, &found.metadata.token_endpoint, &client.client_id)
        .with_client_authentication(proof);
    let exchange =
        EmaExchangeRequest::new_with_id_token(provider, grants, resource, identity.id_token.expose())
            .with_scopes(client.scopes.iter().cloned());
    let token = exchange.exchange(wire.as_ref(), wire.as_ref()).await;
    let token = token.map_err(|error| identity_words(&error, wire))?;
    Ok(Secret::new(token.access_token.secret()))
}
