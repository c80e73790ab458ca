//! Connections to hosts that were decided about: the name is looked up once, here, and only addresses that the rules admit
//! are dialled. Never falls back to another name, address or way.

use std::net::IpAddr;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::egress::{Endpoint, Host, Refusal, Rules};

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum NotDialled {
    /// The addresses are not to be reached.
    Refused(Refusal),
    /// Nobody is there.
    Failed(String),
}

/// Connects to an endpoint that the rules let through by its name.
pub(super) async fn dial(
    rules: &Rules,
    endpoint: &Endpoint,
    limit: Duration,
) -> Result<TcpStream, NotDialled> {
    let late = || NotDialled::Failed(format!("`{endpoint}` did not answer within {} s", limit.as_secs()));
    tokio::time::timeout(limit, connect(rules, endpoint)).await.map_err(|_| late())?
}

async fn connect(rules: &Rules, endpoint: &Endpoint) -> Result<TcpStream, NotDialled> {
    let addresses = lookup(&endpoint.host).await.map_err(|error| {
        NotDialled::Failed(format!("the address of `{}` could not be found: {error}", endpoint.host))
    })?;
    let admitted = rules.admit(endpoint, addresses).map_err(NotDialled::Refused)?;
    let mut last = None;
    for address in admitted {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Without it small pieces are late and nothing else is wrong.
                drop(stream.set_nodelay(true));
                return Ok(stream);
            }
            Err(error) => last = Some(error),
        }
    }
    let why = last.map_or_else(|| "it has no address".to_owned(), |error| error.to_string());
    Err(NotDialled::Failed(format!("`{endpoint}` cannot be reached: {why}")))
}

async fn lookup(host: &Host) -> std::io::Result<Vec<IpAddr>> {
    match host {
        Host::Address(address) => Ok(vec![*address]),
        Host::Name(name) => {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        }
    }
}
