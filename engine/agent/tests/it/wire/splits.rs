//! A stream may be split anywhere, and may end anywhere.

use blueprint_agent::model::{ModelFault, ProviderKind};
use futures::StreamExt;

use super::*;

/// One of each wire.
const WIRES: [ProviderKind; 4] =
    [ProviderKind::Anthropic, ProviderKind::Openai, ProviderKind::OpenaiResponses, ProviderKind::Ollama];

/// How long the stream of a scenario is, in bytes.
async fn length(kind: ProviderKind, what: &str) -> usize {
    ask(&provider(kind), &scenario(what)).await.unwrap();
    // The same request once more, to see the header in which the server tells the length.
    let sent = last().await;
    let url = format!("http://127.0.0.1:{}{}", server(), sent["path"].as_str().unwrap());
    let mut post = reqwest::Client::new().post(url).json(&sent["body"]);
    for name in ["authorization", "x-api-key", "anthropic-version"] {
        if let Some(value) = sent["headers"][name].as_str() {
            post = post.header(name, value);
        }
    }
    post.send().await.unwrap().headers()["x-length"].to_str().unwrap().parse().unwrap()
}

/// Asks once for each of `positions`, some at a time.
async fn each(
    kind: ProviderKind,
    what: &str,
    positions: impl Iterator<Item = usize>,
    check: impl Fn(usize, Result<Answer, ModelError>),
) {
    let provider = provider(kind);
    let calls = positions.map(|at| {
        let request = scenario(&what.replace("{}", &at.to_string()));
        let provider = &provider;
        async move { (at, ask(provider, &request).await) }
    });
    let mut answers = futures::stream::iter(calls).buffer_unordered(8);
    while let Some((at, answer)) = answers.next().await {
        check(at, answer);
    }
}

/// How far splits are apart when each byte is to be one in turn.
const APART: usize = 61;

async fn split_everywhere(kind: ProviderKind) {
    for eol in ["lf", "crlf", "cr"] {
        if kind == ProviderKind::Ollama && eol != "lf" {
            continue;
        }
        let whole = |what: &str, at: usize, answer: Result<Answer, ModelError>, calls: usize| {
            let answer = answer.unwrap_or_else(|error| panic!("{kind:?} {eol} {what} {at}: {error:?}"));
            assert_eq!(answer.calls.len(), calls, "{kind:?} {eol} {what} {at}");
            assert_eq!(answer.calls[0].arguments, city(), "{kind:?} {eol} {what} {at}");
            assert_eq!(answer.usage.output, 17, "{kind:?} {eol} {what} {at}");
        };
        let at = format!("tool eol={eol} split={APART} first={{}}");
        each(kind, &at, 1..=APART, |at, answer| whole("at", at, answer, 1)).await;
        let by = format!("parallel eol={eol} split={{}}");
        each(kind, &by, 1..10, |by, answer| whole("by", by, answer, 3)).await;
    }
}

#[tokio::test]
async fn anthropic_may_be_split_at_every_byte() {
    split_everywhere(ProviderKind::Anthropic).await;
}

#[tokio::test]
async fn chat_completions_may_be_split_at_every_byte() {
    split_everywhere(ProviderKind::Openai).await;
}

#[tokio::test]
async fn responses_may_be_split_at_every_byte() {
    split_everywhere(ProviderKind::OpenaiResponses).await;
}

#[tokio::test]
async fn ollama_may_be_split_at_every_byte() {
    split_everywhere(ProviderKind::Ollama).await;
}

#[tokio::test]
async fn wherever_a_stream_ends_early_there_is_no_answer() {
    for kind in WIRES {
        let length = length(kind, "usage").await;
        // Every byte of the end, where an answer looks complete; some of those before.
        let ends = (0..length - 300).step_by(17).chain(length - 300..length);
        // The blank line after the last frame may be missing, and nothing else.
        let ends = ends.filter(|end| *end < length - 2);
        each(kind, "usage end={}", ends, |end, answer| {
            let error = match answer {
                Ok(answer) => panic!("{kind:?} ends at {end} of {length}: {answer:?}"),
                Err(error) => error,
            };
            assert_eq!(
                (error.fault, error.maybe_billed),
                (ModelFault::Unreachable, true),
                "{kind:?} ends at {end} of {length}: {error:?}"
            );
        })
        .await;
    }
}
