//! What is sent. The server refuses what the format does not have.

use blueprint_agent::model::{Effort, ProviderKind, ToolCall, ToolResult};
use serde_json::json;

use super::*;

/// A conversation with everything that can go wrong in one: names no tool may have, arguments that are no object, a
/// call that failed, an id of another provider.
fn hostile() -> Request {
    let call = |id: &str, name: &str, arguments: Value| ToolCall {
        id: id.to_owned(),
        name: name.to_owned(),
        arguments,
    };
    let result = |id: &str, name: &str, ok: bool| ToolResult {
        id: id.to_owned(),
        name: name.to_owned(),
        content: format!("result of {id}"),
        ok,
    };
    let long = "x".repeat(200);
    request(vec![
        user("scenario text"),
        Message::Assistant {
            text: String::new(),
            calls: vec![
                call("functions.a:0", "fs.read\n", json!("{\"path\": \"unfin")),
                call("b", &long, json!([1])),
                call("c", "", json!({})),
            ],
            opaque: Some(json!({ "model": "somebody/else", "kept": [{ "type": "thinking" }] })),
        },
        Message::Tools {
            results: vec![
                result("functions.a:0", "fs.read\n", false),
                result("b", &long, true),
                result("c", "", true),
            ],
        },
    ])
}

#[tokio::test]
async fn a_conversation_with_broken_calls_can_go_on() {
    for kind in KINDS {
        ask(&provider(kind), &hostile()).await.unwrap_or_else(|error| panic!("{kind:?}: {error:?}"));
        let body = last().await["body"].clone();
        let name = match kind {
            ProviderKind::Anthropic => body["messages"][1]["content"][0]["name"].clone(),
            ProviderKind::OpenaiResponses => body["input"][1]["name"].clone(),
            _ => body["messages"][2]["tool_calls"][0]["function"]["name"].clone(),
        };
        assert_eq!(name, "fs_read_", "{kind:?}");
        assert!(!body.to_string().contains(&"x".repeat(65)), "{kind:?}: {body}");
    }
}

#[tokio::test]
async fn anthropic_is_told_what_to_cache_and_which_calls_failed() {
    ask(&provider(ProviderKind::Anthropic), &hostile()).await.unwrap();
    let sent = last().await;
    let (body, headers) = (&sent["body"], &sent["headers"]);
    let mark = json!({ "type": "ephemeral" });
    assert_eq!(body["system"][0]["cache_control"], mark);
    assert_eq!(body["tools"][1]["cache_control"], mark);
    assert_eq!(body["tools"][0]["cache_control"], json!(null));
    let results = body["messages"][2]["content"].as_array().unwrap();
    assert_eq!(results[2]["cache_control"], mark);
    assert_eq!((&results[0]["is_error"], &results[1]["is_error"]), (&json!(true), &json!(false)));
    assert_eq!(results[0]["tool_use_id"], "functions_a_0");
    assert_eq!(body["messages"][1]["content"][0]["input"], json!({ "unreadable": "{\"path\": \"unfin" }));
    assert_eq!((&body["max_tokens"], &body["model"]), (&json!(777), &json!("some-model")));
    assert_eq!(headers["anthropic-version"], "2026-10-21");
    assert_eq!((&headers["x-api-key"], &headers["authorization"]), (&json!(KEY), &json!(null)));
}

#[tokio::test]
async fn a_temperature_makes_anthropic_an_older_version() {
    let request = Request { temperature: Some(0.5), ..scenario("text") };
    for kind in KINDS {
        ask(&provider(kind), &request).await.unwrap_or_else(|error| panic!("{kind:?}: {error:?}"));
        let sent = last().await;
        let body = &sent["body"];
        let place =
            if kind == ProviderKind::Ollama { &body["options"]["temperature"] } else { &body["temperature"] };
        assert_eq!(place, &json!(0.5), "{kind:?}");
        if kind == ProviderKind::Anthropic {
            assert_eq!(sent["headers"]["anthropic-version"], "2023-06-01");
        }
    }
}

