//! MCP servers of good and bad manners, as processes and over HTTP.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use blueprint_agent::mcp::{NoAccess, Outside, Server, ServerConfig, Servers};
use blueprint_agent::tool::{Effect, HostError, Tool, ToolOutcome};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::direct_host::DirectHost;

const SERVER: &str = include_str!("mcp_server.py");

/// A folder with the server in it.
fn folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("server.py"), SERVER).unwrap();
    dir
}

fn config(value: Value) -> Server {
    serde_json::from_value::<ServerConfig>(value).unwrap().try_into().unwrap()
}

fn process(name: &str, manner: &str, seconds: u64) -> Server {
    config(json!({
        "name": name,
        "command": ["python3", "server.py", manner],
        "tools": ["*"],
        "timeout_seconds": seconds,
    }))
}

fn outside() -> Outside {
    Outside {
        client: reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap(),
        allows: Arc::new(|url| {
            if url.starts_with("http://127.0.0.1:") { Ok(()) } else { Err(format!("`{url}` is not allowed")) }
        }),
        value: Arc::new(|name| (name == "KEY").then(|| "Bearer sesame".to_owned())),
        access: Arc::new(NoAccess),
    }
}

async fn start(servers: Vec<Server>, host: &DirectHost) -> Servers {
    Servers::start(servers, &outside(), host, &CancellationToken::new()).await.unwrap()
}

fn tool(servers: &Servers, name: &str) -> Arc<dyn Tool> {
    let found = servers.tools().iter().find(|tool| tool.spec().name == name);
    Arc::clone(found.unwrap_or_else(|| panic!("no `{name}`: {:?}", servers.troubles())))
}

async fn call(servers: &Servers, host: &DirectHost, name: &str, arguments: Value) -> ToolOutcome {
    tool(servers, name).call(host, arguments, &CancellationToken::new()).await.unwrap()
}

fn failed(outcome: ToolOutcome) -> String {
    match outcome {
        ToolOutcome::Failed(why) => why,
        other => panic!("{other:?}"),
    }
}

fn names(servers: &Servers) -> Vec<&str> {
    servers.tools().iter().map(|tool| tool.spec().name.as_str()).collect()
}

fn why(servers: &Servers, tool: Option<&str>) -> String {
    let found = servers.troubles().iter().find(|trouble| trouble.tool.as_deref() == tool);
    found.unwrap_or_else(|| panic!("{:?}", servers.troubles())).why.clone()
}

#[tokio::test]
async fn tools_are_named_after_their_server_and_let_in_by_globs() {
    let dir = folder();
    let host = DirectHost::new(dir.path());
    let some = config(json!({
        "name": "some", "command": ["python3", "server.py", "good"], "tools": ["e*", "look"],
        "trust_annotations": true,
    }));
    let none = config(json!({ "name": "none", "command": ["python3", "server.py", "good"], "tools": [] }));
    let servers = start(vec![some, none, process("all", "chatty", 20)], &host).await;
    assert_eq!(servers.troubles(), []);
    let names = names(&servers);
    assert_eq!(names[..3], ["mcp.some.echo", "mcp.some.look", "mcp.some.env"]);
    assert_eq!(names.iter().filter(|name| name.starts_with("mcp.all.")).count(), 11);
    assert!(!names.iter().any(|name| name.starts_with("mcp.none.")));
    let echo = tool(&servers, "mcp.some.echo");
    assert_eq!(echo.spec().description, "[31mSays it again.", "nothing that draws or hides");
    assert_eq!(echo.spec().schema["required"], json!(["text"]));
    assert_eq!(echo.spec().effect, Effect::Destructive, "nothing was said of it");
    assert_eq!(tool(&servers, "mcp.some.look").spec().effect, Effect::Read, "trusted");
    assert_eq!(tool(&servers, "mcp.all.look").spec().effect, Effect::Destructive, "not trusted");
    servers.stop().await;
}

