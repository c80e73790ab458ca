//! A tunnel to a host that has a credential: its request is read, the secret put in, and the host made to prove who it is.
//! A client that speaks anything but HTTP/1.1 to that host inside of TLS is not carried at all.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::egress::Endpoint;

use super::credential::Credential;
use super::head::Head;
use super::ledger::{Note, shown};
use super::prefixed::Prefixed;
use super::refuse::{Stop, tell};
use super::relay::{self, Passage};
use super::serve::{Asked, HTTPS, read_head, relay_authority, same_host};
use super::settings::{Proxy, Secrets};
use super::trust::server_name;

/// Carries one request of a tunnel.
pub(super) async fn intercept<S>(
    proxy: &Proxy,
    (secrets, own): (&Secrets, &Credential),
    near: Prefixed<S>,
    far: TcpStream,
    endpoint: &Endpoint,
    note: &mut Note,
) -> Result<(), Stop>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let server = secrets.authority.server(&endpoint.host);
    let server = server.ok_or_else(|| Stop::Closed("there is no certificate for this host".to_owned()))?;
    let accepted = timeout(proxy.limits.head, TlsAcceptor::from(server).accept(near)).await;
    let accepted =
        accepted.map_err(|_| Stop::Closed("the client did not finish its TLS greeting".to_owned()))?;
    let mut near = accepted.map_err(|error| {
        let advice = "it must trust the certificates in the file that `SSL_CERT_FILE` names";
        Stop::Closed(format!("the client and we could not agree on TLS ({error}); {advice}"))
    })?;
    let stop = match ready(proxy, &mut near, endpoint, note).await {
        Ok(head) => match greet(proxy, secrets, far, endpoint).await {
            Ok(far) => {
                let authority = relay_authority(endpoint, HTTPS);
                let passage = Passage { authority, secrets: Some(secrets), own: Some(own), note };
                let carried = relay::carry(head, &mut near, far, &passage).await;
                return carried.map_err(|why| Stop::Broken(0, why));
            }
            Err(stop) => stop,
        },
        Err(stop) => stop,
    };
    // Who is told here is not told again outside.
    match stop {
        Stop::Refused(status, why) => {
            note.refused(&why);
            tell(&mut near, status, &why).await;
            Err(Stop::Closed(why))
        }
        Stop::Broken(status, why) if status != 0 => {
            tell(&mut near, status, &why).await;
            Err(Stop::Broken(0, why))
        }
        other => Err(other),
    }
}

/// The request, which asks this host for a path.
async fn ready<S: AsyncRead + Unpin>(
    proxy: &Proxy,
    near: &mut S,
    endpoint: &Endpoint,
    note: &mut Note,
) -> Result<Head, Stop> {
    let head = read_head(proxy, near).await?;
    note.request.method = shown(&head.method);
    if !head.modern || !head.target.starts_with('/') {
        let why = "inside a tunnel a request of HTTP/1.1 asks for a path: `GET /path`";
        return Err(Stop::Refused(400, why.to_owned()));
    }
    same_host(&head, endpoint, Asked::Inside)?;
    Ok(head)
}

/// Greets the host, which proves who it is.
async fn greet(
    proxy: &Proxy,
    secrets: &Secrets,
    far: TcpStream,
    endpoint: &Endpoint,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Stop> {
    let failed = |why: String| Stop::Broken(502, format!("`{endpoint}` did not prove who it is: {why}"));
    let name = server_name(&endpoint.host).ok_or_else(|| failed("it has no name for TLS".to_owned()))?;
    let connector = TlsConnector::from(Arc::clone(&secrets.trust.client));
    let greeted = timeout(proxy.limits.dial, connector.connect(name, far)).await;
    let greeted = greeted.map_err(|_| failed("it did not answer in time".to_owned()))?;
    greeted.map_err(|error| failed(error.to_string()))
}
