//! What the dispatcher lets through, and what it makes of tools that behave badly.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use blueprint_agent::tool::builtin::{Finish, builtin};
use blueprint_agent::tool::{Admission, Calls, Effect, HostError, Tool, ToolOutcome, Toolbox, ToolboxError};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::fake::{Does, Fake};
use super::process_host::{ProcessHost, SECRET, dispatch, everything, tool_call};

fn all() -> BTreeSet<Effect> {
    [Effect::Read, Effect::Write, Effect::Network, Effect::Destructive].into()
}

fn some(scope: &[&str], ceiling: &BTreeSet<Effect>) -> Result<Toolbox, ToolboxError> {
    let mut tools = builtin(Duration::from_mins(1));
    tools.push(Arc::new(Finish::new(json!({"type": "object"}))));
    let scope: Vec<String> = scope.iter().map(|glob| (*glob).to_owned()).collect();
    Toolbox::new(tools, &scope, ceiling)
}

fn names(toolbox: &Toolbox) -> Vec<String> {
    toolbox.specs().into_iter().map(|spec| spec.name).collect()
}

fn refused(toolbox: &Toolbox, name: &str, arguments: Value) -> String {
    match toolbox.admit(&tool_call(name, arguments), &Calls::default()) {
        Admission::Refused(reason) => reason,
        Admission::Admitted(admitted) => panic!("{name} was admitted: {admitted:?}"),
    }
}

#[test]
fn a_model_is_offered_what_the_scope_names_and_the_ceiling_allows() {
    let looks = some(&["fs.*", "shell"], &[Effect::Read].into()).unwrap();
    assert_eq!(names(&looks), ["fs.list", "fs.read", "fs.search", "fs.map", "finish"]);
    let beyond: Vec<&str> = looks.beyond().iter().map(|spec| spec.name.as_str()).collect();
    assert_eq!(beyond, ["fs.write", "fs.edit", "fs.patch", "fs.delete", "shell"]);
    assert_eq!(names(&some(&[], &all()).unwrap()), ["finish"]);
    assert_eq!(some(&["*"], &all()).unwrap().specs().len(), 14);
}

#[test]
fn what_is_out_of_scope_or_above_the_ceiling_is_refused() {
    let toolbox = some(&["fs.*"], &[Effect::Read].into()).unwrap();
    let command = json!({"command": "true"});
    assert!(refused(&toolbox, "shell", command.clone()).contains("not among the tools of this node"));
    let write = json!({"path": "a", "content": ""});
    assert!(refused(&toolbox, "fs_write", write).contains("not allowed here"));
    let nothing = Toolbox::new(builtin(Duration::from_mins(1)), &["*".to_owned()], &BTreeSet::new()).unwrap();
    assert!(refused(&nothing, "shell", command).contains("not allowed here"));
}

#[test]
fn a_name_is_taken_as_the_model_sees_it_or_as_people_write_it() {
    let toolbox = some(&["fs.*"], &all()).unwrap();
    for name in ["fs.read", "fs_read"] {
        let call = tool_call(name, json!({"path": "a"}));
        let Admission::Admitted(admitted) = toolbox.admit(&call, &Calls::default()) else {
            panic!("{name} was refused")
        };
        assert_eq!((admitted.name(), admitted.effect()), ("fs.read", Effect::Read));
    }
}

#[test]
fn names_that_do_not_exist_are_refused_on_one_short_line() {
    let toolbox = some(&["fs.*"], &all()).unwrap();
    let long = "x".repeat(1_000_000);
    let hostile = [
        "",
        "fs",
        "fs.",
        "fs.*",
        "FS.READ",
        "fs read",
        "fs.read\n",
        "../fs.read",
        "\u{1b}[2Jrm",
        "fs_re\0ad",
        &long,
    ];
    for name in hostile {
        let reason = refused(&toolbox, name, json!({"path": "a"}));
        assert!(reason.contains("there is no tool") && reason.contains("fs_read"), "{reason}");
        assert!(reason.len() < 400 && !reason.contains(char::is_control), "{reason}");
    }
}

