//! `http` nodes against a real server: what is sent, what is taken in, and what counts as a failure.

use super::lab::{Lab, files_with, node_of};
use super::server::Server;

/// What the user says so that requests to servers of a test may be made.
const OURS: &str = "[egress]\nprivate = [\"127.0.0.1:*\"]\n";

fn ran(server: &Server, node: &str) -> (Lab, super::lab::Said) {
    let lab = Lab::new();
    lab.settings(OURS);
    let node = node.replace("SERVER", &format!("http://{}", server.address));
    lab.blueprint(
        "request",
        &format!("[inputs]\nid = {{ type = \"string\", default = \"a/b?c\" }}\n[defaults]\n{node}"),
    );
    let said = lab.say(&["run", "request"]);
    (lab, said)
}

#[test]
fn an_answer_is_checked_and_its_values_are_typed() {
    let server = Server::answering(vec![(
        "200 OK\r\nETag: \"v7\"\r\nContent-Type: application/json",
        r#"{"items": [{"n": 1}, {"n": 2}], "next": null}"#,
    )]);
    let (lab, said) = ran(
        &server,
        r#"
[nodes.get]
http   = { url = "SERVER/things/{{ inputs.id | urlencode }}", headers = { accept = "'application/json'", x-id = "inputs.id" } }
output = { code = { type = "integer", from = "status" }, tag = { type = "string", from = "headers.etag" }, count = { type = "integer", from = "body['items'] | length" } }

[nodes.show]
needs = ["get"]
run   = "printf '%s '"
args  = ["nodes.get.code", "nodes.get.tag", "nodes.get.count"]
"#,
    );
    said.ends(0).mentions("200 \"v7\" 2");
    let seen = server.seen();
    assert_eq!(seen.len(), 1);
    assert!(seen[0].line.starts_with("GET /things/a"), "{:?}", seen[0]);
    assert!(!seen[0].line.contains("?c"), "the value must not become a query: {:?}", seen[0]);
    assert_eq!((seen[0].header("accept"), seen[0].header("x-id")), (Some("application/json"), Some("a/b?c")));
    assert_eq!(seen[0].header("idempotency-key"), None);
    lab.verify(&lab.run());
}

