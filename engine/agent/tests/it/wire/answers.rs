//! What arrives: texts, calls, numbers, reasons to stop.

use blueprint_agent::model::{Message, Model, Origin, ProviderKind, Stop, ToolResult, Usage};
use serde_json::json;

use super::*;

const TEXT: &str = "Hello, wörld ✓ 😀 \"quoted\"\nend.";

#[tokio::test]
async fn a_text_arrives_whole_and_piece_by_piece() {
    for kind in KINDS {
        let provider = provider(kind);
        let (answer, seen) = watch(&provider, &scenario("text")).await;
        let answer = answer.unwrap_or_else(|error| panic!("{kind:?}: {error:?}"));
        assert_eq!(answer.text, TEXT, "{kind:?}");
        assert_eq!(seen, Seen { text: TEXT.to_owned(), ..Seen::default() }, "{kind:?}");
        assert_eq!((answer.stop, answer.origin), (Stop::End, Origin::Provider), "{kind:?}");
        assert_eq!(answer.model, provider.name());
        assert_eq!(answer.usage, Usage { input: 120, output: 17, ..Usage::default() }, "{kind:?}");
        assert_eq!(answer.cost_micros, Some(120 * 3 + 17 * 15), "{kind:?}");
        assert_eq!((answer.calls.len(), answer.opaque), (0, None), "{kind:?}");
    }
}

#[tokio::test]
async fn calls_arrive_with_their_arguments() {
    for kind in KINDS {
        for (what, names) in [
            ("tool", vec!["get_weather"]),
            ("parallel", vec!["get_weather", "get_time", "get_weather"]),
            ("nameless", vec!["get_weather", "get_time"]),
        ] {
            let (answer, seen) = watch(&provider(kind), &scenario(what)).await;
            let answer = answer.unwrap_or_else(|error| panic!("{kind:?} {what}: {error:?}"));
            assert_eq!(answer.stop, Stop::Tools, "{kind:?} {what}");
            let called: Vec<&str> = answer.calls.iter().map(|call| call.name.as_str()).collect();
            assert_eq!(called, names, "{kind:?} {what}");
            assert_eq!(seen.calls, names, "{kind:?} {what}");
            assert_eq!(answer.calls[0].arguments, city(), "{kind:?} {what}");
            let ids: Vec<&str> = answer.calls.iter().map(|call| call.id.as_str()).collect();
            assert_eq!(ids, ["call_Ab1", "call_Cd2", "call_Ef3"][..names.len()], "{kind:?} {what}");
            if what == "parallel" {
                assert_eq!(answer.calls[1].arguments, json!({}), "{kind:?}");
                assert_eq!(answer.calls[2].arguments, json!({ "city": "Bern" }), "{kind:?}");
            }
        }
    }
}

