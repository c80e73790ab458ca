//! Secrets that commands use without having them, through the built program, a real sandbox and a real server with TLS.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::lab::{Lab, Running, files_with, wait_until};

const SECRET: &str = "s3cr3t-Zx81-correct+horse/battery";

/// A server with TLS for `localhost`, which says back what it was asked, and the credential in other spellings.
struct Mirror {
    address: SocketAddr,
    certificate: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Mirror {
    fn start() -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                drop(answer(StreamOwned::new(connection, stream), &log));
            }
        });
        Self { address, certificate: certificate.pem(), seen }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn answer(
    mut stream: StreamOwned<ServerConnection, std::net::TcpStream>,
    log: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    while !bytes.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    }
    let request = String::from_utf8_lossy(&bytes).into_owned();
    log.lock().unwrap().push(request.clone());
    let url = SECRET.replace('+', "%2B").replace('/', "%2F");
    let body = format!("{request}\n{}\n{url}\n", base64(SECRET));
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nX-Echo: {SECRET}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    stream.conn.send_close_notify();
    stream.flush()
}

fn base64(text: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let whole =
        text.as_bytes().chunks_exact(3).map(|chunk| u32::from_be_bytes([0, chunk[0], chunk[1], chunk[2]]));
    whole
        .flat_map(|word| [18, 12, 6, 0].map(|shift| LETTERS[(word >> shift) as usize & 63] as char))
        .collect()
}

/// The secret in every spelling that is looked for.
fn spellings() -> Vec<String> {
    let hex = SECRET.bytes().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    let url = SECRET.replace('+', "%2B").replace('/', "%2F");
    let reversed = SECRET.chars().rev().collect();
    vec![SECRET.to_owned(), base64(SECRET), base64(&SECRET[1..]), base64(&SECRET[2..]), hex, url, reversed]
}

fn lab(mirror: &Mirror, run: &str) -> Lab {
    let lab = Lab::in_git();
    let file = lab.beside("authorities.pem");
    std::fs::write(&file, &mirror.certificate).unwrap();
    let host = format!("localhost:{}", mirror.address.port());
    let docker = super::tiers::engine().map(|host| format!("[docker]\nhost = \"{host}\"\n"));
    let docker = docker.unwrap_or_default();
    let machine = super::tiers::machine().unwrap_or_default();
    lab.settings(&format!(
        "{docker}{machine}[egress]\nprivate = [\"{host}\"]\nauthorities = \"{}\"\n",
        file.display()
    ));
    lab.blueprint(
        "use",
        &format!(
            "[inputs]\ntoken = {{ type = \"secret\" }}\n\n[nodes.ask]\nshell = \"sh\"\nworkspace = \"write\"\nrun = '''\n{run}\n'''\nnetwork = [\"{host}\"]\n[nodes.ask.credentials]\n\"{host}\" = {{ secret = \"inputs.token\", env = \"API_TOKEN\" }}\n"
        ),
    );
    lab
}

fn placeholder(lab: &Lab) -> String {
    let said = lab.say(&["logs", &lab.run(), "ask"]).ends(0);
    let at = said.out.find("bp_").unwrap_or_else(|| panic!("{said}"));
    said.out[at..at + 35].to_owned()
}

/// The host has the secret; whatever else there is has a placeholder, which is new in each run.
#[test]
fn a_secret_of_a_host_is_nowhere_but_at_the_host() {
    let containers = super::tiers::engine().map(|_| ["container", "gvisor"]);
    for sandbox in ["process", "bubblewrap"].into_iter().chain(containers.into_iter().flatten()) {
        nowhere_but_at_the_host(
            sandbox,
            "curl -sSi https://localhost:PORT/ -H \"Authorization: Bearer $API_TOKEN\" > answer",
        );
    }
}

#[test]
fn a_secret_of_a_host_is_nowhere_in_a_virtual_machine() {
    if super::tiers::machine().is_some() {
        nowhere_but_at_the_host("microvm", ASKS);
    }
}

/// The machine of the tests has no curl.
const ASKS: &str = r#"python3 - > answer <<'END'
import os, urllib.request
headers = {"Authorization": "Bearer " + os.environ["API_TOKEN"]}
answer = urllib.request.urlopen(urllib.request.Request("https://localhost:PORT/", headers=headers))
print(answer.headers, answer.read().decode())
END"#;

