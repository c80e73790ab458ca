//! The way out of the sandboxes of one node: the hosts it names, through the proxy of the sandbox crate, and a note of each
//! request. A node that names no host gets no way out, and one that is played reaches nobody.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use blueprint_core::graph::Credential;
use blueprint_core::run::{Failure, FailureClass};
use blueprint_sandbox::proxy::{Credential as Bound, Proxy, Scrub, Scrubbing, TRUSTED};
use blueprint_sandbox::{Backend, ReadOnlyMount, Sandbox, Spec, Start, StartError};
use rustix::fs::{FlockOperation, Mode, OFlags};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::{Job, blocking, infra};
use crate::egress;
use crate::redact::{RedactStream, Redactor};
use crate::shared::Shared;

/// Where files for sandboxes are while they are mounted, in the state folder. Nothing secret is in them.
const FOLDER: &str = "trusted";

/// The way out, or that there is none.
#[derive(Debug)]
pub(super) struct Outlet {
    proxy: Option<Arc<Proxy>>,
    /// Variables with placeholders in place of secrets.
    placeholders: BTreeMap<String, String>,
    /// Certificates that commands are to trust.
    trusted: Option<NamedTempFile>,
}

impl Outlet {
    /// For these hosts, each `host:port`, of which some have a secret. Without isolation there is nothing to be led out
    /// of, and so nobody to put a secret in.
    pub(super) async fn new(
        shared: &Arc<Shared>,
        job: &Job,
        hosts: &[String],
        credentials: &[Credential],
    ) -> Result<Self, Failure> {
        let mut outlet = Self { proxy: None, placeholders: BTreeMap::new(), trusted: None };
        let proxy = Proxy::new(egress::rules(shared, hosts)?);
        if shared.settings.isolation.of(job.node(shared))? == Backend::None {
            return match credentials.first() {
                None => Ok(outlet),
                Some(credential) => Err(Failure::new(
                    FailureClass::Policy,
                    format!(
                        "the credential for `{}` needs a sandbox: without isolation nobody stands between a command and the host; \
                         use another `--sandbox`, or pass the secret by `env`",
                        credential.host
                    ),
                )),
            };
        }
        if hosts.is_empty() {
            return Ok(outlet);
        }
        let bound: Vec<Bound> =
            credentials.iter().map(|credential| bound(shared, job, credential)).collect::<Result<_, _>>()?;
        let names = credentials.iter().map(|credential| credential.env.clone());
        outlet.placeholders = names.zip(bound.iter().map(|bound| bound.placeholder().to_owned())).collect();
        let proxy = match &shared.settings.outside {
            Some(outside) => proxy.closed(format!(
                "in this run the outside world is {}, and nobody else is reached",
                outside.kind()
            )),
            None if bound.is_empty() => proxy,
            None => {
                let shared = Arc::clone(shared);
                let made = blocking(move || with_secrets(&shared, proxy, bound)).await?;
                outlet.trusted = Some(made.1);
                made.0
            }
        };
        outlet.proxy = Some(Arc::new(proxy));
        Ok(outlet)
    }

    /// Whether there is none.
    pub(super) fn is_closed(&self) -> bool {
        self.proxy.is_none()
    }

    /// What a sandbox must be shown besides.
    pub(super) fn mount(&self) -> Option<ReadOnlyMount> {
        let file = self.trusted.as_ref()?;
        Some(ReadOnlyMount { host: file.path().to_owned(), inside: TRUSTED.into() })
    }

    /// The variables in which commands find placeholders.
    pub(super) fn placeholders(&self) -> BTreeMap<String, String> {
        self.placeholders.clone()
    }

    /// Starts a sandbox with this way out, and says how. Without one, a sandbox that waits will do.
    pub(super) async fn start(
        &self,
        shared: &Shared,
        backend: Backend,
        spec: &Spec,
    ) -> Result<(Sandbox, &'static str), StartError> {
        let launcher = &shared.settings.launcher;
        if self.is_closed() {
            let (sandbox, start) = shared.pool.start(launcher, backend, spec).await?;
            return Ok((sandbox, start.as_str()));
        }
        let sandbox = Sandbox::start_behind(launcher, backend, spec, self.proxy.clone()).await?;
        Ok((sandbox, Start::Cold.as_str()))
    }

    /// The variables that lead programs to it.
    pub(super) fn variables(&self) -> BTreeMap<String, String> {
        self.proxy.as_ref().map(|proxy| proxy.variables()).unwrap_or_default()
    }

