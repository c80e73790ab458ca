//! Hosts that are ours and may be reached all the same, because whoever runs this machine said so. A blueprint never
//! does, and the addresses at which clouds hand out credentials are never among them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::address::{Reach, reach};
use super::host::{Endpoint, EndpointError, Host};

/// Hosts of our own that may be reached, each at some ports or at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Private(BTreeMap<Host, Ports>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Ports {
    All,
    These(BTreeSet<u16>),
}

impl Private {
    /// `host:port`, or `host:*` for every port, each.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, (String, EndpointError)> {
        let mut private = Self::default();
        for text in texts.iter().map(AsRef::as_ref) {
            let wrong = |error| (text.to_owned(), error);
            if let Some(host) = text.strip_suffix(":*") {
                private.0.insert(Host::parse(host).map_err(wrong)?, Ports::All);
                continue;
            }
            let Endpoint { host, port } = Endpoint::parse(text).map_err(wrong)?;
            let ports = private.0.entry(host).or_insert_with(|| Ports::These(BTreeSet::new()));
            if let Ports::These(ports) = ports {
                ports.insert(port);
            }
        }
        Ok(private)
    }

    /// Whether the host is one of them. Such a host is reached at its ports and at no others, wherever it is.
    pub fn knows(&self, host: &Host) -> bool {
        self.0.contains_key(host)
    }

    /// Whether the host is one of them, at this port.
    pub fn allows(&self, host: &Host, port: u16) -> bool {
        match self.0.get(host) {
            None => false,
            Some(Ports::All) => true,
            Some(Ports::These(ports)) => ports.contains(&port),
        }
    }

    /// Whether a connection to `address` may be made for `host`, which [`Self::allows`] was asked about before.
    pub fn admits(&self, host: &Host, address: IpAddr) -> bool {
        match reach(address) {
            Reach::Public => true,
            Reach::Loopback | Reach::Private => self.knows(host),
            Reach::Link | Reach::Special => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_is_reached_and_never_the_link() {
        let private =
            Private::parse(&["127.0.0.1:*", "git.corp.example:443", "git.corp.example:22"]).unwrap();
        let host = |text| Host::parse(text).unwrap();
        assert!(private.allows(&host("127.0.0.1"), 9));
        assert!(private.allows(&host("Git.Corp.Example."), 22));
        assert!(!private.allows(&host("git.corp.example"), 80));
        assert!(!private.allows(&host("127.0.0.2"), 9));
        assert!(!private.allows(&host("localhost"), 9), "a name is not the address it stands for");
        let ours = "10.0.0.7".parse().unwrap();
        assert!(private.admits(&host("git.corp.example"), ours));
        assert!(!private.admits(&host("other.example"), ours));
        for never in ["169.254.169.254", "fe80::1", "0.0.0.0", "224.0.0.1"] {
            assert!(!private.admits(&host("git.corp.example"), never.parse().unwrap()), "{never}");
        }
        assert_eq!(Private::parse(&["a b:1"]).unwrap_err().0, "a b:1");
    }
}
