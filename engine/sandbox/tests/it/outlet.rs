//! What leaves a sandbox, and what does not, with real clients and real servers. Each refusal has a neighbour that is let
//! through.

use std::{sync::Arc, time::Duration};

use blueprint_sandbox::{
    Backend, Exec, Network, Sandbox, Status, Stream,
    egress::{Endpoint, Private, Rules},
    proxy::{Limits, Proxy, Request},
};

use crate::{
    desk::{Desk, Story, command, launcher, python, run, sh},
    web::{Web, hello},
};

/// The backends with a guest.
const GUARDED: [Backend; 2] = [Backend::Process, Backend::Bubblewrap];

/// A proxy for these hosts, where those of the other list are the user's own.
fn proxy<T: AsRef<str>>(hosts: &[T], private: &[&str]) -> Proxy {
    let private = Arc::new(Private::parse(private).unwrap());
    let hosts = hosts.iter().map(|host| host.as_ref().parse::<Endpoint>().unwrap());
    Proxy::new(Rules::new(hosts, private))
}

async fn start(desk: &Desk, proxy: &Arc<Proxy>) -> Sandbox {
    let proxy = Some(Arc::clone(proxy));
    Sandbox::start_behind(&launcher(), desk.backend, &desk.spec, proxy).await.unwrap()
}

/// A command that knows the way out.
fn led(mut exec: Exec, proxy: &Proxy) -> Exec {
    exec.env.extend(proxy.variables());
    exec
}

/// Runs one command behind a proxy.
async fn told(desk: &Desk, proxy: &Arc<Proxy>, exec: Exec) -> Story {
    let mut sandbox = start(desk, proxy).await;
    let story = run(&mut sandbox, led(exec, proxy)).await.unwrap();
    sandbox.stop().await;
    story
}

/// Says bytes to the proxy, one after the other with an answer between, and writes what came back.
fn said(texts: &[&str]) -> Exec {
    let script = r"
import socket, sys
line = socket.create_connection(('127.0.0.1', 3128))
line.settimeout(20)
for text in sys.argv[1:]:
    line.sendall(text.encode('latin-1').decode('unicode_escape').encode('latin-1'))
    try:
        got = line.recv(65536)
    except ConnectionError:
        got = b''
    print(got.decode('latin-1'))
    if not got:
        print('closed')
        break
";
    let mut exec = python(script);
    exec.argv.extend(texts.iter().map(|text| text.as_bytes().escape_ascii().to_string()));
    exec
}

/// The requests of a proxy, as text: host, status, and whether it was refused or failed.
fn noted(proxy: &Proxy) -> Vec<String> {
    let line = |request: Request| {
        let verdict = match (&request.refused, &request.failed, request.status) {
            (Some(why), _, _) => format!("refused: {why}"),
            (None, Some(why), _) => format!("failed: {why}"),
            (None, None, Some(status)) => status.to_string(),
            (None, None, None) => "let through".to_owned(),
        };
        format!("{} {} {verdict}", request.method, request.host)
    };
    proxy.ledger().read().0.into_iter().map(line).collect()
}

#[tokio::test]
async fn an_allowed_host_is_reached_and_no_other() {
    let (here, there) = (Web::plain(hello).await, Web::plain(hello).await);
    for backend in GUARDED {
        let desk = Desk::new(backend);
        let named = format!("localhost:{}", here.port());
        let proxy = Arc::new(proxy(&[&named], &["localhost:*"]));
        let script = format!(
            "curl -sS http://{named}/a?b=c -d some=thing; echo; \
             curl -sS -w '%{{http_code}}' http://localhost:{}/; curl -sS -w '%{{http_code}}' http://example.org/",
            there.port(),
        );
        let story = told(&desk, &proxy, sh(&script)).await;
        let text = story.text();
        assert!(text.starts_with("<POST /a?b=c HTTP/1.1>\n"), "{backend:?}: {text} {}", story.complaints());
        assert_eq!(text.matches("403").count(), 2, "{text}");
        assert!(text.contains("may add `localhost"), "{text}");
        assert_eq!(noted(&proxy).len(), 3, "{:?}", noted(&proxy));
        assert_eq!(noted(&proxy)[0], format!("POST {named} 200"));
        assert!(noted(&proxy)[1].contains("refused: "));
        let first = proxy.ledger().read().0.remove(0);
        assert!(first.up > 50 && first.down > 20, "{first:?}");
    }
    let seen = here.seen();
    assert_eq!(seen.len(), 2);
    assert!(seen[0].ends_with("\r\n\r\nsome=thing") && seen[0].contains("connection: close"), "{}", seen[0]);
    assert!(seen[0].contains(&format!("host: localhost:{}\r\n", here.port())), "{}", seen[0]);
    assert!(!seen[0].to_lowercase().contains("proxy-connection"), "{}", seen[0]);
    assert!(there.seen().is_empty());
}

