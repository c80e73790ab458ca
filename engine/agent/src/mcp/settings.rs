//! What the user's settings say about clients of their own for servers. Names the variables that hold secrets and never
//! a secret itself; what they hold is asked for when a server wants it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::access::{AccessError, Algorithm, ClientCredentials, Identity, Proof};
use super::address::ServerUrl;
use crate::model::Secret;

/// The table `[mcp]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct McpConfig {
    /// Clients, by the address of the server they are for.
    #[serde(default)]
    pub credentials: BTreeMap<String, ClientConfig>,
}

/// A client that is let in for itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientConfig {
    /// Its id.
    pub client_id: String,
    /// The variable with its secret.
    #[serde(default)]
    pub client_secret_env: Option<String>,
    /// The variable with its private key as PEM, in place of a secret.
    #[serde(default)]
    pub key_env: Option<String>,
    /// How the key signs.
    #[serde(default)]
    pub algorithm: Option<Algorithm>,
    /// What it asks for; what the server says if left out.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Who grants access. If it is left out, whoever the server names is shown the secret.
    #[serde(default)]
    pub issuer: Option<String>,
    /// The identity it acts for, at a provider of the company.
    #[serde(default)]
    pub identity: Option<IdentityConfig>,
}

/// An identity.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityConfig {
    /// The provider.
    pub issuer: String,
    /// Where it exchanges tokens.
    pub token_endpoint: String,
    /// What this program is known as there.
    pub client_id: String,
    /// The variable with the token that says who it is.
    pub id_token_env: String,
}

impl McpConfig {
    /// Everything that makes no sense, each in a line.
    pub fn check(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut known: BTreeMap<ServerUrl, &str> = BTreeMap::new();
        for (text, client) in &self.credentials {
            match ServerUrl::parse(text) {
                Ok(url) => {
                    if let Some(before) = known.insert(url, text) {
                        wrong.push(format!("`{before}` and `{text}` are one server"));
                    }
                }
                Err(error) => wrong.push(error.to_string()),
            }
            wrong.extend(client.wrong().into_iter().map(|why| format!("`{text}`: {why}")));
        }
        wrong
    }

    /// The client for a server, with what the variables hold.
    pub fn client(
        &self,
        server: &ServerUrl,
        value: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<ClientCredentials>, AccessError> {
        let mut all = self.credentials.iter();
        let found = all.find(|(text, _)| ServerUrl::parse(text).is_ok_and(|url| url == *server));
        found.map(|(_, client)| client.with(value)).transpose()
    }
}

impl ClientConfig {
    fn wrong(&self) -> Vec<&'static str> {
        let mut wrong = Vec::new();
        if self.client_id.is_empty() {
            wrong.push("`client_id` is empty");
        }
        match (&self.client_secret_env, &self.key_env, self.algorithm) {
            (Some(_), None, None) | (None, Some(_), Some(_)) => {}
            (None, Some(_), None) => wrong.push("`key_env` takes an `algorithm`"),
            (Some(_), None, Some(_)) => wrong.push("`algorithm` is for a `key_env`"),
            _ => wrong.push("it has either a `client_secret_env` or a `key_env`"),
        }
        if self.identity.is_some() && self.key_env.is_some() {
            wrong.push("an `identity` takes a `client_secret_env`");
        }
        let scopes = self.scopes.iter();
        if scopes.clone().any(|scope| scope.is_empty() || scope.contains(char::is_whitespace)) {
            wrong.push("a scope is one word");
        }
        if let Some(identity) = &self.identity
            && ServerUrl::parse(&identity.token_endpoint).is_err()
        {
            wrong.push("`token_endpoint` is an `https://` address");
        }
        wrong
    }

    fn with(&self, value: &dyn Fn(&str) -> Option<String>) -> Result<ClientCredentials, AccessError> {
        let secret = |name: &str| {
            let held = value(name).filter(|held| !held.is_empty());
            let why = || AccessError(format!("`{name}`, which the settings name for it, has no value here"));
            held.map(Secret::new).ok_or_else(why)
        };
        let proof = match (&self.client_secret_env, &self.key_env, self.algorithm) {
            (Some(name), ..) => Proof::Secret(secret(name)?),
            (None, Some(name), Some(algorithm)) => Proof::Key { pem: secret(name)?, algorithm },
            _ => return Err(AccessError("the settings do not say how its client proves itself".to_owned())),
        };
        let identity = |identity: &IdentityConfig| {
            Ok(Identity {
                issuer: identity.issuer.clone(),
                token_endpoint: identity.token_endpoint.clone(),
                client_id: identity.client_id.clone(),
                id_token: secret(&identity.id_token_env)?,
            })
        };
        Ok(ClientCredentials {
            client_id: self.client_id.clone(),
            proof,
            scopes: self.scopes.clone(),
            issuer: self.issuer.clone(),
            identity: self.identity.as_ref().map(identity).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests;
