//! The address of a server that keys belong to. All spellings of one address are one address, and it is never one at
//! which somebody on the way could read what is sent.

use std::fmt;

use reqwest::Url;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The longest address, in bytes.
const LONGEST: usize = 2 << 10;

/// Why keys cannot belong to an address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AddressError {
    /// It is no URL.
    #[error("`{text}` is no URL: {why}")]
    NotUrl {
        /// The text, shortened.
        text: String,
        /// What is wrong.
        why: String,
    },
    /// It is too long.
    #[error("the URL has more than {LONGEST} bytes")]
    TooLong,
    /// Others could read what is sent there.
    #[error("`{0}` is not safe for keys: it takes `https://`, or `http://` to this machine")]
    Open(String),
    /// It holds a name or a password.
    #[error("the URL of `{0}` holds a name or a password")]
    Userinfo(String),
    /// It names a part of a page.
    #[error("`{0}` has a `#`, and servers have none")]
    Fragment(String),
}

/// The address of a server, in the one spelling under which its keys are found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerUrl(Url);

impl ServerUrl {
    /// Reads an address.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.len() > LONGEST {
            return Err(AddressError::TooLong);
        }
        let shown = || text.chars().filter(|c| !c.is_control()).take(100).collect::<String>();
        let url = Url::parse(text)
            .map_err(|error| AddressError::NotUrl { text: shown(), why: error.to_string() })?;
        let host = url.host_str().unwrap_or_default().to_owned();
        if !url.username().is_empty() || url.password().is_some() {
            return Err(AddressError::Userinfo(host));
        }
        if !is_safe(&url) {
            return Err(AddressError::Open(shown()));
        }
        if url.fragment().is_some() {
            return Err(AddressError::Fragment(shown()));
        }
        Ok(Self(url))
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// A name for what belongs to it, in letters and digits.
    pub fn digest(&self) -> String {
        blake3::hash(self.as_str().as_bytes()).to_hex().to_string()
    }

    /// Whether it is on this machine.
    pub(super) fn is_here(&self) -> bool {
        is_here(&self.0)
    }

    /// The address as one word of a command that somebody may copy.
    pub(super) fn word(&self) -> String {
        word(self.as_str())
    }
}

/// A text as one word for a shell.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '/' | '.' | '-' | '_' | '%' | '@');
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Whether nobody on the way can read or change what is sent.
pub(super) fn is_safe(url: &Url) -> bool {
    url.has_host() && (url.scheme() == "https" || url.scheme() == "http" && is_here(url))
}

/// Whether it leads to this machine.
pub(super) fn is_here(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<String> for ServerUrl {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        Self::parse(&text)
    }
}

impl From<ServerUrl> for String {
    fn from(url: ServerUrl) -> Self {
        url.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::ServerUrl;

    fn parsed(text: &str) -> String {
        ServerUrl::parse(text).map_or_else(|error| format!("no: {error}"), |url| url.as_str().to_owned())
    }

    #[test]
    fn all_spellings_of_an_address_are_one() {
        for text in
            ["https://example.com/mcp", "HTTPS://EXAMPLE.com:443/mcp", " https://example.com/a/../mcp"]
        {
            assert_eq!(parsed(text), "https://example.com/mcp");
        }
        assert_eq!(parsed("https://example.com"), "https://example.com/");
        assert_ne!(parsed("https://example.com/mcp"), parsed("https://example.com/mcp/"));
        assert_eq!(ServerUrl::parse("https://e.com").unwrap().digest().len(), 64);
    }

    #[test]
    fn keys_are_sent_where_nobody_else_can_read_them() {
        for text in ["http://127.0.0.1:8000/mcp", "http://[::1]/", "http://localhost:1/", "http://127.9.9.9/"]
        {
            assert_eq!(parsed(text), text);
        }
        for (text, why) in [
            ("http://example.com/mcp", "is not safe for keys"),
            ("http://localhost.example.com/", "is not safe for keys"),
            ("http://10.0.0.1/", "is not safe for keys"),
            ("ftp://127.0.0.1/", "is not safe for keys"),
            ("file:///etc/passwd", "is not safe for keys"),
            ("https://me:word@example.com/", "the URL of `example.com` holds a name or a password"),
            ("https://example.com/#part", "has a `#`"),
            ("example.com/mcp", "is no URL"),
            ("", "is no URL"),
        ] {
            assert!(parsed(text).contains(why), "{text}: {}", parsed(text));
        }
        assert!(parsed(&format!("https://e.com/{}", "x".repeat(3000))).contains("more than 2048 bytes"));
    }

    #[test]
    fn an_address_in_a_command_is_one_word() {
        let word = |text: &str| ServerUrl::parse(text).unwrap().word();
        assert_eq!(word("https://example.com/mcp"), "https://example.com/mcp");
        assert_eq!(word("https://e.com/a?b=$(id)&c"), "'https://e.com/a?b=$(id)&c'");
        assert_eq!(word("https://e.com/it's"), r"'https://e.com/it'\''s'");
    }
}
