//! Secrets that a command uses without having them: it holds a placeholder, and the proxy puts the secret in its place in
//! one header of one host. Whatever looks like a credential otherwise is refused there; a secret is in no text of ours.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use rustls::crypto::aws_lc_rs::default_provider;
use thiserror::Error;

use crate::egress::Endpoint;

/// How placeholders begin, and how many characters of chance follow: 190 bits.
const MARK: &str = "bp_";
const LETTERS: usize = 32;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The prefix that means a name and the placeholder, together in base64 (RFC 7617).
const BASIC: &str = "Basic ";

/// Headers that show who somebody is. On a host with a credential of ours nobody shows another one.
const CREDENTIALS: [HeaderName; 8] = [
    header::AUTHORIZATION,
    header::COOKIE,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-auth-token"),
    HeaderName::from_static("private-token"),
    HeaderName::from_static("job-token"),
    HeaderName::from_static("x-goog-api-key"),
];

/// A secret for one host.
#[derive(Clone)]
pub struct Credential {
    pub(super) host: Endpoint,
    pub(super) name: String,
    pub(super) header: HeaderName,
    pub(super) prefix: String,
    pub(super) secret: String,
    pub(super) placeholder: String,
}

impl fmt::Debug for Credential {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, name, header, .. } = self;
        out.debug_struct("Credential")
            .field("host", host)
            .field("name", name)
            .field("header", header)
            .finish_non_exhaustive()
    }
}

/// Why a credential cannot be used.
#[derive(Debug, Error)]
pub enum CredentialError {
    /// The header is none, or one that has another use.
    #[error("`{0}` is no header for a credential")]
    Header(String),
    /// The secret cannot stand in a header.
    #[error("the secret `{0}` cannot stand in a header: it is empty or holds what is not printed ASCII")]
    Value(String),
    /// There is no chance.
    #[error("no random numbers can be had")]
    Chance,
    /// Two for one host.
    #[error("`{0}` has more than one credential, or is not one of the hosts of the node")]
    Host(Endpoint),
    /// The certificates cannot be made.
    #[error("no certificates could be made: {0}")]
    Certificates(String),
    /// Nobody could be trusted.
    #[error("it cannot be told which servers are to be trusted: {0}")]
    Trust(String),
}

impl Credential {
    /// A secret called `name` for requests to `host`, behind `prefix` in one header. With the prefix `Basic ` what
    /// follows is a name and the secret in base64. The placeholder is new with each call.
    pub fn new(
        host: Endpoint,
        name: &str,
        header: &str,
        prefix: &str,
        secret: String,
    ) -> Result<Self, CredentialError> {
        let wrong = || CredentialError::Header(header.to_owned());
        let parsed: HeaderName = header.parse().map_err(|_| wrong())?;
        let taken = [header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION];
        if taken.contains(&parsed) || !prefix.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(wrong());
        }
        let plain = secret.bytes().all(|byte| byte.is_ascii_graphic());
        if secret.is_empty() || !plain {
            return Err(CredentialError::Value(name.to_owned()));
        }
        let (name, prefix, placeholder) = (name.to_owned(), prefix.to_owned(), placeholder()?);
        Ok(Self { host, name, header: parsed, prefix, secret, placeholder })
    }

    /// What a command holds in place of the secret.
    pub fn placeholder(&self) -> &str {
        &self.placeholder
    }

    /// The value of the header with the secret in it, if it is the placeholder as it should be.
    fn swapped(&self, value: &[u8]) -> Option<HeaderValue> {
        let text = std::str::from_utf8(value).ok()?;
        let head = text.get(..self.prefix.len())?;
        let rest = text.get(self.prefix.len()..).filter(|_| head.eq_ignore_ascii_case(&self.prefix))?;
        let swapped = if self.prefix.eq_ignore_ascii_case(BASIC) {
            let decoded = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
            let (user, word) = decoded.split_once(':')?;
            if word != self.placeholder {
                return None;
            }
            STANDARD.encode(format!("{user}:{}", self.secret))
        } else if rest == self.placeholder {
            self.secret.clone()
        } else {
            return None;
        };
        let mut value = HeaderValue::from_str(&format!("{}{swapped}", self.prefix)).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

fn placeholder() -> Result<String, CredentialError> {
    let chance = default_provider().secure_random;
    let mut text = MARK.to_owned();
    while text.len() < MARK.len() + LETTERS {
        let mut byte = [0];
        chance.fill(&mut byte).map_err(|_| CredentialError::Chance)?;
        // What is beyond four alphabets would make some letters likelier than others.
        let letter = ALPHABET.get(usize::from(byte[0]) % ALPHABET.len());
        if let Some(letter) = letter.filter(|_| usize::from(byte[0]) < 4 * ALPHABET.len()) {
            text.push(char::from(*letter));
        }
    }
    Ok(text)
}

/// Puts the secret of `own`, the credential of this host, into a request. `Err` says why the request is not to be made:
/// it shows another credential, or holds a placeholder where none belongs.
pub(super) fn admit<'a>(
    all: &[Credential],
    own: Option<&'a Credential>,
    parts: &mut Parts,
) -> Result<Option<&'a str>, String> {
    let url = parts.uri.to_string();
    for credential in all {
        let here = own.filter(|own| own.placeholder == credential.placeholder);
        let astray = holds(url.as_bytes(), &credential.placeholder)
            || parts.headers.iter().any(|(name, value)| {
                here.is_none_or(|own| own.header != *name)
                    && (holds(value.as_bytes(), &credential.placeholder)
                        || decoded(value).is_some_and(|text| holds(&text, &credential.placeholder)))
            });
        if astray {
            return Err(astray_at(credential));
        }
    }
    let Some(own) = own else { return Ok(None) };
    let other = CREDENTIALS.into_iter().find(|name| *name != own.header && parts.headers.contains_key(name));
    if let Some(other) = other {
        return Err(format!(
            "`{}` is reached with the credential `{}` of the node and no other: leave the header `{other}` out",
            own.host, own.name
        ));
    }
    swap(own, &mut parts.headers)
}

