//! The folder of logins: who may read it, what is refused, and what two processes do to each other.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::time::Duration;

use blueprint_agent::mcp::{Access as _, Credentials, Login, McpConfig, ServerUrl};
use serde_json::json;
use tempfile::TempDir;

use super::Logins;
use super::folder::is_still;

struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn logins_with(&self, more: &[(&str, &str)], config: McpConfig) -> Logins {
        let home = self.0.path().display().to_string();
        let mut environment = BTreeMap::from([("HOME".to_owned(), home)]);
        environment.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Logins::new(&environment, config)
    }

    fn logins(&self) -> Logins {
        self.logins_with(&[], McpConfig::default())
    }

    fn folder(&self) -> PathBuf {
        self.0.path().join(".local/state/blueprint/mcp")
    }

    fn file(&self, url: &str) -> PathBuf {
        self.folder().join(format!("{}.json", server(url).digest()))
    }
}

const URL: &str = "https://example.com/mcp";

fn server(url: &str) -> ServerUrl {
    ServerUrl::parse(url).unwrap()
}

fn login(url: &str, more: &serde_json::Value) -> Login {
    let mut login = json!({
        "version": 1, "server": url, "issuer": "https://issuer.example", "client_id": "me",
        "scopes": ["read"], "access_token": "the-access", "refresh_token": "the-refresh",
    });
    for (name, value) in more.as_object().unwrap() {
        login[name] = value.clone();
    }
    Login::from_json(login.to_string().as_bytes()).unwrap()
}

