//! One connection from its first byte to its last: what it asks for, whether it may, and the way there. Every way out of
//! here leaves a note, and none leads past the rules.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::egress::{Endpoint, Host};

use super::dial::{NotDialled, dial};
use super::head::{self, Head, HeadError};
use super::hello;
use super::intercept::intercept;
use super::ledger::{Note, shown};
use super::meter::{Counted, Meter};
use super::prefixed::Prefixed;
use super::refuse::{Stop, tell};
use super::relay::{self, Passage};
use super::settings::{Proxy, Session};

/// The ports of addresses without one.
const HTTP: u16 = 80;
pub(super) const HTTPS: u16 = 443;

/// How a host is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// By a plain request.
    Plain,
    /// By a request for a tunnel.
    Tunnel,
    /// By a request within a tunnel.
    Inside,
}

/// What says that a tunnel is there.
const TUNNEL: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

impl Session {
    /// Serves a connection of a command to its end.
    pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send>(self, stream: S) {
        let proxy = &self.proxy;
        let meter = Meter::new(Arc::clone(&self.left));
        let mut note = proxy.ledger.note(Arc::clone(&meter));
        let mut stream = Counted::new(stream, Arc::clone(&meter));
        let done = tokio::select! {
            done = serve(proxy, &mut stream, &mut note) => done,
            () = meter.idle(proxy.limits.idle) => {
                Err(Stop::Broken(0, format!("nothing moved for {} s", proxy.limits.idle.as_secs())))
            }
        };
        let spent = meter.is_spent().then(|| "the command has moved as many bytes as it may".to_owned());
        match done {
            Ok(()) => note.request.failed = spent,
            Err(Stop::Nothing) => {}
            Err(Stop::Closed(why)) => note.request.refused = Some(spent.unwrap_or(why)),
            Err(Stop::Broken(0, why)) => note.request.failed = Some(spent.unwrap_or(why)),
            Err(Stop::Broken(status, why)) => {
                note.request.failed = Some(spent.unwrap_or_else(|| why.clone()));
                tell(&mut stream, status, &why).await;
            }
            Err(Stop::Refused(status, why)) => {
                note.request.refused = Some(spent.unwrap_or_else(|| why.clone()));
                tell(&mut stream, status, &why).await;
            }
        }
    }
}

async fn serve<S>(proxy: &Proxy, stream: &mut S, note: &mut Note) -> Result<(), Stop>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let head = read_head(proxy, stream).await?;
    note.request.method = shown(&head.method);
    let tunnel = head.method == "CONNECT";
    let authority = if tunnel { head.target.as_str() } else { plain_authority(&head)? };
    let unreadable = || Stop::Refused(400, "the address names no host and port that can be read".to_owned());
    let (host, port) = head::place(authority, (!tunnel).then_some(HTTP)).ok_or_else(unreadable)?;
    note.request.host = shown(&format!("{host}:{port}"));
    if let Some(why) = &proxy.closed {
        return Err(Stop::Refused(403, why.clone()));
    }
    let endpoint = proxy.rules.decide(host, port).map_err(|refusal| Stop::by_rule(&refusal))?;
    note.request.host = endpoint.to_string();
    same_host(&head, &endpoint, if tunnel { Asked::Tunnel } else { Asked::Plain })?;
    let connected = dial(&proxy.rules, &endpoint, proxy.limits.dial).await;
    let mut far = connected.map_err(|error| match error {
        NotDialled::Refused(refusal) => Stop::by_rule(&refusal),
        NotDialled::Failed(why) => Stop::Broken(502, why),
    })?;
    let secrets = proxy.secrets.as_ref();
    if !tunnel {
        if let Some(own) = secrets.and_then(|secrets| secrets.of(&endpoint)) {
            let why =
                format!("`{endpoint}` has the credential `{}` and is reached over HTTPS only", own.name);
            return Err(Stop::Refused(403, why));
        }
        let passage = Passage { authority: relay_authority(&endpoint, HTTP), secrets, own: None, note };
        let carried = relay::carry(head, &mut *stream, far, &passage).await;
        return carried.map_err(|why| Stop::Broken(0, why));
    }
    let broken = |error: std::io::Error| Stop::Broken(0, format!("the connection broke: {error}"));
    stream.write_all(TUNNEL).await.map_err(broken)?;
    let behind = head.bytes.get(head.length..).unwrap_or_default().to_vec();
    let hello = timeout(proxy.limits.head, hello::read(stream, behind)).await;
    let hello = hello.map_err(|_| Stop::Closed("the tunnel stayed silent".to_owned()))?;
    let hello = hello.map_err(|error| Stop::Closed(error.to_string()))?;
    same_name(hello.name.as_deref(), &endpoint)?;
    let mut near = Prefixed::new(hello.bytes, stream);
    if let Some(secrets) = secrets
        && let Some(own) = secrets.of(&endpoint)
    {
        return intercept(proxy, (secrets, own), near, far, &endpoint, note).await;
    }
    tokio::io::copy_bidirectional(&mut near, &mut far).await.map_err(broken)?;
    Ok(())
}

