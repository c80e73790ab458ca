//! What commands see of the host, and what the host finds afterwards.

use std::{fs, os::unix::fs::MetadataExt, path::PathBuf};

use blueprint_sandbox::{
    Backend, Exec, HOME, Isolation, ReadOnlyMount, Spec, StartError, Status, WorkspaceMode, WorkspaceOwner,
};

use crate::{
    desk::{Desk, command, every, isolating, on_this_system, python, run, sh},
    scene::is_root,
};

#[tokio::test]
async fn what_a_command_writes_belongs_to_the_caller() {
    for backend in isolating() {
        let desk = Desk::new(backend);
        fs::write(desk.dir.path().join("before"), "old").unwrap();
        let mut sandbox = desk.start().await;
        let id = sandbox.attestation().inside_uid;
        let script =
            "echo new > before && mkdir -p d && echo x > d/after && stat -c %u d/after before . && whoami";
        let story = run(&mut sandbox, sh(script)).await.unwrap();
        sandbox.stop().await;
        assert_eq!(
            story.text(),
            format!("{id}\n{id}\n{id}\nsandbox\n"),
            "{backend:?} {}",
            story.complaints()
        );
        let caller = nix::unistd::geteuid().as_raw();
        for name in ["before", "d", "d/after"] {
            assert_eq!(fs::metadata(desk.dir.path().join(name)).unwrap().uid(), caller, "{backend:?} {name}");
        }
        assert_eq!(fs::read(desk.dir.path().join("before")).unwrap(), b"new\n");
    }
}

