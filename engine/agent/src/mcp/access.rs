//! What the user has for servers: logins and clients of their own. It is bound to the address of a server by the user;
//! a blueprint names the server and has no say in what is sent there.

use std::any::Any;
use std::fmt::Debug;

use async_trait::async_trait;
use thiserror::Error;

use super::address::ServerUrl;
use super::auth::Login;
use crate::model::Secret;

/// Why what the user has for a server cannot be used or kept, in a line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct AccessError(pub String);

/// Others who want the same wait until this is dropped.
pub type Held = Box<dyn Any + Send>;

/// Who knows what the user has for servers.
#[async_trait]
pub trait Access: Send + Sync + Debug {
    /// What there is for a server. An error is never "nothing": what is there and cannot be used must be seen to.
    async fn credentials(&self, server: &ServerUrl) -> Result<Credentials, AccessError>;

    /// Keeps a login, in place of the one for the same server.
    async fn keep(&self, login: &Login) -> Result<(), AccessError>;

    /// Waits until nobody else renews the login for a server: what renews it can be used only once.
    async fn hold(&self, server: &ServerUrl) -> Result<Held, AccessError>;

    /// Somebody who can be asked to log in. Nobody, unless said otherwise: runs are not attended.
    fn person(&self) -> Option<&dyn Person> {
        None
    }
}

/// Somebody with a browser.
#[async_trait]
pub trait Person: Send + Sync + Debug {
    /// Shows an address to open. What comes of it is heard elsewhere; `Err` says why it could not be shown.
    async fn show(&self, url: &str) -> Result<(), String>;

    /// What this program is known as to whoever grants access to a server. Nothing, if it has to register.
    fn registration(&self) -> Registration {
        Registration::default()
    }
}

/// What this program is known as to whoever grants access.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registration {
    /// An id that was given to it before.
    pub client_id: Option<String>,
    /// The secret that goes with the id.
    pub client_secret: Option<NamedSecret>,
    /// An `https://` address at which it describes itself, for servers that read such a description.
    pub metadata_url: Option<String>,
}

/// A secret with the name of the variable it came from. Only the name is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedSecret {
    /// The variable.
    pub variable: String,
    /// What it holds.
    pub secret: Secret,
}

/// What there is for a server.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// Nothing.
    None,
    /// Somebody logged in.
    Login {
        /// What was granted.
        login: Box<Login>,
        /// The secret of the client that logged in, if it lies in a variable.
        client_secret: Option<Secret>,
    },
    /// The user has a client for machines.
    Client(ClientCredentials),
}

impl Credentials {
    /// The addresses of those besides the server whom they are shown to, as far as the user said so.
    pub fn shown_to(&self) -> Vec<&str> {
        match self {
            Self::None => Vec::new(),
            Self::Login { login, .. } => login.issuer().into_iter().collect(),
            Self::Client(client) => {
                let identity = client.identity.iter();
                let theirs = identity.flat_map(|identity| [&*identity.issuer, &identity.token_endpoint]);
                client.issuer.as_deref().into_iter().chain(theirs).collect()
            }
        }
    }
}

/// A client that is let in for itself, without anybody logging in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCredentials {
    /// Its id.
    pub client_id: String,
    /// How it proves who it is.
    pub proof: Proof,
    /// What it asks for; what the server says if empty.
    pub scopes: Vec<String>,
    /// Who may be shown the proof. Whoever the server names, if left out.
    pub issuer: Option<String>,
    /// The identity that it acts for, in companies that grant access by it.
    pub identity: Option<Identity>,
}

/// How a client proves who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// A secret.
    Secret(Secret),
    /// A private key, which never leaves: it signs.
    Key {
        /// The key as PEM.
        pem: Secret,
        /// How it signs.
        algorithm: Algorithm,
    },
}

/// How a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[expect(missing_docs, reason = "the names are those of the standard")]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    ES256,
    ES384,
}

/// An identity at the company's own provider, which is exchanged for access to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The provider.
    pub issuer: String,
    /// Where it exchanges.
    pub token_endpoint: String,
    /// What this program is known as there.
    pub client_id: String,
    /// What says who it is.
    pub id_token: Secret,
}

/// There is nothing for any server.
#[derive(Debug, Clone, Copy)]
pub struct NoAccess;

#[async_trait]
impl Access for NoAccess {
    async fn credentials(&self, _: &ServerUrl) -> Result<Credentials, AccessError> {
        Ok(Credentials::None)
    }

    async fn keep(&self, _: &Login) -> Result<(), AccessError> {
        Err(AccessError("logins are not kept here".to_owned()))
    }

    async fn hold(&self, _: &ServerUrl) -> Result<Held, AccessError> {
        Ok(Box::new(()))
    }
}
