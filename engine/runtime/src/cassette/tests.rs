//! Cassettes made by hand: what counts as the same, what is named first, and what a player refuses.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use blueprint_agent::model::{Answer, Message, ModelFault, Origin, Request, Stop, Usage, unheard};
use blueprint_agent::session::{Extent, Spend, Step};
use blueprint_agent::tool::{Effect, ToolOutcome};
use blueprint_core::run::{FailureClass, Outcome};
use blueprint_core::source::SourceSet;
use serde_json::{Map, json};
use tokio_util::sync::CancellationToken;

use super::{Body, Cassette, End, Entry, Head, Player, Said, VERSION, compare};
use crate::outside::{Asker, Outside as _};

const WHO: Asker<'_> = Asker { node: "think", name: "think", attempt: 1, round: 1 };

fn called(turn: u32, request: &str) -> Said {
    let (reserve, extent) = (Spend::default(), Extent::default());
    Said::Step(Step::ModelCalled {
        turn,
        model: "m".to_owned(),
        reserve,
        request: request.to_owned(),
        extent,
    })
}

fn answered(turn: u32) -> Said {
    let answer = Answer {
        model: "m".to_owned(),
        origin: Origin::Provider,
        text: format!("turn {turn}"),
        calls: Vec::new(),
        stop: Stop::End,
        usage: Usage::default(),
        cost_micros: Some(7),
        opaque: None,
    };
    Said::Step(Step::ModelAnswered { turn, answer: Box::new(answer) })
}

fn returned(turn: u32, call: u32, text: &str) -> Said {
    let outcome = ToolOutcome::Done(text.to_owned());
    Said::Step(Step::ToolReturned { turn, call, tool: "http.fetch".to_owned(), outcome, tree: None })
}

fn ended() -> Said {
    Said::End(End::Succeeded { outputs: None, tree: None })
}

fn cassette(said: Vec<Said>) -> Cassette {
    let entry = |said| Entry { node: "think".to_owned(), round: 1, attempt: 1, said };
    let head = Head {
        cassette: VERSION,
        made_with: "1".to_owned(),
        run: "r".to_owned(),
        blueprint: "b".to_owned(),
        digest: "d".to_owned(),
        sources: SourceSet::single("b.toml", ""),
        inputs: json!({}),
        secrets: Vec::new(),
        base: None,
        jobs: 1,
        outcome: Some(Outcome::Succeeded),
        nodes: BTreeMap::from([("think".to_owned(), "succeeded".to_owned())]),
        tree: None,
    };
    Cassette { head, entries: said.into_iter().map(entry).collect() }
}

fn session(first: &str, second: &str, next: &str) -> Cassette {
    let results = vec![returned(1, 0, first), returned(1, 1, second)];
    let said = [vec![called(1, "x"), answered(1)], results, vec![called(2, next), answered(2), ended()]];
    cassette(said.concat())
}

#[test]
fn what_came_in_another_order_or_at_another_time_is_the_same() {
    let recorded = session("done in 0.2s", "b", "y");
    let mut came = session("done in 9.1s", "b", "y");
    came.entries.swap(2, 3);
    let found = compare(&recorded, &came);
    assert!(found.is_identical(), "{found:?}");
    assert_eq!(found.accidents, 1);
    // The model was asked the same afterwards: what differs is where the workspace lies.
    assert!(compare(&recorded, &session("done in 0.2s", "/elsewhere/b", "y")).is_identical());
}

