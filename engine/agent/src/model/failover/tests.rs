//! Scripted faults against the clock: who is asked when, and what comes back.

use std::collections::VecDeque;

use serde_json::json;

use super::super::breaker::{OPEN_FOR, OPENS_AT};
use super::super::{Memory as _, unheard};
use super::*;

pub(in crate::model) mod world;

use ModelFault::{
    Auth, Billing, Cancelled, NoModel, Overloaded, RateLimited, Rejected, TooLong, Unreachable,
};
use world::Does::{self, Answers, BreaksOff, Fails, Hangs, Wants};
use world::{World, answer, ask, config, request, times};

type Case<'a> = (&'a str, &'a [Does], &'a [(&'a str, u64)], Result<&'a str, ModelFault>);

#[tokio::test(start_paused = true)]
async fn every_fault_has_its_course() {
    let fault = Fails(Overloaded);
    let cases: &[Case<'_>] = &[
        ("an answer", &[], &[("a/x", 0)], Ok("a/x")),
        ("a fault", std::slice::from_ref(&fault), &[("a/x", 0), ("a/x", 1000)], Ok("a/x")),
        ("two", &[fault.clone(), Fails(Unreachable)], &[("a/x", 0), ("a/x", 1000), ("a/x", 3000)], Ok("a/x")),
        (
            "three",
            &[fault.clone(), fault.clone(), fault.clone()],
            &[("a/x", 0), ("a/x", 1000), ("a/x", 3000), ("b/x", 3000)],
            Ok("b/x"),
        ),
        ("a short wish", &[Wants(RateLimited, 0)], &[("a/x", 0), ("a/x", 1000)], Ok("a/x")),
        ("a wish", &[Wants(RateLimited, 7)], &[("a/x", 0), ("a/x", 7000)], Ok("a/x")),
        ("the longest wish", &[Wants(RateLimited, 60)], &[("a/x", 0), ("a/x", 60_000)], Ok("a/x")),
        ("a wish too long", &[Wants(RateLimited, 61)], &[("a/x", 0), ("b/x", 0)], Ok("b/x")),
        ("no key", &[Fails(Auth)], &[("a/x", 0), ("b/x", 0)], Ok("b/x")),
        ("no money", &[Fails(Billing)], &[("a/x", 0), ("b/x", 0)], Ok("b/x")),
        ("no model", &[Fails(NoModel)], &[("a/x", 0), ("b/x", 0)], Ok("b/x")),
        ("too long", &[Fails(TooLong)], &[("a/x", 0)], Err(TooLong)),
        ("rejected", &[Fails(Rejected)], &[("a/x", 0)], Err(Rejected)),
        ("cancelled", &[Fails(Cancelled)], &[("a/x", 0)], Err(Cancelled)),
        ("rejected later", &[fault.clone(), Fails(Rejected)], &[("a/x", 0), ("a/x", 1000)], Err(Rejected)),
    ];
    for (name, does, asked, outcome) in cases {
        let world = World::new(&[("a/x", does)]);
        let models = world.models("");
        assert_eq!(ask(&models, "ab").await, outcome.map(str::to_owned), "{name}");
        assert_eq!(world.asked(), times(asked), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_sequence_of_faults_breaks_the_rules() {
    let kinds = [
        Answers,
        Fails(Overloaded),
        Wants(RateLimited, 2),
        Wants(Overloaded, 90),
        Fails(Auth),
        Fails(TooLong),
    ];
    let number = kinds.len();
    for case in 0..number.pow(4) {
        let at = |place: u32| kinds[case / number.pow(place) % number].clone();
        let world = World::new(&[("a/x", &[at(0), at(1), at(2)]), ("b/x", &[at(3)])]);
        let models = world.models("");
        let outcome = ask(&models, "ab").await;
        let asked = world.asked();
        let of = |name| asked.iter().filter(|(asked, _)| asked == name).count();
        assert!(of("a/x") <= 3 && of("b/x") <= 3, "{case}: {asked:?}");
        assert!(asked.is_sorted_by_key(|(name, _)| name.clone()), "{case}: never back to an earlier one");
        for pair in asked.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
            let wait = pair[1].1 - pair[0].1;
            assert!((1000..=60_000).contains(&wait), "{case}: {asked:?}");
        }
        let last = asked.last().unwrap();
        match outcome {
            Ok(model) => assert_eq!(&model, &last.0),
            Err(fault) => assert!(fault == TooLong || of("b/x") > 0, "{case}: {asked:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn when_nobody_answers_the_error_says_what_each_of_them_said() {
    let world = World::new(&[("a/x", &[Fails(Auth)]), ("b/x", &[Wants(RateLimited, 120)])]);
    let model = world.models("").resolve("ab").unwrap();
    let error = answer(model.as_ref()).await.unwrap_err();
    assert_eq!(error.to_string(), "ab: no model answered: a/x: Auth; b/x: RateLimited");
    assert_eq!((error.fault, error.retry_after), (RateLimited, Some(Duration::from_mins(2))));
}

#[tokio::test(start_paused = true)]
async fn a_provider_without_a_right_key_is_not_asked_again_in_the_run_but_a_missing_model_is_only_itself() {
    let world = World::new(&[("a/x", &[Fails(Auth)])]);
    let models = world.models("");
    assert_eq!(ask(&models, "ab").await, Ok("b/x".to_owned()));
    world.asked();
    assert_eq!(ask(&models, "both").await, Ok("b/x".to_owned()));
    assert_eq!(world.asked(), times(&[("b/x", 0)]));
    assert_eq!(ask(&models, "a").await, Err(Auth));
    assert_eq!(world.asked(), []);

    let world = World::new(&[("a/x", &[Fails(NoModel)])]);
    let models = world.models("");
    assert_eq!(ask(&models, "a").await, Err(NoModel));
    assert_eq!(ask(&models, "a").await, Err(NoModel));
    assert_eq!(ask(&models, "both").await, Ok("a/y".to_owned()));
    assert_eq!(world.asked(), times(&[("a/x", 0), ("a/y", 0)]));
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_sends_calls_on_without_a_wait_and_lets_one_in_at_a_time_after_it() {
    let down = vec![Fails(Overloaded); OPENS_AT as usize];
    let world = World::new(&[("a/x", &down)]);
    let models = world.models("");
    assert_eq!(ask(&models, "ab").await, Ok("b/x".to_owned()));
    assert_eq!(ask(&models, "ab").await, Ok("b/x".to_owned()));
    // The fifth fault opens it: no third try, and no wait after the second.
    let two = [
        ("a/x", 0),
        ("a/x", 1000),
        ("a/x", 3000),
        ("b/x", 3000),
        ("a/x", 3000),
        ("a/x", 4000),
        ("b/x", 4000),
    ];
    assert_eq!(world.asked(), times(&two));
    assert_eq!(ask(&models, "ab").await, Ok("b/x".to_owned()));
    assert_eq!(world.asked(), times(&[("b/x", 4000)]));
    assert_eq!(ask(&models, "a").await, Err(Overloaded));
    assert_eq!(world.asked(), []);

    tokio::time::advance(OPEN_FOR).await;
    let models = Arc::new(models);
    let many = (0..16).map(|_| {
        let models = models.clone();
        tokio::spawn(async move { ask(&models, "ab").await.unwrap() })
    });
    let answered: Vec<String> =
        futures::future::join_all(many).await.into_iter().map(|answer| answer.unwrap()).collect();
    assert_eq!(answered.iter().filter(|name| *name == "a/x").count(), 1, "{answered:?}");
    assert_eq!(ask(&models, "a").await, Ok("a/x".to_owned()));
    let many = (0..16).map(|_| ask(&models, "ab"));
    let answered = futures::future::join_all(many).await;
    assert!(answered.iter().all(|name| name.as_deref() == Ok("a/x")), "closed after two");
}

#[tokio::test(start_paused = true)]
async fn a_stated_reset_holds_for_the_next_process() {
    let world = World::new(&[("a/x", &[Wants(RateLimited, 600)])]);
    assert_eq!(ask(&world.models(""), "a").await, Err(RateLimited));
    assert_eq!(world.asked().len(), 1);

    let later = world.models("");
    tokio::time::advance(Duration::from_secs(500)).await;
    assert_eq!(ask(&later, "ab").await, Ok("b/x".to_owned()));
    let model = later.resolve("a").unwrap();
    let error = answer(model.as_ref()).await.unwrap_err();
    assert_eq!((error.fault, error.retry_after), (RateLimited, Some(Duration::from_secs(100))));
    assert_eq!(world.asked(), times(&[("b/x", 500_000)]));

    // What is left is short enough to wait for, if there is nobody else.
    tokio::time::advance(Duration::from_secs(45)).await;
    assert_eq!(ask(&world.models(""), "a").await, Ok("a/x".to_owned()));
    assert_eq!(world.asked(), times(&[("a/x", 600_000)]));
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_is_believed_only_where_it_makes_sense() {
    let far = 1_700_000_000_000_u64 + 1000 * 60 * 60 * 24 * 365;
    for kept in
        [json!(null), json!([1]), json!({"until": "later"}), json!({"until": -5}), json!({"until": far})]
    {
        let world = World::new(&[]);
        world.memory.save("provider-reset.a", &kept);
        world.memory.save("answers", &kept);
        assert_eq!(ask(&world.models("cache = \"kept\""), "a").await, Ok("a/x".to_owned()), "{kept}");
    }
    let world = World::new(&[("a/x", &[Wants(RateLimited, u64::MAX)])]);
    assert_eq!(ask(&world.models(""), "a").await, Err(RateLimited));
    let kept = world.memory.load("provider-reset.a").unwrap();
    assert_eq!(kept["until"], 1_700_000_000_000_u64 + 1000 * 60 * 60 * 24);
}

#[tokio::test(start_paused = true)]
async fn giving_up_ends_every_wait() {
    for does in [vec![Hangs], vec![Fails(Overloaded)], vec![Wants(RateLimited, 50)]] {
        let world = World::new(&[("a/x", &does)]);
        let models = Arc::new(world.models(""));
        let cancel = CancellationToken::new();
        let task = tokio::spawn({
            let (models, cancel) = (models.clone(), cancel.clone());
            async move { models.resolve("ab").unwrap().answer(&request(), &mut unheard(), &cancel).await }
        });
        while world.asked.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        cancel.cancel();
        assert_eq!(task.await.unwrap().unwrap_err().fault, Cancelled, "{does:?}");
        assert_eq!(world.asked().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_comes_back_is_given_up() {
    let world = World::new(&[("a/x", &[Hangs, Hangs, Hangs])]);
    let models = world.models("timeouts = { total_seconds = 20 }");
    assert_eq!(ask(&models, "ab").await, Ok("b/x".to_owned()));
    let expected = [("a/x", 0), ("a/x", 26_000), ("a/x", 53_000), ("b/x", 78_000)];
    assert_eq!(world.asked(), times(&expected));
}

/// Hears a call, and allows this many further tries.
#[derive(Default)]
struct Purse {
    shown: String,
    allows: usize,
    settled: Vec<String>,
}

#[async_trait]
impl Listener for Purse {
    fn delta(&mut self, delta: Delta<'_>) {
        if let Delta::Text(text) = delta {
            self.shown.push_str(text);
        }
    }

    async fn again(&mut self, failed: &ModelError) -> bool {
        assert!(failed.maybe_billed, "{failed}");
        self.settled.push(failed.model.clone());
        self.settled.len() <= self.allows
    }
}

/// Whoever keeps to a budget is asked between the tries, also when another model is asked next, and has the last word.
#[tokio::test(start_paused = true)]
async fn a_try_that_may_have_been_billed_is_settled_before_the_next_one() {
    let broken = [("a/x", &[BreaksOff, Fails(Overloaded), BreaksOff][..])];
    let world = World::new(&broken);
    let model = world.models("").resolve("ab").unwrap();
    let mut purse = Purse { allows: 9, ..Purse::default() };
    let whole = model.answer(&request(), &mut purse, &CancellationToken::new()).await.unwrap();
    let price = config("").known["b/x"].price.unwrap();
    assert_eq!((whole.model.as_str(), whole.cost_micros), ("b/x", Some(price.micros(&whole.usage))));
    assert_eq!(purse.settled, ["a/x", "a/x"]);
    assert_eq!(purse.shown, "half an\nhalf an\nan answer");

    for allows in 0..2 {
        let world = World::new(&broken);
        let model = world.models("").resolve("ab").unwrap();
        let mut purse = Purse { allows, ..Purse::default() };
        let error = model.answer(&request(), &mut purse, &CancellationToken::new()).await.unwrap_err();
        assert_eq!((error.fault, error.maybe_billed), (Unreachable, false), "it was settled");
        assert_eq!(purse.settled.len(), allows + 1);
        assert_eq!(world.asked().len(), [1, 3][allows], "nobody is asked after a no");
    }

    // The last one is left to whoever made the call, and only the last one.
    for (does, billed) in [
        (vec![BreaksOff, Fails(TooLong)], false),
        (vec![BreaksOff, BreaksOff, BreaksOff], true),
        (vec![BreaksOff, BreaksOff, Fails(Overloaded)], false),
    ] {
        let tries = does.iter().filter(|does| matches!(does, BreaksOff)).count();
        let world = World::new(&[("a/x", &does)]);
        let model = world.models("").resolve("a/x").unwrap();
        let mut purse = Purse { allows: 9, ..Purse::default() };
        let error = model.answer(&request(), &mut purse, &CancellationToken::new()).await.unwrap_err();
        assert_eq!(
            (error.maybe_billed, purse.settled.len()),
            (billed, tries - usize::from(billed)),
            "{does:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_provider_wants_to_see_again_is_shown_to_its_model_alone() {
    let world = World::new(&[("a/x", &[Does::Opaque(json!({"signature": 1}))])]);
    let model = world.models("").resolve("ab").unwrap();
    let said = answer(model.as_ref()).await.unwrap();
    let mut request = request();
    request.messages.push(said.message());
    request.messages.push(Message::Assistant {
        text: String::new(),
        calls: vec![],
        opaque: Some(json!("unknown")),
    });
    world.does.lock().unwrap().insert("a/x".to_owned(), VecDeque::from([Fails(NoModel)]));
    world.heard.lock().unwrap().clear();
    model.answer(&request, &mut unheard(), &CancellationToken::new()).await.unwrap();
    let opaque = |request: &Request| -> Vec<Option<Value>> {
        let of = |message: &Message| match message {
            Message::Assistant { opaque, .. } => Some(opaque.clone()),
            _ => None,
        };
        request.messages.iter().filter_map(of).collect()
    };
    let heard = world.heard.lock().unwrap();
    assert_eq!(opaque(&heard[0]), [Some(json!({"signature": 1})), None]);
    assert_eq!(opaque(&heard[1]), [None, None]);
}

#[tokio::test(start_paused = true)]
async fn a_pace_is_kept_for_all_models_of_a_provider_together() {
    let world = World::new(&[]);
    let models = Arc::new(world.models(""));
    let many = (0..62).map(|_| ask(&models, "slow/x"));
    assert!(futures::future::join_all(many).await.iter().all(Result::is_ok));
    let asked = world.asked();
    assert_eq!(asked.iter().filter(|(_, at)| *at == 0).count(), 60);
    assert!((2000..2010).contains(&asked.last().unwrap().1), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn one_model_is_as_large_as_the_smallest_and_as_dear_as_the_dearest() {
    let models = World::new(&[]).models("");
    let both = models.resolve("ab").unwrap();
    assert_eq!((both.name(), both.window(), both.longest_answer()), ("ab", 800, 100));
    assert_eq!(both.at_most(10, 0), Some(30));
    assert_eq!(both.at_most(0, 10), Some(300));
    assert_eq!(models.resolve("both").unwrap().at_most(1, 1), None, "a/y has no price");
}
