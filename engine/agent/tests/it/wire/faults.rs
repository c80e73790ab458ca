//! What goes wrong, on every wire: its class, whether it may have been billed, how long to wait, and that nothing is
//! told that must not be.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use blueprint_agent::model::{ModelFault, ProviderKind, Watch, unheard};

use super::*;

async fn fails(kind: ProviderKind, what: &str) -> ModelError {
    match ask(&provider(kind), &scenario(what)).await {
        Err(error) => error,
        Ok(answer) => panic!("{kind:?} {what}: {answer:?}"),
    }
}

#[tokio::test]
async fn errors_of_providers_have_their_class() {
    use ModelFault::*;
    for kind in KINDS {
        for (what, fault) in [
            ("rate-limit", RateLimited),
            ("overloaded", Overloaded),
            ("broken", Overloaded),
            ("gateway", Overloaded),
            ("auth", Auth),
            ("forbidden", Auth),
            ("no-model", NoModel),
            ("bad", Rejected),
            ("echo", Rejected),
            ("redirect", Rejected),
            ("billing", Billing),
            ("overflow", TooLong),
        ] {
            let error = fails(kind, what).await;
            assert_eq!(error.fault, fault, "{kind:?} {what}: {error:?}");
            assert_eq!(error.maybe_billed, what == "gateway", "{kind:?} {what}: {error:?}");
            assert_eq!(error.model, format!("test/{kind:?}"));
            assert!(error.message.starts_with("HTTP "), "{error:?}");
            assert!(!error.message.chars().any(char::is_control), "{error:?}");
        }
    }
}

#[tokio::test]
async fn a_provider_says_how_long_to_wait() {
    for kind in KINDS {
        let wait = |seconds| Some(Duration::from_secs_f64(seconds));
        let reset = if kind == ProviderKind::Anthropic { 90.0 } else { 89.5 };
        for (what, expected) in [
            ("rate-limit", wait(7.0)),
            ("rate-date", wait(45.0)),
            ("rate-reset", wait(reset)),
            ("overloaded", wait(2.0)),
            ("broken", None),
        ] {
            assert_eq!(fails(kind, what).await.retry_after, expected, "{kind:?} {what}");
        }
    }
}

