//! `mcp login`, `mcp logout` and `mcp logins`: what servers of tools granted to the user. Prints where to go, what was
//! granted and until when, and never a token.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use blueprint_agent::mcp::{
    self, Login, LoginError, LoginRequest, NamedSecret, NoAccess, Outside, Person, Registration, ServerUrl,
};
use blueprint_agent::model::Secret;
use blueprint_runtime::clock::Clock;
use serde_json::{Value, json};

use crate::args::{Format, LoginArgs};
use crate::config::Wall;
use crate::context::Context;
use crate::error::{CliError, Exit, from_error};
use crate::logins::{Kept, LoginsError};
use crate::terminal::{self, clean};

pub(crate) async fn login(context: &Context, asked: &LoginArgs) -> Result<Exit, CliError> {
    let server = server(&asked.url)?;
    let logins = context.logins();
    if logins.has_client(&server) {
        let why = format!("the settings have a client for `{}`", clean(server.as_str()));
        return Err(CliError::usage(why)
            .since("it is let in for itself, and nobody has to log in")
            .hint("take it out of `[mcp.credentials]` to log in as a person"));
    }
    let patience = asked.timeout.parse::<Wall>();
    let patience = patience.map_err(|reason| CliError::usage(format!("`--timeout` {reason}")))?.get();
    let terminal = Terminal { context, registration: registration(context, asked)?, patience };
    // Before anybody takes the trouble.
    logins.prepare().map_err(|error| unkept(&error))?;
    let outside = Outside::attended(Arc::new(NoAccess)).map_err(CliError::environment)?;
    let request = LoginRequest { server, scopes: asked.scopes.clone(), patience };
    let login = mcp::login(&request, &outside, &terminal).await.map_err(|error| failed(&error))?;
    logins.replace(&login).await.map_err(|error| unkept(&error))?;
    if context.format == Format::Json {
        terminal::line(&json!({ "login": told(&login) }).to_string());
    } else {
        terminal::line(&format!("logged in to {}", clean(server_line(&login).trim())));
    }
    Ok(Exit::Succeeded)
}

pub(crate) async fn logout(context: &Context, url: &str) -> Result<Exit, CliError> {
    let server = server(url)?;
    let there = context.logins().forget(&server).await.map_err(|error| unkept(&error))?;
    let shown = clean(server.as_str());
    if context.format == Format::Json {
        terminal::line(&json!({ "server": server.as_str(), "deleted": there }).to_string());
    } else if there {
        terminal::line(&format!("logged out of {shown}"));
    } else {
        return Err(CliError::usage(format!("nobody is logged in to `{shown}`"))
            .hint("`blueprint mcp logins` shows the logins that are kept"));
    }
    Ok(Exit::Succeeded)
}

pub(crate) fn logins(context: &Context) -> Result<Exit, CliError> {
    let all = context.logins().all().map_err(|error| unkept(&error))?;
    if context.format == Format::Json {
        let rows = all.iter().map(|Kept { file, login }| match login {
            Ok(login) => told(login),
            Err(error) => json!({ "file": file, "error": error.to_string() }),
        });
        terminal::line(&rows.collect::<Value>().to_string());
        return Ok(Exit::Succeeded);
    }
    if all.is_empty() {
        terminal::line("nobody is logged in to a server; `blueprint mcp login URL` does that");
    }
    for kept in all {
        match kept.login {
            Ok(login) => terminal::line(&clean(&server_line(&login))),
            Err(error) => {
                terminal::error_line(&format!("note: {}", clean(&error.to_string())));
            }
        }
    }
    Ok(Exit::Succeeded)
}

/// Whoever sits at the terminal.
#[derive(Debug)]
struct Terminal<'c> {
    context: &'c Context,
    registration: Registration,
    patience: Duration,
}

#[async_trait]
impl Person for Terminal<'_> {
    async fn show(&self, url: &str) -> Result<(), String> {
        if self.context.format == Format::Json {
            terminal::line(&json!({ "open": url }).to_string());
        } else {
            let seconds = self.patience.as_secs();
            terminal::line("open this address in a browser of this machine:\n");
            terminal::line(&format!("  {}\n", clean(url)));
            terminal::line(&format!("waiting up to {seconds} s for the answer"));
        }
        Ok(())
    }

    fn registration(&self) -> Registration {
        self.registration.clone()
    }
}

fn registration(context: &Context, asked: &LoginArgs) -> Result<Registration, CliError> {
    let named = |variable: &String| {
        let value = context.environment.get(variable).filter(|value| !value.is_empty());
        let value = value.ok_or_else(|| {
            CliError::usage(format!("the variable `{}` is not set", clean(variable)))
                .hint("set it to the secret of the client, here and where agents run")
        })?;
        Ok(NamedSecret { variable: variable.clone(), secret: Secret::new(value) })
    };
    Ok(Registration {
        client_id: asked.client_id.clone(),
        client_secret: asked.client_secret_env.as_ref().map(named).transpose()?,
        metadata_url: asked.client_metadata.clone(),
    })
}

fn server(text: &str) -> Result<ServerUrl, CliError> {
    ServerUrl::parse(text).map_err(|error| {
        CliError::usage(clean(&error.to_string()))
            .hint("give the address of the server, as blueprints name it")
    })
}

/// A login without what it is made of.
fn told(login: &Login) -> Value {
    json!({
        "server": login.server().as_str(),
        "issuer": login.issuer(),
        "client_id": login.client_id(),
        "scopes": login.scopes(),
        "expires_at": login.expires_at().and_then(time).map(|time| time.to_string()),
        "renewable": login.can_be_renewed(),
    })
}

fn server_line(login: &Login) -> String {
    let scopes = login.scopes().join(" ");
    let scopes = if scopes.is_empty() { "no scopes".to_owned() } else { scopes };
    let end = match (login.can_be_renewed(), login.expires_at().and_then(time)) {
        (true, _) => "renewed when it is used".to_owned(),
        (false, None) => "no end is known".to_owned(),
        (false, Some(end)) => {
            let now = Clock::system().now_ms() / 1000;
            let over = login.expires_at().is_some_and(|end| end <= now);
            format!("{} {end}", if over { "over since" } else { "until" })
        }
    };
    format!("{}  {scopes}  {end}", login.server())
}

fn time(seconds: u64) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
}

fn failed(error: &LoginError) -> CliError {
    let said = CliError::failed(clean(&error.to_string()));
    match error {
        LoginError::Unregistered(_) => said.hint("register a client there and name it with `--client-id`"),
        LoginError::Late(_) => said.hint("try again, and open the address in a browser of this machine"),
        LoginError::Impostor(_) => said.hint("do not go on with that page; ask whoever runs the server"),
        _ => said,
    }
}

fn unkept(error: &LoginsError) -> CliError {
    from_error(Exit::Environment, error)
}
