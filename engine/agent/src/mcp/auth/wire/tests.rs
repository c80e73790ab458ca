//! Where the wire goes, what it reads, and what it remembers.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{Seen, Wire};
use crate::mcp::access::NoAccess;
use crate::mcp::address::ServerUrl;
use crate::mcp::outside::Outside;
use rmcp::transport::auth::AuthorizationManager;

fn wire(server: &str) -> Arc<Wire> {
    let mut outside = Outside::attended(Arc::new(NoAccess)).unwrap();
    outside.allows =
        Arc::new(|url| if url.contains("forbidden") { Err("no \u{1b}[31mway".to_owned()) } else { Ok(()) });
    Wire::new(&outside, &ServerUrl::parse(server).unwrap(), &Seen::default())
}

fn why(server: &str, url: &str) -> String {
    wire(server).check(url).map_or_else(|error| error.to_string(), |()| "fine".to_owned())
}

#[test]
fn it_goes_where_nobody_can_listen_and_the_rules_allow() {
    for (server, url, expected) in [
        ("https://far.example", "https://issuer.example/token", "fine"),
        (
            "https://far.example",
            "http://issuer.example/token",
            "`issuer.example` is not asked: others could listen",
        ),
        ("https://far.example", "file:///etc/passwd", "`nobody` is not asked: others could listen"),
        ("https://far.example", "javascript:alert(1)", "`nobody` is not asked: others could listen"),
        ("https://far.example", "https://forbidden.example/", "`forbidden.example` is not asked: no [31mway"),
        ("https://far.example", "not a url", "`not a url` is no address"),
        ("http://127.0.0.1:1/mcp", "http://localhost:2/token", "fine"),
        ("http://127.0.0.1:1/mcp", "http://10.0.0.1/token", "`10.0.0.1` is not asked: others could listen"),
    ] {
        assert_eq!(why(server, url), expected, "{url}");
    }
    for url in ["http://127.0.0.1:8000/token", "https://localhost/token", "http://[::1]:9/"] {
        assert!(why("https://far.example", url).contains("has no business on this machine"), "{url}");
    }
}

#[test]
fn what_proves_something_is_remembered() {
    let wire = wire("https://far.example");
    let form =
        b"grant_type=refresh_token&refresh_token=the%2Frefresh&client_secret=the-secret&scope=readable"
            .to_vec();
    let request = http::Request::builder().header("authorization", "Basic dGhlOmJhc2lj").body(form).unwrap();
    wire.remember_request(&request);
    wire.remember_answer(br#"{"access_token":"the-access","id_token":"the-identity","scope":"readable"}"#);
    wire.remember_answer(b"no JSON at all");
    let text = "the/refresh the-secret dGhlOmJhc2lj the-access the-identity readable";
    let expected = "[secret:refresh_token] [secret:client_secret] [secret:authorization] [secret:access_token] \
                    [secret:id_token] readable";
    assert_eq!(wire.seen().redact(text), expected);
}

/// A server that answers every request with the same bytes, again and again if it is never enough.
async fn saying(head: &'static str, body: &'static [u8], times: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            drop(stream.read(&mut [0; 4096]).await);
            let head = format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n");
            drop(stream.write_all(head.as_bytes()).await);
            for _ in 0..times {
                if stream.write_all(body).await.is_err() {
                    break;
                }
            }
        }
    }));
    format!("http://{address}/mcp")
}

/// What comes of asking who grants access, which is how the library uses the wire.
async fn asked(url: &str) -> (Arc<Wire>, String) {
    let wire = wire(url);
    let manager =
        AuthorizationManager::new_with_oauth_http_client(url, Arc::clone(&wire) as _).await.unwrap();
    let found = manager.resolve_metadata().await;
    (wire, format!("{:?}", found.map(|found| found.source)))
}

#[tokio::test]
async fn an_answer_without_end_is_not_read() {
    let url = saying("200 OK", &[b'x'; 4096], usize::MAX).await;
    let (wire, found) = asked(&url).await;
    assert!(found.contains("DiscoveryRequestFailed"), "{found}");
    assert!(wire.last_error().unwrap().contains("answers with more than 524288 bytes"), "{wire:?}");
}

#[tokio::test]
async fn nobody_is_followed_elsewhere() {
    let aim = saying("200 OK", b"{}", 1).await;
    let trap = Box::leak(format!("302 Found\r\nLocation: {aim}").into_boxed_str());
    let url = saying(trap, b"", 0).await;
    let (_, found) = asked(&url).await;
    assert!(found.contains("CrossOriginRedirect"), "{found}");
}

#[tokio::test]
async fn a_silent_host_is_named_without_what_it_was_asked() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (wire, _) = asked(&format!("http://{address}/mcp?key=sesame")).await;
    let why = wire.last_error().unwrap();
    assert!(why.starts_with(&format!("`{address}` did not answer: ")) && !why.contains("sesame"), "{why}");
}
