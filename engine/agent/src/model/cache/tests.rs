//! What is given again, and what never is.

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::super::failover::tests::world::Does::Calls;
use super::super::failover::tests::world::{World, answer, ask, request};
use super::super::{Message, unheard};
use super::*;
use crate::tool::{Effect, ToolSpec};

#[tokio::test(start_paused = true)]
async fn the_cache_gives_an_answer_again_within_the_hour() {
    let world = World::new(&[]);
    let models = world.models("cache = \"process\"");
    let model = models.resolve("ab").unwrap();
    let first = answer(model.as_ref()).await.unwrap();
    assert_eq!((first.origin, first.cost_micros), (Origin::Provider, Some(66)));
    let again = answer(model.as_ref()).await.unwrap();
    assert_eq!((again.origin, again.cost_micros, again.usage), (Origin::Recorded, Some(0), Usage::default()));
    assert_eq!((again.text, again.model), (first.text, first.model));
    assert_eq!(world.asked().len(), 1);
    assert_eq!(ask(&world.models("cache = \"process\""), "ab").await, Ok("a/x".to_owned()));
    assert_eq!(world.asked().len(), 1, "another process");

    tokio::time::advance(Duration::from_secs(3599)).await;
    answer(model.as_ref()).await.unwrap();
    assert_eq!(world.asked().len(), 0);
    tokio::time::advance(Duration::from_secs(1)).await;
    answer(model.as_ref()).await.unwrap();
    assert_eq!(world.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn every_part_of_a_request_decides_whether_it_is_the_same() {
    let world = World::new(&[]);
    let model = world.models("cache = \"process\"").resolve("a").unwrap();
    let mut others = vec![request(); 5];
    others[1].system.push('x');
    others[2].messages.push(Message::User { text: "x".to_owned() });
    others[3].max_output = 11;
    others[4].temperature = Some(0.0);
    for request in &others {
        model.answer(request, &mut unheard(), &CancellationToken::new()).await.unwrap();
    }
    assert_eq!(world.asked().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn the_cache_never_answers_with_tools_nor_for_scripts_nor_what_was_not_whole() {
    let world = World::new(&[("a/x", &[Calls, Calls])]);
    let models = world.models("cache = \"process\"");
    let a = models.resolve("a").unwrap();
    for _ in 0..2 {
        answer(a.as_ref()).await.unwrap();
    }
    assert_eq!(world.asked().len(), 2, "an answer with calls");
    let script = models.resolve("script/x").unwrap();
    for _ in 0..2 {
        answer(script.as_ref()).await.unwrap();
    }
    assert_eq!(world.asked().len(), 2, "a script");
    let (name, description) = ("t".to_owned(), String::new());
    let tool = ToolSpec { name, description, schema: json!({}), effect: Effect::Read };
    let with_tools = Request { tools: vec![tool], ..request() };
    for _ in 0..2 {
        a.answer(&with_tools, &mut unheard(), &CancellationToken::new()).await.unwrap();
    }
    assert_eq!(world.asked().len(), 2, "a request with tools");
    let off = world.models("").resolve("b/x").unwrap();
    for _ in 0..2 {
        answer(off.as_ref()).await.unwrap();
    }
    assert_eq!(world.asked().len(), 2, "off unless asked for");
}

#[tokio::test(start_paused = true)]
async fn a_kept_answer_is_given_by_the_next_process_and_a_garbled_one_is_not() {
    let world = World::new(&[]);
    assert!(ask(&world.models("cache = \"kept\""), "a").await.is_ok());
    assert!(ask(&world.models("cache = \"kept\""), "a").await.is_ok());
    assert_eq!(world.asked().len(), 1);
    let mut kept = world.memory.load("answers").unwrap();
    kept.as_array_mut().unwrap().insert(0, json!({"key": 7}));
    world.memory.save("answers", &kept);
    assert!(ask(&world.models("cache = \"kept\""), "a").await.is_ok());
    assert_eq!(world.asked().len(), 0, "the line beside it is still good");
    kept[1]["held"]["answer"]["model"] = json!("b/x");
    world.memory.save("answers", &kept);
    assert!(ask(&world.models("cache = \"kept\""), "a").await.is_ok());
    assert_eq!(world.asked().len(), 1);
}