fn mode(path: &std::path::Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn allow(path: &std::path::Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

async fn found(logins: &Logins) -> String {
    match logins.credentials(&server(URL)).await {
        Ok(Credentials::None) => "nothing".to_owned(),
        Ok(Credentials::Login { client_secret, .. }) => format!("a login, {client_secret:?}"),
        Ok(Credentials::Client(client)) => format!("the client {}", client.client_id),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn a_login_is_the_users_alone_and_replaced_as_a_whole() {
    let home = Home::new();
    let logins = home.logins();
    assert_eq!(found(&logins).await, "nothing");
    assert!(!home.folder().exists(), "nothing is made by looking");
    logins.keep(&login(URL, &json!({}))).await.unwrap();
    let file = home.file(URL);
    assert_eq!((mode(&home.folder()), mode(&file)), (0o700, 0o600));
    let before = std::fs::metadata(&file).unwrap().ino();
    let mut old = std::fs::File::open(&file).unwrap();
    logins.keep(&login(URL, &json!({ "access_token": "another" }))).await.unwrap();
    assert_ne!(std::fs::metadata(&file).unwrap().ino(), before);
    let mut text = String::new();
    std::io::Read::read_to_string(&mut old, &mut text).unwrap();
    assert!(text.contains("the-access"), "whoever reads meanwhile sees the old one");
    assert_eq!(std::fs::read_dir(home.folder()).unwrap().count(), 1, "no draft is left");
    assert!(logins.forget(&server(URL)).await.unwrap() && !logins.forget(&server(URL)).await.unwrap());
    assert_eq!(found(&logins).await, "nothing");
}

#[tokio::test]
async fn what_others_could_have_read_or_written_is_refused() {
    let home = Home::new();
    let logins = home.logins();
    logins.keep(&login(URL, &json!({}))).await.unwrap();
    let file = home.file(URL);
    for open in [0o640, 0o604, 0o620, 0o601] {
        allow(&file, open);
        let why = found(&logins).await;
        assert!(why.contains("is open to others: take the rights of others away with `chmod 600`"), "{why}");
    }
    allow(&file, 0o600);
    assert_eq!(found(&logins).await, "a login, None");
    allow(&home.folder(), 0o750);
    let why = found(&logins).await;
    assert!(why.contains("`chmod 700`"), "{why}");
    assert!(logins.keep(&login(URL, &json!({}))).await.is_err(), "nothing is put there either");
    allow(&home.folder(), 0o700);
    // A new login mends a file that was open.
    allow(&file, 0o644);
    logins.replace(&login(URL, &json!({}))).await.unwrap();
    assert_eq!((found(&logins).await.as_str(), mode(&file)), ("a login, None", 0o600));
}

#[tokio::test]
async fn links_pipes_and_strangers_in_place_of_a_login_are_refused() {
    let home = Home::new();
    let logins = home.logins();
    logins.keep(&login("https://other.example/", &json!({}))).await.unwrap();
    let (file, other) = (home.file(URL), home.file("https://other.example/"));
    std::os::unix::fs::symlink(&other, &file).unwrap();
    assert!(found(&logins).await.contains("cannot be opened"), "a link");
    std::fs::remove_file(&file).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &file, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert!(found(&logins).await.contains("it is not what it should be"), "a pipe");
    std::fs::remove_file(&file).unwrap();
    std::fs::copy(&other, &file).unwrap();
    assert!(found(&logins).await.contains("holds the login for another server"), "somebody else's");
    for text in ["", "{}", "the-access"] {
        std::fs::write(&file, text).unwrap();
        let why = found(&logins).await;
        assert!(why.ends_with("cannot be used: it is damaged"), "{why}");
    }
    assert!(logins.forget(&server(URL)).await.unwrap(), "it can still be deleted");
}

#[tokio::test]
async fn what_a_killed_process_left_goes_with_the_login() {
    let home = Home::new();
    let logins = home.logins();
    logins.keep(&login(URL, &json!({}))).await.unwrap();
    let draft = home.folder().join(format!(".{}.json.0190", server(URL).digest()));
    std::fs::write(&draft, "the-access").unwrap();
    assert_eq!(logins.all().unwrap().len(), 1, "a draft is no login");
    logins.forget(&server(URL)).await.unwrap();
    assert!(!draft.exists());
}

/// Whether something does not come to an end at once.
async fn waits<F: Future>(future: &mut std::pin::Pin<&mut F>) -> bool {
    tokio::select! {
        biased;
        _ = future => false,
        () = std::future::ready(()) => true,
    }
}

#[tokio::test]
async fn who_renews_a_login_is_waited_for() {
    let (home, url) = (Home::new(), server(URL));
    let (one, other) = (home.logins(), home.logins());
    one.keep(&login(URL, &json!({}))).await.unwrap();
    let held = one.hold(&url).await.unwrap();
    let mut waiting = std::pin::pin!(other.hold(&url));
    assert!(waits(&mut waiting).await, "somebody is at it");
    // It is replaced meanwhile: who waited must not hold on to what is gone.
    one.keep(&login(URL, &json!({ "access_token": "another" }))).await.unwrap();
    drop(held);
    let second = tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap().unwrap();
    let mut third = std::pin::pin!(one.hold(&url));
    assert!(waits(&mut third).await, "the new one is held");
    drop(second);
    tokio::time::timeout(Duration::from_secs(20), third).await.unwrap().unwrap();
}

#[test]
fn a_file_that_was_replaced_is_known_for_one() {
    let home = Home::new();
    let place = home.0.path().join("file");
    std::fs::write(&place, "old").unwrap();
    let (folder, file) =
        (std::fs::File::open(home.0.path()).unwrap().into(), std::fs::File::open(&place).unwrap());
    assert!(is_still(&folder, "file", &file));
    std::fs::rename(&place, home.0.path().join("aside")).unwrap();
    assert!(!is_still(&folder, "file", &file), "it is gone");
    std::fs::write(&place, "new").unwrap();
    assert!(!is_still(&folder, "file", &file), "it is another one");
}

#[tokio::test]
async fn a_client_of_the_settings_comes_before_a_login() {
    let home = Home::new();
    home.logins().keep(&login(URL, &json!({ "client_secret_env": "CLIENT_SECRET" }))).await.unwrap();
    let why = found(&home.logins()).await;
    assert_eq!(why, "`CLIENT_SECRET`, which the login for it needs, has no value here");
    let with = home.logins_with(&[("CLIENT_SECRET", "value")], McpConfig::default());
    assert_eq!(found(&with).await, "a login, Some(Secret)");
    let config = json!({ "credentials": { URL: { "client_id": "machine", "client_secret_env": "S" } } });
    let config: McpConfig = serde_json::from_value(config).unwrap();
    assert_eq!(found(&home.logins_with(&[("S", "value")], config.clone())).await, "the client machine");
    let why = found(&home.logins_with(&[], config)).await;
    assert!(why.contains("`S`"), "a missing secret is no reason to use something else: {why}");
}

#[test]
fn the_place_is_the_users_state() {
    let place = |environment: &[(&str, &str)]| {
        let environment = environment.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Logins::new(&environment, McpConfig::default()).prepare().map_err(|error| error.to_string())
    };
    let home = Home::new();
    let path = home.0.path().display().to_string();
    place(&[("HOME", "/nonexistent"), ("XDG_STATE_HOME", &path)]).unwrap();
    assert!(home.0.path().join("blueprint/mcp").is_dir());
    assert!(
        place(&[("HOME", "relative"), ("XDG_STATE_HOME", "")]).unwrap_err().contains("no place for logins")
    );
}