#[test]
fn the_first_step_that_differs_is_named_and_not_everything_that_follows() {
    let recorded = session("a", "b", "y");
    let found = compare(&recorded, &session("a", "c", "z"));
    let whats: Vec<&str> = found.differences.iter().map(|difference| difference.what.as_str()).collect();
    assert_eq!(whats, ["the result of `http.fetch`, line 1", "what the model is asked"]);
    let first = &found.differences[0];
    assert_eq!((first.turn, first.recorded.as_str(), first.came.as_str()), (Some(1), "b", "c"));

    let mut short = session("a", "b", "y");
    short.entries.truncate(4);
    short.head.outcome = None;
    let found = compare(&recorded, &short);
    assert_eq!(found.differences[0].recorded, "the model is asked");
    assert_eq!(found.differences[0].came, "nothing");
    // A recording that stops there says nothing of what comes later.
    assert!(compare(&short, &recorded).is_identical());

    let mut longer = session("a", "b", "y");
    longer.entries.push(Entry { attempt: 2, ..longer.entries[6].clone() });
    assert_eq!(compare(&recorded, &longer).differences[0].came, "it was tried");
    assert_eq!(compare(&longer, &recorded).differences[0].came, "it was not tried");

    let mut failed = session("a", "b", "y");
    let (class, message) = (FailureClass::Agent, "no".to_owned());
    failed.entries[6].said = Said::End(End::Failed { class, message, fingerprint: None, tree: None });
    failed.head.outcome = Some(Outcome::Failed);
    let found = compare(&recorded, &failed);
    assert_eq!(found.differences[0].came, "it failed (agent): no");
}

#[tokio::test]
async fn a_player_gives_what_was_recorded_once_and_refuses_the_rest() {
    let arguments = json!({ "url": "https://example.org" });
    let announced = Step::ToolCalled {
        turn: 1,
        call: 0,
        tool: "http.fetch".to_owned(),
        effect: Effect::Network,
        arguments: arguments.clone(),
    };
    let player = Player::new(cassette(vec![
        called(1, "x"),
        answered(1),
        Said::Step(announced),
        returned(1, 0, "page"),
        called(2, "y"),
        answered(2),
        ended(),
    ]));
    let request = Request {
        system: String::new(),
        messages: vec![Message::User { text: "Other.".to_owned() }],
        tools: Vec::new(),
        max_output: 10,
        temperature: None,
    };
    let cancel = CancellationToken::new();
    // One answer was heard by an earlier process.
    let model = player.model(WHO, "coding", 1).unwrap();
    assert_eq!(model.name(), "m");
    let answer = model.answer(&request, &mut unheard(), &cancel).await.unwrap();
    assert_eq!(
        (answer.origin, answer.text.as_str(), answer.cost_micros),
        (Origin::Recorded, "turn 2", Some(7))
    );
    let refused = model.answer(&request, &mut unheard(), &cancel).await.unwrap_err();
    assert_eq!((refused.fault, refused.maybe_billed), (ModelFault::Rejected, false));

    assert!(player.tool(WHO, "http.fetch", &json!({})).unwrap_err().contains("nothing was asked"));
    assert_eq!(player.tool(WHO, "http.fetch", &arguments).unwrap(), "page");
    assert!(player.tool(WHO, "http.fetch", &arguments).is_err(), "it was recorded once");
    assert_eq!(player.http(WHO, "GET", "https://example.org", b"").unwrap_err().class, FailureClass::Policy);
    assert_eq!(player.gate(WHO, "subject"), []);
    let nobody = Asker { node: "other", ..WHO };
    let model = player.model(nobody, "coding", 0).unwrap();
    assert_eq!(model.name(), "coding");
    assert!(model.answer(&request, &mut unheard(), &cancel).await.is_err());
}

#[test]
fn a_file_is_read_as_it_was_written_and_is_its_owners() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("it.cassette");
    let http = |body| Said::Http { request: "r".to_owned(), status: 200, headers: Map::new(), body };
    let bytes = vec![0, 159, 146, 150];
    let mut written = session("a", "b\n\u{1b}[31m", "y");
    written.entries.push(Entry { said: http(Body::of(bytes.clone())), ..written.entries[0].clone() });
    written.entries.push(Entry { said: http(Body::of(b"text".to_vec())), ..written.entries[0].clone() });
    written.write(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let read = Cassette::read(&path).unwrap();
    assert_eq!(read, written);
    assert_eq!(Cassette::from_bytes(&written.bytes().unwrap()).unwrap(), written);
    assert_eq!(Body::of(bytes.clone()).bytes(), Some(bytes));
    assert_eq!(Body::of(b"text".to_vec()), Body::Text("text".to_owned()));
}
