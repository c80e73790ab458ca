//! Requests that the engine makes itself, on behalf of a node: to the hosts the node may reach, at addresses that are not
//! ours unless the settings of the user say so. Names are looked up once, here, and no redirect or proxy leads elsewhere.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use blueprint_core::run::{Failure, FailureClass};
use blueprint_sandbox::egress::{Endpoint, Host, Private, Refusal, Rules};
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::perform::infra;
use crate::shared::Shared;

/// The client of a run.
pub(crate) fn client(shared: &Shared) -> Result<reqwest::Client, Failure> {
    if let Some(client) = shared.http.get() {
        return Ok(client.clone());
    }
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .dns_resolver(Arc::new(Resolver(Arc::clone(&shared.settings.private))))
        .user_agent(concat!("blueprint/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| infra("no HTTP client could be made", &error))?;
    Ok(shared.http.get_or_init(|| client).clone())
}

/// The rules of a node that may reach these hosts, each `host:port`.
pub(crate) fn rules(shared: &Shared, hosts: &[String]) -> Result<Rules, Failure> {
    let endpoints = hosts.iter().map(|host| host.parse::<Endpoint>());
    let endpoints: Vec<Endpoint> = endpoints
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::new(FailureClass::Policy, format!("a host of `network`: {error}")))?;
    Ok(Rules::new(endpoints, Arc::clone(&shared.settings.private)))
}

/// Decides about a URL by its host and port.
pub(crate) fn decide(rules: &Rules, url: &str) -> Result<Endpoint, Refusal> {
    let (host, port) = place(url)?;
    rules.decide(&host, port)
}

/// Decides about a URL that the blueprint names itself: only where it leads counts.
pub(crate) fn decide_own(shared: &Shared, url: &str) -> Result<Endpoint, Refusal> {
    let (host, port) = place(url)?;
    let own = Host::parse(&host).map(|host| Endpoint { host, port });
    Rules::new(own.ok(), Arc::clone(&shared.settings.private)).decide(&host, port)
}

/// Host and port, as the client will read them.
fn place(url: &str) -> Result<(String, u16), Refusal> {
    let parsed = Url::parse(url).ok();
    let place = parsed.as_ref().filter(|url| matches!(url.scheme(), "http" | "https")).and_then(|url| {
        // Credentials in a URL make one host look like another.
        let plain = url.username().is_empty() && url.password().is_none();
        url.host_str().filter(|_| plain).map(str::to_owned).zip(url.port_or_known_default())
    });
    place.ok_or_else(|| {
        let why = blueprint_sandbox::egress::EndpointError::Empty;
        Refusal::Unreadable { host: String::new(), why }
    })
}

/// Why a request failed: somebody said no, or its surroundings did not work.
pub(crate) fn failed(what: &str, error: &reqwest::Error) -> Failure {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(refusal) = inner.downcast_ref::<Refusal>() {
            return refused(refusal);
        }
        source = inner.source();
    }
    infra(what, error)
}

/// A request that may not be made.
pub(crate) fn refused(refusal: &Refusal) -> Failure {
    let hint = match refusal {
        Refusal::Ours { endpoint, .. } | Refusal::Stands { endpoint, .. } | Refusal::Port(endpoint) => {
            format!(
                "; whoever runs this machine may allow it: `[egress]` with `private = [\"{endpoint}\"]` in their own settings"
            )
        }
        Refusal::Unreadable { .. } | Refusal::NotListed(_) | Refusal::Nothing(_) => String::new(),
    };
    Failure::new(FailureClass::Policy, format!("nothing was sent: {refusal}{hint}"))
}

/// Looks names up, and leaves out every address that is ours.
#[derive(Debug)]
struct Resolver(Arc<Private>);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let private = Arc::clone(&self.0);
        Box::pin(async move {
            let host = Host::parse(name.as_str())
                .map_err(|why| Refusal::Unreadable { host: name.as_str().to_owned(), why })?;
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let endpoint = Endpoint { host, port: 443 };
            let rules = Rules::new([endpoint.clone()], private);
            let addresses = rules.admit(&endpoint, found.map(|address| address.ip()))?;
            // Port 0 means that of the URL.
            let addresses = addresses.into_iter().map(|address| SocketAddr::new(address.ip(), 0));
            Ok(Box::new(addresses.collect::<Vec<_>>().into_iter()) as Addrs)
        })
    }
}
