//! Secrets that commands use without having them, with real clients and real TLS on both sides of the proxy.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use blueprint_sandbox::{
    Backend, Exec, ReadOnlyMount, Sandbox,
    egress::{Endpoint, Private, Rules},
    proxy::{Credential, Proxy, Request, Scrub, Scrubbing, TRUSTED},
};

use crate::{
    desk::{Desk, Story, launcher, python, run, sh},
    web::{Web, hello},
};

const SECRET: &str = "s3cr3t/Zx81+correct~horse";

/// Takes the secret out, plain and in base64. Waits for the end of the text.
#[derive(Debug)]
struct Plain;

struct Held(Vec<u8>);

impl Scrub for Plain {
    fn begin(&self) -> Box<dyn Scrubbing> {
        Box::new(Held(Vec::new()))
    }
}

impl Scrubbing for Held {
    fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        self.0.extend_from_slice(piece);
        Vec::new()
    }

    fn finish(self: Box<Self>) -> Vec<u8> {
        let text = String::from_utf8(self.0).unwrap();
        text.replace(SECRET, "[redacted]").replace(&STANDARD.encode(SECRET), "[redacted]").into_bytes()
    }
}

/// Breaks down at the first answer, and then at the first piece of one.
#[derive(Debug, Default)]
struct Dying(AtomicU32);

struct Dead;

impl Scrub for Dying {
    fn begin(&self) -> Box<dyn Scrubbing> {
        assert!(self.0.fetch_add(1, Ordering::Relaxed) > 0, "the first answer");
        Box::new(Dead)
    }
}

impl Scrubbing for Dead {
    fn push(&mut self, _: &[u8]) -> Vec<u8> {
        panic!("a piece of an answer")
    }

    fn finish(self: Box<Self>) -> Vec<u8> {
        panic!("the end of an answer")
    }
}

/// A sandbox with a secret for one of its hosts.
struct Vault {
    desk: Desk,
    proxy: Arc<Proxy>,
    placeholder: String,
    /// Keeps the certificates while they are mounted.
    _trusted: tempfile::NamedTempFile,
}

impl Vault {
    fn new(backend: Backend, web: &Web, others: &[&Web], prefix: &str) -> Self {
        let trusted = web.certificate.clone().unwrap();
        Self::trusting(backend, web, others, prefix, &trusted)
    }

    fn trusting(backend: Backend, web: &Web, others: &[&Web], prefix: &str, trusted: &str) -> Self {
        Self::scrubbing(backend, web, others, prefix, trusted, Arc::new(Plain))
    }

    fn scrubbing(
        backend: Backend,
        web: &Web,
        others: &[&Web],
        prefix: &str,
        trusted: &str,
        scrub: Arc<dyn Scrub>,
    ) -> Self {
        let endpoint = |web: &&Web| format!("localhost:{}", web.port()).parse::<Endpoint>().unwrap();
        let private = Arc::new(Private::parse(&["localhost:*"]).unwrap());
        let hosts = others.iter().chain([&web]).map(endpoint);
        let rules = Rules::new(hosts, private);
        let bound =
            Credential::new(endpoint(&web), "token", "Authorization", prefix, SECRET.to_owned()).unwrap();
        let placeholder = bound.placeholder().to_owned();
        let proxy = Proxy::new(rules).with_credentials(vec![bound], scrub, Some(trusted.as_bytes()));
        let proxy = Arc::new(proxy.unwrap());
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), proxy.trusted().unwrap()).unwrap();
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        fs::set_permissions(file.path(), readable).unwrap();
        let mut desk = Desk::new(backend);
        desk.spec.read_only.push(ReadOnlyMount { host: file.path().to_owned(), inside: TRUSTED.into() });
        Self { desk, proxy, placeholder, _trusted: file }
    }

    async fn tell(&self, mut exec: Exec) -> Story {
        let proxy = Some(Arc::clone(&self.proxy));
        let mut sandbox =
            Sandbox::start_behind(&launcher(), self.desk.backend, &self.desk.spec, proxy).await.unwrap();
        exec.env.extend(self.proxy.variables());
        exec.env.insert("API_TOKEN".to_owned(), self.placeholder.clone());
        let story = run(&mut sandbox, exec).await.unwrap();
        sandbox.stop().await;
        story
    }

    fn last(&self) -> Request {
        self.proxy.ledger().read().0.pop().unwrap()
    }
}

/// Answers 401 unless it is shown something, as git expects.
fn guarded(request: &str) -> String {
    if request.to_lowercase().contains("\r\nauthorization: ") {
        return "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned();
    }
    "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n".to_owned()
}