#[tokio::test]
async fn no_message_repeats_the_request_or_the_key() {
    for kind in KINDS {
        let secret = "The launch code of the second silo is 4711 and nobody may know it.";
        let request = request(vec![user(format!("scenario echo {secret} {KEY}"))]);
        let error = ask(&provider(kind), &request).await.unwrap_err();
        assert_eq!(error.message, "HTTP 422: its message repeats the request and is left out", "{kind:?}");
        let short = Request { system: String::new(), tools: Vec::new(), ..scenario(&format!("echo {KEY}")) };
        let shown = format!("{:?}", ask(&provider(kind), &short).await.unwrap_err());
        assert!(!shown.contains(KEY), "{kind:?}: {shown}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_never_a_short_one() {
    for kind in KINDS {
        for what in ["truncated", "cut"] {
            let error = fails(kind, what).await;
            assert_eq!(
                (error.fault, error.maybe_billed),
                (ModelFault::Unreachable, true),
                "{kind:?} {what}: {error:?}"
            );
        }
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_not_skipped() {
    for kind in KINDS {
        let error = fails(kind, "malformed").await;
        assert_eq!((error.fault, error.maybe_billed), (ModelFault::Invalid, true), "{kind:?}: {error:?}");
    }
}

#[tokio::test]
async fn a_provider_that_fails_in_the_middle_has_failed() {
    for kind in KINDS {
        let error = fails(kind, "mid-error").await;
        assert_eq!((error.fault, error.maybe_billed), (ModelFault::Overloaded, true), "{kind:?}: {error:?}");
        assert!(error.message.contains("Overloaded in the middle"), "{kind:?}: {error:?}");
    }
}

#[tokio::test]
async fn every_wait_ends() {
    let short = Duration::from_millis(150);
    for kind in KINDS {
        let usual = settings(kind).timeouts;
        for (what, timeouts) in [
            ("silent", Timeouts { first_byte: short, ..usual }),
            ("stall", Timeouts { between_bytes: short, ..usual }),
            ("silent", Timeouts { total: short, ..usual }),
            ("stall", Timeouts { total: short, ..usual }),
        ] {
            let provider = Provider::new(ProviderSettings { timeouts, ..settings(kind) }).unwrap();
            let error = ask(&provider, &scenario(what)).await.unwrap_err();
            assert_eq!(
                (error.fault, error.maybe_billed),
                (ModelFault::Timeout, true),
                "{kind:?} {what}: {error:?}"
            );
        }
    }
}

#[tokio::test]
async fn nobody_there_is_not_billed() {
    // Bound and dropped: nothing listens on this port.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for kind in KINDS {
        let base_url = Some(format!("http://127.0.0.1:{port}"));
        let provider = Provider::new(ProviderSettings { base_url, ..settings(kind) }).unwrap();
        let error = ask(&provider, &scenario("text")).await.unwrap_err();
        assert_eq!(
            (error.fault, error.maybe_billed),
            (ModelFault::Unreachable, false),
            "{kind:?}: {error:?}"
        );
        assert!(error.message.contains("refused"), "{kind:?}: {error:?}");
    }
}

#[tokio::test]
async fn the_same_call_may_succeed_later() {
    for kind in KINDS {
        let provider = provider(kind);
        let request = scenario(&format!("flaky key={kind:?}"));
        let error = ask(&provider, &request).await.unwrap_err();
        assert!(error.fault.is_transient(), "{kind:?}: {error:?}");
        ask(&provider, &request).await.unwrap_or_else(|error| panic!("{kind:?}: {error:?}"));
    }
}

#[tokio::test]
async fn a_cancelled_call_closes_its_connection() {
    for kind in KINDS {
        for what in ["stall", "silent"] {
            let (provider, cancel) = (provider(kind), CancellationToken::new());
            let request = scenario(&format!("{what} key={what}-{kind:?}"));
            let stop = cancel.clone();
            let mut on = Watch(|_: Delta<'_>| stop.cancel());
            // A silent provider shows nothing: the call is given up once the server has it.
            let asked = async {
                while what == "silent" && last().await["key"] != format!("{what}-{kind:?}").as_str() {
                    tokio::task::yield_now().await;
                }
                if what == "silent" {
                    cancel.cancel();
                }
            };
            let (answer, ()) = tokio::join!(provider.answer(&request, &mut on, &cancel), asked);
            let error = answer.unwrap_err();
            assert_eq!((error.fault, error.maybe_billed), (ModelFault::Cancelled, true), "{kind:?} {what}");
            let closed = get(&format!("/closed/{what}-{kind:?}")).await;
            assert_eq!(closed["closed"], true, "{kind:?} {what}");
        }
        let before = CancellationToken::new();
        before.cancel();
        let error = provider(kind).answer(&scenario("text"), &mut unheard(), &before).await.unwrap_err();
        assert_eq!((error.fault, error.maybe_billed), (ModelFault::Cancelled, false), "{kind:?}");
    }
}

/// Counts what the library that sends writes into the log.
struct Log(Arc<AtomicUsize>);

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn event(&self, event: &tracing::Event<'_>) {
        if event.metadata().target().starts_with("genai") {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn nothing_that_is_received_gets_into_the_log() {
    let written = Arc::new(AtomicUsize::new(0));
    let _guard = tracing::subscriber::set_default(Log(Arc::clone(&written)));
    for kind in KINDS.into_iter().filter(|kind| *kind != ProviderKind::Ollama) {
        for what in ["tool", "malformed", "mid-error", "bad", "cut"] {
            drop(ask(&provider(kind), &scenario(what)).await);
            assert_eq!(written.load(Ordering::SeqCst), 0, "{kind:?} {what}");
        }
    }
}
