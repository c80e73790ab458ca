//! Names and addresses of hosts as they are compared: in one spelling, or not at all. A spelling that two programs could
//! read in two ways is refused, because the one that decides is not the one that connects.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The longest name of a host, in bytes, and the longest part of it (RFC 1035, section 2.3.4).
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;

/// A host in the one spelling in which hosts are compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A name: lower-case labels of letters, digits and `-`, without a dot at the end.
    Name(String),
    /// An address.
    Address(IpAddr),
}

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Endpoint {
    /// The host.
    pub host: Host,
    /// The port, not 0.
    pub port: u16,
}

/// Why a text is no host, or no host with a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EndpointError {
    /// Nothing.
    #[error("it is empty")]
    Empty,
    /// Longer than a name can be.
    #[error("it is longer than a name can be")]
    Long,
    /// A character that no name has.
    #[error(
        "a name has letters, digits, `-` and `.` only; names with other letters are written in their ASCII form (`xn--…`)"
    )]
    Character,
    /// An empty part, or one that begins or ends with `-`.
    #[error("a part of it is empty, too long, or begins or ends with `-`")]
    Label,
    /// A number that some programs take for an address.
    #[error("it is a number, which some programs read as an address")]
    Number,
    /// An address of version 6 that is not in brackets, or is none.
    #[error("an address of version 6 is written in brackets: `[2001:db8::1]`")]
    Address,
    /// No port, or none that can be used.
    #[error("a port is a number from 1 to 65535")]
    Port,
}

impl Host {
    /// The host a request names, as it stands in a URL: `crates.io`, `192.0.2.1`, `[2001:db8::1]`.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        if text.is_empty() {
            return Err(EndpointError::Empty);
        }
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or(EndpointError::Address)?;
            let address: Ipv6Addr = inner.parse().map_err(|_| EndpointError::Address)?;
            return Ok(Self::Address(IpAddr::V6(address)));
        }
        if text.contains(':') {
            return Err(EndpointError::Address);
        }
        // One dot at the end means the same name.
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.len() > LONGEST_NAME {
            return Err(EndpointError::Long);
        }
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')) {
            return Err(EndpointError::Character);
        }
        let good = |label: &str| {
            !label.is_empty()
                && label.len() <= LONGEST_LABEL
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if !name.split('.').all(good) {
            return Err(EndpointError::Label);
        }
        if let Ok(address) = name.parse::<Ipv4Addr>() {
            return Ok(Self::Address(IpAddr::V4(address)));
        }
        // `127.1`, `0x7f000001` and `017700000001` are addresses for the C library, and no name ends like this.
        let last = name.rsplit('.').next().unwrap_or(name);
        let hexadecimal = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
        if last.bytes().all(|byte| byte.is_ascii_digit())
            || hexadecimal.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
        {
            return Err(EndpointError::Number);
        }
        Ok(Self::Name(name.to_ascii_lowercase()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl Endpoint {
    /// `host:port`; without a port that of HTTPS, 443.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let behind = text.rfind(']').map_or(0, |at| at + 1);
        let (host, port) = match text.get(behind..).and_then(|rest| rest.rfind(':')) {
            Some(at) => (text.get(..behind + at).unwrap_or_default(), text.get(behind + at + 1..)),
            None => (text, None),
        };
        let port = match port {
            None => 443,
            Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().filter(|port| *port != 0).ok_or(EndpointError::Port)?
            }
            Some(_) => return Err(EndpointError::Port),
        };
        Ok(Self { host: Host::parse(host)?, port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Endpoint {
    type Error = EndpointError;

    fn try_from(text: String) -> Result<Self, EndpointError> {
        Self::parse(&text)
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        endpoint.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_spelling() {
        for (text, same) in [
            ("crates.io", "crates.io"),
            ("CRATES.io.", "crates.io"),
            ("xn--mnchen-3ya.de", "xn--mnchen-3ya.de"),
            ("localhost", "localhost"),
            ("192.0.2.1", "192.0.2.1"),
            ("[2001:DB8::1]", "[2001:db8::1]"),
            ("[::ffff:1.1.1.1]", "[::ffff:1.1.1.1]"),
            ("1.1.1.1.example", "1.1.1.1.example"),
        ] {
            assert_eq!(Host::parse(text).unwrap().to_string(), same, "{text}");
        }
    }

    /// Spellings with which others were talked round: what one program reads as a name, the next reads as an address
    /// or as another name.
    #[test]
    fn a_spelling_that_can_be_read_in_two_ways_is_refused() {
        use EndpointError::{Address, Character, Empty, Label, Long, Number};
        for (text, why) in [
            ("", Empty),
            (".", Label),
            ("a..b", Label),
            ("crates.io..", Label),
            ("-a.example", Label),
            ("a-.example", Label),
            (&"a".repeat(64), Label),
            (&"a.".repeat(200), Long),
            ("münchen.de", Character),
            ("git\u{200d}hub.com", Character),
            ("a b", Character),
            ("a%2eb", Character),
            ("a\0.example", Character),
            ("github.com\n", Character),
            ("github.com@evil.example", Character),
            ("evil.example#github.com", Character),
            ("evil.example/github.com", Character),
            ("a\\b", Character),
            ("a_b.example", Character),
            ("*.example", Character),
            ("16843009", Number),
            ("0x1010101", Number),
            ("0X7F.1", Number),
            ("127.1", Number),
            ("0", Number),
            ("01.01.01.01", Number),
            ("1.2.3.4.5", Number),
            ("256.1.1.1", Number),
            ("::1", Address),
            ("[::1", Address),
            ("[::1%eth0]", Address),
            ("[1.1.1.1]", Address),
        ] {
            assert_eq!(Host::parse(text), Err(why), "{text:?}");
        }
    }

    #[test]
    fn an_endpoint_has_a_port() {
        for (text, same) in [
            ("crates.io", "crates.io:443"),
            ("crates.io:80", "crates.io:80"),
            ("[::1]:8080", "[::1]:8080"),
            ("[::1]", "[::1]:443"),
            ("127.0.0.1:1", "127.0.0.1:1"),
        ] {
            let endpoint = Endpoint::parse(text).unwrap();
            assert_eq!(endpoint.to_string(), same);
            assert_eq!(Endpoint::parse(same), Ok(endpoint));
        }
        for text in ["a:", "a:0", "a:65536", "a:+1", "a:1:2", "a: 1", "[::1]:", ":443", "https://crates.io"] {
            assert!(Endpoint::parse(text).is_err(), "{text}");
        }
    }
}
