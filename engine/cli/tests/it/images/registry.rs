//! A registry of one image, which serves what a Docker engine asks of it over plain HTTP. Knows nothing but reading.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use serde_json::json;

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

pub(super) struct Registry {
    /// Where it listens, as a name of an image begins.
    pub(super) host: String,
    /// The digest of its only image.
    pub(super) digest: String,
}

fn sha256(path: &std::path::Path) -> String {
    let said = Command::new("sha256sum").arg(path).output().unwrap();
    let hex = String::from_utf8(said.stdout).unwrap();
    format!("sha256:{}", hex.split_whitespace().next().unwrap())
}

impl Registry {
    /// Serves an image of these layers until the tests are over.
    pub(super) fn serve(layers: &[PathBuf]) -> Self {
        let mut blobs: BTreeMap<String, (&str, Vec<u8>)> = BTreeMap::new();
        let folder = tempfile::tempdir().unwrap();
        let mut put = |kind, bytes: Vec<u8>| {
            let path = folder.path().join("blob");
            std::fs::write(&path, &bytes).unwrap();
            let digest = sha256(&path);
            blobs.insert(digest.clone(), (kind, bytes));
            digest
        };
        let mut described = Vec::new();
        let mut diff_ids = Vec::new();
        for layer in layers {
            let bytes = std::fs::read(layer).unwrap();
            let size = bytes.len();
            let digest = put("application/octet-stream", bytes);
            diff_ids.push(digest.clone());
            let kind = "application/vnd.docker.image.rootfs.diff.tar";
            described.push(json!({ "mediaType": kind, "size": size, "digest": digest }));
        }
        let config = json!({ "architecture": "amd64", "os": "linux", "config": {}, "history": [],
            "rootfs": { "type": "layers", "diff_ids": diff_ids } });
        let config = config.to_string().into_bytes();
        let size = config.len();
        let kind = "application/vnd.docker.container.image.v1+json";
        let digest = put(kind, config);
        let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST,
            "config": { "mediaType": kind, "size": size, "digest": digest }, "layers": described });
        let digest = put(MANIFEST, manifest.to_string().into_bytes());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let blobs = Arc::new(blobs);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let blobs = Arc::clone(&blobs);
                std::thread::spawn(move || drop(answer(&stream, &blobs)));
            }
        });
        Self { host, digest }
    }
}

/// Answers one request; an engine that tries TLS first gets nothing it could read.
fn answer(mut stream: &TcpStream, blobs: &BTreeMap<String, (&str, Vec<u8>)>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut first = Vec::new();
    reader.read_until(b'\n', &mut first)?;
    let first = String::from_utf8_lossy(&first).into_owned();
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let digest = path.rsplit('/').next().unwrap_or_default();
    let (status, kind, body) = match blobs.get(digest) {
        Some((kind, body)) => ("200 OK", *kind, body.as_slice()),
        None if path == "/v2/" => ("200 OK", "application/json", b"{}".as_slice()),
        None => ("404 Not Found", "application/json", b"{}".as_slice()),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nDocker-Content-Digest: {digest}\r\n\
         Docker-Distribution-API-Version: registry/2.0\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    if method != "HEAD" {
        stream.write_all(body)?;
    }
    Ok(())
}
