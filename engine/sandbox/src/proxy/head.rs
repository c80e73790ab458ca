//! The head of a request, read so strictly that no two programs can see two different requests in it. What is not plainly
//! one request with one meaning is refused; nothing is repaired.

use std::io;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest head, in bytes.
const LONGEST: usize = 16 << 10;

/// The most headers.
const HEADERS: usize = 100;

/// What a request says before its content.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) host: Option<String>,
    /// Whether content is announced.
    pub(super) content: bool,
    /// Whether it is of version 1.1.
    pub(super) modern: bool,
    /// Everything that was read, the head and what came behind it.
    pub(super) bytes: Vec<u8>,
    /// Length of the head in it.
    pub(super) length: usize,
}

/// Why there is no head.
#[derive(Debug, Error)]
pub(super) enum HeadError {
    /// Nothing came.
    #[error("the connection was closed before there was a request")]
    Closed,
    /// It is longer than a head may be.
    #[error("its head is longer than {LONGEST} bytes or has more than {HEADERS} headers")]
    Long,
    /// It has no meaning, or more than one.
    #[error("it is not one plain HTTP/1.1 request: {0}")]
    Malformed(&'static str),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
}

/// Reads a head, and perhaps some of what is behind it.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Head, HeadError> {
    let mut bytes = Vec::new();
    loop {
        if let Some(length) = end(&bytes)? {
            return parse(bytes, length);
        }
        if bytes.len() >= LONGEST {
            return Err(HeadError::Long);
        }
        let room = (LONGEST - bytes.len()) as u64;
        if (&mut *stream).take(room).read_buf(&mut bytes).await? == 0 {
            return Err(if bytes.is_empty() {
                HeadError::Closed
            } else {
                HeadError::Malformed("it ends before its head does")
            });
        }
    }
}

/// The length of the head. Lines end in CR LF and in nothing else.
fn end(bytes: &[u8]) -> Result<Option<usize>, HeadError> {
    let mut before = [0, 0, 0];
    for (at, byte) in bytes.iter().copied().enumerate() {
        match (before, byte) {
            ([b'\r', b'\n', b'\r'], b'\n') => return Ok(Some(at + 1)),
            ([_, _, b'\r'], b'\n') => {}
            (_, b'\n') | ([_, _, b'\r'], _) => {
                return Err(HeadError::Malformed("a line does not end in CR LF"));
            }
            (_, 0) => return Err(HeadError::Malformed("it holds a NUL byte")),
            _ => {}
        }
        before = [before[1], before[2], byte];
    }
    Ok(None)
}

fn parse(bytes: Vec<u8>, length: usize) -> Result<Head, HeadError> {
    use HeadError::Malformed;
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let text = bytes.get(..length).unwrap_or_default();
    match request.parse(text) {
        Ok(httparse::Status::Complete(parsed)) if parsed == length => {}
        Err(httparse::Error::TooManyHeaders) => return Err(HeadError::Long),
        Ok(_) | Err(_) => return Err(Malformed("its head cannot be read")),
    }
    let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
        return Err(Malformed("its first line is not whole"));
    };
    let headers: Vec<(String, Vec<u8>)> = request
        .headers
        .iter()
        .map(|header| (header.name.to_ascii_lowercase(), header.value.to_vec()))
        .collect();
    let all =
        |name: &str| headers.iter().filter(|(known, _)| known == name).map(|(_, v)| v).collect::<Vec<_>>();
    let host = match all("host").as_slice() {
        [] => None,
        [host] => {
            let host = String::from_utf8((*host).clone());
            Some(host.map_err(|_| Malformed("its `Host` is not text"))?)
        }
        _ => return Err(Malformed("it has more than one `Host`")),
    };
    if !all("upgrade").is_empty() {
        return Err(Malformed("it asks for another protocol"));
    }
    let (lengths, encodings) = (all("content-length"), all("transfer-encoding"));
    let digits =
        |value: &[u8]| !value.is_empty() && value.len() <= 18 && value.iter().all(u8::is_ascii_digit);
    let content = match (lengths.as_slice(), encodings.as_slice()) {
        ([], []) => false,
        ([value], []) if digits(value) => value.iter().any(|digit| *digit != b'0'),
        ([], [value]) if value.eq_ignore_ascii_case(b"chunked") && version == 1 => true,
        ([], _) => return Err(Malformed("its `Transfer-Encoding` is not `chunked`")),
        (_, []) => return Err(Malformed("its `Content-Length` is not one number")),
        _ => return Err(Malformed("it has both `Content-Length` and `Transfer-Encoding`")),
    };
    let (method, target) = (method.to_owned(), target.to_owned());
    Ok(Head { method, target, host, content, modern: version == 1, length, bytes })
}

