//! Servers on the loopback interface of the host, plain and with TLS, that remember what they were asked.
//! Real sockets and real TLS; what they say is what they are told to say.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use rcgen::{CertificateParams, KeyPair};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

/// What a server answers to a request, as bytes of a whole answer.
pub(crate) type Answer = fn(&str) -> String;

/// A server.
#[derive(Debug)]
pub(crate) struct Web {
    pub(crate) address: SocketAddr,
    /// The certificate, if it speaks TLS.
    pub(crate) certificate: Option<String>,
    seen: Arc<Mutex<Vec<String>>>,
}

/// Says what it was asked for, in an answer without accidents.
pub(crate) fn hello(request: &str) -> String {
    let line = request.lines().next().unwrap_or_default();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n<{line}>", line.len() + 2)
}

impl Web {
    pub(crate) async fn plain(answer: Answer) -> Self {
        Self::start(answer, None).await
    }

    /// With TLS, for these names.
    pub(crate) async fn tls(names: &[&str], answer: Answer) -> Self {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        let chain = vec![certificate.der().clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Self::start(answer, Some((TlsAcceptor::from(Arc::new(config)), certificate.pem()))).await
    }

    async fn start(answer: Answer, tls: Option<(TlsAcceptor, String)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (acceptor, certificate) = tls.unzip();
        let shared = Arc::clone(&seen);
        drop(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, seen) = (acceptor.clone(), Arc::clone(&shared));
                drop(tokio::spawn(async move {
                    match acceptor {
                        None => serve(stream, answer, &seen).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(stream, answer, &seen).await;
                            }
                        }
                    }
                }));
            }
        }));
        Self { address, certificate, seen }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Every request so far, whole.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: Answer, seen: &Mutex<Vec<String>>) {
    let mut bytes = Vec::new();
    while !is_whole(&bytes) {
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            break;
        }
    }
    if bytes.is_empty() {
        return;
    }
    let request = String::from_utf8_lossy(&bytes).into_owned();
    seen.lock().unwrap().push(request.clone());
    drop(stream.write_all(answer(&request).as_bytes()).await);
    drop(stream.shutdown().await);
}

/// Whether a request has come to its end.
fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    if head.contains("transfer-encoding: chunked") {
        return body.ends_with("0\r\n\r\n");
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.map_or(0, |length| length.trim().parse().unwrap())
}
