//! Hosts that a node may reach, as they are written. Only whether one could be meant: what may really be reached is decided
//! where requests are made, by names and by addresses.

use super::compiler::{Compiler, NodeSource};
use crate::finding::{Code, Finding};

/// The port if none is written: that of HTTPS.
const USUAL_PORT: u16 = 443;

impl Compiler<'_> {
    /// The hosts of `network`, each as `host:port` in one spelling.
    pub(super) fn hosts(&mut self, source: &NodeSource) -> Vec<String> {
        let mut hosts = Vec::new();
        for written in &source.table.network {
            let found = match endpoint(&written.value) {
                Ok(host) if hosts.contains(&host) => Err("it stands there twice"),
                other => other,
            };
            match found {
                Ok(host) => hosts.push(host),
                Err(why) => self.findings.push(
                    Finding::new(
                        Code::BadHost,
                        source.span(&written.range),
                        format!("`{}` is not a host to reach", written.value),
                    )
                    .label(why)
                    .fix("write the exact host and its port, such as `\"crates.io:443\"`"),
                ),
            }
        }
        hosts
    }
}

/// The one spelling of a host and its port.
pub(super) fn endpoint(text: &str) -> Result<String, &'static str> {
    if text.contains("://") || text.contains('/') {
        return Err("a URL; only host and port belong here");
    }
    if text.contains('*') {
        return Err("hosts are exact; a pattern would let others in");
    }
    let (host, port) = match text.rsplit_once(':') {
        // An address of version 6 has colons of its own.
        Some((host, port)) if !host.ends_with(':') && (!host.contains(':') || host.ends_with(']')) => {
            let port = port.parse::<u16>().ok().filter(|port| *port != 0);
            (host, port.ok_or("a port is a number from 1 to 65535")?)
        }
        _ => (text, USUAL_PORT),
    };
    let bracketed = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
    if let Some(inner) = bracketed {
        let fits = |c: char| c.is_ascii_hexdigit() || matches!(c, ':' | '.');
        if inner.matches(':').count() < 2 || !inner.chars().all(fits) {
            return Err("not an address of version 6");
        }
        return Ok(format!("[{}]:{port}", inner.to_ascii_lowercase()));
    }
    let label = |label: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-';
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(fits)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    if name.len() > 253 || !name.split('.').all(label) {
        return Err("a name has letters, digits, `-` and `.`; other letters are written as `xn--…`");
    }
    let numeric = |label: &str| label.chars().all(|c| c.is_ascii_digit()) || label.starts_with("0x");
    let octet = |part: &str| part == "0" || (!part.starts_with('0') && part.parse::<u8>().is_ok());
    let is_address = name.split('.').count() == 4 && name.split('.').all(octet);
    if name.rsplit('.').next().is_some_and(numeric) && !is_address {
        return Err("a number, which some programs read as an address");
    }
    Ok(format!("{}:{port}", name.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::endpoint;

    #[test]
    fn a_host_has_one_spelling_and_a_port() {
        for (text, same) in [
            ("Crates.IO", "crates.io:443"),
            ("crates.io.:80", "crates.io:80"),
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("[2001:DB8::1]:80", "[2001:db8::1]:80"),
            ("[::1]", "[::1]:443"),
        ] {
            assert_eq!(endpoint(text).as_deref(), Ok(same));
        }
        for text in [
            "",
            ":443",
            "a:",
            "a:0",
            "a:70000",
            "https://a",
            "a/b",
            "*.a",
            "a b",
            "a_b",
            "münchen.de",
            "127.1",
            "1.2.3.04",
            "256.1.1.1",
            "0x7f000001",
            "::1",
            "::1:443",
            "[::1",
            "[x]",
            "a..b",
            "-a",
            "a:1:2",
        ] {
            assert!(endpoint(text).is_err(), "{text}");
        }
    }
}