/// Host and port of an authority. `usual` is the port if there is none; without it one must be there.
pub(super) fn place(authority: &str, usual: Option<u16>) -> Option<(&str, u16)> {
    let behind = authority.rfind(']').map_or(0, |at| at + 1);
    match authority.get(behind..)?.split_once(':') {
        None => Some((authority, usual?)),
        Some((_, digits)) => {
            let plain = (1..=5).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
            let port = digits.parse().ok().filter(|port| plain && *port != 0)?;
            Some((authority.get(..authority.len() - digits.len() - 1)?, port))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn said(text: &str) -> String {
        match read(&mut text.as_bytes()).await {
            Ok(head) => format!("{} {} {:?} {}", head.method, head.target, head.host, head.content),
            Err(error) => error.to_string(),
        }
    }

    #[tokio::test]
    async fn a_request_has_one_meaning_or_none() {
        let plain = "GET http://a/ HTTP/1.1\r\nHost: a\r\n";
        assert_eq!(said(&format!("{plain}\r\n")).await, "GET http://a/ Some(\"a\") false");
        assert_eq!(
            said(&format!("{plain}Content-Length: 3\r\n\r\nabc")).await,
            "GET http://a/ Some(\"a\") true"
        );
        assert_eq!(
            said(&format!("{plain}Transfer-Encoding: Chunked\r\n\r\n")).await,
            "GET http://a/ Some(\"a\") true"
        );
        for more in [
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            "Content-Length: +1\r\n",
            "Content-Length: 1, 1\r\n",
            "Content-Length:\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Host: b\r\n",
            "A: b\r\n c\r\n",
            "A : b\r\n",
            "A: b\n",
            "A: b\rc\r\n",
            "A: b\0\r\n",
            " A: b\r\n",
            "Upgrade: websocket\r\n",
        ] {
            let said = said(&format!("{plain}{more}\r\n")).await;
            assert!(said.starts_with("it is not one plain"), "{more:?}: {said}");
        }
        for text in [
            "GET http://a/\r\n\r\n",
            "GET http://a/ HTTP/2.0\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "\r\nGET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n\n",
            "GET  http://a/ HTTP/1.1\r\n\r\n",
            "\u{16}\u{3}\u{1}",
            "GET http://a/ HTTP/1.1\r\nHost: a",
        ] {
            let said = said(text).await;
            assert!(said.starts_with("it is not one plain") || said.starts_with("GET"), "{text:?}: {said}");
        }
        let long = format!("{plain}A: {}\r\n\r\n", "x".repeat(LONGEST));
        assert!(said(&long).await.starts_with("its head is longer"));
        let many = format!("{plain}{}\r\n", "A: b\r\n".repeat(HEADERS));
        assert!(said(&many).await.starts_with("its head is longer"));
        assert!(said("").await.starts_with("the connection was closed"));
    }

    #[test]
    fn an_authority_has_a_host_and_a_port() {
        assert_eq!(place("a:1", None), Some(("a", 1)));
        assert_eq!(place("a", Some(80)), Some(("a", 80)));
        assert_eq!(place("[::1]:2", None), Some(("[::1]", 2)));
        assert_eq!(place("[::1]", Some(80)), Some(("[::1]", 80)));
        for text in ["a", "a:", "a:0", "a:+1", "a:65536", "a:000001", "a:1:2", "::1"] {
            assert_eq!(place(text, None), None, "{text}");
        }
    }
}
