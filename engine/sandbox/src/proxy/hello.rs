//! The first words of a TLS client, read only to see for which host they are. What is not a whole and plain greeting for
//! one named host is refused: a tunnel would carry anything, and an encrypted name anybody.

use std::io;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest greeting, in bytes.
const LONGEST: usize = 16 << 10;

/// Types of the records and messages (RFC 8446, section 4 and 5) and of extensions.
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const ENCRYPTED_HELLO: u16 = 0xfe0d;

/// A greeting.
#[derive(Debug)]
pub(super) struct Hello {
    /// For whom, if it says so.
    pub(super) name: Option<String>,
    /// Everything that was read.
    pub(super) bytes: Vec<u8>,
}

/// Why it is none.
#[derive(Debug, Error)]
pub(super) enum HelloError {
    /// Something else.
    #[error("what was said in the tunnel is not TLS")]
    NotTls,
    /// It is longer than we read.
    #[error("the TLS greeting is longer than {LONGEST} bytes")]
    Long,
    /// It says for whom it is in a way that we cannot read.
    #[error("the TLS greeting hides for which host it is")]
    Hidden,
    /// Nothing came.
    #[error("the tunnel was closed before there was a TLS greeting")]
    Closed,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
}

/// Reads a greeting; `bytes` came already.
pub(super) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    mut bytes: Vec<u8>,
) -> Result<Hello, HelloError> {
    loop {
        if let Some(message) = message(&bytes)? {
            let name = server_name(&message).ok_or(HelloError::NotTls)??;
            return Ok(Hello { name, bytes });
        }
        if bytes.len() >= LONGEST {
            return Err(HelloError::Long);
        }
        let room = (LONGEST - bytes.len()) as u64;
        if (&mut *stream).take(room).read_buf(&mut bytes).await? == 0 {
            return Err(HelloError::Closed);
        }
    }
}

/// The message, put together from its records; `None` if more bytes are needed.
fn message(bytes: &[u8]) -> Result<Option<Vec<u8>>, HelloError> {
    let mut message = Vec::new();
    let mut rest = bytes;
    loop {
        // What cannot become a record is told at once, so that nobody waits for the rest of it.
        let wrong = |at: usize, fits: fn(u8) -> bool| rest.get(at).is_some_and(|byte| !fits(*byte));
        if wrong(0, |byte| byte == HANDSHAKE) || wrong(1, |byte| byte == 3) || wrong(2, |byte| byte <= 4) {
            return Err(HelloError::NotTls);
        }
        let Some(([_, _, _, high, low], behind)) = rest.split_first_chunk() else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if length == 0 || length > LONGEST {
            return Err(HelloError::NotTls);
        }
        let part = behind.get(..length);
        message.extend_from_slice(part.unwrap_or(behind));
        if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Err(HelloError::NotTls);
        }
        if let Some(([_, a, b, c], body)) = message.split_first_chunk() {
            let wanted = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            if wanted > LONGEST {
                return Err(HelloError::Long);
            }
            if let Some(body) = body.get(..wanted) {
                return Ok(Some(body.to_vec()));
            }
        }
        if part.is_none() {
            return Ok(None);
        }
        rest = behind.get(length..).unwrap_or_default();
    }
}

/// A part of a message that begins with its own length, of which there are `bytes` bytes.
fn part<'a>(rest: &mut &'a [u8], bytes: usize) -> Option<&'a [u8]> {
    let (length, behind) = rest.split_at_checked(bytes)?;
    let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    let (part, behind) = behind.split_at_checked(length)?;
    *rest = behind;
    Some(part)
}

