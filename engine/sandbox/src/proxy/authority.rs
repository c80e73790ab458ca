//! Certificates for the hosts whose requests must be read: an authority that lives as long as its proxy, that may speak for
//! these hosts only, and whose key is in memory and nowhere else.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivateKeyDer;

use crate::egress::Host;

use super::credential::CredentialError;

/// The only protocol that is spoken where we read.
pub(super) const PROTOCOL: &[u8] = b"http/1.1";

/// The authority of one proxy.
#[derive(Debug)]
pub(super) struct Authority {
    /// Its certificate.
    pub(super) pem: String,
    servers: BTreeMap<Host, Arc<ServerConfig>>,
}

impl Authority {
    /// For these hosts and no others.
    pub(super) fn new<'a>(
        hosts: impl Iterator<Item = &'a Host> + Clone,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, CredentialError> {
        let failed = |error: rcgen::Error| CredentialError::Certificates(error.to_string());
        let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
        params.distinguished_name.push(DnType::CommonName, "blueprint, for the commands of one node");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.name_constraints = Some(constraints(hosts.clone()));
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.self_signed(&key).map_err(failed)?;
        let issuer = Issuer::new(params, key);
        let mut servers = BTreeMap::new();
        for host in hosts {
            if !servers.contains_key(host) {
                servers.insert(host.clone(), server(host, &issuer, provider)?);
            }
        }
        Ok(Self { pem: certificate.pem(), servers })
    }

    /// How we answer in place of a host.
    pub(super) fn server(&self, host: &Host) -> Option<Arc<ServerConfig>> {
        self.servers.get(host).cloned()
    }
}

/// Names and addresses the authority may speak for. A kind of which there is none is shut out as a whole.
fn constraints<'a>(hosts: impl Iterator<Item = &'a Host>) -> NameConstraints {
    let permitted: Vec<GeneralSubtree> = hosts
        .map(|host| match host {
            Host::Name(name) => GeneralSubtree::DnsName(name.clone()),
            Host::Address(address) => {
                let bits = if address.is_ipv4() { 32 } else { 128 };
                GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(*address, bits))
            }
        })
        .collect();
    let has = |kind: fn(&GeneralSubtree) -> bool| permitted.iter().any(kind);
    let mut excluded = Vec::new();
    if !has(|tree| matches!(tree, GeneralSubtree::IpAddress(_))) {
        let everything: [IpAddr; 2] = [[0; 4].into(), [0; 16].into()];
        excluded.extend(
            everything.map(|address| GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(address, 0))),
        );
    }
    if !has(|tree| matches!(tree, GeneralSubtree::DnsName(_))) {
        excluded.push(GeneralSubtree::DnsName(String::new()));
    }
    NameConstraints { permitted_subtrees: permitted, excluded_subtrees: excluded }
}

fn server(
    host: &Host,
    issuer: &Issuer<'_, KeyPair>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<ServerConfig>, CredentialError> {
    let failed = |error: rcgen::Error| CredentialError::Certificates(error.to_string());
    let refused = |error: rustls::Error| CredentialError::Certificates(error.to_string());
    let name = match host {
        Host::Name(name) => name.clone(),
        Host::Address(address) => address.to_string(),
    };
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = CertificateParams::new(vec![name.clone()]).map_err(failed)?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, issuer).map_err(failed)?;
    let key = PrivateKeyDer::try_from(key.serialize_der())
        .map_err(|error| CredentialError::Certificates(error.to_owned()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key)
        })
        .map_err(refused)?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(Arc::new(config))
}

/// A certificate as text.
pub(super) fn pem(der: &[u8]) -> String {
    let mut text = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in STANDARD.encode(der).as_bytes().chunks(64) {
        // Base64 is ASCII, and a `String` takes everything.
        let _ = writeln!(text, "{}", String::from_utf8_lossy(line));
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}
