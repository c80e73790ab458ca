//! What leaves a node, and what does not: requests of agents, of `http` nodes and of servers of tools, against real servers.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::lab::{Lab, files_with};
use super::server::Server;

/// A project with an agent that fetches these addresses, one after the other.
fn fetching(network: &str, urls: &[&str], settings: &str) -> Lab {
    let turn =
        |url: &&str| format!("[[turn]]\n[[turn.call]]\ntool = \"http.fetch\"\nargs = {{ url = '{url}' }}\n");
    let script: String = urls.iter().map(turn).collect();
    let lab = Lab::in_git();
    lab.settings(settings);
    lab.write("blueprints/ask/model.toml", &format!("{script}[[turn]]\ntext = \"Done.\"\n"));
    lab.blueprint(
        "ask",
        &format!(
            "[nodes.ask]\nagent = {{ prompt = \"Ask.\", model = \"scripted/model.toml\" }}\ntools = [\"http.fetch\"]\nnetwork = [{network}]\n"
        ),
    );
    lab
}

/// The results of the calls of a run, in order.
fn results(lab: &Lab) -> Vec<String> {
    let said = lab.say(&["logs", &lab.run(), "--transcript", "--format", "json"]).ends(0);
    let returned = said.json_lines().into_iter().filter_map(|line| {
        let outcome =
            line["step"]["tool_returned"]["outcome"].as_object()?.values().next()?.as_str()?.to_owned();
        Some(outcome)
    });
    returned.collect()
}

fn ours(address: &str) -> String {
    format!("[egress]\nprivate = [\"{address}\"]\n")
}

#[test]
fn an_agent_reaches_the_hosts_of_its_node_and_no_others() {
    let server = Server::answering(vec![("200 OK\r\nContent-Type: text/plain", "the answer")]);
    let other = Server::answering(vec![("200 OK", "stolen")]);
    let (here, there) = (server.address.to_string(), other.address.to_string());
    let port = server.address.port();
    let urls = [
        format!("http://{here}/a?b=c"),
        format!("http://{there}/"),
        format!("http://localhost:{port}/"),
        format!("http://user@{here}/"),
        format!("http://user:word@{here}/"),
        "http://127.0.0.1/".to_owned(),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        "https://example.org/".to_owned(),
    ];
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    // Four in a row that fail end a session; here each address has a session of its own.
    for (number, url) in urls.iter().enumerate() {
        let single = fetching(&format!("\"{here}\""), &[url], &ours("127.0.0.1:*"));
        single.say(&["run", "ask"]).ends(0);
        let said = results(&single).remove(0);
        if number == 0 {
            assert_eq!(said, "status 200\ncontent-type: text/plain\n\nthe answer");
        } else {
            assert!(said.starts_with("not allowed: "), "{url}: {said}");
        }
        let record = single.show(&single.run(), "ask")["record"]["egress"].clone();
        assert_eq!(record["requests"][0]["status"] == 200, number == 0, "{url}: {record}");
    }
    assert_eq!(server.seen().len(), 1);
    assert_eq!(server.seen()[0].line, "GET /a?b=c HTTP/1.1");
    assert!(other.seen().is_empty());

    // Without a list nobody is reached.
    let none = fetching("", &[&format!("http://{here}/")], &ours("127.0.0.1:*"));
    none.say(&["run", "ask"]).ends(0);
    assert!(results(&none)[0].contains("is not one of the hosts"), "{:?}", results(&none));
    assert_eq!(server.seen().len(), 1);
}

