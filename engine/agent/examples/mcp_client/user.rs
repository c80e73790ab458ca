//! A user for checks: keeps logins in memory, and is a person who opens every page at once and says yes. Takes what
//! the conformance suite hands over.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use blueprint_agent::mcp::{
    Access, AccessError, ClientCredentials, Credentials, Held, Identity, Login, NamedSecret, Person, Proof,
    Registration, ServerUrl,
};
use blueprint_agent::model::Secret;
use serde_json::Value;

/// Where the conformance suite wants this program to be described.
const METADATA: &str = "https://conformance-test.local/client-metadata.json";

/// The user.
#[derive(Debug)]
pub(crate) struct User {
    scenario: String,
    context: Value,
    client: reqwest::Client,
    logins: Mutex<BTreeMap<ServerUrl, Login>>,
}

impl User {
    pub(crate) fn new(scenario: &str, context: Value, client: reqwest::Client) -> Self {
        Self { scenario: scenario.to_owned(), context, client, logins: Mutex::default() }
    }

    fn text(&self, name: &str) -> Option<String> {
        self.context[name].as_str().map(str::to_owned)
    }

    /// The client for machines that the suite hands over.
    fn machine(&self) -> Option<ClientCredentials> {
        let secret = || self.text("client_secret").map(|secret| Proof::Secret(Secret::new(secret)));
        let (proof, identity) = match self.scenario.as_str() {
            "auth/client-credentials-basic" => (secret()?, None),
            "auth/client-credentials-jwt" => {
                let algorithm = serde_json::from_value(self.context["signing_algorithm"].clone()).ok()?;
                (Proof::Key { pem: Secret::new(self.text("private_key_pem")?), algorithm }, None)
            }
            "auth/cross-app-access-complete-flow" | "auth/enterprise-managed-authorization" => {
                let identity = Identity {
                    issuer: self.text("idp_issuer")?,
                    token_endpoint: self.text("idp_token_endpoint")?,
                    client_id: self.text("idp_client_id")?,
                    id_token: Secret::new(self.text("idp_id_token")?),
                };
                (secret()?, Some(identity))
            }
            _ => return None,
        };
        let client_id = self.text("client_id")?;
        Some(ClientCredentials { client_id, proof, scopes: Vec::new(), issuer: None, identity })
    }
}

#[async_trait]
impl Access for User {
    async fn credentials(&self, server: &ServerUrl) -> Result<Credentials, AccessError> {
        if let Some(client) = self.machine() {
            return Ok(Credentials::Client(client));
        }
        let login = self.logins.lock().unwrap().get(server).cloned();
        Ok(login.map_or(Credentials::None, |login| {
            let secret = login.client_secret_env().and_then(|name| self.text(name));
            Credentials::Login { login: Box::new(login), client_secret: secret.map(Secret::new) }
        }))
    }

    async fn keep(&self, login: &Login) -> Result<(), AccessError> {
        self.logins.lock().unwrap().insert(login.server().clone(), login.clone());
        Ok(())
    }

    async fn hold(&self, _: &ServerUrl) -> Result<Held, AccessError> {
        Ok(Box::new(()))
    }

    fn person(&self) -> Option<&dyn Person> {
        Some(self)
    }
}

#[async_trait]
impl Person for User {
    async fn show(&self, url: &str) -> Result<(), String> {
        let asked = self.client.get(url).send().await.map_err(|error| error.to_string())?;
        let back = asked.headers().get("location").and_then(|value| value.to_str().ok());
        let back = back.ok_or_else(|| format!("the page leads nowhere ({})", asked.status()))?;
        self.client.get(back).send().await.map_err(|error| error.to_string())?;
        Ok(())
    }

    fn registration(&self) -> Registration {
        let client_id = self.text("client_id");
        let secret = self.text("client_secret").filter(|_| client_id.is_some());
        let named =
            |secret| NamedSecret { variable: "client_secret".to_owned(), secret: Secret::new(secret) };
        let metadata_url = Some(METADATA.to_owned());
        Registration { client_id, client_secret: secret.map(named), metadata_url }
    }
}
