//! The way out of the sandboxes of one node: the hosts it names, through the proxy of the sandbox crate, and a note of each
//! request. A node that names no host gets no way out, and one that is played reaches nobody.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use blueprint_core::run::Failure;
use blueprint_sandbox::proxy::Proxy;
use blueprint_sandbox::{Backend, Launcher, Sandbox, Spec, StartError};
use serde_json::{Value, json};

use super::infra;
use crate::egress;
use crate::shared::Shared;

/// The way out, or that there is none.
#[derive(Debug)]
pub(super) struct Outlet {
    proxy: Option<Arc<Proxy>>,
    /// What a sandbox with a way out really is: not what those without one are.
    attested: OnceLock<String>,
}

impl Outlet {
    /// For these hosts, each `host:port`. Without isolation there is nothing to be led out of.
    pub(super) fn new(shared: &Shared, hosts: &[String]) -> Result<Self, Failure> {
        let rules = egress::rules(shared, hosts)?;
        let wanted = !hosts.is_empty() && shared.settings.backend != Backend::None;
        let proxy = wanted.then(|| {
            let proxy = Proxy::new(rules);
            match &shared.settings.outside {
                None => proxy,
                Some(outside) => proxy.closed(format!(
                    "in this run the outside world is {}, and nobody else is reached",
                    outside.kind()
                )),
            }
        });
        Ok(Self { proxy: proxy.map(Arc::new), attested: OnceLock::new() })
    }

    /// Starts a sandbox with this way out.
    pub(super) async fn start(&self, backend: Backend, spec: &Spec) -> Result<Sandbox, StartError> {
        Sandbox::start_behind(&Launcher::this_program(), backend, spec, self.proxy.clone()).await
    }

    /// The variables that lead programs to it.
    pub(super) fn variables(&self) -> BTreeMap<String, String> {
        self.proxy.as_ref().map(|proxy| proxy.variables()).unwrap_or_default()
    }

    /// Keeps what such a sandbox really is, once for each node.
    pub(super) fn attest(&self, shared: &Shared, sandbox: &Sandbox) -> Result<(), Failure> {
        if self.proxy.is_none() || self.attested.get().is_some() {
            return Ok(());
        }
        let attestation = serde_json::to_vec(sandbox.attestation())
            .map_err(|error| infra("the attestation of the sandbox is not JSON", &error))?;
        let digest = shared.store.blobs().put(&attestation);
        let digest =
            digest.map_err(|error| infra("the attestation of the sandbox could not be kept", &error))?;
        // Two sandboxes of one node attest the same.
        let _ = self.attested.set(digest.to_string());
        Ok(())
    }

    /// Adds the attestation and the requests to the record of the node.
    pub(super) fn note(&self, shared: &Shared, record: &mut Value) {
        let Some(proxy) = &self.proxy else { return };
        if record.is_null() {
            *record = json!({});
        }
        let Value::Object(fields) = record else { return };
        if let Some(attested) = self.attested.get() {
            fields.insert("attestation".to_owned(), json!(attested));
        }
        let (requests, more) = proxy.ledger().read();
        if requests.is_empty() {
            return;
        }
        let mut requests = serde_json::to_value(requests).unwrap_or_default();
        redact(shared, &mut requests);
        fields.insert("egress".to_owned(), json!({ "requests": requests, "more": more }));
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
