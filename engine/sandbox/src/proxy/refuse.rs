//! Answers of our own: what a client is told when it is not let through, in words that say what to do. Never repeats more of
//! what the client said than its host.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::egress::Refusal;

/// What a client may still say after it was refused, in bytes and time, so that it comes to read the answer.
const LINGER_BYTES: u64 = 256 << 10;
const LINGER: Duration = Duration::from_secs(5);

/// Why a connection ends.
#[derive(Debug)]
pub(super) enum Stop {
    /// It is not let through, and is told with this status.
    Refused(u16, String),
    /// It is not let through, at a point where it cannot be told.
    Closed(String),
    /// It was let through and broke.
    Broken(u16, String),
    /// It wanted nothing.
    Nothing,
}

impl Stop {
    /// A no of the rules.
    pub(super) fn by_rule(refusal: &Refusal) -> Self {
        let advice = match refusal {
            Refusal::NotListed(endpoint) => {
                format!("; whoever wrote the node may add `{endpoint}` to its `network`")
            }
            Refusal::Ours { endpoint, .. } | Refusal::Stands { endpoint, .. } | Refusal::Port(endpoint) => {
                format!(
                    "; whoever runs this machine may allow it: `[egress]` with `private = [\"{endpoint}\"]` in their own settings"
                )
            }
            Refusal::Unreadable { .. } | Refusal::Nothing(_) => String::new(),
        };
        Self::Refused(403, format!("{refusal}{advice}"))
    }
}

/// The whole answer.
pub(super) fn text(status: u16, why: &str) -> String {
    let reason = match status {
        400 => "Bad Request",
        403 => "Forbidden",
        408 => "Request Timeout",
        431 => "Request Header Fields Too Large",
        _ => "Bad Gateway",
    };
    let body = body(why);
    format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Its content.
pub(super) fn body(why: &str) -> String {
    format!("blueprint: {why}\n")
}

/// Tells a client, and waits a little for it to hear. One that does not listen is not waited for.
pub(super) async fn tell(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), status: u16, why: &str) {
    let telling = async {
        stream.write_all(text(status, why).as_bytes()).await?;
        stream.shutdown().await?;
        tokio::io::copy(&mut (&mut *stream).take(LINGER_BYTES), &mut tokio::io::sink()).await
    };
    drop(tokio::time::timeout(LINGER, telling).await);
}