/// Says everything it was asked, in the head and in the content of its answer, and in chunks.
fn echo(request: &str) -> String {
    let shown = request.lines().find_map(|line| line.strip_prefix("authorization: ")).unwrap_or_default();
    let packed = STANDARD.encode(shown.strip_prefix("Bearer ").unwrap_or(shown));
    let text = format!("{request}\n{packed}\n");
    let (one, two) = text.split_at(text.find(shown).unwrap_or(0) + shown.len() / 2);
    format!(
        "HTTP/1.1 200 OK\r\nX-Shown: {shown}\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n",
        one.len(),
        two.len()
    )
}

#[tokio::test]
async fn the_host_sees_the_secret_and_the_sandbox_never_does() {
    let web = Web::tls(&["localhost"], hello).await;
    let url = format!("https://localhost:{}", web.port());
    for backend in [Backend::Process, Backend::Bubblewrap] {
        let vault = Vault::new(backend, &web, &[], "Bearer ");
        let script = format!(
            "curl -sS {url}/curl -H \"Authorization: Bearer $API_TOKEN\" -d @/etc/hostname && echo && env && cat /proc/self/environ && cat {TRUSTED}"
        );
        let story = vault.tell(sh(&script)).await;
        assert!(
            story.text().starts_with("<POST /curl HTTP/1.1>\n"),
            "{} {}",
            story.text(),
            story.complaints()
        );
        assert!(!story.text().contains(SECRET) && story.text().contains(&vault.placeholder));
        assert!(!story.text().contains("PRIVATE KEY"), "the key of the authority stays outside");
        let request = vault.last();
        assert_eq!(
            (request.credential.as_deref(), request.status),
            (Some("token"), Some(200)),
            "{request:?}"
        );
        let script = format!(
            "import os, urllib.request as u\nr = u.Request('{url}/python', headers={{'Authorization': 'Bearer ' + os.environ['API_TOKEN']}})\nprint(u.urlopen(r).read().decode())"
        );
        let story = vault.tell(python(&script)).await;
        assert_eq!(story.text(), "<GET /python HTTP/1.1>\n", "{}", story.complaints());
    }
    let seen = web.seen();
    assert_eq!(seen.len(), 4);
    let shown = format!("\r\nauthorization: Bearer {SECRET}\r\n");
    assert!(seen.iter().all(|request| request.contains(&shown)), "{seen:?}");
}

#[tokio::test]
async fn git_shows_it_as_a_password() {
    let web = Web::tls(&["localhost"], guarded).await;
    let vault = Vault::new(Backend::Process, &web, &[], "Basic ");
    let script = format!(
        "GIT_TERMINAL_PROMPT=0 git ls-remote \"https://git:$API_TOKEN@localhost:{}/a.git\" 2>&1; true",
        web.port()
    );
    let story = vault.tell(sh(&script)).await;
    assert!(story.text().contains("not found"), "{}", story.text());
    let shown = format!("authorization: Basic {}\r\n", STANDARD.encode(format!("git:{SECRET}")));
    assert!(web.seen().iter().any(|request| request.contains(&shown)), "{:?}", web.seen());
}

/// On a host with a credential nobody shows another one, and the placeholder is of no use anywhere else.
#[tokio::test]
async fn nothing_else_is_shown_to_the_host_and_nothing_of_it_to_others() {
    let web = Web::tls(&["localhost"], hello).await;
    let other = Web::plain(hello).await;
    let vault = Vault::new(Backend::Process, &web, &[&other], "Bearer ");
    let (here, there) =
        (format!("https://localhost:{}", web.port()), format!("http://localhost:{}", other.port()));
    let rows = [
        (format!("{here}/ -H \"Authorization: Bearer $API_TOKEN\""), 200),
        (format!("{here}/"), 200),
        (format!("{there}/ -H 'Authorization: Bearer somebody'"), 200),
        (format!("{here}/ -H 'Authorization: Bearer attacker'"), 403),
        (format!("{here}/ -H 'Authorization: Basic YTpi'"), 403),
        (format!("{here}/ -H 'X-Api-Key: attacker'"), 403),
        (format!("{here}/ -H 'Cookie: a=b'"), 403),
        (format!("{here}/ -H \"Authorization: Bearer $API_TOKEN\" -H 'Authorization: Bearer attacker'"), 403),
        (format!("{here}/ -H \"Authorization: Bearer ${{API_TOKEN}}x\""), 403),
        (format!("{here}/?a=$API_TOKEN"), 403),
        (format!("{here}/ -H \"X-Other: $API_TOKEN\""), 403),
        (format!("{here}/ -d \"a $API_TOKEN b\""), 403),
        (format!("{here}/ -X TRACE"), 403),
        (format!("http://localhost:{}/ -H \"Authorization: Bearer $API_TOKEN\"", web.port()), 403),
        (format!("{there}/ -H \"Authorization: Bearer $API_TOKEN\""), 403),
        (format!("{there}/ -u \"a:$API_TOKEN\""), 403),
        (format!("{there}/$API_TOKEN"), 403),
        (format!("{there}/ -d \"a=$API_TOKEN\""), 403),
        (format!("{there}/ -d @long"), 403),
        (format!("{there}/ -H 'Transfer-Encoding: chunked' -d \"a=$API_TOKEN\""), 403),
    ];
    let long = format!("{}{}", "bp_".repeat(60_000), vault.placeholder);
    fs::write(vault.desk.dir.path().join("long"), long).unwrap();
    for (row, status) in &rows {
        let story = vault.tell(sh(&format!("curl -sS -o /tmp/out -w '%{{http_code}}' {row}"))).await;
        assert_eq!(story.text(), status.to_string(), "{row}: {} {:?}", story.complaints(), vault.last());
        let last = vault.last();
        assert_eq!(last.refused.is_some(), *status == 403, "{row}: {last:?}");
        assert!(last.credential.is_none() || last.refused.is_none());
    }
    assert_eq!(web.seen().len(), 2);
    let reached = other.seen().join("\n");
    assert!(!reached.contains(&vault.placeholder) && !reached.contains(SECRET), "{reached}");
    // Another run's placeholder is anybody's.
    let next = Vault::new(Backend::Process, &web, &[], "Bearer ");
    assert_ne!(next.placeholder, vault.placeholder);
    let ask = format!(
        "curl -sS -o /tmp/out -w '%{{http_code}}' {here}/ -H 'Authorization: Bearer {}'",
        vault.placeholder
    );
    assert_eq!(next.tell(sh(&ask)).await.text(), "403");
}

