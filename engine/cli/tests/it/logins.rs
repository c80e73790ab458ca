//! `mcp login`, `mcp logins` and `mcp logout` against a server that asks who is there: what a person sees, what is
//! kept, and above all where nothing is.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::lab::{Lab, Running, Said, files_with, wait_until};

/// The server and whoever grants access to it.
struct Guarded {
    child: Child,
    base: String,
}

impl Guarded {
    fn start(manners: &[&str]) -> Self {
        let mut child = Command::new("python3")
            .args(["-c", include_str!("../../../agent/tests/it/oauth_server.py")])
            .args(manners)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Self { child, base: format!("http://127.0.0.1:{}", port.trim()) }
    }

    fn url(&self) -> String {
        format!("{}/mcp", self.base)
    }

    fn asked(&self, path: &str) -> usize {
        let seen: Value = serde_json::from_str(&get(&format!("{}/seen", self.base)).1).unwrap();
        seen.as_array().unwrap().iter().filter(|seen| seen["path"] == path).count()
    }

    /// Everything it gave out that nobody else may see.
    fn granted(&self) -> Vec<String> {
        serde_json::from_str(&get(&format!("{}/granted", self.base)).1).unwrap()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A browser: the head of an answer, and its body.
fn get(url: &str) -> (String, String) {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

/// Where a page leads on.
fn leads_to(url: &str) -> String {
    let (head, _) = get(url);
    head.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap().to_owned()
}

/// A login that has said where to go.
fn begin(lab: &Lab, server: &Guarded, more: &[&str]) -> (Running, String) {
    let url = server.url();
    let mut args = vec!["mcp", "login", &url, "--format", "json"];
    args.extend(more);
    let mut command = lab.command(args);
    command.env("CLIENT_SECRET", "the-clients-own-secret");
    let mut running = Running::start(command);
    let page = wait_until("the program says where to go", || {
        assert!(!running.is_over() || !running.out().is_empty(), "{}", running.err());
        let out = running.out();
        let line: Value = serde_json::from_str(out.split_once('\n')?.0).unwrap();
        Some(line["open"].as_str().unwrap().to_owned())
    });
    (running, page)
}

/// A whole login.
fn login(lab: &Lab, server: &Guarded, more: &[&str]) -> Said {
    let (running, page) = begin(lab, server, more);
    assert!(get(&leads_to(&page)).0.starts_with("HTTP/1.1 200"));
    running.end().ends(0)
}

fn folder(lab: &Lab) -> PathBuf {
    lab.beside("home/.local/state/blueprint/mcp")
}

fn kept(lab: &Lab) -> Vec<PathBuf> {
    std::fs::read_dir(folder(lab)).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}

fn mode(path: &std::path::Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn what_is_granted_is_kept_for_its_user_and_nowhere_else() {
    let lab = Lab::in_git();
    let server = Guarded::start(&["confidential", "ends"]);
    let said = login(&lab, &server, &[]);
    let last: Value = serde_json::from_str(said.out.lines().last().unwrap()).unwrap();
    assert_eq!(last["login"]["server"], server.url());
    assert_eq!(last["login"]["scopes"], serde_json::json!(["read"]));
    let [file] = &kept(&lab)[..] else { panic!("{:?}", kept(&lab)) };
    assert_eq!((mode(file), mode(&folder(&lab))), (0o600, 0o700));

    let shown = lab.say(&["mcp", "logins"]).ends(0);
    assert!(shown.out.contains(&server.url()) && shown.out.contains("renewed when it is used"), "{shown}");
    let listed = lab.say(&["mcp", "logins", "--format", "json"]).ends(0);
    let row = &listed.json()[0];
    assert_eq!((&row["issuer"], &row["renewable"]), (&Value::from(server.base.clone()), &Value::from(true)));
    assert!(row["expires_at"].as_str().unwrap().ends_with('Z'), "{row}");

    let granted = server.granted();
    assert_eq!(granted.len(), 4, "a secret, a code and two tokens: {granted:?}");
    for secret in granted {
        for said in [&said, &shown, &listed] {
            said.clone().conceals(&secret);
        }
        let expected = if secret.starts_with("code-") { vec![] } else { vec![file.clone()] };
        assert_eq!(files_with(&lab.beside(""), secret.as_bytes()), expected, "{secret}");
    }

    lab.say(&["mcp", "logout", &server.url()]).ends(0);
    assert_eq!(kept(&lab), Vec::<PathBuf>::new());
    lab.say(&["mcp", "logout", &server.url()]).ends(2).mentions("nobody is logged in to");
    assert!(lab.say(&["mcp", "logins"]).ends(0).out.contains("nobody is logged in"));
    assert_eq!(lab.git(&["status", "--porcelain"]), "");
}

#[test]
fn a_person_is_told_where_to_go_and_what_came_of_it() {
    let lab = Lab::new();
    let server = Guarded::start(&["once"]);
    let running = lab.start(&["mcp", "login", &server.url(), "--scope", "read", "--scope", "write"]);
    let page = wait_until("the program says where to go", || {
        let out = running.out();
        let line = out.lines().find(|line| line.trim().starts_with("http://"))?;
        out.contains("waiting up to 300 s").then(|| line.trim().to_owned())
    });
    assert!(page.contains("code_challenge_method=S256") && page.contains("scope=read+write"), "{page}");
    get(&leads_to(&page));
    let said = running.end().ends(0);
    assert!(
        said.out.contains(&format!("logged in to {}  read write  no end is known", server.url())),
        "{said}"
    );
}

#[test]
fn an_answer_that_belongs_to_another_login_is_not_used() {
    let lab = Lab::new();
    let server = Guarded::start(&[]);
    let (running, page) = begin(&lab, &server, &[]);
    let right = leads_to(&page);
    let (before, state) = right.split_once("state=").unwrap();
    let rest = state.split_once('&').map_or("", |(_, rest)| rest);
    for wrong in ["forged", ""] {
        let (head, body) = get(&format!("{before}state={wrong}&{rest}"));
        assert!(head.starts_with("HTTP/1.1 400") && body.contains("not the answer"), "{head}");
    }
    let (head, _) = get(&format!("{}?error=access_denied", right.split_once('?').unwrap().0));
    assert!(head.starts_with("HTTP/1.1 400"), "nor can a stranger end the wait: {head}");
    assert_eq!(server.asked("/token"), 0);
    get(&right);
    running.end().ends(0);
    assert_eq!(server.asked("/token"), 1);
}

#[test]
fn a_login_that_is_not_granted_leaves_nothing() {
    for (manner, why) in [
        ("denied", "access was not granted: access_denied: not [31mtoday"),
        ("impostor", "the answer is not from who was asked, and was not used"),
        ("nameless", "the answer is not from who was asked, and was not used"),
        ("dpop", "it granted a token of the kind `dpop`"),
        ("echo", "the answer could not be exchanged for access"),
    ] {
        let lab = Lab::new();
        let server = Guarded::start(&[manner]);
        let (running, page) = begin(&lab, &server, &[]);
        get(&leads_to(&page));
        let said = running.end().ends(1).mentions(why);
        assert_eq!(kept(&lab), Vec::<PathBuf>::new(), "{manner}");
        for secret in server.granted() {
            said.clone().conceals(&secret);
            assert_eq!(files_with(&lab.beside(""), secret.as_bytes()), Vec::<PathBuf>::new(), "{manner}");
        }
    }
}

#[test]
fn a_server_that_cannot_be_logged_in_to_says_why() {
    for (manner, why) in [
        ("silent", "says nothing of logins"),
        ("closed", "cannot register"),
        ("liar", "does not say who grants access to it"),
        ("script", "the page to log in at is none to open"),
    ] {
        let lab = Lab::new();
        let server = Guarded::start(&[manner]);
        lab.say(&["mcp", "login", &server.url()]).ends(1).mentions(why);
        assert_eq!((server.asked("/authorize"), kept(&lab)), (0, Vec::new()), "{manner}");
    }
}

#[test]
fn nobody_is_waited_for_without_end() {
    let lab = Lab::new();
    let server = Guarded::start(&[]);
    let said = lab.say(&["mcp", "login", &server.url(), "--timeout", "1s"]).ends(1);
    said.mentions("nobody came back within 1 s");
    assert_eq!(kept(&lab), Vec::<PathBuf>::new());
    lab.say(&["mcp", "login", &server.url(), "--timeout", "soon"])
        .ends(2)
        .mentions("`--timeout` must be a duration");
}

#[test]
fn a_killed_login_leaves_nothing() {
    let lab = Lab::new();
    let server = Guarded::start(&[]);
    let (running, page) = begin(&lab, &server, &[]);
    running.signal(rustix::process::Signal::KILL);
    assert!(running.end().was_killed());
    let back = leads_to(&page);
    let host = back.strip_prefix("http://").unwrap().split_once('/').unwrap().0;
    assert!(TcpStream::connect(host).is_err(), "nobody listens any more");
    assert_eq!(kept(&lab), Vec::<PathBuf>::new());
}

#[test]
fn keys_belong_to_safe_addresses_only() {
    let lab = Lab::new();
    for (url, why) in [
        ("http://mcp.example/", "is not safe for keys"),
        ("http://192.0.2.1/mcp", "is not safe for keys"),
        ("ftp://127.0.0.1/", "is not safe for keys"),
        ("https://me:word@mcp.example/", "holds a name or a password"),
        ("https://mcp.example/#x", "has a `#`"),
        ("mcp.example", "is no URL"),
        ("", "is no URL"),
    ] {
        for command in ["login", "logout"] {
            lab.say(&["mcp", command, "--", url]).ends(2).mentions(why);
        }
    }
    assert!(!folder(&lab).exists());
}

#[test]
fn a_client_that_was_registered_before_keeps_its_secret_where_it_was() {
    let lab = Lab::new();
    let server = Guarded::start(&[]);
    let more = ["--client-id", "ours", "--client-secret-env", "CLIENT_SECRET"];
    login(&lab, &server, &more).conceals("the-clients-own-secret");
    assert_eq!(server.asked("/register"), 0);
    let [file] = &kept(&lab)[..] else { panic!() };
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains("CLIENT_SECRET") && text.contains("ours"), "{text}");
    assert_eq!(files_with(&lab.beside(""), b"the-clients-own-secret"), Vec::<PathBuf>::new());
    let url = server.url();
    let unset = ["mcp", "login", &url, "--client-id", "ours", "--client-secret-env", "NOT_SET"];
    lab.say(&unset).ends(2).mentions("the variable `NOT_SET` is not set");
    lab.say(&["mcp", "login", &url, "--client-secret-env", "X"]).ends(2).mentions("--client-id");
}

#[test]
fn a_folder_that_is_open_to_others_is_found_before_anybody_takes_the_trouble() {
    let lab = Lab::new();
    let server = Guarded::start(&[]);
    std::fs::create_dir_all(folder(&lab)).unwrap();
    std::fs::set_permissions(folder(&lab), std::fs::Permissions::from_mode(0o755)).unwrap();
    lab.say(&["mcp", "login", &server.url()]).ends(3).mentions("is open to others");
    assert_eq!(server.asked("/mcp"), 0);
    std::fs::set_permissions(folder(&lab), std::fs::Permissions::from_mode(0o700)).unwrap();
    login(&lab, &server, &[]);
    let [file] = &kept(&lab)[..] else { panic!() };
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o644)).unwrap();
    lab.say(&["mcp", "logins"]).ends(0).mentions("is open to others");
    let row = lab.say(&["mcp", "logins", "--format", "json"]).ends(0).json();
    assert!(row[0]["error"].as_str().unwrap().contains("is open to others"), "{row}");
    login(&lab, &server, &[]);
    assert_eq!(mode(file), 0o600, "a new login mends it");
}

#[test]
fn a_project_cannot_say_whom_secrets_are_shown() {
    let lab = Lab::new();
    let client =
        "[mcp.credentials.\"https://mcp.example/\"]\nclient_id = \"me\"\nclient_secret_env = \"SECRET\"\n";
    lab.write("blueprint.toml", client);
    lab.say(&["mcp", "logins"])
        .ends(2)
        .mentions("`[mcp]` says whom secrets are shown: only the user's own settings");
    lab.write("blueprint.toml", "");
    let settings = lab.beside("home/.config/blueprint/config.toml");
    std::fs::create_dir_all(settings.parent().unwrap()).unwrap();
    std::fs::write(&settings, client).unwrap();
    let said = lab.say(&["mcp", "login", "https://mcp.example"]).ends(2);
    said.mentions("the settings have a client for `https://mcp.example/`");
    std::fs::write(&settings, client.replace("https:", "http:")).unwrap();
    lab.say(&["mcp", "logins"]).ends(2).mentions("is not safe for keys");
    std::fs::write(&settings, client.replace("_env = \"SECRET\"", " = \"never here\"")).unwrap();
    lab.say(&["mcp", "logins"]).ends(2).mentions("unknown field `client_secret`").conceals("never here");
}

/// A project with an agent that reads at the server, and settings that open this machine.
fn reader(server: &Guarded, more: &str) -> Lab {
    let lab = Lab::in_git();
    lab.settings(&format!("[egress]\nprivate = [\"127.0.0.1:*\", \"localhost:*\"]\n{more}"));
    lab.write(
        "blueprints/ask/model.toml",
        "[[turn]]\n[[turn.call]]\ntool = \"mcp.far.read\"\n[[turn]]\ntext = \"Done.\"\n",
    );
    lab.blueprint(
        "ask",
        &format!(
            "[nodes.ask]\nagent = {{ prompt = \"Ask.\", model = \"scripted/model.toml\", mcp = {{ far = {{ url = \"{}\", tools = [\"read\", \"write\"] }} }} }}\n",
            server.url()
        ),
    );
    lab
}

/// A run uses the login of its user, renews it with those who granted it, and asks nobody. What it was let in with is
/// nowhere but in the file of the login.
#[test]
fn a_run_uses_the_login_of_its_user() {
    for manners in [&["ends"][..], &["elsewhere"]] {
        let server = Guarded::start(manners);
        let lab = reader(&server, "");
        let out = lab.say(&["run", "ask"]).ends(1);
        out.mentions("the server of tools `far`").mentions(&format!("blueprint mcp login {}", server.url()));
        login(&lab, &server, &[]);
        lab.say(&["run", "ask"]).ends(0).mentions("< mcp.far.read");
        let tokens = server.asked("/token");
        // What was granted is taken back: it is renewed without anybody, once.
        get(&format!("{}/expire", server.base));
        lab.say(&["run", "ask"]).ends(0).mentions("< mcp.far.read");
        assert_eq!(server.asked("/token"), tokens + 1, "{manners:?}");
        lab.say(&["run", "ask"]).ends(0);
        assert_eq!(server.asked("/token"), tokens + 1, "{manners:?}");
        for secret in server.granted() {
            let found = files_with(&lab.beside(""), secret.as_bytes());
            assert!(found.iter().all(|file| kept(&lab).contains(file)), "{secret}: {found:?}");
        }
        lab.say(&["mcp", "logout", &server.url()]).ends(0);
        lab.say(&["run", "ask"]).ends(1).mentions("blueprint mcp login");
    }
}

/// Where nobody can log in, a client of the user's settings is let in; its secret is shown to whom the settings name.
#[test]
fn a_run_is_let_in_as_a_client_of_its_user() {
    let server = Guarded::start(&["elsewhere"]);
    let issuer = server.base.replace("127.0.0.1", "localhost");
    let client = |issuer: &str| {
        format!(
            "[mcp.credentials.\"{}\"]\nclient_id = \"machine\"\nclient_secret_env = \"TOOLS_SECRET\"\nissuer = \"{issuer}\"\n",
            server.url()
        )
    };
    let secret = [("TOOLS_SECRET", "the machine's own secret")];
    let lab = reader(&server, &client(&issuer));
    lab.say_with(&secret, &["run", "ask"]).ends(0).mentions("< mcp.far.read");
    lab.say(&["run", "ask"]).ends(1).mentions("TOOLS_SECRET");
    assert_eq!(files_with(&lab.beside(""), b"the machine's own secret"), Vec::<PathBuf>::new());
    let before = server.asked("/token");
    let other = reader(&server, &client("https://somebody.example"));
    other.say_with(&secret, &["run", "ask"]).ends(1).mentions("the server of tools `far`");
    assert_eq!(server.asked("/token"), before, "the secret was shown to somebody else");
}
