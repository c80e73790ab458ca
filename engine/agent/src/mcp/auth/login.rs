//! A login: what was granted to the user at one server, as it is kept. Whoever keeps it sees bytes; what is shown of
//! it is the server, who granted what, and until when, and never a token.

use std::fmt;

use oauth2::basic::BasicTokenType;
use oauth2::{AccessToken, RefreshToken, TokenResponse as _};
use rmcp::transport::auth::{OAuthTokenResponse, StoredCredentials, VendorExtraTokenFields};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::mcp::address::ServerUrl;

/// The format of what is kept.
const VERSION: u32 = 1;

/// Why what was kept is no login.
#[derive(Debug, Error)]
pub enum LoginFileError {
    /// It cannot be read.
    #[error("it is damaged")]
    Damaged,
    /// It was written by another version of this program.
    #[error("it is of version {0}, which this program does not know")]
    Version(u32),
}

/// Why what a server granted is no use.
#[derive(Debug, Error)]
pub(super) enum UselessGrant {
    #[error("it granted nothing")]
    Nothing,
    #[error("it granted a token of the kind `{0}`, and only those that are borne are known")]
    Kind(String),
}

/// What was granted to the user at one server.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    version: u32,
    server: ServerUrl,
    issuer: Option<String>,
    client_id: String,
    /// What the client was given when it registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_secret: Option<String>,
    /// The variable with what it had before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_secret_env: Option<String>,
    scopes: Vec<String>,
    access_token: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    /// In seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
}

/// The secret of a client, or where it lies.
#[derive(Clone, Default)]
pub(super) struct ClientSecret {
    pub(super) registered: Option<String>,
    pub(super) variable: Option<String>,
}

impl Login {
    /// What the library was granted.
    pub(super) fn granted(
        server: &ServerUrl,
        stored: StoredCredentials,
        secret: ClientSecret,
    ) -> Result<Self, UselessGrant> {
        let token = stored.token_response.ok_or(UselessGrant::Nothing)?;
        if !matches!(token.token_type(), BasicTokenType::Bearer) {
            return Err(UselessGrant::Kind(token.token_type().as_ref().to_owned()));
        }
        let expires_at = stored.token_received_at.zip(token.expires_in());
        Ok(Self {
            version: VERSION,
            server: server.clone(),
            issuer: stored.issuer,
            client_id: stored.client_id,
            client_secret: secret.registered,
            client_secret_env: secret.variable,
            scopes: stored.granted_scopes,
            access_token: token.access_token().secret().clone(),
            refresh_token: token.refresh_token().map(|token| token.secret().clone()),
            expires_at: expires_at.map(|(at, after)| at.saturating_add(after.as_secs())),
        })
    }

    /// The same login with what was granted in place of what it had.
    pub(super) fn renewed(&self, stored: StoredCredentials) -> Result<Self, UselessGrant> {
        let secret =
            ClientSecret { registered: self.client_secret.clone(), variable: self.client_secret_env.clone() };
        Self::granted(&self.server, stored, secret)
    }

    /// As the library wants it, to be renewed.
    pub(super) fn stored(&self) -> StoredCredentials {
        let access = AccessToken::new(self.access_token.clone());
        let mut token =
            OAuthTokenResponse::new(access, BasicTokenType::Bearer, VendorExtraTokenFields::default());
        token.set_refresh_token(self.refresh_token.clone().map(RefreshToken::new));
        StoredCredentials::new(self.client_id.clone(), Some(token), self.scopes.clone(), None)
            .with_issuer(self.issuer.clone())
    }

    /// Reads what was kept.
    pub fn from_json(bytes: &[u8]) -> Result<Self, LoginFileError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        // What the parser has to say could hold a part of the file.
        let versioned: Versioned = serde_json::from_slice(bytes).map_err(|_| LoginFileError::Damaged)?;
        if versioned.version != VERSION {
            return Err(LoginFileError::Version(versioned.version));
        }
        serde_json::from_slice(bytes).map_err(|_| LoginFileError::Damaged)
    }

    /// What to keep, where nobody else can read it.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("a login holds nothing that JSON cannot")
    }

    /// The server.
    pub fn server(&self) -> &ServerUrl {
        &self.server
    }

    /// Who granted it, as far as they said.
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// What this program is known as there.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The variable with the secret of the client, if it lies in one.
    pub fn client_secret_env(&self) -> Option<&str> {
        self.client_secret_env.as_deref()
    }

    /// What was granted.
    pub fn scopes(&self) -> &[String] {
        &self.scopes
    }

    /// Until when, in seconds since 1970, if that was said.
    pub fn expires_at(&self) -> Option<u64> {
        self.expires_at
    }

    /// Whether it can be renewed without logging in again.
    pub fn can_be_renewed(&self) -> bool {
        self.refresh_token.is_some()
    }

    pub(super) fn access_token(&self) -> &str {
        &self.access_token
    }

    pub(super) fn refresh_token(&self) -> Option<&str> {
        self.refresh_token.as_deref()
    }

    pub(super) fn client_secret(&self) -> Option<&str> {
        self.client_secret.as_deref()
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("server", &self.server)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
