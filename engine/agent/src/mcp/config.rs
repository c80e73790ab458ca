//! What is said about an MCP server in configuration, and what of it makes sense. Names values, never holds them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use globset::{Glob, GlobSet, GlobSetBuilder};
use reqwest::Url;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderName};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The longest name of a server, in bytes.
const LONGEST_NAME: usize = 32;

/// The longest a call may be given, in seconds.
const LONGEST_CALL: u64 = 24 * 60 * 60;

/// A server as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// Its name, the second part of the names of its tools: lower-case letters, digits, `-` and `_`.
    pub name: String,
    /// The program and its arguments; it is started inside the sandbox of the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// The variables it is given on top of those of the node, by name. What they hold is the runtime's to know.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub env: BTreeSet<String>,
    /// Where it is reached over streamable HTTP, instead of a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Headers of every request to it, each with the name of the variable that holds its value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Which of its tools may be used, as globs over their names. Those that no glob matches do not exist.
    pub tools: Vec<String>,
    /// How long one call may take, in seconds.
    #[serde(default = "a_minute")]
    pub timeout_seconds: u64,
    /// Whether to believe the server which of its tools only read. Otherwise each may do the worst it can.
    #[serde(default)]
    pub trust_annotations: bool,
    /// What is answered when it asks something in the middle of a call. Nothing if left out: nobody is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elicitation: Option<Elicitation>,
}

/// What is answered to the questions of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Elicitation {
    /// A form is answered with the defaults it names itself, if it has one for everything it requires; otherwise the
    /// answer is no.
    Defaults,
}

fn a_minute() -> u64 {
    60
}

/// Why a description of a server makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the MCP server `{server}`: {why}")]
pub struct ConfigError {
    /// Which.
    pub server: String,
    /// What is wrong.
    pub why: String,
}

/// How a server is reached.
#[derive(Debug, Clone)]
pub(super) enum Way {
    /// A process in the sandbox.
    Command { argv: Vec<String>, env: BTreeSet<String> },
    /// Streamable HTTP.
    Http { url: String, headers: Vec<(HeaderName, String)> },
}

/// A server whose description makes sense.
#[derive(Debug, Clone)]
pub struct Server {
    pub(super) name: String,
    pub(super) way: Way,
    pub(super) tools: GlobSet,
    pub(super) timeout: Duration,
    pub(super) trust_annotations: bool,
    pub(super) elicitation: Option<Elicitation>,
}

impl Server {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is reached over the network, and not started in the sandbox.
    pub fn is_remote(&self) -> bool {
        matches!(self.way, Way::Http { .. })
    }
}

impl TryFrom<ServerConfig> for Server {
    type Error = ConfigError;

    fn try_from(config: ServerConfig) -> Result<Self, ConfigError> {
        let wrong = |why: String| ConfigError { server: config.name.clone(), why };
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
        if config.name.is_empty() || config.name.len() > LONGEST_NAME || !config.name.chars().all(fits) {
            return Err(wrong(format!(
                "a name has at most {LONGEST_NAME} lower-case letters, digits, `-` and `_`"
            )));
        }
        if config.timeout_seconds == 0 || config.timeout_seconds > LONGEST_CALL {
            return Err(wrong(format!("`timeout_seconds` is between 1 and {LONGEST_CALL}")));
        }
        let mut tools = GlobSetBuilder::new();
        for text in &config.tools {
            tools.add(Glob::new(text).map_err(|error| wrong(error.to_string()))?);
        }
        let tools = tools.build().map_err(|error| wrong(error.to_string()))?;
        let way = way(&config).map_err(wrong)?;
        Ok(Self {
            name: config.name,
            way,
            tools,
            timeout: Duration::from_secs(config.timeout_seconds),
            trust_annotations: config.trust_annotations,
            elicitation: config.elicitation,
        })
    }
}

fn way(config: &ServerConfig) -> Result<Way, String> {
    match (&config.command, &config.url) {
        (Some(argv), None) => {
            if argv.first().is_none_or(String::is_empty) {
                return Err("`command` names no program".to_owned());
            }
            if !config.headers.is_empty() {
                return Err("`headers` are for servers with a `url`".to_owned());
            }
            Ok(Way::Command { argv: argv.clone(), env: config.env.clone() })
        }
        (None, Some(text)) => {
            if !config.env.is_empty() {
                return Err("`env` is for servers with a `command`".to_owned());
            }
            let url = Url::parse(text).map_err(|error| format!("`url`: {error}"))?;
            if !matches!(url.scheme(), "http" | "https") {
                return Err("`url` begins with `https://` or `http://`".to_owned());
            }
            if !url.username().is_empty() || url.password().is_some() {
                return Err("`url` holds a secret; name it in `headers`".to_owned());
            }
            Ok(Way::Http { url: url.into(), headers: headers(&config.headers)? })
        }
        _ => Err("it has either a `command` or a `url`".to_owned()),
    }
}

fn headers(written: &BTreeMap<String, String>) -> Result<Vec<(HeaderName, String)>, String> {
    let ours = [ACCEPT, CONTENT_TYPE, HOST];
    let mut headers = Vec::new();
    for (name, value) in written {
        let header = HeaderName::try_from(name.as_str()).map_err(|_| format!("`{name}` is no header"))?;
        if ours.contains(&header) || header.as_str().starts_with("mcp-") || header == "last-event-id" {
            return Err(format!("the header `{name}` belongs to the protocol"));
        }
        if headers.iter().any(|(other, _)| *other == header) {
            return Err(format!("the header `{name}` stands there twice"));
        }
        headers.push((header, value.clone()));
    }
    Ok(headers)
}