fn swap<'a>(own: &'a Credential, headers: &mut HeaderMap) -> Result<Option<&'a str>, String> {
    let values: Vec<&HeaderValue> = headers.get_all(&own.header).iter().collect();
    let swapped = match values.as_slice() {
        [] => return Ok(None),
        [value] => own.swapped(value.as_bytes()),
        _ => None,
    };
    let swapped = swapped.ok_or_else(|| {
        format!(
            "the header `{}` of a request to `{}` holds the placeholder of `{}`, as `{}` and the placeholder, and nothing else",
            own.header, own.host, own.name, own.prefix
        )
    })?;
    headers.insert(own.header.clone(), swapped);
    Ok(Some(&own.name))
}

/// Where a placeholder does not belong.
pub(super) fn astray_at(credential: &Credential) -> String {
    format!(
        "the placeholder of `{}` belongs into the header `{}` of requests to `{}` and nowhere else",
        credential.name, credential.header, credential.host
    )
}

fn holds(text: &[u8], needle: &str) -> bool {
    text.windows(needle.len()).any(|window| window == needle.as_bytes())
}

/// What stands behind `Basic`.
fn decoded(value: &HeaderValue) -> Option<Vec<u8>> {
    let (scheme, rest) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case(BASIC.trim()).then(|| STANDARD.decode(rest.trim()).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(prefix: &str) -> Credential {
        let host = "api.example".parse().unwrap();
        Credential::new(host, "token", "Authorization", prefix, "s3cr3t".to_owned()).unwrap()
    }

    fn admitted(
        own: Option<&Credential>,
        all: &[Credential],
        url: &str,
        headers: &[(&str, String)],
    ) -> Result<String, String> {
        let mut request = hyper::Request::builder().uri(url);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let name = admit(all, own, &mut parts)?;
        let value = parts.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(name.is_some(), own.is_some() && value.is_some());
        Ok(value.unwrap_or_default())
    }

    #[test]
    fn only_the_placeholder_at_its_place_is_swapped() {
        let own = credential("Bearer ");
        let mark = own.placeholder().to_owned();
        let all = [own.clone()];
        let bearer = |text: &str| [("authorization", format!("Bearer {text}"))];
        assert_eq!(admitted(Some(&own), &all, "/", &bearer(&mark)).unwrap(), "Bearer s3cr3t");
        assert_eq!(
            admitted(Some(&own), &all, "/", &[("authorization", format!("bearer {mark}"))]).unwrap(),
            "Bearer s3cr3t"
        );
        assert_eq!(admitted(Some(&own), &all, "/", &[]).unwrap(), "");
        for headers in [
            bearer("attacker").to_vec(),
            bearer(&format!("{mark}x")).to_vec(),
            bearer(&format!(" {mark}")).to_vec(),
            bearer(&format!("{mark}, Bearer {mark}")).to_vec(),
            [bearer(&mark), bearer(&mark)].concat(),
            [bearer(&mark), bearer("attacker")].concat(),
            vec![("authorization", mark.clone())],
            vec![("authorization", format!("Basic {}", STANDARD.encode(format!("a:{mark}"))))],
            vec![("x-api-key", "attacker".to_owned())],
            vec![("cookie", "a=b".to_owned())],
            vec![("x-other", format!("a {mark} b"))],
        ] {
            assert!(admitted(Some(&own), &all, "/", &headers).is_err(), "{headers:?}");
        }
        assert!(admitted(Some(&own), &all, &format!("/?a={mark}"), &[]).is_err());
        // A host that it is not for.
        assert_eq!(admitted(None, &all, "/", &bearer("somebody")).unwrap(), "Bearer somebody");
        assert!(admitted(None, &all, "/", &bearer(&mark)).is_err());
        assert!(admitted(None, &all, &format!("/{mark}"), &[]).is_err());
        let basic = format!("Basic {}", STANDARD.encode(format!("{mark}:x")));
        assert!(admitted(None, &all, "/", &[("authorization", basic)]).is_err());
    }

    #[test]
    fn a_name_and_a_secret_together_are_swapped_too() {
        let own = credential("Basic ");
        let value = format!("Basic {}", STANDARD.encode(format!("git:{}", own.placeholder())));
        let swapped = own.swapped(value.as_bytes()).unwrap();
        assert_eq!(swapped.to_str().unwrap(), format!("Basic {}", STANDARD.encode("git:s3cr3t")));
        for wrong in
            [format!("{}:x", own.placeholder()), format!("a:{}x", own.placeholder()), "a:b".to_owned()]
        {
            assert!(own.swapped(format!("Basic {}", STANDARD.encode(wrong)).as_bytes()).is_none());
        }
    }

    #[test]
    fn placeholders_are_new_each_time_and_secrets_are_in_no_text() {
        let (one, two) = (credential(""), credential(""));
        assert_ne!(one.placeholder(), two.placeholder());
        assert_eq!(one.placeholder().len(), 35);
        assert!(!format!("{one:?}").contains("s3cr3t"));
        let host: Endpoint = "a.example".parse().unwrap();
        for (header, secret) in [
            ("host", "x"),
            ("a b", "x"),
            ("authorization", ""),
            ("authorization", "a\nb"),
            ("authorization", "é"),
        ] {
            assert!(
                Credential::new(host.clone(), "t", header, "", secret.to_owned()).is_err(),
                "{header} {secret}"
            );
        }
    }
}
