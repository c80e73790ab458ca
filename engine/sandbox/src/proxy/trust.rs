//! Which servers are who they say they are: those the machine trusts, and those that whoever runs it adds. Nothing a
//! blueprint or a command says adds to them.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls_platform_verifier::Verifier;

use crate::egress::Host;

use super::authority::{PROTOCOL, pem};
use super::credential::CredentialError;

/// The trusted servers.
#[derive(Debug)]
pub(super) struct Trust {
    pub(super) client: Arc<ClientConfig>,
    /// The same as texts, for those inside.
    pub(super) bundle: String,
}

impl Trust {
    /// Those of the machine, and those whose certificates are in `more`, in PEM.
    pub(super) fn new(more: Option<&[u8]>, provider: &Arc<CryptoProvider>) -> Result<Self, CredentialError> {
        let wrong = |what: String| CredentialError::Trust(what);
        let more: Vec<CertificateDer<'static>> = match more {
            None => Vec::new(),
            Some(text) => {
                CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>().map_err(|error| {
                    wrong(format!("the certificates of the settings cannot be read: {error}"))
                })?
            }
        };
        let found = rustls_native_certs::load_native_certs();
        let bundle = found.certs.iter().chain(&more).map(|certificate| pem(certificate)).collect();
        let verifier = Verifier::new_with_extra_roots(more, Arc::clone(provider))
            .map_err(|error| wrong(error.to_string()))?;
        let mut client = ClientConfig::builder_with_provider(Arc::clone(provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        client.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(Self { client: Arc::new(client), bundle })
    }
}

/// A host as TLS names it.
pub(super) fn server_name(host: &Host) -> Option<ServerName<'static>> {
    match host {
        Host::Name(name) => ServerName::try_from(name.clone()).ok(),
        Host::Address(address) => Some(ServerName::from(*address)),
    }
}
