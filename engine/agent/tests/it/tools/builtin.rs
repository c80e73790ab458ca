//! The shell, the history, requests outside, and what becomes of file tools whose sandbox or program fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use blueprint_agent::tool::builtin::{Finish, builtin};
use blueprint_agent::tool::{Effect, Fetched, GitQuery, HostError, ToolOutcome};
use serde_json::json;

use super::process_host::{ProcessHost, SECRET, dispatch, everything};

#[tokio::test]
async fn a_command_gives_its_code_and_both_streams() {
    let host = ProcessHost::new();
    host.put("sub/file", "");
    let text = host.done("shell", json!({"command": "ls; echo oops >&2; exit 3", "cwd": "sub"})).await;
    assert_eq!(text, "exit code 3\n--- stdout\nfile\n\n--- stderr\noops\n");
    assert_eq!(host.done("shell", json!({"command": "true"})).await, "exit code 0\nno output");
    assert!(host.done("shell", json!({"command": "false | true; echo on"})).await.starts_with("exit code 1"));
    let text = host.done("shell", json!({"command": format!("printf 'a\\x1b[31m\\xff {SECRET}'")})).await;
    assert_eq!(text, "exit code 0\n--- stdout\na\u{fffd} [hidden]");
    let text = host.failed("shell", json!({"command": "kill -KILL $$"})).await;
    assert!(text.starts_with("ended by signal 9"), "{text}");
}

#[tokio::test]
async fn the_text_of_a_command_is_one_argument() {
    let host = ProcessHost::new();
    for text in ["-c 'echo bad'", "--version", "-x", "echo '$(echo a)' \"b\"", "#\n\necho a"] {
        host.call("shell", json!({ "command": text })).await;
        let argv = host.ran().pop().unwrap().argv;
        assert_eq!(argv[..7], ["bash", "--noprofile", "--norc", "-euo", "pipefail", "-c", "--"]);
        assert_eq!(argv[7..], [text]);
    }
    // Not an option of bash, but a command that does not exist.
    let text = host.done("shell", json!({"command": "--version"})).await;
    assert!(text.starts_with("exit code 127") && !text.contains("GNU bash, version"), "{text}");
}