#[test]
fn arguments_that_do_not_fit_are_refused_without_being_repeated() {
    let toolbox = some(&["fs.*"], &all()).unwrap();
    let mut deep = json!("end");
    for _ in 0..100 {
        deep = json!({ "path": deep });
    }
    let wide: Value = (0..200_000).map(Value::from).collect();
    let huge = "z".repeat(3 * 1024 * 1024);
    let wrong = [
        json!(null),
        json!("{\"path\": \"a\"}"),
        json!("{\"path\": \"a"),
        json!(["a"]),
        json!(7),
        json!({}),
        json!({"path": 7}),
        json!({"path": null}),
        json!({"path": ["zz"]}),
        json!({"path": ""}),
        json!({"path": "zz", "mode": "zz"}),
        json!({"path": "zz", "start": -1}),
        json!({"path": "zz", "start": 1.5}),
        json!({"path": "zz", "start": "1"}),
        json!({"path": huge}),
        json!({"path": wide}),
        deep,
    ];
    for arguments in wrong {
        let reason = refused(&toolbox, "fs.read", arguments);
        assert!(reason.contains("do not fit") && reason.len() < 1200, "{reason}");
        assert!(!reason.contains("zz"), "{reason}");
    }
}

#[test]
fn arguments_have_bounds_where_the_schema_has_none() {
    let toolbox = everything(vec![Fake::new("free", Effect::Read, Does::Finishes).tool()]);
    let mut deep = json!(1);
    for level in 1..=33 {
        deep = json!({ "a": deep });
        let admitted = toolbox.admit(&tool_call("free", deep.clone()), &Calls::default());
        assert_eq!(matches!(admitted, Admission::Admitted(_)), level <= 32, "{level}");
    }
    let wide: Value = (0..3_000_000).map(|_| Value::Null).collect();
    for large in [
        json!({"a": "z".repeat(3 * 1024 * 1024)}),
        json!({"a": wide}),
        json!({"z".repeat(3 * 1024 * 1024): 1}),
    ] {
        assert!(refused(&toolbox, "free", large).contains("larger than"));
    }
}

#[test]
fn a_tool_is_called_as_often_as_it_may_be() {
    let toolbox = some(&["fs.*", "shell"], &all()).unwrap().with_limit("sh*", 2).unwrap();
    let mut made = Calls::default();
    let call = tool_call("shell", json!({"command": "true"}));
    for _ in 0..2 {
        assert!(matches!(toolbox.admit(&call, &made), Admission::Admitted(_)));
        made.add("shell");
    }
    assert!(matches!(toolbox.admit(&call, &made), Admission::Refused(reason) if reason.contains("2 times")));
    let other = tool_call("fs.list", json!({}));
    assert!(matches!(toolbox.admit(&other, &made), Admission::Admitted(_)));
    assert!(matches!(
        some(&["fs.*"], &all()).unwrap().with_limit("mcp.*", 1),
        Err(ToolboxError::Unmatched(_))
    ));
}

#[test]
fn what_cannot_be_meant_is_an_error_of_loading() {
    assert_eq!(
        some(&["fs.*", "mcp.git.*"], &all()).unwrap_err(),
        ToolboxError::Unmatched("mcp.git.*".to_owned())
    );
    assert!(matches!(some(&["fs.["], &all()), Err(ToolboxError::Glob { .. })));
    let new = |tools: Vec<Arc<dyn Tool>>| Toolbox::new(tools, &[], &all());
    let fake = |name: &str| Fake::new(name, Effect::Read, Does::Finishes);
    let same = new(vec![fake("a.b").tool(), fake("a_b").tool()]);
    assert!(matches!(same, Err(ToolboxError::SameName { wire, .. }) if wire == "a_b"));
    let long = "x".repeat(64);
    let same = new(vec![fake(&format!("{long}1")).tool(), fake(&format!("{long}2")).tool()]);
    assert!(matches!(same, Err(ToolboxError::SameName { .. })));
    for name in ["", "a b", "a\n", "ä"] {
        assert!(matches!(new(vec![fake(name).tool()]), Err(ToolboxError::Name(_))), "{name:?}");
    }
}

