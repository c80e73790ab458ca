//! Certificates for the hosts whose requests must be read: an authority that lives as long as its proxy, that may speak for
//! these hosts only, and whose key is in memory and nowhere else.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivateKeyDer;

use crate::egress::Host;

use super::credential::CredentialError;

/// The only protocol that is spoken where we read.
pub(super) const PROTOCOL: &[u8] = b"http/1.1";

/// The years in which its certificates are valid: all that a clock may say, inside or outside. They go with the proxy, and a
/// sandbox whose clock is wrong can make nothing else of them.
const VALID: (i32, i32) = (1975, 4096);

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
        let (certificate, issuer) = issuer(hosts.clone())?;
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

fn issuer<'a>(
    hosts: impl Iterator<Item = &'a Host>,
) -> Result<(Certificate, Issuer<'static, KeyPair>), CredentialError> {
    let failed = |error: rcgen::Error| CredentialError::Certificates(error.to_string());
    let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
    params.distinguished_name.push(DnType::CommonName, "blueprint, for the commands of one node");
    (params.not_before, params.not_after) = (date_time_ymd(VALID.0, 1, 1), date_time_ymd(VALID.1, 1, 1));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params.name_constraints = Some(constraints(hosts));
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = params.self_signed(&key).map_err(failed)?;
    Ok((certificate, Issuer::new(params, key)))
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

fn certificate(host: &Host, issuer: &Issuer<'_, KeyPair>) -> Result<(Certificate, KeyPair), CredentialError> {
    let failed = |error: rcgen::Error| CredentialError::Certificates(error.to_string());
    let name = match host {
        Host::Name(name) => name.clone(),
        Host::Address(address) => address.to_string(),
    };
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = CertificateParams::new(vec![name.clone()]).map_err(failed)?;
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (date_time_ymd(VALID.0, 1, 1), date_time_ymd(VALID.1, 1, 1));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok((params.signed_by(&key, issuer).map_err(failed)?, key))
}

fn server(
    host: &Host,
    issuer: &Issuer<'_, KeyPair>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<ServerConfig>, CredentialError> {
    let refused = |error: rustls::Error| CredentialError::Certificates(error.to_string());
    let (certificate, key) = certificate(host, issuer)?;
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::{
        RootCertStore,
        client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
        pki_types::{ServerName, UnixTime},
    };

    use super::*;

    #[test]
    fn certificates_bear_any_clock() {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let host = Host::Name("api.example".to_owned());
        let (authority, issuer) = issuer([&host].into_iter()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let (certificate, _) = certificate(&host, &issuer).unwrap();
        let name = ServerName::try_from("api.example").unwrap();
        let verified = |seconds: u64| {
            let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
            verifier.verify_server_cert(certificate.der(), &[], &name, &[], now).is_ok()
        };
        let years = |count: u64| count * 31_557_600;
        // A machine without a battery, the years of ours, and a clock far ahead.
        for wrong in [years(10), years(50), years(57), years(100), years(500)] {
            assert!(verified(wrong), "{wrong}");
        }
        assert!(!verified(years(4)), "this test can fail");
    }
}
