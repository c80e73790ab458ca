//! Answers of browsers, and of others who connect.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Answer, Heard, Redirect, heard};

fn kind(line: &str) -> String {
    match heard(line, "secret") {
        Heard::Answer(Answer::Granted { code, issuer }) => format!("granted {code} {issuer:?}"),
        Heard::Answer(Answer::Denied { error, description }) => format!("denied {error} {description:?}"),
        Heard::Stranger => "stranger".to_owned(),
        Heard::Nonsense => "nonsense".to_owned(),
    }
}

#[test]
fn only_who_knows_the_secret_is_heard() {
    for (line, expected) in [
        ("GET /callback?code=a%20b&state=secret HTTP/1.1", "granted a b None"),
        ("GET /callback?iss=https%3A%2F%2Fi&state=secret&code=c HTTP/1.0", r#"granted c Some("https://i")"#),
        ("GET /callback?error=access_denied&state=secret HTTP/1.1", "denied access_denied None"),
        ("GET /callback?error=x&error_description=why&state=secret HTTP/1.1", r#"denied x Some("why")"#),
        ("GET /callback?code=a&state=other HTTP/1.1", "stranger"),
        ("GET /callback?code=a HTTP/1.1", "stranger"),
        ("GET /callback?error=access_denied HTTP/1.1", "stranger"),
        ("GET /callback?code=a&state=secret&state=secret HTTP/1.1", "stranger"),
        ("GET /callback?code=a&code=b&state=secret HTTP/1.1", "stranger"),
        ("GET /callback?code=a&error=b&state=secret HTTP/1.1", "stranger"),
        ("GET /callback?state=secret HTTP/1.1", "stranger"),
        ("GET /favicon.ico?code=a&state=secret HTTP/1.1", "nonsense"),
        ("POST /callback?code=a&state=secret HTTP/1.1", "nonsense"),
        ("GET http://elsewhere/callback?code=a&state=secret HTTP/1.1", "nonsense"),
        ("GET", "nonsense"),
        ("", "nonsense"),
    ] {
        assert_eq!(kind(line), expected, "{line}");
    }
}

async fn get(uri: &str, target: &str) -> String {
    let address = uri.trim_start_matches("http://").trim_end_matches("/callback");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    page
}

#[tokio::test]
async fn strangers_silent_or_loud_do_not_end_the_wait() {
    let redirect = Redirect::open().await.unwrap();
    let uri = redirect.uri().to_owned();
    let address = uri.trim_start_matches("http://").trim_end_matches("/callback").to_owned();
    let others = async {
        // Some connect and say nothing, or too much.
        let silent = TcpStream::connect(&address).await.unwrap();
        let mut loud = TcpStream::connect(&address).await.unwrap();
        drop(loud.write_all(&vec![b'x'; 64 << 10]).await);
        assert!(get(&uri, "/").await.starts_with("HTTP/1.1 404"));
        assert!(get(&uri, "/callback?code=forged&state=wrong").await.starts_with("HTTP/1.1 400"));
        let page = get(&uri, "/callback?code=right&state=secret").await;
        assert!(page.starts_with("HTTP/1.1 200") && page.contains("close this page"), "{page}");
        assert!(!page.contains("right") && !page.contains("secret"), "{page}");
        drop(silent);
    };
    let (answer, ()) = tokio::join!(redirect.answer("secret"), others);
    assert_eq!(answer.unwrap(), Answer::Granted { code: "right".to_owned(), issuer: None });
}