#[test]
fn a_schema_reaches_nothing_and_matches_in_linear_time() {
    let unusable = [
        json!(true),
        json!({"type": "objekt"}),
        json!({"$ref": "https://example.com/schema.json"}),
        json!({"properties": {"a": {"$ref": "file:///etc/passwd"}}}),
        json!({"properties": {"a": {"$ref": "#/$defs/none"}}}),
        json!({"properties": {"a": {"type": "string", "pattern": "(?=x)(a+)+$"}}}),
        json!({"description": "x".repeat(300_000)}),
    ];
    for schema in unusable {
        let tool = Fake::new("odd", Effect::Read, Does::Finishes).with_schema(schema.clone()).tool();
        let loaded = Toolbox::new(vec![tool], &[], &all());
        assert!(matches!(loaded, Err(ToolboxError::Schema { .. })), "{schema}");
    }
    let schema = json!({"properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}});
    let tool = Fake::new("slow", Effect::Read, Does::Finishes).with_schema(schema).tool();
    let toolbox = everything(vec![tool]);
    let begun = std::time::Instant::now();
    refused(&toolbox, "slow", json!({"a": format!("{}!", "a".repeat(100_000))}));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

async fn fake(does: Does) -> (Result<ToolOutcome, HostError>, ProcessHost) {
    let host = ProcessHost::new();
    let toolbox = everything(vec![Fake::new("odd", Effect::Read, does).tool()]);
    (dispatch(&toolbox, &host, "odd", json!({"a": SECRET})).await, host)
}

#[tokio::test]
async fn a_tool_that_panics_is_a_failed_call() {
    let (outcome, host) = fake(Does::Panics).await;
    let ToolOutcome::Failed(text) = outcome.unwrap() else { panic!("it did not fail") };
    assert!(text.contains("fault of its own") && !text.contains("broke while"), "{text}");
    assert_eq!(host.notes(), ["odd: broke off with a fault of its own: broke while it held [hidden]"]);
}

#[tokio::test]
async fn an_error_of_the_host_ends_the_session() {
    let (outcome, _) = fake(Does::Breaks).await;
    assert!(matches!(outcome, Err(HostError::Infra(_))));
}

#[tokio::test]
async fn a_value_a_session_ends_with_is_redacted() {
    let (outcome, _) = fake(Does::Finishes).await;
    assert_eq!(outcome.unwrap(), ToolOutcome::Finish(json!({"a": "[hidden]"})));
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_hangs_is_told_to_end_and_then_dropped() {
    for (does, secs) in [(Does::Obeys, 30), (Does::Hangs, 35)] {
        let host = ProcessHost::new();
        let tool = Fake::new("odd", Effect::Read, does.clone());
        let dropped = Arc::clone(&tool.dropped);
        let begun = Instant::now();
        let outcome = dispatch(&everything(vec![tool.tool()]), &host, "odd", json!({})).await.unwrap();
        assert!(
            matches!(&outcome, ToolOutcome::Failed(text) if text.contains("stopped after 30 s")),
            "{outcome:?}"
        );
        assert_eq!(begun.elapsed().as_secs(), secs, "{does:?}");
        assert!(dropped.load(Ordering::SeqCst), "{does:?}");
    }
    let (outcome, _) = fake(Does::EndsLate).await;
    assert_eq!(outcome.unwrap(), ToolOutcome::Done("done at last".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_cancelled_does_not_wait_for_its_tools() {
    for does in [Does::Obeys, Does::EndsLate, Does::Hangs] {
        let host = ProcessHost::new();
        let toolbox = everything(vec![Fake::new("odd", Effect::Read, does.clone()).tool()]);
        let Admission::Admitted(admitted) = toolbox.admit(&tool_call("odd", json!({})), &Calls::default())
        else {
            panic!("refused")
        };
        let cancel = CancellationToken::new();
        let begun = Instant::now();
        let notes = |_: &str| Vec::new();
        let (ended, ()) =
            tokio::join!(toolbox.call(admitted, &host, &notes, &cancel), async { cancel.cancel() });
        match does {
            // What it did is told, as long as it tells in time.
            Does::EndsLate => assert_eq!(ended.unwrap(), ToolOutcome::Done("done at last".to_owned())),
            _ => assert!(matches!(ended, Err(HostError::Cancelled)), "{does:?}"),
        }
        assert!(begun.elapsed() <= Duration::from_secs(5), "{does:?}");
    }
}
