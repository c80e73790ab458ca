//! The test of the tests: every defence of a container is taken away once, and something must turn red. A small engine
//! between us and the real one changes the order on its way, and says afterwards that it is what was ordered.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use blueprint_sandbox::{Backend, DockerSettings, Launcher};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{UnixListener, UnixStream},
};

use super::{ROWS, attempt_in};
use crate::{
    desk::{Desk, docker, tries},
    scene::{Scene, is_root},
};

/// A defence taken away: its name, how, and the row that must then succeed. Without a row the start itself must fail.
struct Mutation {
    name: &'static str,
    /// What is changed in the order, given the folder that is none of the command's business.
    change: fn(&mut Value, &Path),
    row: Option<&'static str>,
}

fn set(order: &mut Value, key: &str, value: Value) {
    order["HostConfig"][key] = value;
}

fn push_mount(order: &mut Value, host: &Path) {
    let mount = json!({ "Type": "bind", "Source": host, "Target": host, "ReadOnly": false });
    order["HostConfig"]["Mounts"].as_array_mut().unwrap().push(mount);
}

fn writable(order: &mut Value, target: &str) {
    let mounts = order["HostConfig"]["Mounts"].as_array_mut().unwrap();
    let mount = mounts.iter_mut().find(|mount| mount["Target"] == target).unwrap();
    mount["ReadOnly"] = json!(false);
}

const MUTATIONS: &[Mutation] = &[
    Mutation {
        name: "the network of the host",
        change: |order, _| host_network(order),
        row: Some("call a TCP service of the host"),
    },
    Mutation {
        name: "all capabilities kept",
        change: |order, _| set(order, "CapDrop", json!([])),
        row: Some("find the first process with rights of its own"),
    },
    Mutation {
        name: "a capability added",
        change: |order, _| set(order, "CapAdd", json!(["SYS_ADMIN"])),
        row: Some("find the first process with rights of its own"),
    },
    Mutation {
        name: "no filter of system calls",
        change: |order, _| set(order, "SecurityOpt", json!(["no-new-privileges", "seccomp=unconfined"])),
        row: Some("find the first process without a filter of system calls"),
    },
    Mutation {
        name: "privileged",
        change: |order, _| set(order, "Privileged", json!(true)),
        row: Some("see a disk of the host"),
    },
    Mutation {
        name: "a root that can be written",
        change: |order, _| set(order, "ReadonlyRootfs", json!(false)),
        row: Some("find a part of the system mounted for writing"),
    },
    Mutation {
        name: "programs that can be written",
        change: |order, _| writable(order, "/usr"),
        row: Some("find a part of the system mounted for writing"),
    },
    Mutation {
        name: "a guest that can be written",
        change: |order, _| writable(order, "/.guest"),
        row: Some("find a part of the system mounted for writing"),
    },
    Mutation {
        name: "kernel settings that can be written",
        change: |order, _| set(order, "ReadonlyPaths", json!([])),
        row: Some("find kernel settings that are not mounted read-only"),
    },
    Mutation {
        name: "nothing masked",
        change: |order, _| set(order, "MaskedPaths", json!([])),
        row: Some("learn how the kernel was started"),
    },
    Mutation {
        name: "the user 0",
        change: |order, _| order["User"] = json!("0:0"),
        row: Some("be the host's root"),
    },
    Mutation {
        name: "shared memory of the host",
        change: |order, _| set(order, "IpcMode", json!("host")),
        row: Some("see shared memory of the host"),
    },
    Mutation {
        name: "the name of the host",
        change: |order, _| {
            order["Hostname"] = json!("");
            set(order, "UTSMode", json!("host"));
        },
        row: Some("learn the host's name"),
    },
    Mutation {
        name: "the resolver of the host",
        change: |order, _| set(order, "Dns", json!([])),
        row: Some("learn the host's resolver"),
    },
    Mutation {
        name: "a disk",
        change: |order, _| {
            let device =
                json!({ "PathOnHost": disk(), "PathInContainer": "/dev/disk0", "CgroupPermissions": "r" });
            set(order, "Devices", json!([device]));
        },
        row: Some("see a disk of the host"),
    },
    Mutation {
        name: "a folder of the host",
        change: |order, outside| push_mount(order, outside),
        row: Some("read a file outside by its path"),
    },
    Mutation {
        name: "a socket of the host",
        change: |order, outside| push_mount(order, &outside.join("docker.sock")),
        row: Some("call a socket file of the host"),
    },
    Mutation {
        name: "a temporary directory without a size",
        change: |order, _| order["HostConfig"]["Tmpfs"]["/tmp"] = json!("rw,exec,mode=1777"),
        row: Some("fill the temporary directory"),
    },
    Mutation {
        name: "shared memory without a size",
        change: |order, _| set(order, "ShmSize", json!(1_u64 << 30)),
        row: Some("fill shared memory"),
    },
    Mutation {
        name: "a shown folder that can be written",
        change: |order, _| writable(order, "/shown"),
        row: Some("find a part of the system mounted for writing"),
    },
    Mutation {
        name: "no limit of memory",
        change: |order, _| unlimited(order, &["Memory", "MemorySwap"]),
        row: None,
    },
    Mutation {
        name: "no limit of processes",
        change: |order, _| unlimited(order, &["PidsLimit"]),
        row: None,
    },
    Mutation {
        name: "no limit of processors",
        change: |order, _| unlimited(order, &["NanoCpus"]),
        row: None,
    },
    Mutation {
        name: "processes of the host",
        change: |order, _| set(order, "PidMode", json!("host")),
        row: None,
    },
    Mutation {
        name: "somebody else as first process",
        change: |order, _| set(order, "Init", json!(true)),
        row: None,
    },
    Mutation {
        name: "control groups of the host",
        change: |order, _| set(order, "CgroupnsMode", json!("host")),
        row: None,
    },
    Mutation {
        name: "a proof file that can be written",
        change: |order, _| writable(order, "/.canary"),
        row: None,
    },
];

