//! Answers to forms: the defaults of the form or none at all.

use rmcp::model::{ElicitRequestParams, ElicitationAction, InputRequests};
use serde_json::{Value, json};

use super::{Listener, defaults};
use crate::mcp::config::Elicitation;

fn form(schema: &Value) -> ElicitRequestParams {
    serde_json::from_value(json!({ "message": "Which\u{1b}[31m one?", "requestedSchema": schema })).unwrap()
}

fn answered(schema: &Value) -> Result<Value, String> {
    let ElicitRequestParams::FormElicitationParams { requested_schema, .. } = form(schema) else { panic!() };
    defaults(&requested_schema)
}

fn with_defaults() -> Listener {
    Listener { elicitation: Some(Elicitation::Defaults), ..Listener::default() }
}

#[test]
fn a_form_is_answered_with_its_own_defaults() {
    let schema = json!({ "type": "object", "required": ["name"], "properties": {
        "name": { "type": "string", "default": "John" },
        "age": { "type": "integer", "default": 30, "minimum": 0 },
        "score": { "type": "number", "default": 95.5 },
        "status": { "type": "string", "enum": ["on", "off"], "default": "off" },
        "many": { "type": "array", "items": { "type": "string", "enum": ["a", "b"] }, "default": ["a"] },
        "sure": { "type": "boolean", "default": true },
        "nothing": { "type": "string" },
    }});
    let expected = json!({
        "name": "John", "age": 30, "score": 95.5, "status": "off", "many": ["a"], "sure": true,
    });
    assert_eq!(answered(&schema).unwrap(), expected);
    assert_eq!(answered(&json!({ "type": "object", "properties": {} })).unwrap(), json!({}));
}

#[test]
fn what_a_form_requires_and_does_not_give_is_not_made_up() {
    let schema = json!({ "type": "object", "required": ["a", "b"], "properties": {
        "a": { "type": "string", "default": "x" }, "b": { "type": "boolean" },
    }});
    assert_eq!(answered(&schema).unwrap_err(), "`b` has no default");
    let elsewhere = json!({ "type": "object", "required": ["c"], "properties": {} });
    assert_eq!(answered(&elsewhere).unwrap_err(), "`c` has no default");
}

#[test]
fn defaults_that_do_not_fit_their_form_are_no_answer() {
    for field in [
        json!({ "type": "integer", "default": 7, "maximum": 5 }),
        json!({ "type": "string", "default": "abc", "maxLength": 2 }),
        json!({ "type": "string", "enum": ["a"], "default": "b" }),
    ] {
        let why = answered(&json!({ "type": "object", "properties": { "a": field } })).unwrap_err();
        assert!(why.starts_with("its defaults do not fit it: "), "{why}");
    }
    let long = json!({ "type": "string", "default": "x".repeat(20 << 10) });
    let why = answered(&json!({ "type": "object", "properties": { "a": long } })).unwrap_err();
    assert_eq!(why, "its defaults have more than 16384 bytes");
}

#[test]
fn a_question_is_told_of_and_a_page_never_opened() {
    let listener = with_defaults();
    let yes = listener.answer(&form(&json!({ "type": "object", "properties": {
        "a": { "type": "string", "default": "x" },
    }})));
    assert_eq!((yes.action, yes.content), (ElicitationAction::Accept, Some(json!({ "a": "x" }))));
    let page =
        json!({ "mode": "url", "message": "Come", "url": "https://example.com", "elicitationId": "1" });
    let no = listener.answer(&serde_json::from_value(page).unwrap());
    assert_eq!((no.action, no.content), (ElicitationAction::Decline, None));
    assert_eq!(
        listener.questions.take(),
        [
            r#"it asked `Which[31m one?`, and the answer was {"a":"x"}"#,
            "it asked `Come`, and the answer was no: no page is opened for it",
        ]
    );
    assert!(listener.questions.take().is_empty());
}

#[test]
fn nothing_is_answered_unless_the_configuration_says_so() {
    let requests = || -> InputRequests {
        let params = json!({ "message": "?", "requestedSchema": { "type": "object", "properties": {} } });
        serde_json::from_value(json!({ "a": { "method": "elicitation/create", "params": params } })).unwrap()
    };
    let nobody = Listener::default().answers(requests()).unwrap_err();
    assert_eq!(nobody, "it asks a question, and nobody is there to answer");
    let answers = with_defaults().answers(requests()).unwrap();
    assert_eq!(answers["a"], json!({ "action": "accept", "content": {} }));
    let roots = serde_json::from_value(json!({ "a": { "method": "roots/list" } })).unwrap();
    assert!(with_defaults().answers(roots).unwrap_err().contains("not offered"));
}