#[tokio::test]
async fn tools_that_cannot_be_told_apart_or_understood_are_not_offered() {
    let dir = folder();
    let host = DirectHost::new(dir.path());
    let servers = start(vec![process("odd", "strange", 20)], &host).await;
    let reasons = [
        ("mcp.odd.same_one", "a model could not tell it from another tool"),
        ("big", "its schema has more than 65536 bytes"),
        ("elsewhere", "its schema refers to something outside of it"),
        ("no object", "its arguments are no object"),
    ];
    for (name, reason) in reasons {
        assert_eq!(why(&servers, Some(name)), reason);
    }
    let twice = servers.troubles().iter().filter(|t| t.tool.as_deref() == Some("mcp.odd.same_one")).count();
    assert_eq!(twice, 2, "neither of the two");
    let names = names(&servers);
    assert_eq!(names.len(), 12, "{names:?}");
    assert!(names.contains(&"mcp.odd.hidden_name"), "{names:?}");
    assert!(host.notes().iter().any(|note| note.contains("`big` of the MCP server `odd` is not offered")));
    servers.stop().await;
}

#[tokio::test]
async fn a_list_without_end_is_cut() {
    let dir = folder();
    let host = DirectHost::new(dir.path());
    let servers = start(vec![process("endless", "endless", 20)], &host).await;
    assert!(servers.tools().is_empty() && servers.troubles().len() == 512, "{}", servers.troubles().len());
    servers.stop().await;
}

#[tokio::test]
async fn results_are_texts_and_the_names_of_what_is_none() {
    let dir = folder();
    let host = DirectHost::new(dir.path()).hiding("sesame");
    let servers = start(vec![process("s", "good", 20)], &host).await;
    let said = call(&servers, &host, "mcp.s.echo", json!({ "text": "open sesame" })).await;
    assert_eq!(said, ToolOutcome::Done("open [hidden]".to_owned()));
    let kinds = call(&servers, &host, "mcp.s.kinds", json!({})).await;
    let expected = "one[2J\n[an image, image/png, left out]\n[a sound, audio/wav, left out]\n[a link to a: file:///a]\n\
                    [file:///b]\ntwo\n[file:///c, of no known type, left out]";
    assert_eq!(kinds, ToolOutcome::Done(expected.to_owned()));
    assert_eq!(failed(call(&servers, &host, "mcp.s.fail", json!({})).await), "it is broken");
    let refused = failed(call(&servers, &host, "mcp.s.refuse", json!({})).await);
    assert_eq!(refused, "the MCP server `s`: it refused (-32602): I [1mdo not[0m want to at all");
    servers.stop().await;
}

#[tokio::test]
async fn a_server_gets_the_values_it_was_promised_and_no_others() {
    let dir = folder();
    let host = DirectHost::new(dir.path());
    let with = |name: &str| {
        config(json!({
            "name": name.to_ascii_lowercase(), "command": ["python3", "server.py", "good"],
            "tools": ["env"], "env": [name],
        }))
    };
    let servers = start(vec![with("KEY"), with("OTHER")], &host).await;
    assert_eq!(names(&servers), ["mcp.key.env"]);
    assert_eq!(why(&servers, None), "`OTHER` has no value here");
    let ToolOutcome::Done(env) = call(&servers, &host, "mcp.key.env", json!({})).await else { panic!() };
    assert_eq!(serde_json::from_str::<Value>(&env).unwrap()["KEY"], "Bearer sesame");
    servers.stop().await;
}

#[tokio::test]
async fn a_changed_list_is_asked_for_again() {
    let dir = folder();
    let host = DirectHost::new(dir.path());
    let mut servers = start(vec![process("s", "good", 20)], &host).await;
    let cancel = CancellationToken::new();
    assert!(!servers.refresh(&host, &cancel).await.unwrap());
    call(&servers, &host, "mcp.s.grow", json!({})).await;
    assert!(servers.refresh(&host, &cancel).await.unwrap());
    assert!(names(&servers).contains(&"mcp.s.grown"));
    assert!(!servers.refresh(&host, &cancel).await.unwrap(), "once");
    servers.stop().await;
}