/// The name in a greeting. `None` if the greeting cannot be read.
fn server_name(body: &[u8]) -> Option<Result<Option<String>, HelloError>> {
    // Version and random number.
    let mut rest = body.get(34..)?;
    let (_session, _suites, _compressions) = (part(&mut rest, 1)?, part(&mut rest, 2)?, part(&mut rest, 1)?);
    let mut extensions = if rest.is_empty() { rest } else { part(&mut rest, 2)? };
    if !rest.is_empty() {
        return None;
    }
    let mut names = Vec::new();
    while !extensions.is_empty() {
        let ([high, low], behind) = extensions.split_first_chunk()?;
        extensions = behind;
        let content = part(&mut extensions, 2)?;
        match u16::from_be_bytes([*high, *low]) {
            ENCRYPTED_HELLO => return Some(Err(HelloError::Hidden)),
            SERVER_NAME => names.push(content),
            _ => {}
        }
    }
    let mut list = match names.as_slice() {
        [] => return Some(Ok(None)),
        [content] => *content,
        _ => return None,
    };
    let mut list_of_names = part(&mut list, 2).filter(|_| list.is_empty())?;
    // One name, of the only type there is.
    let (0, behind) = list_of_names.split_first()? else { return None };
    list_of_names = behind;
    let name = part(&mut list_of_names, 2).filter(|_| list_of_names.is_empty())?;
    let name = std::str::from_utf8(name).ok().filter(|name| !name.is_empty())?;
    Some(Ok(Some(name.to_owned())))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::*;

    /// What a real client says first.
    fn real(name: &str) -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }

    fn sized(bytes: usize, content: &[u8]) -> Vec<u8> {
        let length = (content.len() as u64).to_be_bytes();
        [length.get(8 - bytes..).unwrap_or_default(), content].concat()
    }

    /// A greeting with these extensions.
    fn made(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let mut body = vec![3; 34];
        body.extend([&[0][..], &[0, 2, 0x13, 1], &[1, 0]].concat());
        let all = extensions
            .iter()
            .flat_map(|(kind, content)| [kind.to_be_bytes().to_vec(), sized(2, content)].concat());
        body.extend(sized(2, &all.collect::<Vec<u8>>()));
        let message = [&[CLIENT_HELLO][..], &sized(3, &body)].concat();
        [&[HANDSHAKE, 3, 1][..], &sized(2, &message)].concat()
    }

    fn names(names: &[(u8, &str)]) -> (u16, Vec<u8>) {
        let list = names.iter().flat_map(|(kind, name)| [vec![*kind], sized(2, name.as_bytes())].concat());
        (SERVER_NAME, sized(2, &list.collect::<Vec<u8>>()))
    }

    async fn said(bytes: &[u8]) -> String {
        match read(&mut &bytes[..], Vec::new()).await {
            Ok(hello) => {
                assert!(bytes.starts_with(&hello.bytes));
                format!("{:?}", hello.name)
            }
            Err(error) => error.to_string(),
        }
    }

    #[tokio::test]
    async fn a_greeting_is_for_one_host_that_it_names() {
        assert_eq!(said(&real("docs.example")).await, "Some(\"docs.example\")");
        assert_eq!(said(&real("192.0.2.1")).await, "None");
        assert_eq!(said(&made(&[names(&[(0, "a.example")])])).await, "Some(\"a.example\")");
        assert_eq!(said(&made(&[])).await, "None");
        let hidden = (ENCRYPTED_HELLO, vec![0]);
        assert!(said(&made(&[names(&[(0, "a.example")]), hidden])).await.contains("hides"));
        for wrong in [
            made(&[names(&[(0, "a.example")]), names(&[(0, "b.example")])]),
            made(&[names(&[(0, "a.example"), (0, "b.example")])]),
            made(&[names(&[(1, "a.example")])]),
            made(&[names(&[(0, "")])]),
            made(&[(SERVER_NAME, vec![0, 9, 0])]),
            b"SSH-2.0-x\r\n".to_vec(),
            b"GET / HTTP/1.1\r\n".to_vec(),
            // A warning, and a greeting of the second version.
            vec![21, 3, 1, 0, 2, 1, 0],
            vec![0x80, 0x2e, 1, 3, 1],
        ] {
            assert_eq!(said(&wrong).await, HelloError::NotTls.to_string(), "{wrong:?}");
        }
        let long = made(&[(99, vec![0; 40_000])]);
        assert_eq!(said(&long).await, HelloError::NotTls.to_string(), "longer than a record may be");
        assert!(said(&real("a.example")[..50]).await.contains("closed before"));
    }

    /// The same message in records of one byte each is the same greeting.
    #[tokio::test]
    async fn a_greeting_may_come_in_many_records() {
        let whole = made(&[names(&[(0, "a.example")])]);
        let pieces: Vec<u8> = whole[5..].iter().flat_map(|byte| [HANDSHAKE, 3, 1, 0, 1, *byte]).collect();
        assert_eq!(said(&pieces).await, "Some(\"a.example\")");
    }

    proptest! {
        #[test]
        fn hostile_greetings_are_refused_and_nothing_worse(
            bytes in prop::collection::vec(any::<u8>(), 0..400),
            at in 0_usize..400,
            byte in any::<u8>(),
        ) {
            let mut changed = real("a.example");
            if let Some(place) = changed.get_mut(at) {
                *place = byte;
            }
            for bytes in [bytes, changed] {
                if let Ok(Some(message)) = message(&bytes) {
                    drop(server_name(&message));
                }
            }
        }
    }
}