    /// Adds the requests to the record of the node.
    pub(super) fn note(&self, shared: &Shared, record: &mut Value) {
        let Some(proxy) = &self.proxy else { return };
        if record.is_null() {
            *record = json!({});
        }
        let Value::Object(fields) = record else { return };
        let (requests, more) = proxy.ledger().read();
        if requests.is_empty() {
            return;
        }
        let mut requests = serde_json::to_value(requests).unwrap_or_default();
        redact(shared, &mut requests);
        fields.insert("egress".to_owned(), json!({ "requests": requests, "more": more }));
    }
}

/// The secret of a credential, on its way to the proxy and nowhere else.
fn bound(shared: &Shared, job: &Job, credential: &Credential) -> Result<Bound, Failure> {
    let policy = |message: String| Failure::new(FailureClass::Policy, message);
    let host =
        credential.host.parse().map_err(|error| policy(format!("a host of `credentials`: {error}")))?;
    let secret = job.scope["inputs"][&credential.secret].as_str();
    let secret = match (secret, &shared.settings.outside) {
        (Some(secret), None) => secret.to_owned(),
        // Nobody is reached, so nothing is put in.
        (_, Some(_)) => "played".to_owned(),
        (None, None) => return Err(policy(format!("the secret `{}` has no value", credential.secret))),
    };
    Bound::new(host, &credential.secret, &credential.header, &credential.prefix, secret)
        .map_err(|error| policy(error.to_string()))
}

/// A proxy that puts secrets in, and the certificates that commands must trust for it.
fn with_secrets(shared: &Shared, proxy: Proxy, bound: Vec<Bound>) -> Result<(Proxy, NamedTempFile), Failure> {
    let more = shared.settings.authorities.as_ref().map(fs::read).transpose();
    let more =
        more.map_err(|error| infra("the file of `authorities` in `[egress]` cannot be read", &error))?;
    let scrub = Arc::new(Scrubber(shared.redactor.clone()));
    let proxy = proxy.with_credentials(bound, scrub, more.as_deref());
    let proxy = proxy.map_err(|error| infra("the credentials cannot be used", &error))?;
    let folder = shared.state_dir.join(FOLDER);
    let kept = keep(&folder, proxy.trusted().unwrap_or_default().as_bytes());
    let kept = kept.map_err(|error| infra("the certificates for commands cannot be written", &error))?;
    Ok((proxy, kept))
}

/// Writes a file that is there as long as it is held. Those that nobody holds go: whoever made one has it locked, and a
/// lock ends with its process, which may be of another container and have any number here.
fn keep(folder: &Path, text: &[u8]) -> io::Result<NamedTempFile> {
    fs::create_dir_all(folder)?;
    // Between the making of a file and its lock nobody may sweep.
    let door = File::open(folder)?;
    rustix::fs::flock(&door, FlockOperation::LockExclusive)?;
    for entry in fs::read_dir(folder)?.flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "pem") && is_left(&entry.path()) {
            drop(fs::remove_file(entry.path()));
        }
    }
    let mut file = tempfile::Builder::new().suffix(".pem").tempfile_in(folder)?;
    rustix::fs::flock(file.as_file(), FlockOperation::NonBlockingLockExclusive)?;
    // Commands are another user.
    file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    file.write_all(text)?;
    Ok(file)
}

/// Whether nobody holds a file any more. What cannot be told is held.
fn is_left(path: &Path) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .is_ok_and(|file| rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok())
}

/// Takes the secrets of the run out of answers, in every spelling.
#[derive(Debug)]
struct Scrubber(Redactor);

impl Scrub for Scrubber {
    fn begin(&self) -> Box<dyn Scrubbing> {
        Box::new(Stream(self.0.stream()))
    }
}

struct Stream(RedactStream);

impl Scrubbing for Stream {
    fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        self.0.push(piece)
    }

    fn finish(self: Box<Self>) -> Vec<u8> {
        self.0.finish()
    }
}

/// The name of a host is the choice of whoever asks for it, and may hold what nothing should.
fn redact(shared: &Shared, value: &mut Value) {
    match value {
        Value::String(text) => *text = shared.redactor.redact_str(text),
        Value::Array(items) => items.iter_mut().for_each(|item| redact(shared, item)),
        Value::Object(fields) => fields.values_mut().for_each(|field| redact(shared, field)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