fn host_network(order: &mut Value) {
    set(order, "NetworkMode", json!("host"));
    // The engine refuses them there.
    set(order, "Sysctls", json!({}));
}

fn unlimited(order: &mut Value, keys: &[&str]) {
    for key in keys {
        set(order, key, json!(0));
    }
}

/// A block device of this machine.
fn disk() -> String {
    use std::os::unix::fs::FileTypeExt;
    let found = std::fs::read_dir("/dev")
        .unwrap()
        .flatten()
        .find(|entry| entry.file_type().unwrap().is_block_device());
    found.unwrap().path().display().to_string()
}

type Change = Box<dyn Fn(&mut Value) + Send + Sync>;

/// An engine that makes something else than what is ordered, and does not say so.
struct Liar {
    socket: PathBuf,
    _folder: TempDir,
    orders: Arc<Mutex<Vec<Value>>>,
}

impl Liar {
    fn start(change: Change) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("docker.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let orders = Arc::new(Mutex::new(Vec::new()));
        let (real, kept, change) = (docker().host, Arc::clone(&orders), Arc::new(change));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let engine = UnixStream::connect(real.trim_start_matches("unix://")).await.unwrap();
                tokio::spawn(serve(client, engine, Arc::clone(&kept), Arc::clone(&change)));
            }
        });
        Self { socket, _folder: folder, orders }
    }

    fn launcher(&self) -> Launcher {
        let host = format!("unix://{}", self.socket.display());
        Launcher::at(env!("CARGO_BIN_EXE_blueprint-guest")).with_docker(DockerSettings { host, ..docker() })
    }
}

