//! A guest that does not keep to the protocol of connections: the end of its sandbox, and of nothing else.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, sync::Arc};

use blueprint_sandbox::{
    Backend, ExecError, Launcher, Sandbox,
    egress::{Private, Rules},
    proxy::Proxy,
};
use proptest::prelude::*;

use crate::desk::{Desk, launcher, run, sh};

/// The beginning of every guest here: it greets like a good one, and is bad once it is told to run something.
const GUEST: &str = r"#!/usr/bin/python3
import json, os, struct, sys
def take(count):
    data = b''
    while len(data) < count:
        more = os.read(0, count - len(data))
        if not more: sys.exit()
        data += more
    return data
said = b''
def flush():
    global said
    while said: said = said[os.write(1, said):]
def frame():
    flush()
    length, kind, stream = struct.unpack('<IBI', take(9))
    return kind, stream, take(length)
def say(kind, stream, payload=b''):
    # At once as far as it goes: the other side may end a connection by itself, and what is wrong then is only late.
    global said
    said += struct.pack('<IBI', len(payload), kind, stream) + payload
    if len(said) > 30000: flush()
OPEN, DATA, CREDIT, CLOSE, RESET = 16, 17, 18, 19, 20
attestation = json.loads(r'''ATTESTATION''')
frame()
hello = json.loads(frame()[2])
attestation['network'] = {'proxied': {'hosts': hello['network']}} if hello['network'] else 'loopback_only'
say(3, 0, json.dumps({'version': hello['version'], 'nonce': hello['nonce'], 'attestation': attestation, 'control_groups': []}).encode())
_, command, _ = frame()
def end():
    usage = {'wall': {'secs': 0, 'nanos': 0}, 'user': {'secs': 0, 'nanos': 0}, 'system': {'secs': 0, 'nanos': 0},
        'max_rss_bytes': 0, 'output_bytes': 0, 'memory_kills': 0, 'refused_pids': 0}
    say(10, command, json.dumps({'end': {'exit': 0}, 'cause': None, 'truncated': False, 'usage': usage}).encode())
def credit(count): return struct.pack('<I', count)
try:
    DEEDS
    flush()
except BrokenPipeError: pass
while True: frame()
";

/// Runs a command with a guest that does this, behind a proxy or without one.
async fn doing(desk: &Desk, attestation: &str, deeds: &str, behind: bool) -> Result<(), ExecError> {
    let path: PathBuf = desk.dir.path().join(format!("guest-{}", rand()));
    let text = GUEST.replace("ATTESTATION", attestation).replace("DEEDS", &deeds.replace('\n', "\n    "));
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let rules = Rules::new(["localhost:1".parse().unwrap()], Arc::new(Private::default()));
    let proxy = behind.then(|| Arc::new(Proxy::new(rules)));
    let mut sandbox =
        Sandbox::start_behind(&Launcher::at(&path), Backend::Process, &desk.spec, proxy).await.unwrap();
    let ended = run(&mut sandbox, sh("true")).await.map(drop);
    sandbox.stop().await;
    ended
}

fn rand() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// What a real sandbox says about itself.
async fn attestation(desk: &Desk) -> String {
    let sandbox = Sandbox::start_with(&launcher(), Backend::Process, &desk.spec).await.unwrap();
    let text = serde_json::to_string(sandbox.attestation()).unwrap();
    sandbox.stop().await;
    text
}

