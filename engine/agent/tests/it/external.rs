//! Agents of other people, as commands and over the agent client protocol, with good and bad manners.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use blueprint_agent::external::{End, Heard, Outcome, Protocol, Work, run};
use blueprint_agent::tool::{Effect, HostError};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::direct_host::DirectHost;

const AGENT: &str = include_str!("acp_agent.py");

fn folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("agent.py"), AGENT).unwrap();
    dir
}

fn work(protocol: Protocol, command: &[&str]) -> Work {
    Work {
        command: command.iter().map(|&word| word.to_owned()).collect(),
        protocol,
        env: BTreeMap::new(),
        prompt: "Mend it; `rm -rf /` is text.\n".to_owned(),
        wall: Duration::from_secs(20),
        keep: 1 << 20,
        ceiling: BTreeSet::from([Effect::Read, Effect::Write]),
    }
}

async fn does(work: &Work) -> (Outcome, DirectHost) {
    let dir = folder();
    let host = DirectHost::new(dir.path()).hiding("sesame");
    let outcome = run(work, &host, &CancellationToken::new()).await.unwrap();
    (outcome, host)
}

async fn speaks(manner: &str) -> Outcome {
    does(&work(Protocol::Acp, &["python3", "agent.py", manner])).await.0
}

fn message(text: &str) -> Heard {
    Heard::Message(text.to_owned())
}

#[tokio::test]
async fn a_command_gets_the_prompt_and_answers_with_its_last_line() {
    let script = r#"echo sesame >&2; cat; echo; echo "{\"made\": 3}""#;
    let (outcome, _) = does(&work(Protocol::Plain, &["sh", "-c", script])).await;
    assert_eq!(outcome.end, End::Finished);
    assert_eq!(outcome.outputs, Some(json!({ "made": 3 })));
    let said = message("Mend it; `rm -rf /` is text.\n\n{\"made\": 3}\n");
    assert_eq!(outcome.transcript, [said, Heard::Complaint("[hidden]\n".to_owned())]);
}

#[tokio::test]
async fn a_command_may_write_its_outputs_to_a_file() {
    let script = r#"echo "{\"from\": \"file\"}" > "$BLUEPRINT_OUTPUT"; echo "$BLUEPRINT_OUTPUT"; echo "{}""#;
    let (outcome, _) = does(&work(Protocol::Plain, &["sh", "-c", script])).await;
    assert_eq!((outcome.end, outcome.outputs), (End::Finished, Some(json!({ "from": "file" }))));
    let Heard::Message(said) = &outcome.transcript[0] else { panic!() };
    assert!(!std::fs::exists(said.lines().next().unwrap()).unwrap(), "nothing is left of it");
    let script = r#"echo nonsense > "$BLUEPRINT_OUTPUT"; echo "{}""#;
    let (outcome, _) = does(&work(Protocol::Plain, &["sh", "-c", script])).await;
    assert!(matches!(outcome.end, End::Broken(_)), "{outcome:?}");
    assert_eq!(outcome.outputs, None, "the last line does not stand in for a file that makes no sense");
}

#[tokio::test]
async fn a_command_that_fails_has_not_finished() {
    let (outcome, _) = does(&work(Protocol::Plain, &["sh", "-c", "echo '{\"ok\": true}'; exit 3"])).await;
    assert_eq!(outcome.end, End::GaveUp("it returned 3".to_owned()));
    let mut slow = work(Protocol::Plain, &["sleep", "600"]);
    slow.wall = Duration::from_millis(200);
    assert_eq!(does(&slow).await.0.end, End::TimedOut);
}

#[tokio::test]
async fn an_agent_is_spoken_to_from_beginning_to_end() {
    let (outcome, host) = does(&work(Protocol::Acp, &["python3", "agent.py", "good"])).await;
    assert_eq!(outcome.end, End::Finished);
    assert_eq!(outcome.outputs, Some(json!({ "ok": true })), "in two pieces");
    assert_eq!(outcome.claimed_micros, Some(12_300));
    let mut heard = outcome.transcript;
    heard.retain(|heard| !matches!(heard, Heard::Complaint(_)));
    let expected = [
        Heard::Thought("I think of [hidden]".to_owned()),
        Heard::Tool("Reads the README".to_owned()),
        message("You said: Mend it; `rm -rf /` is text.\n\n{\"ok\": true}\n"),
    ];
    assert_eq!(heard, expected);
    assert_eq!(host.notes(), ["Reads the README"]);
    assert!(!outcome.truncated);
}

#[tokio::test]
async fn what_is_printed_before_the_conversation_does_no_harm() {
    let outcome = speaks("greets").await;
    assert_eq!((outcome.end, outcome.outputs), (End::Finished, Some(json!({ "ok": true }))));
    assert!(outcome.transcript.contains(&Heard::Complaint("Hello! This is an agent.".to_owned())));
}