#[tokio::test]
async fn the_name_of_a_model_is_sent_as_it_is() {
    for kind in KINDS {
        for model in ["qwen-max", "ns::m-high", "gpt-5-low"] {
            // Anthropic has no such names, and `genai` reads an effort out of them there.
            if kind == ProviderKind::Anthropic {
                continue;
            }
            let provider =
                Provider::new(ProviderSettings { model: model.to_owned(), ..settings(kind) }).unwrap();
            ask(&provider, &scenario("text")).await.unwrap_or_else(|error| panic!("{kind:?}: {error:?}"));
            let body = last().await["body"].clone();
            assert_eq!(body["model"], model, "{kind:?}");
            for field in ["reasoning_effort", "reasoning", "think", "output_config"] {
                assert_eq!(body[field], json!(null), "{kind:?} {model}: {body}");
            }
        }
    }
}

#[tokio::test]
async fn the_effort_is_sent_where_it_belongs() {
    for kind in KINDS {
        let model = if kind == ProviderKind::Anthropic { "claude-sonnet-5" } else { "gpt-5" }.to_owned();
        let provider =
            Provider::new(ProviderSettings { model, effort: Some(Effort::Low), ..settings(kind) }).unwrap();
        ask(&provider, &scenario("text")).await.unwrap_or_else(|error| panic!("{kind:?}: {error:?}"));
        let body = last().await["body"].clone();
        let place = match kind {
            ProviderKind::Anthropic => &body["output_config"]["effort"],
            ProviderKind::OpenaiResponses => &body["reasoning"]["effort"],
            ProviderKind::Ollama => &body["think"],
            ProviderKind::Openai | ProviderKind::OpenaiCompatible => &body["reasoning_effort"],
        };
        assert_eq!(place, "low", "{kind:?}: {body}");
    }
}

#[tokio::test]
async fn the_length_of_an_answer_is_limited_in_the_words_of_the_wire() {
    for kind in KINDS {
        ask(&provider(kind), &scenario("text")).await.unwrap();
        let body = last().await["body"].clone();
        let place = match kind {
            ProviderKind::Openai => &body["max_completion_tokens"],
            ProviderKind::OpenaiResponses => &body["max_output_tokens"],
            ProviderKind::Ollama => &body["options"]["num_predict"],
            _ => &body["max_tokens"],
        };
        assert_eq!(place, &json!(777), "{kind:?}: {body}");
    }
}

#[tokio::test]
async fn ollama_loads_the_window_and_must_not_drop_what_does_not_fit() {
    ask(&provider(ProviderKind::Ollama), &scenario("text")).await.unwrap();
    let body = last().await["body"].clone();
    assert_eq!(body["options"]["num_ctx"], 32_000);
    assert_eq!((&body["truncate"], &body["shift"]), (&json!(false), &json!(false)));
}

#[tokio::test]
async fn responses_are_not_stored_and_arguments_stay_optional() {
    ask(&provider(ProviderKind::OpenaiResponses), &scenario("text")).await.unwrap();
    let body = last().await["body"].clone();
    assert_eq!((&body["store"], &body["tools"][0]["strict"]), (&json!(false), &json!(false)));
    assert_eq!(body["include"], json!(null), "a model that may not think is not asked for it");
}

#[tokio::test]
async fn further_headers_win_over_ours() {
    for kind in KINDS {
        let headers = vec![
            ("X-Team".to_owned(), Secret::new("blue")),
            ("Authorization".to_owned(), Secret::new("Bearer other")),
        ];
        let provider = Provider::new(ProviderSettings { headers, ..settings(kind) }).unwrap();
        ask(&provider, &scenario("text")).await.unwrap_or_else(|error| panic!("{kind:?}: {error:?}"));
        let headers = last().await["headers"].clone();
        assert_eq!((&headers["x-team"], &headers["authorization"]), (&json!("blue"), &json!("Bearer other")));
    }
}
