//! What names mean, what prices are known from, and what is wrong with a configuration.

use super::super::Origin;
use super::super::Provider;
use super::super::failover::tests::world::{World, ask, config};
use super::*;

#[tokio::test]
async fn a_name_that_means_nothing_says_what_there_is() {
    let models = World::new(&[]).models("");
    let why = |name| models.resolve(name).unwrap_err().to_string();
    assert_eq!(why("codng"), "there is no model `codng`; there are a, ab, both, or `provider/model`");
    assert!(why("c/x").starts_with("there is no provider `c`; there are a, anthropic, b,"), "{}", why("c/x"));
    assert_eq!(why("a/"), "`a/` is not of the form `provider/model`");
    assert!(why("a/new").ends_with("models.known.\"a/new\".window"), "{}", why("a/new"));
    assert_eq!(why("keyless/x"), "no model of `keyless/x` can be asked: NOT_SET is not set");
    let mut config = config("");
    config.aliases.insert("no".to_owned(), vec!["keyless/x".to_owned(), "other/x".to_owned()]);
    config.aliases.insert("some".to_owned(), vec!["keyless/x".to_owned(), "b/x".to_owned()]);
    let world = World::new(&[]);
    let models = Models::new(config, world.surroundings()).unwrap();
    let none = models.resolve("no").unwrap_err();
    assert_eq!(none.to_string(), "no model of `no` can be asked: NOT_SET and NOT_SET_EITHER are not set");
    assert!(matches!(none, ResolveError::NoKey { .. }));
    assert_eq!(ask(&models, "some").await, Ok("b/x".to_owned()));
    let described = models.describe("some").unwrap();
    assert_eq!(described[0].missing.as_deref(), Some("NOT_SET"));
    assert_eq!(described[1].missing, None);
}

#[tokio::test]
async fn a_price_is_told_with_its_origin() {
    let config: ModelsConfig = toml::from_str(
        r#"
        [providers]
        local = { kind = "ollama", free = true }
        openai = { kind = "openai_compatible", base_url = "https://elsewhere.example/v1" }
        [known]
        "anthropic/claude-opus-5" = { price = { input = 1.0, output = 2.0 } }
        "#,
    )
    .unwrap();
    let models = Models::new(config, World::new(&[]).surroundings()).unwrap();
    let told = |name| {
        let described = models.describe(name).unwrap().remove(0);
        (described.price.map(|(price, origin)| (price.input, origin.to_string())), described.window)
    };
    let built_in = told("anthropic/claude-sonnet-5");
    assert_eq!(built_in, (Some((2.0, "built in, of 2026-11-21".to_owned())), Some(1_000_000)));
    let declared = told("anthropic/claude-opus-5");
    assert_eq!(declared, (Some((1.0, "declared".to_owned())), Some(1_000_000)), "field by field");
    assert_eq!(told("local/qwen"), (Some((0.0, "declared".to_owned())), None));
    assert_eq!(told("anthropic/claude-next"), (None, None));
    assert_eq!(told("openai/gpt-6-sol").0, None, "somebody else's price for the same name");
}

#[test]
fn what_makes_no_sense_is_told_all_at_once() {
    let config: ModelsConfig = toml::from_str(
        r#"
        timeouts = { connect_seconds = 0 }
        [aliases]
        "a/b" = ["anthropic/x"]
        none = []
        twice = ["anthropic/x", "anthropic/x"]
        wrong = ["gpt", "nobody/x"]
        [providers]
        compat = { kind = "openai_compatible" }
        url = { kind = "anthropic", base_url = "https://me:s3cr3t@x.example" }
        key = { kind = "anthropic", key_env = "sk-ant-s3cr3t" }
        [known]
        "anthropic/x" = { price = { input = -1.0, output = 1.0 }, window = 0 }
        "#,
    )
    .unwrap();
    let wrong: Vec<String> = config.check().iter().map(ToString::to_string).collect();
    let places: Vec<&str> = wrong.iter().map(|wrong| wrong.split(": ").next().unwrap()).collect();
    let expected = [
        "providers.compat",
        "providers.key",
        "providers.url",
        "timeouts",
        "aliases.a/b",
        "aliases.none",
        "aliases.twice",
        "aliases.wrong",
        "aliases.wrong",
        "known.\"anthropic/x\"",
        "known.\"anthropic/x\"",
    ];
    assert_eq!(places, expected, "{wrong:#?}");
    assert!(wrong.iter().all(|wrong| !wrong.contains("s3cr3t")), "{wrong:#?}");
    assert!(toml::from_str::<ModelsConfig>("timeout = 3").is_err());
}

#[test]
fn a_key_reaches_the_client_and_is_never_shown() {
    let seen: Arc<Mutex<Option<Secret>>> = Arc::default();
    let world = World::new(&[]);
    let mut surroundings = world.surroundings();
    surroundings.connect = Arc::new({
        let seen = seen.clone();
        move |settings| {
            assert!(!format!("{settings:?}").contains("secret"));
            seen.lock().unwrap().clone_from(&settings.key);
            Ok(Arc::new(Provider::new(settings)?))
        }
    });
    let mut config = config("");
    config.providers.get_mut("a").unwrap().key_env = Some("SET".to_owned());
    let models = Models::new(config, surroundings).unwrap();
    assert_eq!(models.resolve("a").unwrap().origin(), Origin::Provider);
    assert_eq!(*seen.lock().unwrap(), Some(Secret::new("secret")));
    assert!(!format!("{models:?}").contains("secret"));
}