#[tokio::test]
async fn permission_is_given_once_for_what_the_node_allows_and_nothing_else_is_offered() {
    let outcome = speaks("asks").await;
    assert_eq!(outcome.end, End::Finished, "{outcome:?}");
    let answers = outcome.outputs.unwrap()["answers"].clone();
    let (once, never) = ("id-allow_once", "id-reject_once");
    for (kind, expected) in
        [("read", once), ("edit", once), ("execute", never), ("unknown", never), ("none", never)]
    {
        assert_eq!(answers[kind], json!({ "outcome": "selected", "optionId": expected }), "{kind}");
    }
    assert_eq!(answers["always"], json!({ "outcome": "cancelled" }), "never for good");
    for kind in ["file", "terminal"] {
        assert_eq!(answers[kind]["error"]["code"], json!(-32601), "{kind}");
    }
    let asked = |what: &str, allowed| Heard::Asked { what: format!("do a {what}[31m"), allowed };
    assert!(outcome.transcript.contains(&asked("edit", true)), "{:?}", outcome.transcript);
    assert!(outcome.transcript.contains(&asked("execute", false)));
    assert!(outcome.transcript.contains(&Heard::Refused("fs/read_text_file".to_owned())));
}

#[tokio::test]
async fn an_agent_that_does_not_do_its_work_is_told_from_one_that_does() {
    for (manner, expected) in [
        ("refuses", End::GaveUp("it refused".to_owned())),
        ("odd", End::Broken("it ended without a reason".to_owned())),
        ("new", End::Broken("it does not speak version 1 of the protocol".to_owned())),
        ("locked", End::Broken("it refused (-32000): Authentication required[31m: [hidden]".to_owned())),
        ("dies", End::Broken("it ended in the middle of its work; it returned 9".to_owned())),
        ("long line", End::Broken("a line is longer than 4194304 bytes".to_owned())),
    ] {
        let outcome = speaks(manner).await;
        assert_eq!(outcome.end, expected, "{manner}");
        assert_eq!(outcome.outputs, None, "{manner}");
    }
    let outcome = speaks("dies").await;
    assert!(outcome.transcript.contains(&Heard::Complaint("no more[31m".to_owned())), "{outcome:?}");
}

fn size(outcome: &Outcome) -> usize {
    outcome.transcript.iter().map(|heard| format!("{heard:?}").len()).sum()
}

#[tokio::test]
async fn an_agent_that_never_stops_talking_is_ended_and_its_words_are_bounded() {
    let mut floods = work(Protocol::Acp, &["python3", "agent.py", "floods"]);
    floods.wall = Duration::from_secs(1);
    let (outcome, _) = does(&floods).await;
    assert_eq!(outcome.end, End::TimedOut);
    assert!(outcome.truncated && size(&outcome) < 2 << 20, "{}", size(&outcome));
    let outcome = speaks("talks on").await;
    assert_eq!((&outcome.end, &outcome.outputs), (&End::Finished, &None), "the end of it is not known");
    assert!(outcome.truncated);
}

#[tokio::test]
async fn an_agent_whose_time_is_up_is_asked_to_stop_first() {
    let mut stops = work(Protocol::Acp, &["python3", "agent.py", "stops"]);
    stops.wall = Duration::from_secs(2);
    let (outcome, _) = does(&stops).await;
    assert_eq!(outcome.end, End::TimedOut);
    assert_eq!(outcome.transcript, [message("half of it, and no more")]);
    let mut deaf = work(Protocol::Acp, &["python3", "agent.py", "deaf"]);
    deaf.wall = Duration::from_millis(300);
    deaf.prompt = "x".repeat(5 << 20);
    assert_eq!(does(&deaf).await.0.end, End::TimedOut);
}

#[tokio::test]
async fn a_cancelled_node_cancels_its_agent() {
    let dir = folder();
    let host = DirectHost::new(dir.path());
    let cancel = CancellationToken::new();
    let work = work(Protocol::Acp, &["python3", "agent.py", "stops"]);
    cancel.cancel();
    let outcome = run(&work, &host, &cancel).await;
    assert!(matches!(outcome, Err(HostError::Cancelled)), "{outcome:?}");
}

#[tokio::test]
async fn an_agent_that_is_not_there_is_named() {
    let outcome = does(&work(Protocol::Plain, &["sh", "-c", "exit 127"])).await.0;
    assert_eq!(outcome.end, End::GaveUp("it returned 127".to_owned()));
    let value: Value = serde_json::to_value(&outcome).unwrap();
    assert_eq!(serde_json::from_value::<Outcome>(value).unwrap(), outcome, "it can be written down");
}
