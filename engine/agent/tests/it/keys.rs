//! Servers that ask who is there: logins are used, renewed and given up; clients are let in; and what was granted is
//! nowhere but with the server it belongs to.

mod guarded;

use blueprint_agent::mcp::{ClientCredentials, LoginError, Proof, Servers};
use blueprint_agent::model::Secret;
use blueprint_agent::tool::ToolOutcome;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::direct_host::DirectHost;
use guarded::{Guarded, User, outside};

fn host() -> DirectHost {
    DirectHost::new("/")
}

async fn call(servers: &Servers, host: &DirectHost, tool: &str) -> ToolOutcome {
    let name = format!("mcp.g.{tool}");
    let found = servers.tools().iter().find(|tool| tool.spec().name == name);
    let found = found.unwrap_or_else(|| panic!("no `{name}`: {:?}", servers.troubles()));
    found.call(host, json!({}), &CancellationToken::new()).await.unwrap()
}

fn done(what: &str) -> ToolOutcome {
    ToolOutcome::Done(format!("{what} done"))
}

fn failed(outcome: ToolOutcome) -> String {
    match outcome {
        ToolOutcome::Failed(why) => why,
        other => panic!("{other:?}"),
    }
}

fn why(servers: &Servers) -> &str {
    &servers.troubles().first().unwrap_or_else(|| panic!("nothing is wrong")).why
}

#[tokio::test]
async fn a_login_lets_a_session_in() {
    let server = Guarded::start(&["confidential"]);
    let login = server.login(&[]).await.unwrap();
    assert_eq!((login.scopes(), login.client_id()), (&["read".to_owned()][..], "client-0"));
    let registered = &server.seen("/register").await[0]["body"];
    assert_eq!(registered["client_name"], "blueprint");
    assert!(
        registered["redirect_uris"][0].as_str().unwrap().starts_with("http://127.0.0.1:"),
        "{registered}"
    );
    let asked = &server.seen("/authorize").await[0]["query"];
    assert_eq!((&asked["code_challenge_method"], &asked["scope"]), (&json!("S256"), &json!("read")));
    assert_eq!(asked["resource"], json!(server.url().as_str()));
    let (host, user) = (host(), User::with(login));
    let servers = server.session(&user, &host).await;
    assert_eq!(call(&servers, &host, "read").await, done("read"));
    assert_eq!(server.seen("/token").await.len(), 1, "nothing was renewed");
    servers.stop().await;
}

#[tokio::test]
async fn without_a_login_a_run_says_what_to_do_and_asks_nobody() {
    let server = Guarded::start(&[]);
    let (host, user) = (host(), User::nobody());
    let servers = server.session(&user, &host).await;
    let expected = format!("it wants somebody to log in: `blueprint mcp login {}`", server.url());
    assert_eq!(why(&servers), expected);
    assert_eq!(host.notes(), [format!("the MCP server `g` is not there: {expected}")]);
    assert!(server.seen("/register").await.is_empty() && server.seen("/authorize").await.is_empty());
    assert_eq!(server.seen("/mcp").await.iter().filter(|seen| seen["method"].is_string()).count(), 1, "once");
    servers.stop().await;
}