#[tokio::test]
async fn a_sandbox_never_keeps_the_hosts_root() {
    for backend in on_this_system() {
        let desk = Desk::new(backend);
        let mut sandbox = desk.start().await;
        let facts = sandbox.attestation().clone();
        assert_eq!((facts.backend, facts.isolation), (backend, Isolation::Isolated));
        assert_ne!(facts.host_uid, 0);
        let owner = if is_root() { WorkspaceOwner::IdMapped } else { WorkspaceOwner::SameUser };
        assert_eq!(facts.workspace_owner, owner);
        let story = run(&mut sandbox, sh("cat /proc/self/uid_map; cat /proc/self/status")).await.unwrap();
        if !backend.is_container() {
            let line = story.text().lines().next().unwrap().to_owned();
            let map: Vec<&str> = line.split_whitespace().collect();
            assert_eq!(map[0], facts.inside_uid.to_string());
            // Seen from inside, the outer id is the one of the parent namespace.
            assert!(backend == Backend::Bubblewrap || map[1] == facts.host_uid.to_string(), "{map:?}");
        }
        let uid = facts.inside_uid;
        assert!(
            story.text().contains(&format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}")),
            "{backend:?} {}",
            story.text()
        );
        for line in
            ["CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"]
        {
            if backend == Backend::Gvisor && !line.starts_with("CapEff") {
                // It has no line for one, and three in the bounding set that nothing can gain any more.
                continue;
            }
            assert!(story.text().contains(line), "{backend:?} {line}");
        }
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn a_read_only_workspace_cannot_be_written() {
    for backend in isolating() {
        let desk = Desk::new(backend).mode(WorkspaceMode::ReadOnly);
        fs::write(desk.dir.path().join("file"), "old").unwrap();
        let story = desk.sh("cat file; echo new > file; rm -f file; touch other; ls").await;
        assert!(story.text().starts_with("old"), "{backend:?}");
        assert_eq!(fs::read(desk.dir.path().join("file")).unwrap(), b"old");
        assert_eq!(fs::read_dir(desk.dir.path()).unwrap().count(), 1);
    }
}

#[tokio::test]
async fn what_is_written_to_scratch_is_thrown_away() {
    let desk = Desk::new(Backend::Process).mode(WorkspaceMode::Scratch);
    fs::create_dir(desk.dir.path().join("dir")).unwrap();
    fs::write(desk.dir.path().join("dir/file"), "old").unwrap();
    let mut sandbox = desk.start().await;
    let first = run(
        &mut sandbox,
        sh("echo new > dir/file && rm -r dir && mkdir dir && echo x > dir/other && ls -A . dir"),
    );
    assert_eq!(first.await.unwrap().text(), ".:\ndir\n\ndir:\nother\n");
    let second = run(&mut sandbox, sh("cat dir/other")).await.unwrap();
    assert_eq!(second.text(), "x\n", "it lasts as long as the sandbox");
    sandbox.stop().await;
    assert_eq!(fs::read(desk.dir.path().join("dir/file")).unwrap(), b"old");
    assert_eq!(fs::read_dir(desk.dir.path().join("dir")).unwrap().count(), 1);
}

#[tokio::test]
async fn what_a_backend_cannot_do_is_refused() {
    let cases = [
        (Backend::Bubblewrap, WorkspaceMode::Scratch),
        (Backend::None, WorkspaceMode::Scratch),
        (Backend::None, WorkspaceMode::ReadOnly),
    ];
    for (backend, mode) in cases {
        let error = Desk::new(backend).mode(mode).try_start().await.unwrap_err();
        assert!(matches!(error, StartError::Unsupported { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_declared_directory_is_visible_even_below_a_closed_one() {
    for backend in isolating() {
        let mut desk = Desk::new(backend);
        let closed = tempfile::Builder::new().prefix("closed-").tempdir().unwrap();
        let tools = closed.path().join("deep/tools");
        fs::create_dir_all(&tools).unwrap();
        fs::write(tools.join("file"), "tool").unwrap();
        fs::write(closed.path().join("secret"), "secret").unwrap();
        fs::set_permissions(closed.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        desk.spec.read_only.push(ReadOnlyMount::same(&tools));
        let script = format!(
            "cat {0}/file; touch {0}/new; cat {1}/secret; ls -A {1}",
            tools.display(),
            closed.path().display()
        );
        let story = desk.sh(&script).await;
        assert_eq!(story.text(), "tooldeep\n", "{backend:?} {}", story.complaints());
        assert_eq!(fs::read_dir(&tools).unwrap().count(), 1);
    }
}

#[tokio::test]
async fn a_part_of_the_workspace_can_be_protected() {
    for backend in isolating() {
        let mut desk = Desk::new(backend);
        let part = desk.dir.path().join("part");
        fs::create_dir(&part).unwrap();
        fs::write(part.join("file"), "old").unwrap();
        desk.spec.read_only.push(ReadOnlyMount { host: part.clone(), inside: "/work/part".into() });
        let story =
            desk.sh("echo new > part/file; rm -rf part; mv part away; echo ok > beside; cat part/file").await;
        assert_eq!(story.text(), "old", "{backend:?}");
        assert_eq!(fs::read(part.join("file")).unwrap(), b"old");
        assert!(desk.dir.path().join("beside").exists());
    }
}

#[tokio::test]
async fn a_planted_link_is_no_place_to_mount_on() {
    let mut desk = Desk::new(Backend::Process);
    let part = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/etc", desk.dir.path().join("part")).unwrap();
    desk.spec.read_only.push(ReadOnlyMount { host: part.path().to_owned(), inside: "/work/part".into() });
    let error = desk.try_start().await.unwrap_err();
    assert!(matches!(error, StartError::Setup { .. }), "{error}");
}

#[tokio::test]
async fn ordinary_tools_work() {
    let checks = [
        (
            "git",
            "git init -q . && git config user.email a@b && git config user.name n && echo x > f && git add . && git commit -qm m && git status --short | wc -l",
        ),
        ("gcc", "printf 'int main(){return 0;}' > a.c && gcc -pthread a.c -o a && ./a && echo 0"),
        (
            "python3",
            "/usr/bin/python3 -c 'import ssl, socket, sqlite3, subprocess; subprocess.run([\"true\"], check=True); print(0)'",
        ),
        (
            "sh",
            "test -w $HOME && test -w /tmp && test -w /dev/shm && echo x > /dev/null && cat /dev/stdin < /dev/null && echo 0 > /dev/stdout",
        ),
        (
            "node",
            "command -v node > /dev/null || { echo 0; exit; }; node -e 'const n = require(\"net\"); const s = n.createServer(c => { s.close(); c.end() }).listen(0, \"127.0.0.1\", () => n.connect(s.address().port).on(\"close\", () => console.log(0)).resume())'",
        ),
        ("make", "printf 'all:\\n\\t@echo 0\\n' > Makefile && make -s -j2"),
    ];
    for backend in on_this_system() {
        let desk = Desk::new(backend);
        for (tool, script) in checks {
            let story = desk.sh(script).await;
            assert_eq!(story.text(), "0\n", "{backend:?} {tool}: {}", story.complaints());
        }
    }
}

#[tokio::test]
async fn loopback_belongs_to_the_sandbox() {
    let script = "
import socket, threading
for family, address in ((socket.AF_INET, ('127.0.0.1', 0)), (socket.AF_INET6, ('::1', 0)), (socket.AF_UNIX, '/tmp/s')):
    server = socket.socket(family); server.bind(address); server.listen()
    client = socket.socket(family); client.connect(server.getsockname())
    peer, _ = server.accept(); peer.sendall(b'hello'); print(client.recv(5).decode())
print(socket.gethostbyname('localhost'))
";
    for backend in isolating() {
        let desk = Desk::new(backend);
        let mut sandbox = desk.start().await;
        let story = run(&mut sandbox, python(script)).await.unwrap();
        assert_eq!(story.text(), "hello\nhello\nhello\n127.0.0.1\n", "{backend:?} {}", story.complaints());
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn cargo_builds_with_a_declared_toolchain() {
    let home = PathBuf::from(env!("CARGO"))
        .ancestors()
        .find(|p| p.ends_with("toolchains"))
        .map(|p| p.parent().unwrap().to_owned());
    let Some(rustup) = home.filter(|home| home.exists()) else {
        return println!("skipped: there is no toolchain of rustup that this user can reach");
    };
    let toolchain_bin = PathBuf::from(env!("CARGO")).parent().unwrap().to_owned();
    for backend in on_this_system() {
        let mut desk = Desk::new(backend);
        desk.spec.read_only.push(ReadOnlyMount::same(&rustup));
        desk.spec.limits.memory_bytes = 2 << 30;
        fs::create_dir(desk.dir.path().join("src")).unwrap();
        fs::write(desk.dir.path().join("Cargo.toml"), "[package]\nname = \"a\"\nedition = \"2021\"\n")
            .unwrap();
        fs::write(
            desk.dir.path().join("src/lib.rs"),
            "#[test] fn loopback() { let l = std::net::TcpListener::bind((\"127.0.0.1\", 0)).unwrap(); std::net::TcpStream::connect(l.local_addr().unwrap()).unwrap(); }",
        )
        .unwrap();
        let mut exec = command(["cargo", "test", "--offline", "--quiet"]);
        exec.env.insert("PATH".into(), format!("{}:/usr/bin:/bin", toolchain_bin.display()));
        let mut sandbox = desk.start().await;
        let story = run(&mut sandbox, exec).await.unwrap();
        assert_eq!(story.status(), &Status::Exit(0), "{backend:?} {} {}", story.text(), story.complaints());
        assert!(story.text().contains("1 passed"));
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn a_sandbox_needs_no_workspace() {
    for backend in isolating() {
        let mut desk = Desk::new(backend);
        desk.spec = Spec { workspace: None, ..desk.spec };
        let mut sandbox = desk.start().await;
        let story = run(&mut sandbox, Exec { cwd: HOME.into(), ..sh("pwd; ls -A /work") }).await.unwrap();
        assert_eq!(story.text(), format!("{HOME}\n"), "{backend:?}");
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn a_missing_workspace_is_an_error_of_the_start() {
    for backend in every() {
        let mut desk = Desk::new(backend);
        if let Some(mount) = &mut desk.spec.workspace {
            mount.host = "/no/such/checkout".into();
        }
        let error = desk.try_start().await.unwrap_err();
        assert!(matches!(&error, StartError::Source { path, .. } if path.ends_with("checkout")), "{error}");
    }
}