#[tokio::test]
async fn a_guest_that_breaks_the_rules_of_connections_loses_its_sandbox() {
    let desk = Desk::new(Backend::Process);
    let attestation = attestation(&desk).await;
    for fine in [
        "end()",
        "say(OPEN, 1); say(DATA, 1, b'GET'); say(CLOSE, 1); end()",
        "for n in range(1, 65): say(OPEN, n)\nend()",
        "for n in range(1, 100000): say(OPEN, n); say(RESET, n)\nend()",
        "say(OPEN, 7); say(RESET, 7); say(CLOSE, 3); end()",
        "say(OPEN, 1); say(DATA, 1, b'x' * 65536); end()",
        // Heard by a proxy that answers 400: what it was sent may be granted again.
        "say(OPEN, 1); say(DATA, 1, b'\\n')\nwhile frame()[0] != DATA: pass\nsay(CREDIT, 1, credit(1)); end()",
    ] {
        let ended = doing(&desk, &attestation, fine, true).await;
        assert!(ended.is_ok(), "{fine}: {ended:?}");
    }
    for wrong in [
        "say(DATA, 1, b'x')",
        "say(CREDIT, 9, credit(1))",
        "say(OPEN, 0)",
        "say(OPEN, 2); say(CLOSE, 3)",
        "say(OPEN, 1); say(OPEN, 1)",
        "say(OPEN, 2); say(OPEN, 1)",
        "say(OPEN, 2); say(RESET, 2); say(OPEN, 2)",
        "for n in range(1, 66): say(OPEN, n)",
        "for n in range(1, 1000001): say(OPEN, n)",
        "say(OPEN, 1); say(DATA, 1, b'')",
        "say(OPEN, 1); say(DATA, 1, b'x' * 65537)",
        "say(OPEN, 1)\nwhile True: say(DATA, 1, b'x' * 16384)",
        "say(OPEN, 1); say(CLOSE, 1); say(DATA, 1, b'x')",
        "say(OPEN, 1); say(CLOSE, 1); say(CLOSE, 1)",
        "say(OPEN, 1); say(RESET, 1); say(DATA, 1, b'x')",
        "say(OPEN, 1); say(CREDIT, 1, credit(1))",
        "say(OPEN, 1); say(CREDIT, 1, credit(0))",
        "say(OPEN, 1); say(CREDIT, 1, b'xx')",
        "say(OPEN, 1); say(CREDIT, 1, credit(4294967295))",
    ] {
        let ended = doing(&desk, &attestation, wrong, true).await;
        assert!(matches!(ended, Err(ExecError::Protocol(_))), "{wrong}: {ended:?}");
    }
    let ended = doing(&desk, &attestation, "say(OPEN, 1)", false).await;
    assert!(matches!(ended, Err(ExecError::Protocol(_))), "without a proxy: {ended:?}");
    let ended = doing(&desk, &attestation, "end()", false).await;
    assert!(ended.is_ok(), "{ended:?}");
}

/// A guest that does not say that it leads to the hosts it was told of is not let run anything.
#[tokio::test]
async fn a_guest_attests_the_hosts_it_was_told() {
    let desk = Desk::new(Backend::Process);
    let attestation = attestation(&desk).await;
    let path = desk.dir.path().join("guest");
    let text = GUEST.replace("ATTESTATION", &attestation).replace("if hello['network']", "if False");
    fs::write(&path, text.replace("DEEDS", "end()")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let rules = Rules::new(["localhost:1".parse().unwrap()], Arc::new(Private::default()));
    let proxy = Some(Arc::new(Proxy::new(rules)));
    let started = Sandbox::start_behind(&Launcher::at(&path), Backend::Process, &desk.spec, proxy).await;
    assert!(started.is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever a guest says, the engine goes on: the command ends or the sandbox does.
    #[test]
    fn any_frames_of_connections_end_well(
        frames in prop::collection::vec((15_u8..22, 0_u32..6, prop::collection::vec(any::<u8>(), 0..9)), 0..60)
    ) {
        static ATTESTED: std::sync::OnceLock<String> = std::sync::OnceLock::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let desk = Desk::new(Backend::Process);
            if ATTESTED.get().is_none() {
                drop(ATTESTED.set(attestation(&desk).await));
            }
            let mut deeds = String::new();
            for (kind, stream, payload) in &frames {
                deeds.push_str(&["say(", &kind.to_string(), ", ", &stream.to_string(), ", bytes(", &format!("{payload:?}"), "))\n"].concat());
            }
            deeds.push_str("end()");
            let ended = doing(&desk, ATTESTED.get().unwrap(), &deeds, true).await;
            assert!(matches!(ended, Ok(()) | Err(ExecError::Protocol(_))), "{ended:?}");
        });
    }
}