/// Addresses of this machine and its networks are the user's to open, by name and by port, and a name is decided by what
/// it stands for.
#[test]
fn addresses_of_our_own_are_opened_by_the_user_alone() {
    let server = Server::answering(vec![("200 OK", "ours")]);
    let (port, here) = (server.address.port(), server.address.to_string());
    let named = format!("localhost:{port}");
    for (network, url, settings, said) in [
        (&here, format!("http://{here}/"), String::new(), "is an address of this machine"),
        (&here, format!("http://{here}/"), ours("127.0.0.1:1"), "may be reached at other ports only"),
        (
            &named,
            format!("http://{named}/"),
            ours("127.0.0.1:*"),
            "stands for 127.0.0.1, an address of this machine",
        ),
        (&named, format!("http://{named}/"), ours(&named), "status 200"),
        (&here, format!("http://{here}/"), ours(&here), "status 200"),
        (
            &"169.254.169.254:80".to_owned(),
            "http://169.254.169.254/".to_owned(),
            ours("169.254.169.254:*"),
            "is an address of the local link",
        ),
    ] {
        let lab = fetching(&format!("\"{network}\""), &[&url], &settings);
        lab.say(&["run", "ask"]).ends(0);
        let results = results(&lab);
        assert!(results[0].contains(said), "{url} with {settings}: {results:?}");
    }
    assert_eq!(server.seen().len(), 2);

    let lab = Lab::new();
    lab.blueprint("get", &format!("[nodes.get]\nhttp = {{ url = \"http://{here}/\" }}\n"));
    let said = lab.say(&["run", "get"]).ends(1);
    said.mentions("failed (policy): nothing was sent").mentions(&format!("private = [\"{here}\"]"));
    lab.settings(&ours(&here));
    lab.say(&["run", "get"]).ends(0);
    lab.settings(&ours("[::1"));
    lab.say(&["run", "get"]).ends(2).mentions("`[::1`").mentions("written in brackets");
    lab.settings("");
    lab.write("blueprint.toml", &ours(&here));
    lab.say(&["run", "get"]).ends(2).mentions("only the user's own settings file can do that");
    assert_eq!(server.seen().len(), 3);
}

/// No redirect is followed, no proxy of the environment is used, nothing in the shape of a secret is sent.
#[test]
fn nothing_leads_elsewhere() {
    let other = Server::answering(vec![("200 OK", "stolen")]);
    let server = Server::answering(vec![(&format!("302 Found\r\nLocation: http://{}/", other.address), "")]);
    let here = server.address.to_string();
    let token = format!("ghp_{}", "a1B2".repeat(9));
    let urls = [format!("http://{here}/"), format!("http://{here}/?t={token}")];
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let lab = fetching(&format!("\"{here}\""), &urls, &ours(&here));
    let proxy = format!("http://{}/", other.address);
    lab.say_with(&[("HTTP_PROXY", &proxy), ("http_proxy", &proxy), ("ALL_PROXY", &proxy)], &["run", "ask"])
        .ends(0);
    let results = results(&lab);
    assert!(
        results[0].starts_with("status 302\n") && results[0].contains("location: http://"),
        "{results:?}"
    );
    assert_eq!(results[1], "not allowed: the address holds a secret");
    assert_eq!((server.seen().len(), other.seen().len()), (1, 0));
}

/// What was fetched is part of the record: a replay asks nobody and sees the same.
#[test]
fn what_was_fetched_is_replayed() {
    let server = Server::answering(vec![("200 OK", "first"), ("200 OK", "second")]);
    let here = server.address.to_string();
    let lab = fetching(&format!("\"{here}\""), &[&format!("http://{here}/")], &ours(&here));
    lab.say(&["run", "ask"]).ends(0);
    let run = lab.run();
    let said = lab.say(&["replay", &run]).ends(0);
    assert!(said.out.contains("identical: route and diff"), "{said}");
    assert_eq!(results(&lab), ["status 200\ncontent-type: unknown\n\nfirst"]);
    assert_eq!(server.seen().len(), 1);
}

/// A server of tools of another process, over HTTP.
struct Tools {
    child: Child,
    url: String,
}

impl Tools {
    fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../agent/tests/it/mcp_server.py");
        let mut child =
            Command::new("python3").args(["-B", script, "web"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, url: format!("http://127.0.0.1:{}/mcp", line.trim()) }
    }
}