/// Being told where the proxy is is a help, not the lock.
#[tokio::test]
async fn nothing_is_reached_around_the_proxy_and_without_rules_there_is_none() {
    let web = Web::plain(hello).await;
    for backend in GUARDED {
        let desk = Desk::new(backend);
        let named = format!("127.0.0.1:{}", web.port());
        let allowed = Arc::new(proxy(&[&named], &["127.0.0.1:*"]));
        let ask = format!("curl -sS http://{named}/");
        let mut sandbox = start(&desk, &allowed).await;
        let hosts = vec![named.clone()];
        assert_eq!(sandbox.attestation().network, Network::Proxied { hosts });
        let control = run(&mut sandbox, led(sh(&ask), &allowed)).await.unwrap();
        assert_eq!(control.text(), "<GET / HTTP/1.1>");
        let around = run(&mut sandbox, sh(&ask)).await.unwrap();
        assert_eq!(around.status(), &Status::Exit(7), "{}", around.complaints());
        sandbox.stop().await;

        let mut sandbox = desk.start().await;
        assert_eq!(sandbox.attestation().network, Network::LoopbackOnly);
        let none = run(&mut sandbox, led(sh(&ask), &allowed)).await.unwrap();
        assert_eq!(none.status(), &Status::Exit(7), "nobody listens: {}", none.complaints());
        sandbox.stop().await;
        let empty = Arc::new(proxy::<&str>(&[], &["127.0.0.1:*"]));
        let none = told(&desk, &empty, sh(&ask)).await;
        assert_eq!(none.status(), &Status::Exit(7), "{}", none.complaints());
    }
    assert_eq!(web.seen().len(), 2, "only the controls");
}

#[tokio::test]
async fn a_host_has_one_spelling_and_an_address_is_no_name() {
    let web = Web::plain(hello).await;
    let port = web.port();
    let desk = Desk::new(Backend::Process);
    let proxy =
        Arc::new(proxy(&[format!("localhost:{port}"), format!("[::1]:{port}")], &["localhost:*", "[::1]:*"]));
    let mut sandbox = start(&desk, &proxy).await;
    let mut rows: Vec<(String, u16)> =
        ["localhost", "LocalHost", "localhost.", "LOCALHOST."].map(|host| (host.to_owned(), 200)).to_vec();
    let others = [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0",
        "1.1.1.1",
        "16843009",
        "[::ffff:127.0.0.1]",
        "[::]",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "evillocalhost",
        "localhost.evil.example",
        "localhost@evil.example",
        "evil.example#localhost",
        "localhost\\x00.evil",
        "localhost%00",
        "%6cocalhost",
        "localhost..",
        ".localhost",
        "l\u{f6}calhost",
        "localhost%2eevil",
        "a_b",
    ];
    rows.extend(others.map(|host| (host.to_owned(), 403)));
    for (host, status) in &rows {
        for way in ["plain", "tunnel"] {
            let text = match way {
                "plain" => format!("GET http://{host}:{port}/ HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n"),
                _ => format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n"),
            };
            let answer = run(&mut sandbox, said(&[&text])).await.unwrap().text();
            let line = answer.lines().next().unwrap_or_default().to_owned();
            let code: u16 = line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
            if *status == 200 {
                assert_eq!(code, 200, "{way} {host}: {answer}");
            } else {
                assert!([400, 403].contains(&code), "{way} {host}: {answer}");
            }
        }
    }
    sandbox.stop().await;
    assert_eq!(web.seen().len(), 4);
    let kept = noted(&proxy).into_iter().filter(|line| line.contains("refused")).count();
    assert!(kept >= 2 * others.len(), "{kept}");
}