#[tokio::test]
async fn what_a_server_asks_of_us_is_refused() {
    let dir = folder();
    let host = DirectHost::new(dir.path());
    let servers = start(vec![process("s", "good", 20)], &host).await;
    let ToolOutcome::Done(answers) = call(&servers, &host, "mcp.s.ask", json!({})).await else { panic!() };
    let answers: Vec<&str> = answers.lines().collect();
    for (answer, expected) in answers.iter().zip([
        r#"roots/list {"code": -32601"#,
        r#"sampling/createMessage {"code": -32601"#,
        r#"elicitation/create {"action": "decline""#,
        r#"nonsense/method {"code": -32601"#,
    ]) {
        assert!(answer.starts_with(expected), "{answer}");
    }
    assert_eq!(answers.len(), 4);
    servers.stop().await;
}

fn curious(elicitation: &Value) -> Server {
    config(json!({
        "name": "s", "command": ["python3", "server.py", "curious"], "tools": ["*"], "timeout_seconds": 20,
        "elicitation": elicitation,
    }))
}

#[tokio::test]
async fn forms_are_answered_with_their_defaults_where_the_configuration_says_so() {
    let dir = folder();
    let host = DirectHost::new(dir.path()).hiding("password");
    let servers = start(vec![curious(&json!("defaults"))], &host).await;
    let ToolOutcome::Done(answers) = call(&servers, &host, "mcp.s.ask", json!({})).await else { panic!() };
    assert!(answers.contains(r#"elicitation/create {"action": "accept", "content": {}}"#), "{answers}");
    assert_eq!(host.notes(), ["the MCP server `s`: it asked `Your [hidden]?`, and the answer was {}"]);
    let ToolOutcome::Done(said) = call(&servers, &host, "mcp.s.rounds", json!({})).await else { panic!() };
    let expected = json!(["2", {
        "one": { "action": "decline" },
        "two": { "action": "accept", "content": {} },
    }]);
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap(), expected);
    assert_eq!(host.notes().len(), 4, "{:?}", host.notes());
    let endless = failed(call(&servers, &host, "mcp.s.forever", json!({})).await);
    assert_eq!(endless, "the MCP server `s`: it still asks after 8 answers");
    let model = failed(call(&servers, &host, "mcp.s.model", json!({})).await);
    assert_eq!(model, "the MCP server `s`: it asks for a model or for folders, which are not offered");
    servers.stop().await;
}

#[tokio::test]
async fn a_server_that_asks_nothing_is_given_back_what_it_remembers_by() {
    let dir = folder();
    let host = DirectHost::new(dir.path());
    let servers = start(vec![curious(&Value::Null)], &host).await;
    let again = call(&servers, &host, "mcp.s.again", json!({})).await;
    assert_eq!(again, ToolOutcome::Done(r#"["later", null]"#.to_owned()));
    let heavy = failed(call(&servers, &host, "mcp.s.heavy", json!({})).await);
    assert_eq!(heavy, "the MCP server `s`: it wants to be given back more than 65536 bytes");
    let nobody = failed(call(&servers, &host, "mcp.s.rounds", json!({})).await);
    assert_eq!(nobody, "the MCP server `s`: it asks a question, and nobody is there to answer");
    assert_eq!(host.notes(), Vec::<String>::new());
    servers.stop().await;
}

#[tokio::test]
async fn a_server_that_dies_costs_a_call_and_is_started_once_more() {
    let dir = folder();
    let host = DirectHost::new(dir.path());
    let servers = start(vec![process("s", "good", 20)], &host).await;
    let died = failed(call(&servers, &host, "mcp.s.die", json!({})).await);
    assert!(died.contains("what it has done is not known"), "{died}");
    let back = call(&servers, &host, "mcp.s.echo", json!({ "text": "back" })).await;
    assert_eq!(back, ToolOutcome::Done("back".to_owned()));
    assert_eq!(host.opened().len(), 2);
    failed(call(&servers, &host, "mcp.s.die", json!({})).await);
    for _ in 0..2 {
        let gone = failed(call(&servers, &host, "mcp.s.echo", json!({ "text": "?" })).await);
        assert!(gone.contains("it is not there any more"), "{gone}");
        assert!(gone.contains("something terrible happened"), "{gone}");
    }
    assert_eq!(host.opened().len(), 2, "no third time");
    servers.stop().await;
}

/// What a server was told about calls nobody waits for.
async fn cancelled(dir: &Path) -> Value {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Ok(text) = std::fs::read_to_string(dir.join("cancelled"))
            && let Ok(value) = serde_json::from_str(&text)
        {
            return value;
        }
        assert!(Instant::now() < deadline, "the server never heard of it");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_cancelled_and_the_server_lives_on() {
    let dir = folder();
    let host = DirectHost::new(dir.path());
    let servers = start(vec![process("s", "good", 1)], &host).await;
    let late = failed(call(&servers, &host, "mcp.s.slow", json!({})).await);
    assert_eq!(late, "the MCP server `s`: no answer within 1 s; the call was cancelled");
    assert!(cancelled(dir.path()).await["requestId"].is_number());
    let on = call(&servers, &host, "mcp.s.echo", json!({ "text": "on" })).await;
    assert_eq!(on, ToolOutcome::Done("on".to_owned()));
    assert_eq!(host.opened().len(), 1);
    servers.stop().await;
}

#[tokio::test]
async fn a_server_that_freezes_is_replaced() {
    let dir = folder();
    let host = DirectHost::new(dir.path());
    let servers = start(vec![process("s", "good", 1)], &host).await;
    failed(call(&servers, &host, "mcp.s.freeze", json!({})).await);
    let on = call(&servers, &host, "mcp.s.echo", json!({ "text": "on" })).await;
    assert_eq!(on, ToolOutcome::Done("on".to_owned()));
    assert_eq!(host.opened().len(), 2);
    servers.stop().await;
}

#[tokio::test]
async fn a_cancelled_session_cancels_its_calls() {
    let dir = folder();
    let host = DirectHost::new(dir.path());
    let servers = start(vec![process("s", "good", 20)], &host).await;
    let cancel = CancellationToken::new();
    let slow = tool(&servers, "mcp.s.slow");
    let (outcome, ()) = tokio::join!(slow.call(&host, json!({}), &cancel), async {
        // The server answers one thing after the other: it has the slow call when it has answered this one.
        call(&servers, &host, "mcp.s.look", json!({})).await;
        cancel.cancel();
    });
    assert!(matches!(outcome, Err(HostError::Cancelled)), "{outcome:?}");
    cancelled(dir.path()).await;
    servers.stop().await;
}

#[tokio::test]
async fn servers_without_manners_cost_nobody_else_anything() {
    let dir = folder();
    let host = DirectHost::new(dir.path());
    let mut all: Vec<Server> =
        ["mute", "gone", "garbage", "long"].iter().map(|manner| process(manner, manner, 2)).collect();
    all.push(process("good", "good", 20));
    let servers = start(all, &host).await;
    assert_eq!(servers.tools().len(), 11);
    let reasons: Vec<(&str, &str)> =
        servers.troubles().iter().map(|t| (t.server.as_str(), t.why.as_str())).collect();
    assert_eq!(reasons.len(), 4, "{reasons:?}");
    assert_eq!(reasons[0], ("mute", "it did not introduce itself within 2 s"));
    assert!(reasons[1].1.starts_with("it did not start: "), "{reasons:?}");
    assert!(reasons[1].1.contains("I never wanted this[31m"), "{reasons:?}");
    assert_eq!(reasons[2], ("garbage", "it did not introduce itself within 2 s"));
    assert_eq!(reasons[3], ("long", "it did not introduce itself within 2 s"));
    assert_eq!(host.notes().len(), 4);
    servers.stop().await;
}

/// A server of another process, reached over HTTP.
struct Web {
    child: Child,
    url: String,
}

impl Web {
    fn start(dir: &Path, manner: &str) -> Self {
        let mut child = std::process::Command::new("python3")
            .args(["server.py", manner])
            .current_dir(dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { url: format!("http://127.0.0.1:{}/mcp", line.trim()), child }
    }

    fn server(&self, name: &str, headers: &Value) -> Server {
        let url = &self.url;
        config(json!({ "name": name, "url": url, "headers": headers, "tools": ["*"], "timeout_seconds": 5 }))
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[tokio::test]
async fn a_server_over_http_is_used_with_its_key() {
    let dir = folder();
    let host = DirectHost::new(dir.path()).hiding("sesame");
    let mut web = Web::start(dir.path(), "web");
    let servers = start(
        vec![
            web.server("web", &json!({ "Authorization": "KEY" })),
            web.server("keyless", &json!({})),
            config(json!({ "name": "far", "url": "http://192.0.2.1/mcp", "tools": ["*"] })),
        ],
        &host,
    )
    .await;
    assert_eq!(servers.tools().len(), 11);
    assert!(servers.tools().iter().all(|tool| tool.spec().effect == Effect::Network));
    let troubles: Vec<_> = servers.troubles().iter().map(|t| (t.server.as_str(), t.why.as_str())).collect();
    assert_eq!(troubles.len(), 2, "{troubles:?}");
    assert!(
        troubles[0].0 == "keyless" && troubles[0].1.starts_with("it wants somebody to log in"),
        "{troubles:?}"
    );
    assert_eq!(troubles[1], ("far", "`http://192.0.2.1/mcp` is not allowed"));
    let said = call(&servers, &host, "mcp.web.echo", json!({ "text": "open sesame" })).await;
    assert_eq!(said, ToolOutcome::Done("open [hidden]".to_owned()));
    let gone = failed(call(&servers, &host, "mcp.web.die", json!({})).await);
    assert!(gone.starts_with("the MCP server `web`: "), "{gone}");
    web.child.wait().unwrap();
    let gone = failed(call(&servers, &host, "mcp.web.echo", json!({ "text": "?" })).await);
    assert!(gone.starts_with("the MCP server `web`: "), "{gone}");
    servers.stop().await;
}

#[tokio::test]
async fn a_server_over_http_cannot_send_us_elsewhere() {
    let dir = folder();
    let host = DirectHost::new(dir.path());
    let web = Web::start(dir.path(), "web-redirect");
    let servers = start(vec![web.server("web", &json!({ "Authorization": "KEY" }))], &host).await;
    assert!(servers.tools().is_empty());
    assert!(why(&servers, None).contains("307"), "{:?}", servers.troubles());
    servers.stop().await;
}

#[test]
fn descriptions_that_make_no_sense_are_refused() {
    let good = json!({ "name": "s", "command": ["x"], "tools": [] });
    let wrong = |changes: Value| {
        let mut value = good.clone();
        for (key, change) in changes.as_object().unwrap() {
            value[key] = change.clone();
        }
        let config: ServerConfig = serde_json::from_value(value).unwrap();
        Server::try_from(config).unwrap_err().to_string()
    };
    for (changes, expected) in [
        (json!({ "name": "A" }), "a name has at most"),
        (json!({ "name": "a.b" }), "a name has at most"),
        (json!({ "timeout_seconds": 0 }), "`timeout_seconds` is between"),
        (json!({ "tools": ["[", "a"] }), "error parsing glob"),
        (json!({ "command": null }), "either a `command` or a `url`"),
        (json!({ "url": "https://example.com" }), "either a `command` or a `url`"),
        (json!({ "command": [] }), "names no program"),
        (json!({ "headers": { "X-A": "B" } }), "`headers` are for servers with a `url`"),
        (json!({ "command": null, "url": "ftp://example.com" }), "begins with"),
        (json!({ "command": null, "url": "https://user:word@example.com" }), "holds a secret"),
        (json!({ "command": null, "url": "https://e.com", "env": ["A"] }), "`env` is for servers"),
        (
            json!({ "command": null, "url": "https://e.com", "headers": { "Accept": "A" } }),
            "belongs to the protocol",
        ),
        (json!({ "command": null, "url": "https://e.com", "headers": { "a b": "A" } }), "is no header"),
        (json!({ "command": null, "url": "https://e.com", "headers": { "X-a": "A", "x-A": "B" } }), "twice"),
    ] {
        let error = wrong(changes.clone());
        assert!(error.contains(expected), "{changes}: {error}");
    }
    let unknown = json!({ "name": "s", "command": ["x"], "tools": [], "trust": true });
    assert!(serde_json::from_value::<ServerConfig>(unknown).is_err());
    let unscoped = json!({ "name": "s", "command": ["x"] });
    assert!(serde_json::from_value::<ServerConfig>(unscoped).is_err(), "which tools is never left open");
}