fn nowhere_but_at_the_host(sandbox: &str, ask: &str) {
    let mirror = Mirror::start();
    let ask = ask.replace("PORT", &mirror.address.port().to_string());
    let script = format!("{ask}\ncat answer\nenv\ncat /proc/*/environ | tr '\\0' '\\n'");
    let lab = lab(&mirror, &script);
    let run = |lab: &Lab| {
        let said = lab
            .say_with(
                &[("TOKEN", SECRET)],
                &["run", "use", "--secret", "token=env:TOKEN", "--sandbox", sandbox],
            )
            .ends(0);
        for form in spellings() {
            assert!(!said.out.contains(&form) && !said.err.contains(&form), "as {form}: {said}");
        }
        placeholder(lab)
    };
    let (one, two) = (run(&lab), run(&lab));
    assert_ne!(one, two);
    let seen = mirror.seen();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|request| request.contains(&format!("authorization: Bearer {SECRET}\r\n"))));
    let nothing = Vec::<PathBuf>::new();
    for form in spellings() {
        assert_eq!(files_with(&lab.state(), form.as_bytes()), nothing, "as {form}");
        assert_eq!(files_with(&lab.project(), form.as_bytes()), nothing, "as {form}");
    }
    // The file of the answer became a commit: what came back was clean.
    assert!(lab.diff(&lab.run()).contains("answer"));
    let record = lab.show(&lab.run(), "ask")["record"].clone();
    assert_eq!(record["egress"]["requests"][0]["credential"], "token", "{record}");
    assert_eq!(record["egress"]["requests"][0]["status"], 200);
    let leftovers = std::fs::read_dir(lab.state().join("trusted")).unwrap().count();
    assert_eq!(leftovers, 0, "certificates go with the node");
    lab.verify(&lab.run());
}

#[test]
fn another_credential_is_refused_and_without_isolation_there_is_none() {
    let mirror = Mirror::start();
    let port = mirror.address.port();
    let script = format!("curl -sS https://localhost:{port}/ -H 'Authorization: Bearer attacker'");
    let guarded = lab(&mirror, &script);
    guarded.say_with(&[("TOKEN", SECRET)], &["run", "use", "--secret", "token=env:TOKEN"]).ends(0);
    let record = guarded.show(&guarded.run(), "ask")["record"].clone();
    assert!(
        record["egress"]["requests"][0]["refused"].as_str().unwrap().contains("and nothing else"),
        "{record}"
    );
    assert!(mirror.seen().is_empty());

    let open = lab(&mirror, "true");
    let said = open
        .say_with(&[("TOKEN", SECRET)], &["run", "use", "--secret", "token=env:TOKEN", "--sandbox", "none"]);
    said.ends(1).mentions("needs a sandbox");
}

/// Who may vouch for hosts is the user's to say, and what cannot be read vouches for nobody.
#[test]
fn authorities_are_named_by_the_user_and_must_be_there() {
    let mirror = Mirror::start();
    let script = format!(
        "curl -sS -o /dev/null -w '%{{http_code}}' https://localhost:{}/ -H \"Authorization: Bearer $API_TOKEN\"",
        mirror.address.port()
    );
    let run = |settings: &str| {
        let lab = lab(&mirror, &script);
        let docker = super::tiers::engine().map(|host| format!("[docker]\nhost = \"{host}\"\n"));
        let docker = docker.unwrap_or_default();
        lab.settings(&format!("{docker}[egress]\nprivate = [\"localhost:*\"]\n{settings}"));
        lab.say_with(&[("TOKEN", SECRET)], &["run", "use", "--secret", "token=env:TOKEN"])
    };
    run("").ends(0).mentions("502");
    run("authorities = \"/no/such/file.pem\"\n").ends(1).mentions("cannot be read");
    let relative = run("authorities = \"authorities.pem\"\n");
    assert!(relative.err.contains("not an absolute path"), "{relative}");
    assert!(mirror.seen().is_empty());
}

/// A command in a namespace of processes of its own, with a number that nobody has in another.
fn apart(command: &Command) -> Command {
    let mut inner = Command::new("unshare");
    inner.args(["--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"]);
    inner.args(["for i in $(seq $SPENT); do /bin/true; done; \"$@\"; exit $?", "sh"]);
    inner.arg(command.get_program()).args(command.get_args()).env_clear();
    for (name, value) in command.get_envs() {
        inner.env(name, value.unwrap_or_default());
    }
    if let Some(folder) = command.get_current_dir() {
        inner.current_dir(folder);
    }
    inner.env("TOKEN", SECRET);
    inner
}

/// Certificates belong to whoever holds them, wherever that process is counted, and go when it is dead.
#[test]
fn certificates_of_an_engine_that_cannot_be_seen_are_kept_as_long_as_it_lives() {
    if !rustix::process::geteuid().is_root() {
        super::trouble::skipped("only root may have a namespace of processes");
        return;
    }
    let mirror = Mirror::start();
    let lab = lab(&mirror, "echo begun $(ls /opt/blueprint); while :; do sleep 1; done");
    let text = std::fs::read_to_string(lab.project().join("blueprints/use/blueprint.toml")).unwrap();
    let text: String = text.split_inclusive('\n').skip(2).collect();
    lab.blueprint("quick", &text.replace("while :; do sleep 1; done", "true"));
    let run = |name: &str, spent: &str| {
        let mut command = apart(&lab.command(["run", name, "--secret", "token=env:TOKEN"]));
        command.env("SPENT", spent);
        Running::start(command)
    };
    let held = || std::fs::read_dir(lab.state().join("trusted")).unwrap().count();
    let mut lasting = run("use", "300");
    lasting.wait_for_err("begun trusted.pem");
    assert_eq!(held(), 1);
    run("quick", "1").end().ends(0);
    assert_eq!(held(), 1, "those of the other engine are still there");
    lasting.signal(rustix::process::Signal::KILL);
    assert!(lasting.end().was_killed());
    wait_until("they are swept once their owner is dead", || {
        run("quick", "1").end().ends(0);
        (held() == 0).then_some(())
    });
}
