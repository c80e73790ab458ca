//! `mcp`: what an MCP client may see and, above all, what it may not.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use serde_json::{Value, json};

use super::lab::{Lab, files_with};

const SECRET: &str = "s3cr3t-Zx81-correct+horse/battery";

/// A client that has been introduced.
struct Client {
    child: Child,
    say: Option<ChildStdin>,
    hear: BufReader<ChildStdout>,
    number: u32,
}

impl Client {
    fn start(lab: &Lab, version: &str) -> Self {
        let mut command = lab.command(["mcp"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let say = child.stdin.take();
        let hear = BufReader::new(child.stdout.take().unwrap());
        let mut client = Self { child, say, hear, number: 0 };
        let hello = client.ask(
            "initialize",
            &json!({ "protocolVersion": version, "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } }),
        );
        assert_eq!(hello["result"]["protocolVersion"], version);
        assert_eq!(hello["result"]["serverInfo"]["name"], "blueprint");
        assert_eq!(hello["result"]["capabilities"], json!({ "tools": {} }));
        client.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        client
    }

    fn send(&mut self, message: &Value) {
        writeln!(self.say.as_mut().unwrap(), "{message}").unwrap();
    }

    fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.number += 1;
        let number = self.number;
        self.send(&json!({ "jsonrpc": "2.0", "id": number, "method": method, "params": params }));
        let mut line = String::new();
        self.hear.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(answer["id"], number);
        answer
    }

    fn call(&mut self, tool: &str, arguments: &Value) -> Result<String, String> {
        let answer = self.ask("tools/call", &json!({ "name": tool, "arguments": arguments }));
        if let Some(error) = answer.get("error") {
            return Err(error["message"].as_str().unwrap().to_owned());
        }
        let result = &answer["result"];
        let text = result["content"][0]["text"].as_str().unwrap().to_owned();
        if result["isError"] == true { Err(text) } else { Ok(text) }
    }

    fn json(&mut self, tool: &str, arguments: &Value) -> Value {
        serde_json::from_str(&self.call(tool, arguments).unwrap()).unwrap()
    }

    fn leaves(mut self) -> Option<i32> {
        self.say = None;
        self.child.wait().unwrap().code()
    }
}

#[test]
fn a_client_sees_runs_logs_and_blueprints() {
    let lab = Lab::in_git();
    lab.blueprint(
        "talk",
        "[nodes.say]\nrun = [\"sh\", \"-c\", \"seq 500; printf 'a \\\\033[31mred\\\\n'\"]\n[nodes.fail]\nneeds = [\"say\"]\nrun = [\"false\"]\n",
    );
    lab.say(&["run", "talk", "--quiet"]).ends(1);
    let mut client = Client::start(&lab, "2025-11-25");
    let tools = client.ask("tools/list", &json!({}));
    let tools = tools["result"]["tools"].as_array().unwrap();
    let names: Vec<&str> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["runs", "run", "logs", "check", "plan", "explain"]);
    assert!(tools.iter().all(|tool| tool["annotations"]["readOnlyHint"] == true), "{tools:?}");

    let run = lab.run();
    let runs = client.json("runs", &json!({ "limit": 5 }));
    assert_eq!((&runs["runs"][0]["id"], &runs["more"]), (&json!(run), &json!(0)));
    assert_eq!(client.json("run", &json!({ "run": run })), lab.status(&run), "as the command says it");
    let logs = client.call("logs", &json!({ "run": run, "node": "say", "lines": 2 })).unwrap();
    assert_eq!(logs, "[earlier lines are left out]\nsay | 500\nsay | a red");
    assert_eq!(client.json("check", &json!({ "blueprint": "talk" })), json!({ "ok": true, "findings": [] }));
    let text = "schema = 1\nname = \"x\"\n[nodes.a]\nneeds = [\"b\"]\nrun = [\"true\"]\n";
    let found = client.json("check", &json!({ "text": text }));
    assert_eq!(found["ok"], false);
    assert_eq!(found["findings"][0]["place"]["line"], 4, "{found}");
    assert_eq!(client.json("plan", &json!({ "blueprint": "talk" }))["blueprint"], "talk");
    let explained = client.call("explain", &json!({ "what": "fail", "blueprint": "talk" })).unwrap();
    assert!(explained.contains("say"), "{explained}");
    assert_eq!(client.leaves(), Some(0));
}

#[test]
fn a_client_cannot_change_anything_or_see_elsewhere() {
    let lab = Lab::in_git();
    lab.blueprint("talk", "[nodes.say]\nrun = [\"true\"]\n");
    lab.say(&["run", "talk", "--quiet"]).ends(0);
    let outside = lab.beside("outside.toml");
    std::fs::write(&outside, "schema = 1\nname = \"outside\"\n[nodes.a]\nrun = [\"true\"]\n").unwrap();
    std::os::unix::fs::symlink(&outside, lab.project().join("blueprints/link.toml")).unwrap();
    let run = lab.run();
    let before = lab.events(&run);
    let mut client = Client::start(&lab, "2025-06-18");
    for (tool, arguments, why) in [
        ("check", json!({ "blueprint": outside }), "neither a name nor a path in the project"),
        ("check", json!({ "blueprint": "../outside.toml" }), "neither a name nor a path in the project"),
        ("check", json!({ "blueprint": "blueprints/link.toml" }), "is outside the project"),
        ("plan", json!({ "blueprint": "../outside.toml" }), "neither a name nor a path in the project"),
        ("explain", json!({ "what": "a", "blueprint": "../outside.toml" }), "neither a name"),
        // Words of a stranger are never options.
        ("run", json!({ "run": "--help" }), "there is no run `--help`"),
        ("logs", json!({ "run": run, "node": "--follow" }), "--follow"),
        ("plan", json!({ "blueprint": "--project=/" }), "there is no blueprint"),
        ("explain", json!({ "what": "--version" }), "--version"),
        ("run", json!({ "run": run, "state": "/" }), "the arguments make no sense"),
        ("check", json!({ "text": "x".repeat(2 << 20) }), "is longer than"),
        ("explain", json!({ "what": "x".repeat(8000) }), "is longer than"),
        ("check", json!({}), "give either"),
        ("cancel", json!({ "run": run }), "there is no tool `cancel`"),
    ] {
        let said = client.call(tool, &arguments).unwrap_err();
        assert!(said.contains(why), "{tool} {arguments}: {said}");
    }
    assert_eq!(client.leaves(), Some(0));
    assert_eq!(lab.events(&run), before);
    assert_eq!(lab.git(&["status", "--porcelain"]).trim(), "?? blueprints/link.toml");
}

#[test]
fn a_client_never_sees_a_secret_and_no_more_than_it_can_read() {
    let lab = Lab::new();
    lab.blueprint(
        "leaky",
        "[inputs]\ntoken = { type = \"secret\", help = \"A token\" }\n[defaults]\nshell = \"sh\"\n\
         [nodes.print]\nrun = 'echo \"it is $TOKEN.\"'\nenv = { TOKEN = \"inputs.token\" }\n\
         [nodes.much]\nneeds = [\"print\"]\nrun = 'yes 0123456789012345678901234567890123456789012345678901234567890123456789 | head -n 60000'\n\
         [nodes.wide]\nneeds = [\"print\"]\nrun = 'head -c 3000000 /dev/zero | tr \"\\0\" x'\n",
    );
    lab.say_with(&[("TOKEN", SECRET)], &["run", "leaky", "--quiet", "--secret", "token=env:TOKEN"]).ends(0);
    let run = lab.run();
    let mut client = Client::start(&lab, "2025-11-25");
    let printed = client.call("logs", &json!({ "run": run, "node": "print" })).unwrap();
    assert!(printed.contains("it is ") && !printed.contains(SECRET), "{printed}");
    let much = client.call("logs", &json!({ "run": run, "node": "much", "lines": 100_000 })).unwrap();
    assert_eq!(much.lines().count(), 2001, "2000 lines and what is left out");
    let wide = client.call("logs", &json!({ "run": run, "node": "wide" })).unwrap();
    assert!(wide.len() < 600 << 10, "{}", wide.len());
    assert_eq!(client.leaves(), Some(0));
    assert_eq!(files_with(&lab.state(), SECRET.as_bytes()), Vec::<std::path::PathBuf>::new());
}

#[test]
fn what_is_no_conversation_is_told_so() {
    let lab = Lab::new();
    lab.say(&["mcp"]).ends(0);
    let mut command = lab.command(["mcp"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut say = child.stdin.take().unwrap();
    writeln!(say, "{}", json!({ "jsonrpc": "2.0", "id": 1, "result": {} })).unwrap();
    drop(say);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("not the start of an MCP conversation"), "{said}");
}
