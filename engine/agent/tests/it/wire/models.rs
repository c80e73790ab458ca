//! Several models behind one name, over real connections: who is asked after a fault, and what is kept of it.

use std::sync::Arc;

use blueprint_agent::model::{Forgetful, ModelFault, Models, ModelsConfig, Surroundings, unheard};

use super::*;

/// `first/m` does as the server's scenario says, `second/m` answers; `both` is the one and then the other.
fn models(scenario: &'static str, memory: &Arc<Forgetful>) -> Models {
    let port = server();
    let config: ModelsConfig = toml::from_str(&format!(
        r#"
        [aliases]
        both = ["first/m", "second/m"]
        [providers.first]
        kind = "openai_compatible"
        base_url = "http://127.0.0.1:{port}/v1"
        key_env = "KEY"
        headers = {{ x-scenario = "FIRST" }}
        [providers.second]
        kind = "anthropic"
        base_url = "http://127.0.0.1:{port}/v1"
        key_env = "KEY"
        [known]
        "first/m" = {{ window = 32000, price = {{ input = 1.0, output = 1.0 }} }}
        "second/m" = {{ window = 16000, price = {{ input = 3.0, output = 15.0 }} }}
        "#
    ))
    .unwrap();
    let surroundings = Surroundings {
        variables: Arc::new(move |name| match name {
            "KEY" => Some(KEY.to_owned()),
            "FIRST" => Some(format!("scenario {scenario}")),
            _ => None,
        }),
        connect: Arc::new(|settings| Ok(Arc::new(Provider::new(settings)?))),
        memory: memory.clone(),
        now: Arc::new(|| 1_700_000_000_000),
        chance: Arc::new(|| 0.0),
    };
    Models::new(config, surroundings).unwrap()
}

async fn through(models: &Models, name: &str) -> Result<Answer, ModelError> {
    let model = models.resolve(name).unwrap();
    model.answer(&scenario("text"), &mut unheard(), &CancellationToken::new()).await
}

/// Which wires were spoken, in order.
async fn spoken() -> Vec<String> {
    let log = get("/log").await;
    log.as_array().unwrap().iter().map(|entry| entry["wire"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn who_wants_to_be_left_alone_for_long_is_left_alone_by_the_next_process_too() {
    let memory = Arc::new(Forgetful::default());
    let answer = through(&models("rate-reset", &memory), "both").await.unwrap();
    assert_eq!((answer.model.as_str(), answer.cost_micros), ("second/m", Some(120 * 3 + 17 * 15)));
    let once = spoken().await;
    assert_eq!(once.len(), 2, "{once:?}");

    let next = models("text", &memory);
    assert_eq!(through(&next, "both").await.unwrap().model, "second/m");
    let error = through(&next, "first/m").await.unwrap_err();
    assert_eq!(error.fault, ModelFault::RateLimited);
    assert_eq!(error.retry_after, Some(Duration::from_millis(89_500)));
    assert_eq!(spoken().await, [once[0].clone(), once[1].clone(), once[1].clone()]);
}

#[tokio::test]
async fn a_wrong_key_is_tried_once_in_a_run() {
    let models = models("auth", &Arc::default());
    for _ in 0..2 {
        assert_eq!(through(&models, "both").await.unwrap().model, "second/m");
    }
    assert_eq!(spoken().await.len(), 3);
    assert_eq!(through(&models, "first/m").await.unwrap_err().fault, ModelFault::Auth);
    assert_eq!(spoken().await.len(), 3);
}

#[tokio::test]
async fn what_failed_once_is_asked_again() {
    let answer = through(&models("flaky", &Arc::default()), "both").await.unwrap();
    assert_eq!(answer.model, "first/m");
    let spoken = spoken().await;
    assert!(spoken.len() == 2 && spoken[0] == spoken[1], "{spoken:?}");
}

#[tokio::test]
async fn a_request_nobody_could_take_is_shown_to_one_alone() {
    for (what, fault) in [("overflow", ModelFault::TooLong), ("bad", ModelFault::Rejected)] {
        let before = spoken().await.len();
        assert_eq!(through(&models(what, &Arc::default()), "both").await.unwrap_err().fault, fault);
        assert_eq!(spoken().await.len(), before + 1, "{what}");
    }
}
