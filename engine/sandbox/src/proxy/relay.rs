//! One request and its answer, taken apart and written anew, so that what the host reads is what was decided about and
//! nothing hides behind it. A connection carries one request: the next one is decided anew.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1 as client;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::content::{Scrubbed, Watched};
use super::credential::{self, Credential};
use super::head::Head;
use super::ledger::Note;
use super::prefixed::Prefixed;
use super::refuse;
use super::settings::Secrets;

/// The content of a request or an answer.
pub(super) type Content = UnsyncBoxBody<Bytes, io::Error>;

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

/// How a request goes.
pub(super) struct Passage<'a> {
    /// The host, as `Host` names it.
    pub(super) authority: String,
    /// Secrets of hosts, if there are any.
    pub(super) secrets: Option<&'a Secrets>,
    /// That of this host, if it has one and we are who speaks to it.
    pub(super) own: Option<&'a Credential>,
    pub(super) note: &'a Note,
}

/// Carries the request that begins with `head` to a host, and its answer back.
pub(super) async fn carry<C, H>(head: Head, stream: C, host: H, passage: &Passage<'_>) -> Result<(), String>
where
    C: AsyncRead + AsyncWrite + Unpin + Send,
    H: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (sender, link) = client::Builder::new()
        .max_buf_size(LONGEST_HEAD)
        .handshake::<_, Content>(TokioIo::new(host))
        .await
        .map_err(|error| chain(&error))?;
    let sender = Mutex::new(Some(sender));
    let authority = HeaderValue::from_str(&passage.authority).map_err(|error| error.to_string())?;
    let note = passage.note;
    let service = service_fn(|request: Request<Incoming>| {
        let sender = sender.lock().unwrap_or_else(PoisonError::into_inner).take();
        let authority = authority.clone();
        async move {
            let Some(mut sender) = sender else {
                return Ok::<_, Infallible>(ours(StatusCode::BAD_REQUEST, "one request for one connection"));
            };
            let refused = |why: &str| {
                note.refused(why);
                Ok(ours(StatusCode::FORBIDDEN, why))
            };
            let (request, swapped) = match passage.outward(request, authority) {
                Ok(outward) => outward,
                Err(why) => return refused(&why),
            };
            let answer = match sender.send_request(request).await {
                Ok(answer) => answer,
                Err(error) => match astray(&error) {
                    Some(why) => return refused(&why),
                    None => {
                        let why = format!("the host gave no answer: {}", chain(&error));
                        return Ok(ours(StatusCode::BAD_GATEWAY, &why));
                    }
                },
            };
            if let Some(name) = swapped {
                note.swapped(name);
            }
            note.answered(answer.status().as_u16());
            Ok(passage.inward(answer))
        }
    });
    let mut builder = server::Builder::new();
    builder.keep_alive(false).half_close(true).header_read_timeout(None).max_buf_size(LONGEST_HEAD);
    let stream = TokioIo::new(Prefixed::new(head.bytes, stream));
    let (served, _) = tokio::join!(builder.serve_connection(stream, service), link);
    served.map_err(|error| chain(&error))
}

impl<'a> Passage<'a> {
    /// The request as the host reads it, and the name of the secret that was put in. `Err` says why it reads none.
    fn outward(
        &self,
        request: Request<Incoming>,
        authority: HeaderValue,
    ) -> Result<(Request<Content>, Option<&'a str>), String> {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        parts.uri = path.parse().map_err(|_| "its path cannot be read".to_owned())?;
        strip(&mut parts.headers);
        // Both are written anew, from the content that really comes.
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.insert(header::HOST, authority);
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        let credentials = self.secrets.map_or(&[][..], |secrets| &secrets.credentials);
        let swapped = credential::admit(credentials, self.own, &mut parts)?;
        if self.own.is_some() {
            if parts.method == Method::TRACE {
                return Err("a host with a credential is not asked to repeat a request".to_owned());
            }
            // An answer in pieces or packed could bring a secret back that nobody recognizes.
            for name in [header::RANGE, header::IF_RANGE, header::ACCEPT_ENCODING] {
                parts.headers.remove(name);
            }
            parts.headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        let body = if credentials.is_empty() {
            body.map_err(io::Error::other).boxed_unsync()
        } else {
            Watched::new(body, credentials).boxed_unsync()
        };
        Ok((Request::from_parts(parts, body), swapped))
    }

    /// The answer as the client reads it.
    fn inward(&self, answer: Response<Incoming>) -> Response<Content> {
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            return ours(StatusCode::BAD_GATEWAY, "the host wants to speak another protocol");
        }
        let (mut parts, body) = answer.into_parts();
        strip(&mut parts.headers);
        let Some(secrets) = self.secrets.filter(|_| self.own.is_some()) else {
            return Response::from_parts(parts, body.map_err(io::Error::other).boxed_unsync());
        };
        let packed = parts.headers.get_all(header::CONTENT_ENCODING).iter().any(|value| value != "identity");
        if packed {
            return ours(StatusCode::BAD_GATEWAY, "the host packed its answer, though it was asked not to");
        }
        let scrub = secrets.scrub.as_ref();
        let clean = |value: &HeaderValue| {
            let mut scrubbing = scrub.begin();
            let mut clean = scrubbing.push(value.as_bytes());
            clean.extend(scrubbing.finish());
            HeaderValue::from_bytes(&clean).unwrap_or(HeaderValue::from_static(""))
        };
        for value in parts.headers.values_mut() {
            *value = clean(value);
        }
        // What is taken out may be of another length than what is put in its place.
        if !body.is_end_stream() {
            parts.headers.remove(header::CONTENT_LENGTH);
        }
        parts.extensions.clear();
        Response::from_parts(parts, Scrubbed::new(body, scrub.begin()).boxed_unsync())
    }
}

/// Why a content was not let out, if that is what an error is about.
fn astray(error: &hyper::Error) -> Option<String> {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>()
            && io.kind() == io::ErrorKind::PermissionDenied
        {
            return Some(io.to_string());
        }
        source = cause.source();
    }
    None
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
pub(super) fn ours(status: StatusCode, why: &str) -> Response<Content> {
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