/// The head of a message, and what of its body came with it.
async fn head(stream: &mut UnixStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Some((String::from_utf8(bytes).unwrap(), rest));
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

fn header(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

/// One request, and the answer to it: then the connection is over, so that none can carry a second.
async fn serve(
    mut client: UnixStream,
    mut engine: UnixStream,
    orders: Arc<Mutex<Vec<Value>>>,
    change: Arc<Change>,
) {
    let Some((asked, mut body)) = head(&mut client).await else { return };
    let line = asked.lines().next().unwrap().to_owned();
    if header(&asked, "upgrade").is_some() {
        engine.write_all(asked.as_bytes()).await.unwrap();
        engine.write_all(&body).await.unwrap();
        drop(copy_bidirectional(&mut client, &mut engine).await);
        return;
    }
    let length = header(&asked, "content-length").map_or(0, |length| length.parse::<usize>().unwrap());
    while body.len() < length {
        client.read_buf(&mut body).await.unwrap();
    }
    if line.starts_with("POST /containers/create") {
        let mut order: Value = serde_json::from_slice(&body).unwrap();
        orders.lock().unwrap().push(order["HostConfig"].clone());
        change(&mut order);
        body = serde_json::to_vec(&order).unwrap();
    }
    let kept = asked.lines().skip(1).filter(|line| {
        let name = line.split(':').next().unwrap().to_ascii_lowercase();
        !line.is_empty() && !["content-length", "connection"].contains(&name.as_str())
    });
    let mut request = format!("{line}\r\n");
    for line in kept {
        request.push_str(line);
        request.push_str("\r\n");
    }
    request
        .push_str(&["Content-Length: ", &body.len().to_string(), "\r\nConnection: close\r\n\r\n"].concat());
    engine.write_all(request.as_bytes()).await.unwrap();
    engine.write_all(&body).await.unwrap();
    if !(line.starts_with("GET /containers/") && line.contains("/json")) || line.contains("/containers/json")
    {
        drop(copy_bidirectional(&mut client, &mut engine).await);
        return;
    }
    let Some((_, mut told)) = head(&mut engine).await else { return };
    drop(engine.read_to_end(&mut told).await);
    let (from, to) =
        (told.iter().position(|byte| *byte == b'{'), told.iter().rposition(|byte| *byte == b'}'));
    let (Some(from), Some(to)) = (from, to) else { return };
    // Chunked or not, the object is whole: it is smaller than a chunk of this engine.
    let mut seen: Value = serde_json::from_slice(&told[from..=to]).unwrap();
    let order = orders.lock().unwrap().last().cloned().unwrap();
    for (key, value) in order.as_object().unwrap() {
        seen["HostConfig"][key] = value.clone();
    }
    seen["NetworkSettings"]["Networks"] = json!({ "none": {} });
    seen["Mounts"] = json!([]);
    let seen = serde_json::to_vec(&seen).unwrap();
    let answer = [
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: ",
        &seen.len().to_string(),
        "\r\n\r\n",
    ]
    .concat();
    drop(client.write_all(answer.as_bytes()).await);
    drop(client.write_all(&seen).await);
}

#[tokio::test]
async fn every_defence_of_a_container_is_missed_when_it_is_gone() {
    // An ordinary user's containers have other ids, and much is refused to them anyway.
    if !tries(Backend::Container) || !is_root() {
        return;
    }
    assert!(MUTATIONS.len() >= 20);
    let mut unnoticed = BTreeMap::new();
    for mutation in MUTATIONS {
        let row = ROWS.iter().find(|row| mutation.row.is_none_or(|name| row.name == name));
        let row = row.unwrap_or_else(|| panic!("there is no row `{}`", mutation.row.unwrap_or_default()));
        let scene = Scene::new();
        let (change, outside) = (mutation.change, scene.outside.path().to_owned());
        let liar = Liar::start(Box::new(move |order| change(order, &outside)));
        let result = attempt_in(row, scene, Desk::new(Backend::Container), &liar.launcher()).await;
        assert!(!liar.orders.lock().unwrap().is_empty(), "{}: nothing was ordered", mutation.name);
        match (result, mutation.row) {
            (Err(_), None) | (Ok((true, _)), Some(_)) => {}
            (Err(error), Some(_)) => drop(unnoticed.insert(mutation.name, format!("no start: {error}"))),
            (Ok((succeeded, story)), _) => {
                unnoticed.insert(mutation.name, format!("succeeded: {succeeded}, {story:?}"));
            }
        }
    }
    assert!(unnoticed.is_empty(), "these went unnoticed: {unnoticed:#?}");
}