#[tokio::test]
async fn a_command_stays_in_the_workspace_and_in_its_time() {
    let host = ProcessHost::new();
    for cwd in ["/", "..", "a/../..", "a\0"] {
        host.failed("shell", json!({"command": "true", "cwd": cwd})).await;
    }
    host.failed("shell", json!({"command": "true\0"})).await;
    host.failed("shell", json!({"command": "true", "timeout": 61})).await;
    host.failed("shell", json!({"command": "true", "timeout": 0})).await;
    host.failed("shell", json!({"command": ""})).await;
    assert_eq!(host.ran(), [], "nothing of this was run");
    host.done("shell", json!({"command": "true"})).await;
    assert_eq!(host.ran()[0].wall, Duration::from_mins(1), "never longer than the ceiling");
    assert_eq!(host.ran()[0].effect, Effect::Destructive);
    let begun = Instant::now();
    let text = host.failed("shell", json!({"command": "echo begun; sleep 1000 & wait", "timeout": 1})).await;
    assert!(text.starts_with("stopped after 1 s") && text.contains("begun"), "{text}");
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn the_output_of_a_command_has_an_end() {
    let host = ProcessHost::new();
    let text = host
        .done("shell", json!({"command": "head -c 100000000 /dev/zero | tr '\\0' x; echo >&2 last"}))
        .await;
    assert!(text.len() <= 64 * 1024 && text.starts_with("exit code 0\n["), "{}", text.len());
    assert!(text.contains("bytes of output were dropped") && text.ends_with("last\n"));
}

#[tokio::test]
async fn questions_to_the_history_go_to_the_host() {
    let host = ProcessHost::new();
    assert_eq!(host.done("git.diff", json!({"paths": ["src", "a b"]})).await, "no changes");
    assert_eq!(host.done("git.diff", json!({})).await, "no changes");
    assert_eq!(host.done("git.status", json!({})).await, "no changes");
    assert_eq!(host.done("git.log", json!({"path": "src"})).await, "no commits");
    let asked = [
        GitQuery::Diff { paths: vec!["src".to_owned(), "a b".to_owned()] },
        GitQuery::Diff { paths: vec![] },
        GitQuery::Status,
        GitQuery::Log { limit: 20, path: Some("src".to_owned()) },
    ];
    assert_eq!(host.asked(), asked);
    for path in ["/etc", "../x", "a\0"] {
        host.failed("git.diff", json!({ "paths": [path] })).await;
        host.failed("git.log", json!({ "path": path })).await;
    }
    host.failed("git.diff", json!({"paths": ["--output=x", 7]})).await;
    assert_eq!(host.asked().len(), 4);
}

#[tokio::test]
async fn a_request_outside_is_told_or_refused() {
    let mut host = ProcessHost::new();
    let arguments = json!({"url": "https://example.com/"});
    let text = host.failed("http.fetch", arguments.clone()).await;
    assert_eq!(text, "not allowed: this node reaches nobody");
    for url in ["file:///etc/passwd", "ftp://example.com/", "https", " https://a.example", ""] {
        assert!(host.failed("http.fetch", json!({ "url": url })).await.starts_with("refused"), "{url}");
    }
    let page = |body: &[u8], truncated: bool| Fetched {
        status: 200,
        content_type: Some("text/html\n\u{1b}[2J".to_owned()),
        location: truncated.then(|| "https://example.org/\n".to_owned()),
        body: body.to_vec(),
        truncated,
    };
    host.fetched = Some(page(b"<p>caf\xe9</p>", true));
    let text = host.done("http.fetch", arguments.clone()).await;
    assert_eq!(
        text,
        "status 200\ncontent-type: text/html  [2J\nlocation: https://example.org/ \n[only the first 11 bytes]\n\n<p>caf\u{fffd}</p>"
    );
    host.fetched = Some(page(b"\0\x01", false));
    assert!(host.done("http.fetch", arguments).await.ends_with("a binary body of 2 bytes"));
}

#[tokio::test]
async fn a_session_ends_with_outputs_that_fit() {
    let host = ProcessHost::new();
    let outputs = json!({"type": "object", "properties": {"done": {"type": "boolean"}}, "required": ["done"],
        "additionalProperties": false});
    let toolbox = everything(vec![Arc::new(Finish::new(outputs))]);
    let ended = dispatch(&toolbox, &host, "finish", json!({"done": true})).await.unwrap();
    assert_eq!(ended, ToolOutcome::Finish(json!({"done": true})));
    for wrong in [json!({}), json!({"done": "yes"}), json!({"done": true, "more": 1}), json!("done")] {
        let ended = dispatch(&toolbox, &host, "finish", wrong).await.unwrap();
        assert!(matches!(ended, ToolOutcome::Failed(text) if text.starts_with("refused")));
    }
}

/// What becomes of a call when something else stands where the file tools should.
async fn instead(program: &[&str]) -> (Result<ToolOutcome, HostError>, ProcessHost) {
    let mut host = ProcessHost::new();
    host.file_tools = Some(program.iter().map(|part| (*part).to_owned()).collect());
    let toolbox = everything(builtin(Duration::from_mins(1)));
    (dispatch(&toolbox, &host, "fs.list", json!({})).await, host)
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_a_failed_call() {
    let hostile = [
        "exit 0",
        "exit 3",
        "echo '{'",
        "echo '{\"ok\": 7}'",
        "echo '{\"ok\": \"a\"} {\"ok\": \"b\"}'",
        "echo '{\"done\": \"a\"}'",
        "echo '{\"ok\": \"a\", \"more\": 1}'",
        "echo '{\"ok\": \"a\"}'; exit 1",
        "head -c 50000000 /dev/zero",
    ];
    for line in hostile {
        let (outcome, _) = instead(&["sh", "-c", line]).await;
        let ToolOutcome::Failed(text) = outcome.unwrap() else { panic!("{line}") };
        assert!(text.contains("no readable answer"), "{line}: {text}");
    }
    let (outcome, host) = instead(&["sh", "-c", &format!("echo '{SECRET}' >&2; exit 9")]).await;
    assert!(matches!(outcome, Ok(ToolOutcome::Failed(_))));
    assert_eq!(host.notes(), ["fs.list: no readable answer, code 9: [hidden] "]);
    let (outcome, _) = instead(&["sh", "-c", "kill -SEGV $$"]).await;
    assert!(matches!(outcome, Ok(ToolOutcome::Failed(text)) if text.contains("signal 11")));
}

#[tokio::test]
async fn a_program_that_cannot_be_started_ends_the_session() {
    for program in [&["/nowhere/program"][..], &["", "--serve"], &[]] {
        let (outcome, _) = instead(program).await;
        assert!(matches!(outcome, Err(HostError::Sandbox(_))), "{program:?}");
    }
}

#[tokio::test]
async fn the_server_answers_whatever_it_is_asked() {
    let host = ProcessHost::new();
    let program = blueprint_agent::tool::ToolHost::file_tools(&host).remove(0);
    let deep = format!("{{\"tool\": \"fs.list\", \"args\": {}1{}}}", "[".repeat(5000), "]".repeat(5000));
    let huge = " ".repeat(17 * 1024 * 1024);
    for request in [
        "",
        "{",
        "7",
        "{\"tool\": \"shell\", \"args\": {}}",
        "{\"tool\": \"fs.list\"}",
        "{\"tool\": \"fs.read\", \"args\": {\"path\": \"a\", \"more\": 1}}",
        "\u{0}",
        deep.as_str(),
        huge.as_str(),
    ] {
        let mut child = std::process::Command::new(&program)
            .current_dir(host.path(""))
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        drop(std::io::Write::write_all(&mut stdin, request.as_bytes()));
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(answer["failed"].as_str().unwrap().len() < 300, "{answer}");
    }
}

#[test]
fn what_a_model_is_told_of_the_tools_is_short_and_strict() {
    for tool in builtin(Duration::from_mins(10)) {
        let spec = tool.spec();
        assert!((10..260).contains(&spec.description.len()), "{}", spec.name);
        assert_eq!(spec.schema["additionalProperties"], json!(false), "{}", spec.name);
        assert_eq!(spec.schema["type"], json!("object"), "{}", spec.name);
        assert!(spec.wire_name().chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{}", spec.name);
    }
}
