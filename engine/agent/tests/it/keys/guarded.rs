//! A server that asks who is there, as a process of its own, and a user with logins in memory.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use blueprint_agent::mcp::{
    Access, AccessError, ClientCredentials, Credentials, Held, Login, LoginError, LoginRequest, Outside,
    Person, Registration, Server, ServerConfig, ServerUrl, Servers, login,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::direct_host::DirectHost;

/// The server.
pub(crate) struct Guarded {
    child: Child,
    pub(crate) base: String,
    client: reqwest::Client,
}

impl Guarded {
    pub(crate) fn start(manners: &[&str]) -> Self {
        let mut child = std::process::Command::new("python3")
            .args(["-c", include_str!("../oauth_server.py")])
            .args(manners)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { child, base: format!("http://127.0.0.1:{}", port.trim()), client }
    }

    pub(crate) fn url(&self) -> ServerUrl {
        ServerUrl::parse(&format!("{}/mcp", self.base)).unwrap()
    }

    async fn ask(&self, path: &str) -> Vec<Value> {
        let answer = self.client.get(format!("{}{path}", self.base)).send().await.unwrap();
        answer.json().await.unwrap()
    }

    /// What it was asked at a path.
    pub(crate) async fn seen(&self, path: &str) -> Vec<Value> {
        self.ask("/seen").await.into_iter().filter(|seen| seen["path"] == path).collect()
    }

    /// Everything it gave out that nobody else may see.
    pub(crate) async fn granted(&self) -> Vec<String> {
        self.ask("/granted").await.iter().map(|token| token.as_str().unwrap().to_owned()).collect()
    }

    /// No token is good any more.
    pub(crate) async fn expire(&self) {
        self.ask("/expire").await;
    }

    /// It has one more manner from now on.
    pub(crate) async fn becomes(&self, manner: &str) {
        self.ask(&format!("/manner?add={manner}")).await;
    }

    /// Logs a person in.
    pub(crate) async fn login(&self, scopes: &[&str]) -> Result<Login, LoginError> {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let request = LoginRequest { server: self.url(), scopes, patience: Duration::from_secs(20) };
        login(&request, &outside(&User::nobody()), &Visitor(self.client.clone())).await
    }

    /// A session with this server alone.
    pub(crate) async fn session(&self, user: &Arc<User>, host: &DirectHost) -> Servers {
        self.session_with(&outside(user), host).await
    }

    pub(crate) async fn session_with(&self, outside: &Outside, host: &DirectHost) -> Servers {
        self.session_within(20, outside, host).await
    }

    /// The same with a limit for calls, in seconds.
    pub(crate) async fn session_within(&self, most: u64, outside: &Outside, host: &DirectHost) -> Servers {
        let config =
            json!({ "name": "g", "url": self.url().as_str(), "tools": ["*"], "timeout_seconds": most });
        let config: ServerConfig = serde_json::from_value(config).unwrap();
        let server = Server::try_from(config).unwrap();
        Servers::start(vec![server], outside, host, &CancellationToken::new()).await.unwrap()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A person who opens every page at once.
#[derive(Debug)]
pub(crate) struct Visitor(reqwest::Client);

#[async_trait]
impl Person for Visitor {
    async fn show(&self, url: &str) -> Result<(), String> {
        let page = self.0.get(url).send().await.map_err(|error| error.to_string())?;
        let back = page.headers().get("location").ok_or("the page leads nowhere")?.to_str().unwrap();
        self.0.get(back).send().await.map_err(|error| error.to_string())?;
        Ok(())
    }

    fn registration(&self) -> Registration {
        Registration::default()
    }
}

/// A user with logins in memory, who is not there.
#[derive(Debug, Default)]
pub(crate) struct User {
    client: Option<ClientCredentials>,
    logins: Mutex<BTreeMap<ServerUrl, Login>>,
    lock: Arc<tokio::sync::Mutex<()>>,
}

impl User {
    pub(crate) fn nobody() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn with(login: Login) -> Arc<Self> {
        let user = Self::default();
        user.logins.lock().unwrap().insert(login.server().clone(), login);
        Arc::new(user)
    }

    pub(crate) fn machine(client: ClientCredentials) -> Arc<Self> {
        Arc::new(Self { client: Some(client), ..Self::default() })
    }

    /// The login as it is kept now.
    pub(crate) fn kept(&self, server: &ServerUrl) -> String {
        String::from_utf8(self.logins.lock().unwrap()[server].to_json()).unwrap()
    }
}

#[async_trait]
impl Access for User {
    async fn credentials(&self, server: &ServerUrl) -> Result<Credentials, AccessError> {
        if let Some(client) = &self.client {
            return Ok(Credentials::Client(client.clone()));
        }
        let login = self.logins.lock().unwrap().get(server).cloned();
        Ok(login.map_or(Credentials::None, |login| Credentials::Login {
            login: Box::new(login),
            client_secret: None,
        }))
    }

    async fn keep(&self, login: &Login) -> Result<(), AccessError> {
        self.logins.lock().unwrap().insert(login.server().clone(), login.clone());
        Ok(())
    }

    async fn hold(&self, _: &ServerUrl) -> Result<Held, AccessError> {
        Ok(Box::new(Arc::clone(&self.lock).lock_owned().await))
    }
}

/// The network as a node has it: this machine alone.
pub(crate) fn outside(user: &Arc<User>) -> Outside {
    Outside {
        client: reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap(),
        allows: Arc::new(|url| {
            if url.starts_with("http://127.0.0.1:") {
                Ok(())
            } else {
                Err("the rules do not allow it".to_owned())
            }
        }),
        value: Arc::new(|_| None),
        access: Arc::clone(user) as _,
    }
}
