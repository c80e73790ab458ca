//! One request and its answer, taken apart and written anew, so that what the host reads is what was decided about and
//! nothing hides behind it. A connection carries one request: the next one is decided anew.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper::client::conn::http1 as client;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::head::Head;
use super::ledger::Note;
use super::prefixed::Prefixed;
use super::refuse;

/// The content of an answer.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// The largest head of an answer, in bytes.
const LONGEST_HEAD: usize = 64 << 10;

/// What is said between two neighbours only (RFC 9110, section 7.6.1), and what asks for another protocol. `Expect` was
/// answered by us.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
    HeaderName::from_static("keep-alive"),
];

/// Carries the request that begins with `head` to a host, and its answer back.
pub(super) async fn carry<C, H>(
    head: Head,
    stream: C,
    host: H,
    authority: &str,
    note: &Note,
) -> Result<(), String>
where
    C: AsyncRead + AsyncWrite + Unpin + Send,
    H: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (sender, link) = client::Builder::new()
        .max_buf_size(LONGEST_HEAD)
        .handshake::<_, Incoming>(TokioIo::new(host))
        .await
        .map_err(|error| chain(&error))?;
    let sender = Mutex::new(Some(sender));
    let authority = HeaderValue::from_str(authority).map_err(|error| error.to_string())?;
    let service = service_fn(|request: Request<Incoming>| {
        let sender = sender.lock().unwrap_or_else(PoisonError::into_inner).take();
        let authority = authority.clone();
        async move {
            let Some(mut sender) = sender else {
                return Ok::<_, Infallible>(ours(StatusCode::BAD_REQUEST, "one request for one connection"));
            };
            let answer = match sender.send_request(outward(request, authority)).await {
                Ok(answer) => answer,
                Err(error) => {
                    let why = format!("the host gave no answer: {}", chain(&error));
                    return Ok(ours(StatusCode::BAD_GATEWAY, &why));
                }
            };
            note.answered(answer.status().as_u16());
            Ok(inward(answer))
        }
    });
    let mut builder = server::Builder::new();
    builder.keep_alive(false).half_close(true).header_read_timeout(None).max_buf_size(LONGEST_HEAD);
    let stream = TokioIo::new(Prefixed::new(head.bytes, stream));
    let (served, _) = tokio::join!(builder.serve_connection(stream, service), link);
    served.map_err(|error| chain(&error))
}

/// The request as the host reads it.
fn outward(request: Request<Incoming>, authority: HeaderValue) -> Request<Incoming> {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = path.parse().unwrap_or_else(|_| Uri::from_static("/"));
    strip(&mut parts.headers);
    // Both are written anew, from the content that really comes.
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::HOST, authority);
    parts.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    Request::from_parts(parts, body)
}

/// The answer as the client reads it.
fn inward(answer: Response<Incoming>) -> Response<Body> {
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return ours(StatusCode::BAD_GATEWAY, "the host wants to speak another protocol");
    }
    let (mut parts, body) = answer.into_parts();
    strip(&mut parts.headers);
    Response::from_parts(parts, body.map_err(io::Error::other).boxed_unsync())
}

/// Takes out what is between neighbours.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| !matches!(*name, header::HOST | header::CONTENT_LENGTH | header::AUTHORIZATION))
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
    headers.remove("proxy-connection");
}

/// An answer of our own.
pub(super) fn ours(status: StatusCode, why: &str) -> Response<Body> {
    let body = Full::new(Bytes::from(refuse::body(why))).map_err(|never| match never {});
    let mut answer = Response::new(body.boxed_unsync());
    *answer.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, plain);
    answer
}

/// An error with its causes.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