pub(super) async fn read_head<S: AsyncRead + Unpin>(proxy: &Proxy, stream: &mut S) -> Result<Head, Stop> {
    match timeout(proxy.limits.head, head::read(stream)).await {
        Ok(Ok(head)) => Ok(head),
        Ok(Err(HeadError::Closed)) => Err(Stop::Nothing),
        Ok(Err(error @ HeadError::Long)) => Err(Stop::Refused(431, error.to_string())),
        Ok(Err(error @ HeadError::Malformed(_))) => Err(Stop::Refused(400, error.to_string())),
        Ok(Err(error @ HeadError::Broken(_))) => Err(Stop::Broken(0, error.to_string())),
        Err(_) => Err(Stop::Refused(
            408,
            format!("the request did not say what it wants within {} s", proxy.limits.head.as_secs()),
        )),
    }
}

/// Host and port of a plain request: what it asks for is a whole address.
fn plain_authority(head: &Head) -> Result<&str, Stop> {
    let scheme = head.target.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("http://"));
    let rest = scheme.and_then(|_| head.target.get(7..)).ok_or_else(|| {
        let why = "a plain request names a whole address: `GET http://host/path`; for HTTPS a client asks for a tunnel with `CONNECT`";
        Stop::Refused(400, why.to_owned())
    })?;
    if !head.modern {
        return Err(Stop::Refused(400, "it is not a request of HTTP/1.1".to_owned()));
    }
    Ok(rest.split(['/', '?', '#']).next().unwrap_or_default())
}

/// What `Host` says is what the first line says. Only a tunnel may do without it.
pub(super) fn same_host(head: &Head, endpoint: &Endpoint, asked: Asked) -> Result<(), Stop> {
    if asked == Asked::Tunnel && head.content {
        return Err(Stop::Refused(400, "a `CONNECT` has no content".to_owned()));
    }
    let said = match (&head.host, asked) {
        (None, Asked::Tunnel) => return Ok(()),
        (said, _) => said.as_deref().unwrap_or_default(),
    };
    let usual = if asked == Asked::Plain { HTTP } else { HTTPS };
    let same = head::place(said, Some(usual))
        .and_then(|(host, port)| Host::parse(host).ok().map(|host| Endpoint { host, port }))
        .is_some_and(|said| said == *endpoint);
    if same {
        return Ok(());
    }
    Err(Stop::Refused(400, format!("its `Host` is not the host it asks for, `{endpoint}`")))
}

/// The name in a greeting is that of the tunnel. An address has no name, and nothing else goes without.
fn same_name(name: Option<&str>, endpoint: &Endpoint) -> Result<(), Stop> {
    let same = match (name, &endpoint.host) {
        (Some(name), Host::Name(_)) => Host::parse(name).is_ok_and(|name| name == endpoint.host),
        (None, Host::Address(_)) => true,
        (None, Host::Name(_)) | (Some(_), Host::Address(_)) => false,
    };
    if same {
        return Ok(());
    }
    let said = name.map_or_else(|| "no host".to_owned(), |name| format!("`{}`", shown(name)));
    Err(Stop::Closed(format!("the TLS greeting names {said}, but the tunnel is one to `{endpoint}`")))
}

/// A host as `Host` names it.
pub(super) fn relay_authority(endpoint: &Endpoint, usual: u16) -> String {
    if endpoint.port == usual { endpoint.host.to_string() } else { endpoint.to_string() }
}