#[test]
fn a_server_that_is_overloaded_is_asked_again_with_the_same_key() {
    let server =
        Server::answering(vec![("500 Oops", "no"), ("503 Busy", "no"), ("201 Created", r#"{"id": 7}"#)]);
    let (lab, said) = ran(
        &server,
        r#"
[nodes.make]
http   = { method = "POST", url = "SERVER/things", json = { name = "inputs.id", size = "1 + 1" } }
output = { id = "integer" }
retry  = { attempts = 4, backoff = "10ms", on = ["infra"] }
"#,
    );
    said.ends(0);
    let seen = server.seen();
    assert_eq!(seen.len(), 3);
    let keys: Vec<_> = seen.iter().map(|request| request.header("idempotency-key").unwrap()).collect();
    assert!(keys.iter().all(|key| *key == keys[0] && key.len() >= 32), "{keys:?}");
    let body: serde_json::Value = serde_json::from_str(&seen[2].body).unwrap();
    assert_eq!(body, serde_json::json!({ "name": "a/b?c", "size": 2 }));
    assert_eq!(seen[0].header("content-type"), Some("application/json"));
    assert_eq!(lab.show(&lab.run(), "make")["outputs"]["id"], 7);
}

#[test]
fn another_run_has_another_key() {
    let server = Server::answering(vec![("204 No Content", "")]);
    let (lab, said) = ran(
        &server,
        "[nodes.make]\nhttp = { method = \"POST\", url = \"SERVER/\", body = \"hello {{ inputs.id }}\" }\n",
    );
    said.ends(0);
    lab.say(&["run", "request"]).ends(0);
    let seen = server.seen();
    assert_eq!(seen[0].body, "hello a/b?c");
    assert_ne!(seen[0].header("idempotency-key"), seen[1].header("idempotency-key"));
}

#[test]
fn a_refusal_is_not_asked_again() {
    let server = Server::answering(vec![("404 Not Found", "nothing here"), ("200 OK", "")]);
    let (lab, said) = ran(
        &server,
        "[nodes.get]\nhttp = { url = \"SERVER/\" }\nretry = { attempts = 3, backoff = \"1ms\", on = [\"infra\"] }\n",
    );
    said.ends(1).mentions("the server answered 404");
    assert_eq!(server.seen().len(), 1);
    // What it said is on record.
    let run = lab.run();
    assert_eq!(lab.show(&run, "get")["record"]["status"], 404);
}

#[test]
fn an_expected_status_is_a_success() {
    let server = Server::answering(vec![("404 Not Found", "")]);
    ran(&server, "[nodes.get]\nhttp = { url = \"SERVER/\", expect = [200, 404] }\n").1.ends(0);
    let server = Server::answering(vec![("200 OK", "")]);
    ran(&server, "[nodes.get]\nhttp = { url = \"SERVER/\", expect = [404] }\n")
        .1
        .ends(1)
        .mentions("the server answered 200");
}

#[test]
fn a_redirect_is_not_followed() {
    let other = Server::answering(vec![("200 OK", "stolen")]);
    let server = Server::answering(vec![(&format!("302 Found\r\nLocation: http://{}/", other.address), "")]);
    ran(&server, "[nodes.get]\nhttp = { url = \"SERVER/\", headers = { authorization = \"'Bearer x'\" } }\n")
        .1
        .ends(1)
        .mentions("the server answered 302");
    assert!(other.seen().is_empty());
}

#[test]
fn a_server_that_is_not_there_or_silent_is_a_failure_of_its_surroundings() {
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let lab = Lab::new();
    lab.settings(OURS);
    lab.blueprint("request", &format!("[nodes.get]\nhttp = {{ url = \"http://{gone}/\" }}\n"));
    lab.say(&["run", "request"]).ends(1).mentions("failed (infra): the request was not answered");

    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    lab.blueprint(
        "request",
        &format!("[nodes.get]\nhttp = {{ url = \"http://{address}/\" }}\ntimeout = \"200ms\"\n"),
    );
    lab.say(&["run", "request"]).ends(1).mentions("failed (timeout)");
    let run = lab.run();
    assert_eq!(node_of(&lab.status(&run), "get")["failure"]["class"], "timeout");
}

#[test]
fn an_answer_that_is_not_what_was_declared_fails_its_node() {
    let server = Server::answering(vec![("200 OK", r#"{"id": "seven"}"#)]);
    ran(&server, "[nodes.get]\nhttp = { url = \"SERVER/\" }\noutput = { id = \"integer\" }\n")
        .1
        .ends(1)
        .mentions("the output `id` is not of type integer");
    let server = Server::answering(vec![("200 OK", "<html>")]);
    ran(&server, "[nodes.get]\nhttp = { url = \"SERVER/\" }\noutput = { id = \"integer\" }\n")
        .1
        .ends(1)
        .mentions("the output `id` is missing");
}

#[test]
fn a_secret_reaches_the_server_and_nothing_else() {
    let server = Server::answering(vec![("200 OK", r#"{"echo": "token-4f1c9a77e0"}"#)]);
    let lab = Lab::new();
    lab.settings(OURS);
    lab.blueprint(
        "request",
        &format!(
            "[inputs]\ntoken = {{ type = \"secret\" }}\n[nodes.get]\noutput = {{ echo = \"string\" }}\n\
             http = {{ url = \"http://{}/\", headers = {{ authorization = \"'Bearer ' ~ inputs.token\" }} }}\n",
            server.address
        ),
    );
    let said =
        lab.say_with(&[("TOKEN", "token-4f1c9a77e0")], &["run", "request", "--secret", "token=env:TOKEN"]);
    said.ends(0).conceals("token-4f1c9a77e0");
    assert_eq!(server.seen()[0].header("authorization"), Some("Bearer token-4f1c9a77e0"));
    assert_eq!(files_with(&lab.state(), b"token-4f1c9a77e0"), Vec::<std::path::PathBuf>::new());
}

#[cfg(debug_assertions)]
#[test]
fn a_request_whose_answer_was_lost_with_its_process_is_made_again_with_the_same_key() {
    let server = Server::answering(vec![("201 Created", "{}")]);
    let lab = Lab::new();
    lab.settings(OURS);
    lab.blueprint(
        "request",
        &format!("[nodes.make]\nhttp = {{ method = \"POST\", url = \"http://{}/\" }}\n", server.address),
    );
    // The fourth event is the success of the node: the answer was here, but nobody wrote it down.
    let said = lab.say_with(&[("BLUEPRINT_CRASH_BEFORE_EVENT", "4")], &["run", "request"]);
    assert!(said.was_killed(), "{said}");
    let run = lab.run();
    lab.say(&["resume", &run]).ends(0);
    let seen = server.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].header("idempotency-key"), seen[1].header("idempotency-key"));
}
