//! The proxy of a node: its rules, its limits and what became of its requests. Nothing that a request says changes any
//! of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use rustls::crypto::aws_lc_rs::default_provider;

use crate::egress::{Endpoint, Host, Rules};
use crate::wire::EGRESS_PORT;

use super::authority::Authority;
use super::content::Scrub;
use super::credential::{Credential, CredentialError};
use super::ledger::Ledger;
use super::trust::Trust;

/// Where a sandbox is to show [`Proxy::trusted`], if there is anything to show.
pub const TRUSTED: &str = "/opt/blueprint/trusted.pem";

/// Variables by which programs find the certificates they trust: OpenSSL and what is built on it, curl, Python's requests,
/// git, Node, cargo, pip, npm, Deno and the tools of AWS.
const TRUSTING: [&str; 10] = [
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "NODE_EXTRA_CA_CERTS",
    "CARGO_HTTP_CAINFO",
    "PIP_CERT",
    "npm_config_cafile",
    "DENO_CERT",
    "AWS_CA_BUNDLE",
];

/// How much and how long.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of all connections of one command, both directions together.
    pub bytes: u64,
    /// Time until a request has said what it wants.
    pub head: Duration,
    /// Time until a host has taken a connection.
    pub dial: Duration,
    /// Time in which at least one byte must move.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 4 << 30,
            head: Duration::from_secs(10),
            dial: Duration::from_secs(20),
            idle: Duration::from_mins(1),
        }
    }
}

/// What the sandboxes of one node meet on their way out.
#[derive(Debug)]
pub struct Proxy {
    pub(super) rules: Rules,
    pub(super) limits: Limits,
    pub(super) ledger: Ledger,
    /// Why nobody is reached now, whatever the rules say.
    pub(super) closed: Option<String>,
    /// Secrets of hosts, and what it takes to put them in.
    pub(super) secrets: Option<Secrets>,
}

/// What it takes to put secrets into requests, and to keep them out of answers.
#[derive(Debug)]
pub(super) struct Secrets {
    pub(super) credentials: Vec<Credential>,
    pub(super) authority: Authority,
    pub(super) trust: Trust,
    pub(super) scrub: Arc<dyn Scrub>,
}

impl Secrets {
    /// The credential of a host.
    pub(super) fn of(&self, endpoint: &Endpoint) -> Option<&Credential> {
        self.credentials.iter().find(|credential| credential.host == *endpoint)
    }
}

impl Proxy {
    /// A proxy that lets through what the rules name.
    pub fn new(rules: Rules) -> Self {
        Self { rules, limits: Limits::default(), ledger: Ledger::default(), closed: None, secrets: None }
    }

    /// The same with other limits.
    #[must_use]
    pub fn limited(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The same, but nobody is reached. `why` is what requests are told.
    #[must_use]
    pub fn closed(mut self, why: impl Into<String>) -> Self {
        self.closed = Some(why.into());
        self
    }

    /// The same with secrets for some of its hosts, one for each. Requests to these are read: their answers go through
    /// `scrub`, and the hosts prove who they are to those the machine trusts, or to the authorities in `more` (PEM).
    pub fn with_credentials(
        mut self,
        credentials: Vec<Credential>,
        scrub: Arc<dyn Scrub>,
        more: Option<&[u8]>,
    ) -> Result<Self, CredentialError> {
        let mut seen = BTreeSet::new();
        for Credential { host, .. } in &credentials {
            if !seen.insert(host) || self.rules.hosts().all(|known| known != host) {
                return Err(CredentialError::Host(host.clone()));
            }
        }
        let provider = Arc::new(default_provider());
        let authority = Authority::new(seen.iter().map(|endpoint| &endpoint.host), &provider)?;
        let trust = Trust::new(more, &provider)?;
        self.secrets = Some(Secrets { credentials, authority, trust, scrub });
        Ok(self)
    }

    /// Certificates that commands must trust, as PEM: those of the machine, and ours for the hosts with a secret. None if
    /// no host has one: then nothing is read, and the certificates commands have anyway will do.
    pub fn trusted(&self) -> Option<String> {
        self.secrets.as_ref().map(|secrets| format!("{}{}", secrets.trust.bundle, secrets.authority.pem))
    }

    /// The hosts it lets through, as `host:port`.
    pub fn hosts(&self) -> Vec<String> {
        self.rules.hosts().map(Endpoint::to_string).collect()
    }

    /// The variables that lead programs here. Those who do not heed them reach nobody.
    pub fn variables(&self) -> BTreeMap<String, String> {
        let way = format!("http://127.0.0.1:{EGRESS_PORT}");
        let to_us = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"];
        // Where the sandbox means itself, unless it was given a host of that name.
        let itself = [
            ("localhost", Host::Name("localhost".to_owned())),
            ("127.0.0.1", Host::Address(Ipv4Addr::LOCALHOST.into())),
            ("::1", Host::Address(Ipv6Addr::LOCALHOST.into())),
        ];
        let itself =
            itself.into_iter().filter(|(_, host)| self.rules.hosts().all(|known| known.host != *host));
        let itself = itself.map(|(text, _)| text).collect::<Vec<_>>().join(",");
        let away = ["NO_PROXY", "no_proxy"].map(|name| (name, itself.clone()));
        let to_us = to_us.map(|name| (name, way.clone()));
        let trust = self.secrets.iter().flat_map(|_| TRUSTING.map(|name| (name, TRUSTED.to_owned())));
        let led = to_us.into_iter().chain(away).chain(trust);
        led.map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// What became of the requests so far.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// A command begins.
    pub(crate) fn session(self: &Arc<Self>) -> Session {
        Session { proxy: Arc::clone(self), left: Arc::new(AtomicU64::new(self.limits.bytes)) }
    }
}

/// The connections of one command.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(super) proxy: Arc<Proxy>,
    /// Bytes the command may still move.
    pub(super) left: Arc<AtomicU64>,
}