/// A name is decided once more by what it stands for, and the user alone opens what is ours.
#[tokio::test]
async fn a_name_that_stands_for_this_machine_is_refused() {
    let web = Web::plain(hello).await;
    let desk = Desk::new(Backend::Process);
    let named = format!("localhost:{}", web.port());
    let literal = format!("127.0.0.1:{}", web.port());
    for (host, private, fits) in [
        (&named, vec![], false),
        (&named, vec!["127.0.0.1:*"], false),
        (&named, vec!["localhost:1"], false),
        (&named, vec!["localhost:*"], true),
        (&literal, vec![], false),
        (&literal, vec!["localhost:*"], false),
        (&literal, vec!["127.0.0.1:*"], true),
    ] {
        let proxy = Arc::new(proxy(&[host], &private));
        for exec in [
            sh(&format!("curl -sS -w '%{{http_code}}' http://{host}/")),
            said(&[&format!("CONNECT {host} HTTP/1.1\r\n\r\n")]),
        ] {
            let text = told(&desk, &proxy, exec).await.text();
            assert_eq!(text.contains("200"), fits, "{host} {private:?}: {text}");
            assert_eq!(text.contains("403"), !fits, "{host} {private:?}: {text}");
            assert!(
                fits || noted(&proxy).iter().all(|line| line.contains("refused: ")),
                "{:?}",
                noted(&proxy)
            );
        }
    }
    assert_eq!(web.seen().len(), 2);
}

#[tokio::test]
async fn a_tunnel_carries_tls_for_its_own_host_and_nothing_else() {
    let web = Web::tls(&["localhost", "other.example"], hello).await;
    let port = web.port();
    let desk = Desk::new(Backend::Process);
    let proxy = Arc::new(proxy(&[format!("localhost:{port}")], &["localhost:*"]));
    std::fs::write(desk.dir.path().join("ca.pem"), web.certificate.clone().unwrap()).unwrap();
    let ask = |more: &str| sh(&format!("curl -sS --cacert ca.pem {more} 2>&1"));
    let fine = told(&desk, &proxy, ask(&format!("https://localhost:{port}/x"))).await;
    assert_eq!(fine.text(), "<GET /x HTTP/1.1>", "{:?}", noted(&proxy));
    let script = format!(
        "import urllib.request, ssl; c = ssl.create_default_context(cafile='ca.pem'); \
         print(urllib.request.urlopen('https://localhost:{port}/y', context=c).read().decode())"
    );
    let fine = told(&desk, &proxy, python(&script)).await;
    assert_eq!(fine.text(), "<GET /y HTTP/1.1>\n", "{}", fine.complaints());
    assert_eq!(web.seen().len(), 2);

    // Another name in the greeting, or none: the tunnel is to `localhost` all the same.
    let greeting = |name: &str| {
        let script = format!(
            "import socket, ssl; c = ssl.create_default_context(cafile='ca.pem'); c.check_hostname = False\n\
             s = socket.create_connection(('127.0.0.1', 3128)); s.sendall(b'CONNECT localhost:{port} HTTP/1.1\\r\\n\\r\\n')\n\
             print(s.recv(99).decode().split()[1])\n\
             try: c.wrap_socket(s, server_hostname={name}); print('open')\n\
             except OSError as error: print('closed')"
        );
        python(&script)
    };
    for (name, end) in
        [("'localhost'", "open"), ("'LOCALHOST'", "open"), ("'other.example'", "closed"), ("None", "closed")]
    {
        let story = told(&desk, &proxy, greeting(name)).await;
        assert_eq!(story.text(), format!("200\n{end}\n"), "{name} {}", story.complaints());
    }
    for (words, end) in [
        ("GET / HTTP/1.1\r\n\r\n", "closed"),
        ("SSH-2.0-OpenSSH_9\r\n", "closed"),
        ("\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00", "closed"),
    ] {
        let connect = format!("CONNECT localhost:{port} HTTP/1.1\r\n\r\n");
        let story = told(&desk, &proxy, said(&[&connect, words])).await;
        assert!(story.text().contains("200 Connection established"), "{}", story.text());
        assert!(story.text().trim_end().ends_with(end), "{words:?}: {}", story.text());
    }
    let refused = noted(&proxy).into_iter().filter(|line| line.contains("refused: ")).count();
    assert_eq!(refused, 5, "{:?}", noted(&proxy));
    // A port that is not on the list, whatever it is usually for.
    for port in [22, 25, 443, 6379] {
        let connect = format!("CONNECT localhost:{port} HTTP/1.1\r\n\r\n");
        let story = told(&desk, &proxy, said(&[&connect])).await;
        assert!(story.text().starts_with("HTTP/1.1 403"), "{}", story.text());
    }
}

