//! Clients in the user's settings.

use serde_json::json;

use super::{McpConfig, ServerUrl};
use crate::mcp::access::Proof;
use crate::model::Secret;

fn config(value: &serde_json::Value) -> McpConfig {
    serde_json::from_value(json!({ "credentials": value })).unwrap()
}

#[test]
fn a_client_is_found_under_every_spelling_of_its_server_and_no_other() {
    let config =
        config(&json!({ "https://EXAMPLE.com:443/mcp": { "client_id": "me", "client_secret_env": "S" } }));
    assert_eq!(config.check(), Vec::<String>::new());
    let held = |name: &str| (name == "S").then(|| "value".to_owned());
    let find = |url: &str| config.client(&ServerUrl::parse(url).unwrap(), &held).unwrap();
    assert_eq!(find("https://example.com/mcp").unwrap().proof, Proof::Secret(Secret::new("value")));
    assert!(find("https://example.com/mcp/").is_none() && find("https://example.com/").is_none());
    let nothing = config.client(&ServerUrl::parse("https://example.com/mcp").unwrap(), &|_| None);
    assert!(nothing.unwrap_err().to_string().contains("`S`"), "a missing variable is never no client");
}

#[test]
fn clients_that_make_no_sense_are_refused() {
    let identity =
        json!({ "issuer": "i", "token_endpoint": "http://e.com", "client_id": "c", "id_token_env": "T" });
    for (url, client, why) in [
        ("http://example.com", json!({ "client_secret_env": "S" }), "is not safe for keys"),
        ("https://e.com", json!({}), "either a `client_secret_env` or a `key_env`"),
        ("https://e.com", json!({ "client_secret_env": "S", "key_env": "K" }), "either a"),
        ("https://e.com", json!({ "key_env": "K" }), "takes an `algorithm`"),
        ("https://e.com", json!({ "client_secret_env": "S", "algorithm": "ES256" }), "is for a `key_env`"),
        ("https://e.com", json!({ "client_secret_env": "S", "scopes": ["a b"] }), "a scope is one word"),
        ("https://e.com", json!({ "client_secret_env": "S", "client_id": "" }), "`client_id` is empty"),
        (
            "https://e.com",
            json!({ "client_secret_env": "S", "identity": identity }),
            "is an `https://` address",
        ),
        (
            "https://e.com",
            json!({ "key_env": "K", "algorithm": "RS256", "identity": identity }),
            "takes a `client_secret_env`",
        ),
    ] {
        let mut client = client;
        if client.get("client_id").is_none() {
            client["client_id"] = "me".into();
        }
        let wrong = config(&json!({ url: client })).check().join("; ");
        assert!(wrong.contains(why), "{url}: {wrong}");
    }
    let twice = config(&json!({
        "https://e.com": { "client_id": "a", "client_secret_env": "S" },
        "https://E.com/": { "client_id": "b", "client_secret_env": "S" },
    }));
    assert_eq!(twice.check(), ["`https://E.com/` and `https://e.com` are one server"]);
    let inline = json!({ "https://e.com": { "client_id": "a", "client_secret": "never" } });
    assert!(serde_json::from_value::<McpConfig>(json!({ "credentials": inline })).is_err());
}
