//! Logins as they are kept, and what is never shown of them.

use super::{ClientSecret, Login, LoginFileError};
use crate::mcp::address::ServerUrl;
use rmcp::transport::auth::{OAuthTokenResponse, StoredCredentials};
use serde_json::json;

fn granted(kind: &str) -> Result<Login, String> {
    let token: OAuthTokenResponse = serde_json::from_value(json!({
        "access_token": "the-access", "token_type": kind, "refresh_token": "the-refresh", "expires_in": 60,
        "id_token": "the-identity",
    }))
    .unwrap();
    let server = ServerUrl::parse("https://example.com/mcp").unwrap();
    let stored = StoredCredentials::new("me".to_owned(), Some(token), vec!["read".to_owned()], Some(1000))
        .with_issuer(Some("https://issuer".to_owned()));
    let secret = ClientSecret { registered: Some("the-secret".to_owned()), variable: None };
    Login::granted(&server, stored, secret).map_err(|error| error.to_string())
}

#[test]
fn a_login_is_kept_whole_and_shows_no_token() {
    let login = granted("Bearer").unwrap();
    assert_eq!(Login::from_json(&login.to_json()).unwrap(), login);
    assert_eq!(
        (login.server().as_str(), login.issuer()),
        ("https://example.com/mcp", Some("https://issuer"))
    );
    assert_eq!((login.expires_at(), login.can_be_renewed()), (Some(1060), true));
    let kept = String::from_utf8(login.to_json()).unwrap();
    assert!(
        kept.contains("the-access") && !kept.contains("the-identity"),
        "nothing that is not needed: {kept}"
    );
    let shown = format!("{login:?}");
    assert!(!shown.contains("the-"), "{shown}");
    let again = login.renewed(login.stored()).unwrap();
    assert_eq!((again.refresh_token(), again.client_secret()), (Some("the-refresh"), Some("the-secret")));
}

#[test]
fn a_token_that_is_not_simply_borne_is_no_use() {
    assert!(granted("bearer").is_ok());
    assert_eq!(
        granted("dpop").unwrap_err(),
        "it granted a token of the kind `dpop`, and only those that are borne are known"
    );
}

#[test]
fn what_is_no_login_is_told_without_repeating_it() {
    let damaged = |text: &str| Login::from_json(text.as_bytes()).unwrap_err();
    for text in ["", "the-access", "{}", r#"{"version":1}"#, r#"{"version":1,"access_token":"the-access"}"#] {
        assert_eq!(damaged(text).to_string(), "it is damaged", "{text}");
    }
    assert!(matches!(damaged(r#"{"version":2,"more":true}"#), LoginFileError::Version(2)));
    let mut elsewhere: serde_json::Value =
        serde_json::from_slice(&granted("Bearer").unwrap().to_json()).unwrap();
    elsewhere["server"] = "http://example.com/".into();
    assert!(
        matches!(damaged(&elsewhere.to_string()), LoginFileError::Damaged),
        "never where others can listen"
    );
}