impl Drop for Tools {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A server outside the sandbox is reached at its own host with the headers of the node, its tools work, its key is
/// nowhere, and a replay needs neither.
#[test]
fn a_server_of_tools_is_reached_over_http_and_replayed_without_it() {
    let tools = Tools::start();
    let lab = Lab::in_git();
    lab.settings(&ours("127.0.0.1:*"));
    lab.write(
        "blueprints/ask/model.toml",
        "[[turn]]\n[[turn.call]]\ntool = \"mcp.far.echo\"\nargs = { text = \"hello there\" }\n[[turn.call]]\ntool = \"mcp.far.look\"\n[[turn]]\ntext = \"Done.\"\n",
    );
    let node = format!(
        r#"
[inputs]
key = {{ type = "secret" }}
[nodes.ask]
agent = {{ prompt = "Ask.", model = "scripted/model.toml", mcp = {{ far = {{ url = "{}", headers = {{ authorization = "inputs.key" }}, tools = ["echo", "look"] }} }} }}
"#,
        tools.url
    );
    lab.blueprint("ask", &node);
    let key = [("KEY", "Bearer sesame")];
    let args = ["run", "ask", "--secret", "key=env:KEY"];
    lab.say_with(&key, &args).ends(0);
    assert_eq!(results(&lab), ["hello there", "seen"]);
    let run = lab.run();
    assert_eq!(files_with(&lab.project(), b"sesame"), Vec::<std::path::PathBuf>::new());

    drop(tools);
    let said = lab.say_with(&key, &["replay", &run]).ends(0);
    assert!(said.out.contains("identical: route and diff"), "{said}");
    assert_eq!(results(&lab), ["hello there", "seen"]);

    // Without the server, without the key, and without leave.
    let gone = lab.say_with(&key, &args).ends(1);
    gone.mentions("the server of tools `far`: it did not start: Connection refused").conceals("rmcp::");
    let tools = Tools::start();
    lab.blueprint("ask", &node.replace(url_of(&node), &tools.url));
    lab.say_with(&[("KEY", "Bearer wrong")], &args).ends(1).mentions("the server of tools `far`");
    // A name is decided by what it stands for, and the reason is said.
    lab.blueprint("ask", &node.replace(url_of(&node), &tools.url.replace("127.0.0.1", "localhost")));
    let inside = lab.say_with(&key, &args).ends(1);
    inside.mentions("did not start").mentions("stands for 127.0.0.1, an address of this machine");
    lab.blueprint("ask", &node.replace(url_of(&node), &tools.url));
    lab.settings("");
    lab.say_with(&key, &args).ends(1).mentions("nothing was sent").mentions("is an address of this machine");
    let failure = lab.show(&lab.run(), "ask")["failure"].clone();
    assert_eq!(failure["class"], Value::from("policy"));
}

fn url_of(node: &str) -> &str {
    node.split('"').find(|part| part.starts_with("http://")).unwrap()
}

/// Descriptions of servers that cannot work are found before anything starts.
#[test]
fn servers_that_cannot_be_are_found_before_a_run() {
    let lab = Lab::in_git();
    lab.write("blueprints/ask/model.toml", "[[turn]]\ntext = \"Done.\"\n");
    for (server, code, said) in [
        (
            "{ url = \"https://e.example/mcp\", headers = { accept = \"'x'\" }, tools = [\"*\"] }",
            2,
            "belongs to the protocol",
        ),
        ("{ url = \"https://e.example/mcp\", tools = [\"[\"] }", 2, "the MCP server `far`"),
        ("{ url = \"https://e.example/mcp\", command = [\"x\"], tools = [\"*\"] }", 2, "BP017"),
    ] {
        lab.blueprint(
            "ask",
            &format!("[nodes.ask]\nagent = {{ prompt = \"Ask.\", model = \"scripted/model.toml\", mcp = {{ far = {server} }} }}\n"),
        );
        lab.say(&["run", "ask"]).ends(code).mentions(said);
    }
}
