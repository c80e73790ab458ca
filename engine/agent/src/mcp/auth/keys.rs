//! The key to one server during a session: found, sent, renewed when it is refused, and given up when that does not
//! help. In a run nobody is asked for anything; what is missing is said with the command that mends it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex;

use super::client::let_in;
use super::flow::{LoginRequest, log_in};
use super::login::Login;
use super::renewal::{Renewal, renew};
use super::seen::Seen;
use super::wire::Wire;
use super::words::{command, scopes};
use crate::mcp::access::{AccessError, Credentials};
use crate::mcp::address::{AddressError, ServerUrl};
use crate::mcp::outside::Outside;
use crate::model::Secret;

/// How often a person is asked to log in during one session.
const MOST_LOGINS: u32 = 3;

/// Time a person has in the middle of a session.
const PATIENCE: Duration = Duration::from_mins(5);

/// The keys of one server.
pub(in crate::mcp) struct Keys {
    server: Result<ServerUrl, AddressError>,
    outside: Outside,
    seen: Seen,
    state: Mutex<State>,
    /// The token that the server accepted last.
    accepted: AtomicU64,
    refusal: std::sync::Mutex<Option<String>>,
}

/// A token, and which one it is.
#[derive(Clone)]
pub(super) struct Token {
    number: u64,
    secret: Secret,
}

impl Token {
    pub(super) fn expose(&self) -> &str {
        self.secret.expose()
    }
}

#[derive(Default)]
struct State {
    /// What there is, once that was looked up.
    credentials: Option<Credentials>,
    token: Option<Token>,
    /// Whether the token was granted in the session, and not merely found.
    fresh: bool,
    /// What a person was last asked to grant.
    asked: Vec<String>,
    logins: u32,
}

/// There is no key. Why is told by [`Keys::take_refusal`].
#[derive(Debug)]
pub(super) struct Refused;

impl Keys {
    pub(in crate::mcp) fn new(url: &str, outside: &Outside) -> Self {
        Self {
            server: ServerUrl::parse(url),
            outside: outside.clone(),
            seen: Seen::default(),
            state: Mutex::default(),
            accepted: AtomicU64::new(0),
            refusal: std::sync::Mutex::default(),
        }
    }

    /// The text without anything that was sent or granted.
    pub(in crate::mcp) fn redact(&self, text: &str) -> String {
        self.seen.redact(text)
    }

    /// Why there was no key, since this was asked last.
    pub(in crate::mcp) fn take_refusal(&self) -> Option<String> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What to send, if there is anything.
    pub(super) async fn token(&self) -> Result<Option<Token>, Refused> {
        let Ok(server) = &self.server else { return Ok(None) };
        let mut state = self.state.lock().await;
        if state.credentials.is_none() {
            let found =
                self.outside.access.credentials(server).await.map_err(|error| self.unusable(&error))?;
            if let Credentials::Login { login, .. } = &found {
                let token = Secret::new(login.access_token());
                state.token = Some(self.take(&state, token)?);
                login.refresh_token().map(|token| self.seen.add("refresh_token", token));
                login.client_secret().map(|secret| self.seen.add("client_secret", secret));
            }
            state.credentials = Some(found);
        }
        Ok(state.token.clone())
    }

    /// The server took this token.
    pub(super) fn accept(&self, token: Option<&Token>) {
        if let Some(token) = token {
            self.accepted.store(token.number, Ordering::Relaxed);
        }
    }

    /// The server did not take what was sent: another token, if there can be one.
    pub(super) async fn renew(&self, sent: Option<&Token>, challenge: &str) -> Result<Token, Refused> {
        let server = match &self.server {
            Ok(server) => server,
            Err(error) => return Err(self.refuse(format!("it wants a key, and {error}"))),
        };
        let mut state = self.state.lock().await;
        if let Some(token) = newer(&state, sent) {
            return Ok(token);
        }
        if state.fresh && state.token.as_ref().is_some_and(|token| !self.was_accepted(token)) {
            return Err(self.refuse("it does not take the key that was just granted for it"));
        }
        let wire = Wire::new(&self.outside, server, &self.seen);
        let granted = match state.credentials.clone() {
            Some(Credentials::Client(client)) => {
                let token = let_in(&client, server, challenge, &wire).await;
                token
                    .map_err(|why| self.refuse(format!("the client of the settings is not let in: {why}")))?
            }
            Some(Credentials::Login { .. }) => {
                let refused = state.token.as_ref().map(|token| token.secret.clone());
                let (over, access) = (Arc::clone(&wire), Arc::clone(&self.outside.access));
                match renew(server.clone(), refused, challenge.to_owned(), over, access).await {
                    Renewal::Done(login) => keep_login(&mut state, *login),
                    Renewal::Over(why) => self.ask(&mut state, server, challenge, &[], &wire, why).await?,
                    Renewal::Failed(why) => return Err(self.refuse(why)),
                }
            }
            _ => self.ask(&mut state, server, challenge, &[], &wire, "it wants somebody to log in").await?,
        };
        let token = self.take(&state, granted)?;
        (state.token, state.fresh) = (Some(token.clone()), true);
        Ok(token)
    }

