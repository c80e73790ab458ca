//! What the user has for servers of tools: logins in a folder of their own state, and clients in their settings. It is
//! given out for the address it belongs to, and for no other; nothing here is ever shown.

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use blueprint_agent::mcp::{Access, AccessError, Credentials, Held, Login, McpConfig, ServerUrl};
use blueprint_agent::model::Secret;

mod error;
mod folder;

#[cfg(test)]
mod tests;

pub(crate) use error::LoginsError;
use folder::Folder;
pub(crate) use folder::Kept;

/// What the user has for servers of tools.
pub(crate) struct Logins {
    folder: Option<Folder>,
    config: McpConfig,
    environment: BTreeMap<String, String>,
}

impl Logins {
    /// Those of the user whose environment this is.
    pub(crate) fn new(environment: &BTreeMap<String, String>, config: McpConfig) -> Self {
        let place = |name: &str| environment.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state = place("XDG_STATE_HOME").or_else(|| place("HOME").map(|home| home.join(".local/state")));
        let folder = state.map(|state| Folder::new(state.join("blueprint").join("mcp")));
        Self { folder, config, environment: environment.clone() }
    }

    fn folder(&self) -> Result<&Folder, LoginsError> {
        self.folder.as_ref().ok_or(LoginsError::NoFolder)
    }

    /// Whether the settings have a client for this server, so that nobody needs to log in.
    pub(crate) fn has_client(&self, server: &ServerUrl) -> bool {
        !matches!(self.config.client(server, &|name| self.environment.get(name).cloned()), Ok(None))
    }

    /// Makes sure that a login could be kept.
    pub(crate) fn prepare(&self) -> Result<(), LoginsError> {
        self.folder()?.open_or_make().map(drop)
    }

    /// Keeps a login in place of the one before, once nobody renews that any more.
    pub(crate) async fn replace(&self, login: &Login) -> Result<(), LoginsError> {
        let folder = self.folder()?;
        let _held = folder.hold(login.server()).await?;
        folder.write(login)
    }

    /// Deletes a login; whether there was one.
    pub(crate) async fn forget(&self, server: &ServerUrl) -> Result<bool, LoginsError> {
        let folder = self.folder()?;
        let _held = folder.hold(server).await?;
        folder.remove(server)
    }

    /// Every login that is kept, and files that hold none, by name.
    pub(crate) fn all(&self) -> Result<Vec<Kept>, LoginsError> {
        self.folder()?.all()
    }

    fn login(&self, server: &ServerUrl) -> Result<Option<Login>, LoginsError> {
        // Without a home folder nobody can have logged in.
        let Some(folder) = &self.folder else { return Ok(None) };
        folder.read(server)
    }
}

fn told(error: &LoginsError) -> AccessError {
    let mut why = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(source) = next {
        why = format!("{why}: {source}");
        next = source.source();
    }
    AccessError(why)
}

#[async_trait]
impl Access for Logins {
    async fn credentials(&self, server: &ServerUrl) -> Result<Credentials, AccessError> {
        let value = |name: &str| self.environment.get(name).filter(|value| !value.is_empty()).cloned();
        if let Some(client) = self.config.client(server, &value)? {
            return Ok(Credentials::Client(client));
        }
        let Some(login) = self.login(server).map_err(|error| told(&error))? else {
            return Ok(Credentials::None);
        };
        let client_secret = match login.client_secret_env() {
            Some(name) => {
                let why =
                    || AccessError(format!("`{name}`, which the login for it needs, has no value here"));
                Some(Secret::new(value(name).ok_or_else(why)?))
            }
            None => None,
        };
        Ok(Credentials::Login { login: Box::new(login), client_secret })
    }

    async fn keep(&self, login: &Login) -> Result<(), AccessError> {
        self.folder().and_then(|folder| folder.write(login)).map_err(|error| told(&error))
    }

    async fn hold(&self, server: &ServerUrl) -> Result<Held, AccessError> {
        let folder = self.folder().map_err(|error| told(&error))?;
        let held = folder.hold(server).await.map_err(|error| told(&error))?;
        Ok(Box::new(held))
    }
}

impl std::fmt::Debug for Logins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Logins")
    }
}