#[tokio::test]
async fn a_request_with_two_meanings_is_refused() {
    let web = Web::plain(hello).await;
    let port = web.port();
    let desk = Desk::new(Backend::Process);
    let limits = Limits { head: Duration::from_millis(300), ..Limits::default() };
    let proxy = Arc::new(proxy(&[format!("localhost:{port}")], &["localhost:*"]).limited(limits));
    let mut sandbox = start(&desk, &proxy).await;
    let head = format!("POST http://localhost:{port}/ HTTP/1.1\r\nHost: localhost:{port}\r\n");
    let long = format!("A: {}\r\n\r\n", "x".repeat(17 << 10));
    for (rest, status) in [
        ("Content-Length: 2\r\n\r\nab", "200"),
        ("Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", "200"),
        ("Connection: keep-alive, X-A\r\nX-A: b\r\nContent-Length: 0\r\n\r\n", "200"),
        ("Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "400"),
        ("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n", "400"),
        ("Content-Length: 2\r\nContent-Length: 3\r\n\r\nab", "400"),
        ("Host: other.example\r\n\r\n", "400"),
        ("A: b\r\n c\r\n\r\n", "400"),
        ("A: b\n\n", "400"),
        (long.as_str(), "431"),
        ("A: never ends", "408"),
    ] {
        let answer = run(&mut sandbox, said(&[&format!("{head}{rest}")])).await.unwrap().text();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{rest:?}: {answer} {:?}", noted(&proxy));
    }
    for text in [
        format!("GET http://localhost:{port}/ HTTP/1.1\r\nHost: other.example\r\n\r\n"),
        format!("GET http://localhost:{port}/ HTTP/1.1\r\n\r\n"),
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        format!("GET https://localhost:{port}/ HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"),
        format!("GET http://user@localhost:{port}/ HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
    ] {
        let answer = run(&mut sandbox, said(&[&text])).await.unwrap().text();
        assert!(answer.starts_with("HTTP/1.1 40"), "{text:?}: {answer}");
    }
    assert_eq!(web.seen().len(), 3);
    assert!(web.seen().iter().all(|request| !request.contains("x-a")));

    // What stands behind a request is not another one.
    let two = format!("{head}Content-Length: 0\r\n\r\nGET /second HTTP/1.1\r\nHost: other.example\r\n\r\n");
    let answer = run(&mut sandbox, said(&[&two])).await.unwrap().text();
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 1, "{answer}");
    assert!(web.seen().iter().all(|request| !request.contains("second")));
    sandbox.stop().await;
}

#[tokio::test]
async fn two_sandboxes_do_not_share_what_they_may() {
    let webs = [Web::plain(hello).await, Web::plain(hello).await];
    let desks = [Desk::new(Backend::Process), Desk::new(Backend::Bubblewrap)];
    let proxies = [0, 1]
        .map(|at: usize| Arc::new(proxy(&[format!("127.0.0.1:{}", webs[at].port())], &["127.0.0.1:*"])));
    let script = format!(
        "for i in 1 2 3 4 5 6 7 8 9 10; do for port in {} {}; do \
         curl -s -o /dev/null -w \"$port %{{http_code}}\\n\" http://127.0.0.1:$port/ & done; done; wait",
        webs[0].port(),
        webs[1].port(),
    );
    let (first, second) =
        tokio::join!(told(&desks[0], &proxies[0], sh(&script)), told(&desks[1], &proxies[1], sh(&script)));
    for (at, story) in [first, second].into_iter().enumerate() {
        let count = |port, code| {
            let line = format!("{port} {code}");
            story.text().lines().filter(|known| *known == line).count()
        };
        assert_eq!(count(webs[at].port(), 200), 10, "{}", story.text());
        assert_eq!(count(webs[1 - at].port(), 403), 10, "{}", story.text());
    }
    assert!(webs.iter().all(|web| web.seen().len() == 10));
}

fn large(_: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", 3 << 20, "x".repeat(3 << 20))
}

fn medium(_: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", 512 << 10, "x".repeat(512 << 10))
}

#[tokio::test]
async fn a_command_moves_as_many_bytes_as_it_may() {
    let web = Web::plain(large).await;
    let named = format!("127.0.0.1:{}", web.port());
    for backend in GUARDED {
        let desk = Desk::new(backend);
        for (bytes, whole) in [(4 << 20, true), (2 << 20, false)] {
            let limits = Limits { bytes, ..Limits::default() };
            let proxy = Arc::new(proxy(&[&named], &["127.0.0.1:*"]).limited(limits));
            let ask = format!("curl -sS http://{named}/ | wc -c");
            let story = told(&desk, &proxy, sh(&ask)).await;
            let came: usize = story.text().trim().parse().unwrap();
            assert_eq!(came == 3 << 20, whole, "{came}");
            assert!(came as u64 <= bytes);
            assert_eq!(noted(&proxy)[0].contains("as many bytes as it may"), !whole, "{:?}", noted(&proxy));
        }
    }
}

/// Much output, many connections and large contents at the same time: none of them starves another.
#[tokio::test]
async fn output_and_connections_share_the_channel() {
    let web = Web::plain(medium).await;
    let named = format!("127.0.0.1:{}", web.port());
    for backend in GUARDED {
        let mut desk = Desk::new(backend);
        desk.spec.limits.output_bytes = 1 << 30;
        desk.spec.limits.pids = 512;
        desk.spec.limits.memory_bytes = 2 << 30;
        let proxy = Arc::new(proxy(&[&named], &["127.0.0.1:*"]));
        let script = format!(
            "yes | head -c 20000000 & for i in $(seq 80); do curl -sS http://{named}/ | wc -c >> counts & done; wait; \
             sort counts | uniq -c >&2"
        );
        let story = told(&desk, &proxy, sh(&script)).await;
        let counts = story.complaints();
        assert_eq!(counts.split_whitespace().collect::<Vec<_>>(), ["80", "524288"], "{counts}");
        assert_eq!(story.bytes(Stream::Stdout).len(), 20_000_000);
    }
}

/// What a command leaves open ends with it, and the next one begins anew.
#[tokio::test]
async fn connections_end_with_their_command() {
    let web = Web::plain(hello).await;
    let named = format!("127.0.0.1:{}", web.port());
    for backend in GUARDED {
        let desk = Desk::new(backend);
        let proxy = Arc::new(proxy(&[&named], &["127.0.0.1:*"]));
        let mut sandbox = start(&desk, &proxy).await;
        let hold = python(
            "import socket\nheld = [socket.create_connection(('127.0.0.1', 3128)) for _ in range(150)]\nfor s in held[:9]: s.send(b'GET')",
        );
        for _ in 0..3 {
            let story = run(&mut sandbox, hold.clone()).await.unwrap();
            assert_eq!(story.status(), &Status::Exit(0), "{}", story.complaints());
            let ask = led(command(["curl", "-sS", &format!("http://{named}/")]), &proxy);
            let story = run(&mut sandbox, ask).await.unwrap();
            assert_eq!(story.text(), "<GET / HTTP/1.1>", "{}", story.complaints());
        }
        sandbox.stop().await;
    }
}