#[tokio::test]
async fn a_secret_that_comes_back_is_taken_out() {
    let web = Web::tls(&["localhost"], echo).await;
    let vault = Vault::new(Backend::Process, &web, &[], "Bearer ");
    let script = format!(
        "curl -sSi --compressed -r 0-400 https://localhost:{}/ -H \"Authorization: Bearer $API_TOKEN\"",
        web.port()
    );
    let story = vault.tell(sh(&script)).await;
    let text = story.text();
    assert!(text.to_lowercase().contains("x-shown: bearer [redacted]"), "{text}");
    assert_eq!(text.matches("[redacted]").count(), 3, "{text}");
    assert!(!text.contains(SECRET) && !text.contains(&STANDARD.encode(SECRET)), "{text}");
    assert!(!text.contains("range: ") && text.contains("accept-encoding: identity"), "{text}");
    assert!(web.seen()[0].contains(SECRET));
}

/// A host that does not prove who it is gets no secret, and a client that does not trust us none either.
/// Whatever carries a connection can break down; what is behind it is then closed, not open.
#[tokio::test]
async fn a_proxy_that_breaks_down_in_the_middle_lets_nothing_through() {
    let (web, plain, other) =
        (Web::tls(&["localhost"], echo).await, Web::plain(hello).await, Web::plain(hello).await);
    let (url, allowed) = (format!("https://localhost:{}/", web.port()), plain.port());
    for backend in [Backend::Process, Backend::Bubblewrap] {
        let before = (plain.seen().len(), web.seen().len());
        let trusted = web.certificate.clone().unwrap();
        let scrub = Arc::new(Dying::default());
        let vault = Vault::scrubbing(backend, &web, &[&plain], "Bearer ", &trusted, scrub);
        let ask =
            format!("curl -sS {url} -H \"Authorization: Bearer $API_TOKEN\" 2>&1; echo \"curl said $?\"");
        let around = format!("curl -sS --noproxy '*' http://localhost:{allowed}/ || echo walled");
        let script = format!(
            "{ask}; {ask}; {around}; curl -sS -o /dev/null -w '%{{http_code}}\\n' --noproxy '' http://localhost:{}/; curl -sS --noproxy '' http://localhost:{allowed}/",
            other.port()
        );
        let story = vault.tell(sh(&script)).await;
        let text = story.text();
        assert!(!text.contains(SECRET) && !text.contains("curl said 0"), "{text}");
        assert!(text.contains("walled\n403\n<GET / HTTP/1.1>"), "{text} {}", story.complaints());
        assert_eq!((plain.seen().len(), web.seen().len()), (before.0 + 1, before.1 + 2));
        let (requests, _) = vault.proxy.ledger().read();
        for broken in &requests[..2] {
            assert_eq!(broken.failed.as_deref(), Some("what carried it broke down"), "{requests:?}");
        }
    }
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn both_sides_prove_who_they_are() {
    let (web, impostor) = (Web::tls(&["localhost"], hello).await, Web::tls(&["localhost"], hello).await);
    let certificate = impostor.certificate.clone().unwrap();
    let vault = Vault::trusting(Backend::Process, &web, &[], "Bearer ", &certificate);
    let url = format!("https://localhost:{}/", web.port());
    let ask = |more: &str| {
        sh(&format!("curl -sS -w '%{{http_code}}' {more} -H \"Authorization: Bearer $API_TOKEN\" {url}"))
    };
    let story = vault.tell(ask("")).await;
    assert!(story.text().ends_with("502"), "{}", story.text());
    assert!(vault.last().failed.unwrap().contains("did not prove who it is"));
    let vault = Vault::new(Backend::Process, &web, &[], "Bearer ");
    let story = vault.tell(ask("--cacert /etc/ssl/certs/ca-certificates.crt")).await;
    assert!(story.text().ends_with("000"), "{}", story.text());
    // The authority of one node is nothing to another.
    let other = Vault::new(Backend::Process, &web, &[], "Bearer ");
    fs::write(vault.desk.dir.path().join("theirs.pem"), other.proxy.trusted().unwrap()).unwrap();
    let story = vault.tell(ask("--cacert theirs.pem")).await;
    assert!(story.text().ends_with("000"), "{}", story.text());
    assert!(web.seen().is_empty());
    let story = vault.tell(ask("--http2 -v")).await;
    assert!(
        story.text().ends_with("200") && story.complaints().contains("http/1.1"),
        "{}",
        story.complaints()
    );
}

/// Inside the tunnel the same strictness holds, and one tunnel is for one request to its own host.
#[tokio::test]
async fn a_request_inside_a_tunnel_is_for_its_host() {
    let web = Web::tls(&["localhost"], hello).await;
    let vault = Vault::new(Backend::Process, &web, &[], "Bearer ");
    let port = web.port();
    let say = |text: &str| {
        let text = text.replace("PORT", &port.to_string()).escape_default().to_string();
        python(&format!(
            "import os, socket, ssl\ns = socket.create_connection(('127.0.0.1', 3128))\ns.sendall(b'CONNECT localhost:{port} HTTP/1.1\\r\\n\\r\\n')\ns.recv(99)\nt = ssl.create_default_context().wrap_socket(s, server_hostname='localhost')\nt.sendall('{text}'.replace('TOKEN', os.environ['API_TOKEN']).encode())\nprint(t.recv(9999).decode())"
        ))
    };
    let auth = "Authorization: Bearer TOKEN\r\n";
    for (text, status) in [
        (format!("GET / HTTP/1.1\r\nHost: localhost:PORT\r\n{auth}\r\n"), "200"),
        (format!("GET / HTTP/1.1\r\nHost: other.example\r\n{auth}\r\n"), "400"),
        (format!("GET / HTTP/1.1\r\n{auth}\r\n"), "400"),
        (format!("GET https://other.example/ HTTP/1.1\r\nHost: localhost:PORT\r\n{auth}\r\n"), "400"),
        (format!("GET / HTTP/1.0\r\nHost: localhost:PORT\r\n{auth}\r\n"), "400"),
        (format!("CONNECT localhost:PORT HTTP/1.1\r\nHost: localhost:PORT\r\n{auth}\r\n"), "400"),
        (
            format!(
                "POST / HTTP/1.1\r\nHost: localhost:PORT\r\n{auth}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
            ),
            "400",
        ),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), "400"),
    ] {
        let story = vault.tell(say(&text)).await;
        assert!(
            story.text().starts_with(&format!("HTTP/1.1 {status}")),
            "{text:?}: {} {}",
            story.text(),
            story.complaints()
        );
    }
    assert_eq!(web.seen().len(), 1);
}