#[tokio::test]
async fn reasoning_is_shown_and_goes_back_with_the_results_of_calls() {
    for kind in KINDS {
        let provider =
            Provider::new(ProviderSettings { model: "gpt-5".to_owned(), ..settings(kind) }).unwrap();
        let (answer, seen) = watch(&provider, &scenario("reasoning")).await;
        let answer = answer.unwrap_or_else(|error| panic!("{kind:?}: {error:?}"));
        assert_eq!(seen.reasoning, "Let me see: ü.", "{kind:?}");
        assert_eq!((answer.text.as_str(), &answer.stop), ("I will look.", &Stop::Tools), "{kind:?}");
        let results = vec![ToolResult {
            id: answer.calls[0].id.clone(),
            name: answer.calls[0].name.clone(),
            content: "sunny".to_owned(),
            ok: true,
        }];
        let messages = vec![user("scenario text"), answer.message(), Message::Tools { results }];
        ask(&provider, &request(messages.clone()))
            .await
            .unwrap_or_else(|error| panic!("{kind:?}: {error:?}"));
        let body = last().await["body"].clone();
        let kept = match kind {
            ProviderKind::Anthropic => {
                let thinking = json!({
                    "type": "thinking", "thinking": "Let me see: ü.", "signature": "c2lnbmF0dXJl",
                });
                let content = body["messages"][1]["content"].as_array().unwrap();
                assert_eq!(content[1], json!({ "type": "redacted_thinking", "data": "cmVkYWN0ZWQ=" }));
                (content[0].clone(), thinking)
            }
            ProviderKind::OpenaiResponses => {
                assert_eq!(body["include"], json!(["reasoning.encrypted_content"]));
                (body["input"][1]["encrypted_content"].clone(), json!("gAAAAAenc"))
            }
            ProviderKind::OpenaiCompatible => {
                (body["messages"][2]["reasoning_content"].clone(), json!("Let me see: ü."))
            }
            ProviderKind::Ollama => (body["messages"][2]["thinking"].clone(), json!("Let me see: ü.")),
            ProviderKind::Openai => (body["messages"][2]["reasoning_content"].clone(), json!(null)),
        };
        assert_eq!(kept.0, kept.1, "{kind:?}: {body}");

        // Another model is not shown what this one thought.
        let other =
            Provider::new(ProviderSettings { name: "test/other".to_owned(), ..settings(kind) }).unwrap();
        ask(&other, &request(messages)).await.unwrap_or_else(|error| panic!("{kind:?}: {error:?}"));
        let sent = last().await["body"].to_string();
        for mark in ["c2lnbmF0dXJl", "cmVkYWN0ZWQ=", "gAAAAAenc", "Let me see"] {
            assert!(!sent.contains(mark), "{kind:?}: {sent}");
        }
    }
}

#[tokio::test]
async fn what_was_used_is_told_by_cache_and_reasoning() {
    for kind in KINDS {
        let answer = ask(&provider(kind), &scenario("usage")).await.unwrap();
        let (cache_write, reasoning) = match kind {
            ProviderKind::Anthropic => (600, 200),
            ProviderKind::Ollama => (0, 0),
            _ => (0, 200),
        };
        let usage = Usage { input: 5000, cache_read: 4000, cache_write, output: 321, reasoning };
        assert_eq!(answer.usage, usage, "{kind:?}");
        let fresh = (5000 - 4000 - cache_write) * 300;
        let cost = (fresh + 4000 * 30 + cache_write * 375 + 321 * 1500).div_ceil(100);
        assert_eq!(answer.cost_micros, Some(cost), "{kind:?}");
        let free = Provider::new(ProviderSettings { price: None, ..settings(kind) }).unwrap();
        assert_eq!(
            ask(&free, &scenario("usage")).await.unwrap().cost_micros,
            None,
            "an unknown price is no price"
        );
        assert_eq!(free.at_most(1, 1), None);
    }
}

#[tokio::test]
async fn why_an_answer_ended_is_told() {
    for kind in KINDS {
        let cut = ask(&provider(kind), &scenario("length")).await.unwrap();
        assert_eq!((cut.stop, cut.text.as_str()), (Stop::Length, "cut o"), "{kind:?}");
        if kind != ProviderKind::Ollama {
            let refused = ask(&provider(kind), &scenario("refusal")).await.unwrap();
            assert_eq!(refused.stop, Stop::Refusal, "{kind:?}");
            assert_eq!(refused.text, "I cannot help with that.", "{kind:?}");
        }
    }
}

#[tokio::test]
async fn calls_side_by_side_do_not_mix() {
    for kind in KINDS {
        let provider = provider(kind);
        let (text, tool, usage) =
            (scenario("text split=1"), scenario("tool split=1"), scenario("usage split=1"));
        let all =
            futures::future::join_all([&text, &tool, &usage, &text].map(|request| ask(&provider, request)));
        let all: Vec<String> = all.await.into_iter().map(|answer| answer.unwrap().text).collect();
        assert_eq!(all, [TEXT, "Let me look.", "ok", TEXT], "{kind:?}");
    }
}
