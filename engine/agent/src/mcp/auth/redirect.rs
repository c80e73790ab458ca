//! Where a browser comes back to with the answer: a listener of this machine for one login. It hears whoever knows the
//! secret of this login and turns everybody else away; a stranger who connects never ends the wait.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use reqwest::Url;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The longest request of a browser, in bytes.
const LONGEST_REQUEST: usize = 16 << 10;

/// Time for one connection. Browsers open some that they never use.
const CONNECTION: Duration = Duration::from_secs(10);

/// Connections that are looked after at the same time.
const SIDE_BY_SIDE: usize = 16;

/// Where the answer is expected.
const PATH: &str = "/callback";

/// The listener.
#[derive(Debug)]
pub(super) struct Redirect {
    listener: TcpListener,
    uri: String,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// Access was granted.
    Granted {
        code: String,
        /// Who says so.
        issuer: Option<String>,
    },
    /// It was not.
    Denied { error: String, description: Option<String> },
}

/// What a request was.
enum Heard {
    Answer(Answer),
    /// It does not know the secret of this login.
    Stranger,
    /// It is nothing that was waited for.
    Nonsense,
}

impl Redirect {
    /// Opens it on a port of its own.
    pub(super) async fn open() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let uri = format!("http://127.0.0.1:{}{PATH}", listener.local_addr()?.port());
        Ok(Self { listener, uri })
    }

    /// Where a browser is to be sent.
    pub(super) fn uri(&self) -> &str {
        &self.uri
    }

    /// Waits for the answer that knows `state`.
    pub(super) async fn answer(&self, state: &str) -> io::Result<Answer> {
        let mut open = FuturesUnordered::new();
        loop {
            tokio::select! {
                connection = self.listener.accept(), if open.len() < SIDE_BY_SIDE => {
                    match connection {
                        Ok((stream, _)) => open.push(tokio::time::timeout(CONNECTION, serve(stream, state))),
                        // Somebody who left before they were let in.
                        Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                        Err(error) => return Err(error),
                    }
                }
                Some(served) = open.next() => {
                    // A browser that goes away in the middle comes again.
                    if let Ok(Ok(Some(answer))) = served {
                        return Ok(answer);
                    }
                }
            }
        }
    }
}

async fn serve(mut stream: TcpStream, state: &str) -> io::Result<Option<Answer>> {
    let mut request = Vec::new();
    let mut buffer = [0; 2048];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let count = stream.read(&mut buffer).await?;
        if count == 0 || request.len() + count > LONGEST_REQUEST {
            return Ok(None);
        }
        request.extend_from_slice(buffer.get(..count).unwrap_or_default());
    }
    let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let heard = heard(&String::from_utf8_lossy(line), state);
    let (status, words) = match &heard {
        Heard::Answer(Answer::Granted { .. }) => {
            ("200 OK", "The answer has arrived. You can close this page and go back to the terminal.")
        }
        Heard::Answer(Answer::Denied { .. }) => {
            ("200 OK", "Access was not granted. You can close this page and go back to the terminal.")
        }
        Heard::Stranger => ("400 Bad Request", "This is not the answer to the login that is waited for."),
        Heard::Nonsense => ("404 Not Found", "There is nothing here."),
    };
    let page = format!("<!doctype html><meta charset=\"utf-8\"><title>blueprint</title><p>{words}</p>\n");
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nContent-Security-Policy: default-src 'none'\r\n\
         Connection: close\r\n\r\n",
        page.len()
    );
    // The answer counts, whether the page is seen or not.
    drop(stream.write_all(format!("{head}{page}").as_bytes()).await);
    drop(stream.shutdown().await);
    Ok(if let Heard::Answer(answer) = heard { Some(answer) } else { None })
}

/// What the first line of a request says.
fn heard(line: &str, expected: &str) -> Heard {
    let target = match line.split(' ').collect::<Vec<_>>()[..] {
        ["GET", target, version] if version.starts_with("HTTP/1.") => target,
        _ => return Heard::Nonsense,
    };
    let Some(url) = target.strip_prefix('/').and_then(|rest| Url::parse(&format!("http://here/{rest}")).ok())
    else {
        return Heard::Nonsense;
    };
    if url.path() != PATH {
        return Heard::Nonsense;
    }
    let value = |wanted: &str| {
        let mut values = url.query_pairs().filter(|(name, _)| name == wanted);
        let first = values.next().map(|(_, value)| value.into_owned());
        // Two answers to one question are none.
        first.filter(|_| values.next().is_none())
    };
    if value("state").as_deref() != Some(expected) {
        return Heard::Stranger;
    }
    match (value("code"), value("error")) {
        (Some(code), None) => Heard::Answer(Answer::Granted { code, issuer: value("iss") }),
        (None, Some(error)) => {
            Heard::Answer(Answer::Denied { error, description: value("error_description") })
        }
        _ => Heard::Stranger,
    }
}

#[cfg(test)]
mod tests;
