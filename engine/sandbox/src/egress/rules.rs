//! The rules of one node: which hosts it may reach, and what a request that is not allowed is told. An empty list allows
//! nothing.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use thiserror::Error;

use super::address::reach;
use super::host::{Endpoint, EndpointError, Host};
use super::private::Private;

/// Why a request may not be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The host is no host.
    #[error("`{host}` is no host: {why}")]
    Unreadable {
        /// As it was written, shortened and without what cannot be seen.
        host: String,
        /// Why.
        why: EndpointError,
    },
    /// Nobody said that it may be reached.
    #[error("`{0}` is not one of the hosts that this node may reach")]
    NotListed(Endpoint),
    /// It is ours.
    #[error("`{endpoint}` is an address of {what}")]
    Ours {
        /// What was asked for.
        endpoint: Endpoint,
        /// Where that is.
        what: &'static str,
    },
    /// It is ours, and may be reached at other ports.
    #[error("`{0}` is a host of our own, which may be reached at other ports only")]
    Port(Endpoint),
    /// Every address it stands for is ours.
    #[error("`{endpoint}` stands for {address}, an address of {what}")]
    Stands {
        /// What was asked for.
        endpoint: Endpoint,
        /// The first address.
        address: IpAddr,
        /// Where that is.
        what: &'static str,
    },
    /// It stands for nothing.
    #[error("`{0}` stands for no address")]
    Nothing(Endpoint),
}

/// Which hosts a node may reach.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    hosts: BTreeSet<Endpoint>,
    private: Arc<Private>,
}

impl Rules {
    /// These hosts; of our own those that `private` allows.
    pub fn new(hosts: impl IntoIterator<Item = Endpoint>, private: Arc<Private>) -> Self {
        Self { hosts: hosts.into_iter().collect(), private }
    }

    /// The hosts.
    pub fn hosts(&self) -> impl Iterator<Item = &Endpoint> {
        self.hosts.iter()
    }

    /// Decides about a request by the host and port it names. Its addresses are still to be decided.
    pub fn decide(&self, host: &str, port: u16) -> Result<Endpoint, Refusal> {
        let host = Host::parse(host).map_err(|why| Refusal::Unreadable { host: shown(host), why })?;
        let endpoint = Endpoint { host, port };
        if !self.hosts.contains(&endpoint) {
            return Err(Refusal::NotListed(endpoint));
        }
        if self.private.knows(&endpoint.host) && !self.private.allows(&endpoint.host, port) {
            return Err(Refusal::Port(endpoint));
        }
        match endpoint.host {
            Host::Address(address) if !self.private.admits(&endpoint.host, address) => {
                let what = reach(address).as_str();
                Err(Refusal::Ours { endpoint, what })
            }
            Host::Address(_) | Host::Name(_) => Ok(endpoint),
        }
    }

    /// Decides about the addresses that the host of an endpoint stands for. Connections go to those that are left, and
    /// nobody looks the name up again.
    pub fn admit(
        &self,
        endpoint: &Endpoint,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> Result<Vec<SocketAddr>, Refusal> {
        let mut admitted = Vec::new();
        let mut first = None;
        for address in addresses {
            if self.private.admits(&endpoint.host, address) {
                admitted.push(SocketAddr::new(address, endpoint.port));
            } else {
                first = first.or(Some(address));
            }
        }
        match first {
            _ if !admitted.is_empty() => Ok(admitted),
            Some(address) => {
                let what = reach(address).as_str();
                Err(Refusal::Stands { endpoint: endpoint.clone(), address, what })
            }
            None => Err(Refusal::Nothing(endpoint.clone())),
        }
    }
}

/// A text of a stranger, for a message.
fn shown(text: &str) -> String {
    text.chars().take(80).map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        let private = Arc::new(Private::parse(&["127.0.0.1:8080", "git.corp.example:443"]).unwrap());
        let hosts =
            ["crates.io", "127.0.0.1:8080", "127.0.0.1:9", "git.corp.example", "10.0.0.1", "1.1.1.1:53"];
        Rules::new(hosts.map(|text| text.parse().unwrap()), private)
    }

    fn said(host: &str, port: u16) -> String {
        rules().decide(host, port).map_or_else(|refusal| refusal.to_string(), |endpoint| endpoint.to_string())
    }

    #[test]
    fn a_request_is_decided_by_its_name_and_port() {
        assert_eq!(said("Crates.IO.", 443), "crates.io:443");
        assert_eq!(said("crates.io", 80), "`crates.io:80` is not one of the hosts that this node may reach");
        assert_eq!(
            said("evilcrates.io", 443),
            "`evilcrates.io:443` is not one of the hosts that this node may reach"
        );
        assert_eq!(
            said("crates.io.evil", 443),
            "`crates.io.evil:443` is not one of the hosts that this node may reach"
        );
        assert_eq!(said("127.0.0.1", 8080), "127.0.0.1:8080");
        assert_eq!(
            said("127.0.0.1", 9),
            "`127.0.0.1:9` is a host of our own, which may be reached at other ports only"
        );
        assert_eq!(said("10.0.0.1", 443), "`10.0.0.1:443` is an address of a private network");
        assert_eq!(said("1.1.1.1", 53), "1.1.1.1:53");
        assert!(said("crates.io\0.evil", 443).starts_with("`crates.io?.evil` is no host"));
        assert!(Rules::default().decide("crates.io", 443).is_err(), "an empty list allows nothing");
    }

    #[test]
    fn and_once_more_by_its_addresses() {
        let rules = rules();
        let addresses =
            |texts: &[&str]| -> Vec<IpAddr> { texts.iter().map(|text| text.parse().unwrap()).collect() };
        let crates = rules.decide("crates.io", 443).unwrap();
        let some = rules.admit(&crates, addresses(&["10.0.0.1", "1.1.1.1", "::1"])).unwrap();
        assert_eq!(some, ["1.1.1.1:443".parse().unwrap()]);
        let none = rules.admit(&crates, addresses(&["169.254.169.254", "127.0.0.1"])).unwrap_err();
        assert_eq!(
            none.to_string(),
            "`crates.io:443` stands for 169.254.169.254, an address of the local link"
        );
        assert_eq!(
            rules.admit(&crates, []).unwrap_err().to_string(),
            "`crates.io:443` stands for no address"
        );
        let ours = rules.decide("git.corp.example", 443).unwrap();
        assert_eq!(rules.admit(&ours, addresses(&["10.0.0.1"])).unwrap(), ["10.0.0.1:443".parse().unwrap()]);
        assert!(rules.admit(&ours, addresses(&["169.254.169.254"])).is_err());
    }
}
