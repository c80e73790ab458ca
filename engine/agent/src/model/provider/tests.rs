//! What needs no server: waits, settings, secrets.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::wait::retry_after;
use super::*;
use crate::model::Message;

fn wait(headers: &[(&'static str, &'static str)]) -> Option<Duration> {
    let mut map = HeaderMap::new();
    map.insert("date", HeaderValue::from_static("Fri, 02 Jan 2026 03:04:05 GMT"));
    for (name, value) in headers {
        map.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    retry_after(&map)
}

fn seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

#[test]
fn a_wait_is_read_in_every_form() {
    assert_eq!(wait(&[]), None);
    assert_eq!(wait(&[("retry-after", "7")]), seconds(7.0));
    assert_eq!(wait(&[("retry-after", "0.5")]), seconds(0.5));
    assert_eq!(wait(&[("retry-after", "7"), ("retry-after-ms", "1500")]), seconds(1.5));
    assert_eq!(wait(&[("retry-after", "Fri, 02 Jan 2026 03:05:05 GMT")]), seconds(60.0));
    assert_eq!(wait(&[("retry-after", "Fri, 02 Jan 2026 03:00:00 GMT")]), seconds(0.0), "in the past");
    assert_eq!(wait(&[("x-ratelimit-reset-requests", "1h2m3.5s")]), seconds(3723.5));
    assert_eq!(wait(&[("x-ratelimit-reset-tokens", "17ms")]), seconds(0.017));
    assert_eq!(wait(&[("anthropic-ratelimit-tokens-reset", "2026-01-02T03:04:35Z")]), seconds(30.0));
}

#[test]
fn of_several_limits_the_one_that_is_used_up_counts() {
    let limits = [
        ("x-ratelimit-reset-requests", "6m0s"),
        ("x-ratelimit-remaining-requests", "12"),
        ("x-ratelimit-reset-tokens", "2s"),
        ("x-ratelimit-remaining-tokens", "0"),
    ];
    assert_eq!(wait(&limits), seconds(2.0));
    assert_eq!(wait(&[limits[0], limits[2]]), seconds(2.0), "the first, if none is said to be used up");
}

#[test]
fn nonsense_is_no_wait_and_no_wait_is_endless() {
    for nonsense in ["", "soon", "-3", "NaN", "1x", "Fri, 99 Jan"] {
        assert_eq!(wait(&[("retry-after", nonsense)]), None, "{nonsense}");
        assert_eq!(wait(&[("x-ratelimit-reset-tokens", nonsense)]), None, "{nonsense}");
    }
    let month = Duration::from_hours(24 * 31);
    for endless in ["99999999999", "1e15"] {
        assert_eq!(wait(&[("retry-after", endless)]), Some(month), "{endless}");
    }
    assert_eq!(wait(&[("x-ratelimit-reset-tokens", "99999999999d99999999999d")]), Some(month));
}

fn settings(kind: ProviderKind) -> ProviderSettings {
    ProviderSettings {
        name: "some/model".to_owned(),
        kind,
        model: "m".to_owned(),
        base_url: None,
        key: Some(Secret::new("sk-very-secret")),
        window: 1000,
        longest_answer: 100,
        price: None,
        effort: None,
        timeouts: Timeouts::default(),
        headers: vec![("x-team".to_owned(), Secret::new("also-secret"))],
    }
}

#[test]
fn nothing_secret_is_printed() {
    let provider = Provider::new(settings(ProviderKind::Openai)).unwrap();
    let printed = format!("{provider:?} {:?} {:#?}", provider.settings, provider.settings);
    assert!(!printed.contains("secret"), "{printed}");
    assert!(printed.contains("some/model") && printed.contains("x-team"), "{printed}");
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let base = |url: &str| {
        let url = Some(url.to_owned());
        Provider::new(ProviderSettings { base_url: url, ..settings(ProviderKind::OpenaiCompatible) })
            .map(|p| p.url())
    };
    assert_eq!(base("http://h:1/v1").unwrap(), "http://h:1/v1/chat/completions");
    assert_eq!(base("http://h:1/v1//").unwrap(), "http://h:1/v1/chat/completions");
    for bad in ["nonsense", "file:///etc", "http://user:sk-1@h/v1", "http://h/v1?key=1", "http://h/#x"] {
        let error = base(bad).unwrap_err();
        assert!(matches!(error, SettingsError::BaseUrl { .. }), "{bad}: {error:?}");
        assert!(!error.to_string().contains("sk-1"));
    }
    let none = Provider::new(settings(ProviderKind::OpenaiCompatible)).unwrap_err();
    assert_eq!(none, SettingsError::NoBaseUrl("some/model".to_owned()));
    let key = Some(Secret::new("two\nlines"));
    let error = Provider::new(ProviderSettings { key, ..settings(ProviderKind::Anthropic) }).unwrap_err();
    assert_eq!(error.to_string(), "the key of some/model cannot be sent in a header");
    let headers = vec![("x y".to_owned(), Secret::new("v"))];
    let error = Provider::new(ProviderSettings { headers, ..settings(ProviderKind::Openai) }).unwrap_err();
    assert_eq!(error.to_string(), "the header `x y` of some/model cannot be sent in a header");
}

#[test]
fn a_message_is_one_short_line_without_secrets() {
    let request = Request {
        system: "You mend tests and nothing else; be brief.".to_owned(),
        messages: vec![Message::User {
            text: "Why does\n  `cargo test` fail in   the module of parsers?".to_owned(),
        }],
        tools: Vec::new(),
        max_output: 1,
        temperature: None,
    };
    let fit = |message: &str| fault::fit(message, &settings(ProviderKind::Openai), &request);
    assert_eq!(fit("HTTP 401: sk-very-secret is wrong, also-secret"), "HTTP 401: *** is wrong, ***");
    assert_eq!(fit("HTTP 400: a\r\n\u{1b}[31mb\tc"), "HTTP 400: a [31mb c");
    assert_eq!(fit(&"word ".repeat(200)).chars().count(), 300);
    let left_out = "HTTP 422: its message repeats the request and is left out";
    assert_eq!(fit("HTTP 422: bad input 'Why does `cargo test` fail in the module of parsers?'"), left_out);
    assert_eq!(
        fit("HTTP 422: \"Why does\\n  `cargo test` fail in   the module\u{a0}of parsers?\""),
        left_out
    );
    assert_eq!(fit("HTTP 422: you mend tests"), "HTTP 422: you mend tests", "a word in common is none");
}