#[tokio::test]
async fn a_login_is_renewed_once_for_all_who_use_it() {
    let server = Guarded::start(&["confidential", "ends"]);
    let login = server.login(&["read", "write"]).await.unwrap();
    let before = login.expires_at().unwrap();
    let (host, user) = (host(), User::with(login));
    let one = server.session(&user, &host).await;
    let other = server.session(&user, &host).await;
    let kept = user.kept(&server.url());
    server.expire().await;
    let (first, second) = tokio::join!(call(&one, &host, "read"), call(&other, &host, "write"));
    assert_eq!((first, second), (done("read"), done("write")));
    let renewals = server.seen("/token").await;
    let renewals: Vec<_> = renewals.iter().filter(|s| s["body"]["grant_type"] == "refresh_token").collect();
    assert_eq!(renewals.len(), 1, "what renews a login can be used only once: {renewals:?}");
    assert_eq!(renewals[0]["body"]["resource"], server.url().as_str());
    let renewed = user.kept(&server.url());
    assert!(renewed != kept, "what was granted is kept");
    let login = blueprint_agent::mcp::Login::from_json(renewed.as_bytes()).unwrap();
    assert!(login.expires_at().unwrap() >= before && login.can_be_renewed());
    server.expire().await;
    assert_eq!(call(&one, &host, "read").await, done("read"), "and again");
    one.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn what_is_granted_to_somebody_who_left_is_kept() {
    let server = Guarded::start(&[]);
    let (host, user) = (host(), User::with(server.login(&[]).await.unwrap()));
    let servers = server.session_within(1, &outside(&user), &host).await;
    let before = user.kept(&server.url());
    server.becomes("stuck").await;
    server.expire().await;
    let late = failed(call(&servers, &host, "read").await);
    assert!(late.contains("no answer within 1 s"), "{late}");
    server.becomes("go").await;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while user.kept(&server.url()) == before {
        assert!(std::time::Instant::now() < deadline, "what was granted is lost");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(call(&servers, &host, "read").await, done("read"));
    let renewals = server.seen("/token").await;
    let renewals = renewals.iter().filter(|seen| seen["body"]["grant_type"] == "refresh_token");
    assert_eq!(renewals.count(), 1);
    servers.stop().await;
}

#[tokio::test]
async fn a_login_that_is_over_is_given_up() {
    let server = Guarded::start(&["once"]);
    let (host, user) = (host(), User::with(server.login(&[]).await.unwrap()));
    let servers = server.session(&user, &host).await;
    server.expire().await;
    let over = failed(call(&servers, &host, "read").await);
    let expected =
        format!("the MCP server `g`: the login for it is over: `blueprint mcp login {}`", server.url());
    assert_eq!(over, expected);
    servers.stop().await;
}

#[tokio::test]
async fn what_a_login_does_not_cover_is_named() {
    let server = Guarded::start(&[]);
    let (host, user) = (host(), User::with(server.login(&[]).await.unwrap()));
    let servers = server.session(&user, &host).await;
    let more = failed(call(&servers, &host, "write").await);
    let expected = format!(
        "the MCP server `g`: it wants the scope `write`: `blueprint mcp login {} --scope read --scope write`",
        server.url()
    );
    assert_eq!(more, expected);
    let odd = failed(call(&servers, &host, "odd").await);
    let expected =
        format!("the MCP server `g`: it wants the scope `a;$(id)`: `blueprint mcp login {}`", server.url());
    assert_eq!(odd, expected, "words of a stranger are no part of a command");
    assert_eq!(call(&servers, &host, "read").await, done("read"), "the rest goes on");
    servers.stop().await;
}

#[tokio::test]
async fn a_login_is_not_shown_to_whoever_grants_access_now() {
    let server = Guarded::start(&[]);
    let (host, user) = (host(), User::with(server.login(&[]).await.unwrap()));
    let servers = server.session(&user, &host).await;
    server.becomes("moved").await;
    server.expire().await;
    let moved = failed(call(&servers, &host, "read").await);
    assert!(moved.contains("somebody else grants access to it now: `blueprint mcp login "), "{moved}");
    assert_eq!(server.seen("/token").await.len(), 1, "only that of the login");
    servers.stop().await;
}

#[tokio::test]
async fn keys_are_asked_for_only_where_the_rules_allow() {
    let server = Guarded::start(&["elsewhere"]);
    let host = host();
    let client = ClientCredentials {
        client_id: "machine".to_owned(),
        proof: Proof::Secret(Secret::new("the machine's own secret")),
        scopes: Vec::new(),
        issuer: None,
        identity: None,
    };
    let user = User::machine(client);
    let servers = server.session(&user, &host).await;
    let elsewhere = server.base.replace("http://127.0.0.1", "localhost");
    assert!(
        why(&servers).contains(&format!("`{elsewhere}` is not asked: the rules do not allow it")),
        "{servers:?}"
    );
    servers.stop().await;
    let mut open = outside(&user);
    open.allows = std::sync::Arc::new(|_| Ok(()));
    let servers = server.session_with(&open, &host).await;
    assert_eq!(call(&servers, &host, "read").await, done("read"));
    assert!(server.seen("/token").await[0]["host"].as_str().unwrap().starts_with("localhost:"));
    servers.stop().await;
}

#[tokio::test]
async fn a_client_of_the_settings_is_let_in_by_its_secret() {
    for (manner, basic) in [("basic", true), ("post", false)] {
        let server = Guarded::start(&[manner]);
        let host = host();
        let client = |issuer: Option<&str>, secret: &str| ClientCredentials {
            client_id: "machine".to_owned(),
            proof: Proof::Secret(Secret::new(secret)),
            scopes: vec!["read".to_owned()],
            issuer: issuer.map(str::to_owned),
            identity: None,
        };
        let right = "the machine's own secret";
        let user = User::machine(client(Some(&server.base), right));
        let servers = server.session(&user, &host).await;
        assert_eq!(call(&servers, &host, "read").await, done("read"));
        server.expire().await;
        assert_eq!(call(&servers, &host, "read").await, done("read"), "let in again");
        let scope = failed(call(&servers, &host, "write").await);
        assert!(scope.contains("the scope `write`, which the client of the settings has not"), "{scope}");
        servers.stop().await;
        let asked = server.seen("/token").await;
        assert_eq!((asked.len(), &asked[0]["basic"]), (2, &json!(basic)));
        assert_eq!(asked[0]["body"]["resource"], server.url().as_str());

        let user = User::machine(client(Some("https://somebody.example"), right));
        let servers = server.session(&user, &host).await;
        assert!(why(&servers).contains("the settings say `https://somebody.example`"), "{}", why(&servers));
        servers.stop().await;
        let user = User::machine(client(None, "the wrong secret"));
        let servers = server.session(&user, &host).await;
        assert!(
            why(&servers).contains("is not let in") && why(&servers).contains("invalid_client"),
            "{}",
            why(&servers)
        );
        servers.stop().await;
        assert_eq!(server.seen("/token").await.len(), 3, "a secret is not shown to somebody else");
    }
}

/// Everything a session said to anybody.
fn said(servers: &Servers, host: &DirectHost) -> String {
    let specs: Vec<_> = servers.tools().iter().map(|tool| format!("{:?}", tool.spec())).collect();
    format!("{specs:?} {:?} {:?} {servers:?}", servers.troubles(), host.notes())
}

async fn conceals(server: &Guarded, text: &str) {
    let granted = server.granted().await;
    assert!(!granted.is_empty());
    for token in granted {
        assert!(!text.contains(&token), "`{token}` is in {text}");
    }
}

#[tokio::test]
async fn what_was_granted_is_in_no_text_of_a_hostile_server() {
    let server = Guarded::start(&["leaky"]);
    let login = server.login(&[]).await.unwrap();
    let (host, user) = (host(), User::with(login.clone()));
    let servers = server.session(&user, &host).await;
    let mut all = said(&servers, &host);
    assert!(all.contains("say Bearer [secret:access_token]"), "{all}");
    for tool in ["schema", "access-"] {
        assert!(!servers.tools().iter().any(|known| known.spec().name.contains(tool)), "{all}");
    }
    assert!(all.contains("it repeats what nobody may see"), "{all}");
    let ToolOutcome::Done(told) = call(&servers, &host, "tell").await else { panic!() };
    assert!(told.starts_with("Bearer [secret:access_token] ") && !told.contains("ccess-"), "{told}");
    let refused = failed(call(&servers, &host, "refuse").await);
    assert_eq!(refused, "the MCP server `g`: it refused (-32000): I had Bearer [secret:access_token]");
    server.becomes("broken").await;
    all += &failed(call(&servers, &host, "read").await);
    server.expire().await;
    server.becomes("echo").await;
    let echoed = failed(call(&servers, &host, "tell").await);
    assert!(echoed.contains("[secret:refresh_token]"), "whoever grants access repeats it: {echoed}");
    let all = format!("{all} {told} {refused} {echoed} {login:?} {user:?}");
    servers.stop().await;
    conceals(&server, &all).await;
    // In the spellings that the server tried, too: `access-` in hexadecimal digits and in base64.
    assert!(
        !all.contains("6163636573732d") && !all.contains("YWNjZXNzL") && !all.contains("FjY2Vzcy"),
        "{all}"
    );
}

#[tokio::test]
async fn a_key_that_is_never_taken_is_not_asked_for_again_and_again() {
    let server = Guarded::start(&[]);
    let client = ClientCredentials {
        client_id: "machine".to_owned(),
        proof: Proof::Secret(Secret::new("the machine's own secret")),
        scopes: Vec::new(),
        issuer: None,
        identity: None,
    };
    let host = host();
    server.becomes("deaf").await;
    let servers = server.session(&User::machine(client), &host).await;
    assert_eq!(why(&servers), "it does not take the key that was just granted for it");
    assert_eq!(server.seen("/token").await.len(), 1);
    servers.stop().await;
}

#[tokio::test]
async fn logins_that_come_to_nothing_say_why() {
    for (manner, expected) in [
        ("denied", "access was not granted: access_denied: not [31mtoday"),
        ("impostor", "the answer is not from who was asked, and was not used: "),
        ("nameless", "the answer is not from who was asked, and was not used: "),
        ("liar", "does not say who grants access to it: "),
        ("closed", "this program is not known to whoever grants access, and cannot register: "),
        ("script", "the page to log in at is none to open: "),
        ("open", "`192.0.2.1` is not asked: others could listen"),
        ("silent", "says nothing of logins, and what servers of old do does not work"),
        ("dpop", "it granted a token of the kind `dpop`"),
        ("elsewhere", "is not asked: the rules do not allow it"),
        ("echo", "the answer could not be exchanged for access: "),
    ] {
        let server = Guarded::start(&[manner]);
        let error = server.login(&[]).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(expected), "{manner}: {text}");
        if manner == "echo" {
            assert!(text.contains("[secret:code]") && text.contains("[secret:code_verifier]"), "{text}");
        }
        if matches!(error, LoginError::Impostor(_) | LoginError::Denied(_)) {
            assert!(server.seen("/token").await.is_empty(), "{manner}: nothing was exchanged");
        }
        for token in server.granted().await {
            assert!(!format!("{text} {error:?}").contains(&token), "{manner}: {text}");
        }
    }
}