    /// The server wants more than the token allows: another token, if there can be one.
    pub(super) async fn widen(
        &self,
        sent: Option<&Token>,
        challenge: &str,
        scope: Option<&str>,
    ) -> Result<Token, Refused> {
        let Ok(server) = &self.server else { return Err(self.refuse("it forbids this")) };
        let mut state = self.state.lock().await;
        if let Some(token) = newer(&state, sent) {
            return Ok(token);
        }
        let wanted = scopes(scope.unwrap_or_default());
        if wanted.is_empty() {
            return Err(self.refuse("it forbids this, and does not say what it would take"));
        }
        let shown = wanted.join(" ");
        let held = match &state.credentials {
            Some(Credentials::Login { login, .. }) => login.scopes().to_vec(),
            Some(Credentials::Client(_)) => {
                let why = format!("it wants the scope `{shown}`, which the client of the settings has not");
                return Err(self.refuse(why));
            }
            _ => Vec::new(),
        };
        let has = |scope: &String| held.contains(scope) || state.asked.contains(scope);
        if wanted.iter().all(has) {
            return Err(self.refuse(format!("it wants the scope `{shown}`, which was asked for already")));
        }
        let mut all = held;
        all.extend(state.asked.iter().cloned());
        all.extend(wanted);
        let mut known = BTreeSet::new();
        all.retain(|scope| known.insert(scope.clone()));
        let wire = Wire::new(&self.outside, server, &self.seen);
        let why = format!("it wants the scope `{shown}`");
        let granted = self.ask(&mut state, server, challenge, &all, &wire, &why).await?;
        let token = self.take(&state, granted)?;
        (state.token, state.fresh) = (Some(token.clone()), true);
        Ok(token)
    }

    /// Asks a person to log in, if there is one.
    async fn ask(
        &self,
        state: &mut State,
        server: &ServerUrl,
        challenge: &str,
        scopes: &[String],
        wire: &Arc<Wire>,
        why: &str,
    ) -> Result<Secret, Refused> {
        let access = &self.outside.access;
        let Some(person) = access.person() else {
            return Err(self.refuse(format!("{why}: {}", command(server, scopes))));
        };
        if state.logins >= MOST_LOGINS {
            return Err(self.refuse(format!("{why}, after {MOST_LOGINS} logins")));
        }
        state.logins += 1;
        state.asked = scopes.to_vec();
        let request = LoginRequest { server: server.clone(), scopes: scopes.to_vec(), patience: PATIENCE };
        let login = log_in(&request, Some(challenge), wire, person).await;
        let login = login.map_err(|error| self.refuse(error.to_string()))?;
        access.keep(&login).await.map_err(|error| self.unusable(&error))?;
        Ok(keep_login(state, login))
    }

    /// Takes a token in, if it can be kept out of texts.
    fn take(&self, state: &State, secret: Secret) -> Result<Token, Refused> {
        if !self.seen.add("access_token", secret.expose()) {
            return Err(self.refuse("its key is too short or too long to be kept out of logs"));
        }
        let number = state.token.as_ref().map_or(1, |token| token.number + 1);
        Ok(Token { number, secret })
    }

    fn was_accepted(&self, token: &Token) -> bool {
        self.accepted.load(Ordering::Relaxed) == token.number
    }

    fn unusable(&self, error: &AccessError) -> Refused {
        self.refuse(error.to_string())
    }

    fn refuse(&self, why: impl Into<String>) -> Refused {
        let why = self.seen.redact(&why.into());
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        Refused
    }
}

/// Goes on with a login; its token.
fn keep_login(state: &mut State, login: Login) -> Secret {
    let secret = Secret::new(login.access_token());
    state.credentials = Some(Credentials::Login { login: Box::new(login), client_secret: None });
    secret
}

/// The token that came after the one that was sent.
fn newer(state: &State, sent: Option<&Token>) -> Option<Token> {
    let sent = sent.map_or(0, |token| token.number);
    state.token.clone().filter(|token| token.number > sent)
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}