/// Package managers of this machine, those it has, find their way and trust us without being told how.
#[tokio::test]
async fn package_managers_trust_us() {
    let web = Web::tls(&["localhost"], guarded).await;
    let port = web.port();
    for (program, prefix, script) in [
        (
            "/usr/bin/npm",
            "Bearer ",
            format!(
                "npm view thing --registry https://localhost:{port}/ \"--//localhost:{port}/:_authToken=$API_TOKEN\" --fetch-retries 0"
            ),
        ),
        (
            "/usr/bin/pip3",
            "Basic ",
            format!("pip3 download thing --retries 0 -i https://any:$API_TOKEN@localhost:{port}/"),
        ),
    ] {
        if !std::path::Path::new(program).exists() {
            continue;
        }
        let mut vault = Vault::new(Backend::Process, &web, &[], prefix);
        vault.desk.spec.limits.memory_bytes = 4 << 30;
        let before = web.seen().len();
        let story = vault.tell(sh(&script)).await;
        let seen = web.seen().split_off(before);
        let shown = seen.iter().any(|request| {
            request.contains(SECRET) || request.contains(&STANDARD.encode(format!("any:{SECRET}")))
        });
        assert!(
            shown,
            "{program}: {} {} {seen:?} {:?}",
            story.text(),
            story.complaints(),
            vault.proxy.ledger().read()
        );
    }
}
