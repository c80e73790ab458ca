//! The hostile suite: one table of attempts, run on every isolating backend and once without isolation.
//! An attempt that fails even without isolation proves nothing, so it makes its row invalid.

use std::{fs, os::unix::fs::FileTypeExt, path::Path};

use blueprint_sandbox::{Backend, Exec, Limits, Sandbox, Status};

use crate::{
    desk::{Desk, Story, limits, python, run, sh},
    microvm::machine,
    scene::{Scene, is_root},
};

/// One attempt.
struct Row {
    name: &'static str,
    attempt: Attempt,
    limits: fn(Limits) -> Limits,
    /// Whether it succeeded, as far as the host can tell.
    succeeded: fn(&mut Scene, &Desk, &Story) -> bool,
    control: Control,
}

enum Attempt {
    Shell(&'static str),
    Python(&'static str),
}

/// Who can do the same without isolation.
#[derive(PartialEq, Eq)]
enum Control {
    /// Everybody.
    Anyone,
    /// Root; for others there is nothing to take away.
    Root,
}

fn said(_: &mut Scene, _: &Desk, story: &Story) -> bool {
    story.text().contains("SUCCEEDED")
}

fn leaked(scene: &mut Scene, _: &Desk, story: &Story) -> bool {
    story.text().contains(&scene.secret)
}

fn called(scene: &mut Scene, _: &Desk, _: &Story) -> bool {
    scene.was_called()
}

fn same(limits: Limits) -> Limits {
    limits
}

const CALL: &str = "
import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def call(*a):
    return libc.syscall(*[ctypes.c_long(x) if isinstance(x, int) else x for x in a])
";

/// The table. Rows for later backends are these same rows.
const ROWS: &[Row] = &[
    Row {
        name: "read a file outside by its path",
        attempt: Attempt::Shell("cat \"$SECRET\""),
        limits: same,
        succeeded: leaked,
        control: Control::Anyone,
    },
    Row {
        name: "read a file outside by detours",
        attempt: Attempt::Shell(
            "cat /proc/self/root$SECRET /proc/1/root$SECRET /proc/1/cwd$SECRET ../../../../../../../..$SECRET",
        ),
        limits: same,
        succeeded: leaked,
        control: Control::Anyone,
    },
    Row {
        name: "read a file outside by a symbolic link in the workspace",
        attempt: Attempt::Shell("ln -s \"$SECRET\" link && cat link"),
        limits: same,
        succeeded: leaked,
        control: Control::Anyone,
    },
    Row {
        name: "read the engine's environment",
        attempt: Attempt::Shell("cat /proc/$ENGINE/environ /proc/1/environ; env"),
        limits: same,
        succeeded: |_, _, story| story.text().contains("CARGO_MANIFEST_DIR="),
        control: Control::Anyone,
    },
    Row {
        name: "list the caller's home",
        attempt: Attempt::Shell("test -n \"$(ls -A \"$OUTSIDE\")\" && echo SUCCEEDED; ls -la /root /home"),
        limits: same,
        succeeded: said,
        control: Control::Anyone,
    },
    Row {
        name: "write outside the workspace",
        attempt: Attempt::Shell("echo x > \"$OUTSIDE/planted\""),
        limits: same,
        succeeded: |scene, _, _| scene.path("planted").exists(),
        control: Control::Anyone,
    },
    Row {
        name: "write through a symbolic link in the workspace",
        attempt: Attempt::Shell("ln -s \"$OUTSIDE\" way && echo x > way/planted"),
        limits: same,
        succeeded: |scene, _, _| scene.path("planted").exists(),
        control: Control::Anyone,
    },
    Row {
        name: "write to the base system",
        // Opened for writing only, so that the control changes nothing.
        attempt: Attempt::Python(
            "import os\nfor p in ['/usr/bin/env', '/bin/sh', '/etc/ld.so.cache', '/etc/services']:\n    try:\n        os.close(os.open(p, os.O_WRONLY)); print('SUCCEEDED', p)\n    except OSError as e: print(p, e)",
        ),
        limits: same,
        succeeded: said,
        control: Control::Root,
    },
    Row {
        name: "call a TCP service of the host",
        attempt: Attempt::Python(
            "import os, socket\nfor a in os.environ['ADDRESSES'].split():\n    for p in ('TCP_ANY', 'TCP_LOCAL'):\n        try: socket.create_connection((a, int(os.environ[p])), 1)\n        except OSError as e: print(a, p, e)",
        ),
        limits: same,
        succeeded: called,
        control: Control::Anyone,
    },
    Row {
        name: "call a UDP service of the host",
        attempt: Attempt::Python(
            "import os, socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\nfor a in os.environ['ADDRESSES'].split():\n    try: s.sendto(b'x', (a, int(os.environ['UDP'])))\n    except OSError as e: print(a, e)",
        ),
        limits: same,
        succeeded: called,
        control: Control::Anyone,
    },
    Row {
        name: "call an abstract socket of the host",
        attempt: Attempt::Python(
            "import os, socket\ns = socket.socket(socket.AF_UNIX)\ns.connect('\\0' + os.environ['ABSTRACT'])",
        ),
        limits: same,
        succeeded: called,
        control: Control::Anyone,
    },
    Row {
        name: "call a socket file of the host",
        attempt: Attempt::Python(
            "import os, socket\ns = socket.socket(socket.AF_UNIX)\ns.connect(os.environ['OUTSIDE'] + '/docker.sock')",
        ),
        limits: same,
        succeeded: called,
        control: Control::Anyone,
    },
    Row {
        name: "see the host's processes",
        attempt: Attempt::Shell("cat /proc/[0-9]*/cmdline | tr '\\0' ' '"),
        limits: same,
        succeeded: |_, _, story| story.text().contains("sleep 600"),
        control: Control::Anyone,
    },
    Row {
        name: "kill a process of the host",
        attempt: Attempt::Shell(
            "kill -9 $VICTIM; while kill -0 $VICTIM; do grep -q Z /proc/$VICTIM/stat && break; done",
        ),
        limits: same,
        succeeded: |scene, _, _| scene.victim_died(),
        control: Control::Anyone,
    },
    Row {
        name: "trace a process",
        attempt: Attempt::Python(
            "import os, signal, time\npid = os.fork()\nif pid == 0: time.sleep(60); os._exit(0)\nfor target in (pid, 1):\n    if target == 1 and os.getppid() not in (0, 1): continue\n    if call(101, 16, target, 0, 0) == 0: print('SUCCEEDED')\nos.kill(pid, signal.SIGKILL)",
        ),
        limits: same,
        succeeded: said,
        control: Control::Anyone,
    },
    Row {
        name: "read another process's memory",
        attempt: Attempt::Python(
            "import os\nvictim = int(os.environ['VICTIM'])\nfor pid in (victim, 1):\n    try:\n        os.close(os.open(f'/proc/{pid}/mem', os.O_RDONLY)); print('SUCCEEDED')\n    except OSError as e: print(e)",
        ),
        limits: same,
        succeeded: said,
        control: Control::Anyone,
    },
    Row {
        name: "write to another process's pipe",
        attempt: Attempt::Python(
            "import os\nvictim = int(os.environ['VICTIM'])\nfor pid in (victim, 1):\n    for fd in range(0, 32):\n        try:\n            os.close(os.open(f'/proc/{pid}/fd/{fd}', os.O_WRONLY | os.O_NONBLOCK)); print('SUCCEEDED')\n        except OSError: pass",
        ),
        limits: same,
        succeeded: said,
        control: Control::Anyone,
    },
    Row {
        name: "make a user namespace with unshare",
        attempt: Attempt::Python("if call(272, 0x10000000) == 0: print('SUCCEEDED')"),
        limits: same,
        succeeded: said,
        control: Control::Anyone,
    },
    Row {
        name: "make a user namespace with clone",
        attempt: Attempt::Python(
            "r = call(56, 0x10000000 | 17, 0, 0, 0, 0)\nif r == 0: os._exit(0)\nif r > 0: print('SUCCEEDED')",
        ),
        limits: same,
        succeeded: said,
        control: Control::Anyone,
    },
    Row {
        name: "make a user namespace with clone3",
        attempt: Attempt::Python(
            "a = (ctypes.c_uint64 * 11)(0x10000000, 0, 0, 0, 17)\nr = call(435, ctypes.byref(a), 88)\nif r == 0: os._exit(0)\nif r > 0: print('SUCCEEDED')",
        ),
        limits: same,
        succeeded: said,
        control: Control::Anyone,
    },
    Row {
        name: "mount something",
        attempt: Attempt::Python(
            "call(272, 0x10020000)\nif libc.mount(b'none', b'/tmp', b'tmpfs', 0, None) == 0: print('SUCCEEDED')",
        ),
        limits: same,
        succeeded: said,
        control: Control::Anyone,
    },
    Row {
        name: "open the new mount interface",
        attempt: Attempt::Python(
            "call(272, 0x10020000)\nif call(430, ctypes.c_char_p(b'tmpfs'), 0) >= 0: print('SUCCEEDED')",
        ),
        limits: same,
        succeeded: said,
        control: Control::Anyone,
    },
    Row {
        name: "change the root",
        attempt: Attempt::Python(
            "call(272, 0x10020000)\ntry:\n    os.chroot('/usr'); print('SUCCEEDED')\nexcept OSError as e: print(e)",
        ),
        limits: same,
        succeeded: said,
        control: Control::Anyone,
    },
    Row {
        name: "open the kernel's core pattern for writing",
        attempt: Attempt::Python(
            "try:\n    os.close(os.open('/proc/sys/kernel/core_pattern', os.O_WRONLY)); print('SUCCEEDED')\nexcept OSError as e: print(e)",
        ),
        limits: same,
        succeeded: said,
        control: Control::Root,
    },
    Row {
        name: "open a kernel setting for writing",
        attempt: Attempt::Python(
            "try:\n    os.close(os.open('/proc/sys/kernel/hostname', os.O_WRONLY)); print('SUCCEEDED')\nexcept OSError as e: print(e)",
        ),
        limits: same,
        succeeded: said,
        control: Control::Root,
    },
    Row {
        name: "make a device node",
        attempt: Attempt::Shell("mknod node c 1 3 || mknod /tmp/node c 1 3 && rm /tmp/node"),
        limits: same,
        succeeded: |_, desk, _| {
            fs::symlink_metadata(desk.dir.path().join("node")).is_ok_and(|m| m.file_type().is_char_device())
        },
        control: Control::Root,
    },
    Row {
        name: "make a whiteout node",
        attempt: Attempt::Shell("mknod node c 0 0"),
        limits: same,
        succeeded: |_, desk, _| desk.dir.path().join("node").exists(),
        control: Control::Anyone,
    },
    Row {
        name: "open io_uring",
        attempt: Attempt::Python(
            "p = (ctypes.c_char * 120)()\nif call(425, 4, ctypes.byref(p)) >= 0: print('SUCCEEDED')",
        ),
        limits: same,
        succeeded: said,
        control: Control::Anyone,
    },
    Row {
        name: "add a key",
        attempt: Attempt::Python(
            "if call(248, ctypes.c_char_p(b'user'), ctypes.c_char_p(b'k'), ctypes.c_char_p(b'v'), 1, -2) >= 0: print('SUCCEEDED')",
        ),
        limits: same,
        succeeded: said,
        control: Control::Anyone,
    },
    Row {
        name: "open a socket to the hypervisor",
        attempt: Attempt::Python("socket.socket(40, socket.SOCK_STREAM); print('SUCCEEDED')"),
        limits: same,
        succeeded: said,
        control: Control::Anyone,
    },
    Row {
        name: "open a netlink socket",
        attempt: Attempt::Python("socket.socket(16, socket.SOCK_RAW, 0); print('SUCCEEDED')"),
        limits: same,
        succeeded: said,
        control: Control::Anyone,
    },
    Row {
        name: "open a packet socket",
        attempt: Attempt::Python("socket.socket(17, socket.SOCK_RAW, 3); print('SUCCEEDED')"),
        limits: same,
        succeeded: said,
        control: Control::Root,
    },
    Row {
        name: "watch performance counters",
        attempt: Attempt::Python(
            "a = (ctypes.c_uint32 * 32)(1, 128)\nif call(298, ctypes.byref(a), 0, -1, -1, 0) >= 0: print('SUCCEEDED')",
        ),
        limits: same,
        succeeded: said,
        control: Control::Root,
    },
    Row {
        name: "handle page faults",
        attempt: Attempt::Python("if call(323, 1) >= 0: print('SUCCEEDED')"),
        limits: same,
        succeeded: said,
        control: Control::Anyone,
    },
    Row {
        name: "make a program that runs as its owner",
        attempt: Attempt::Shell("cp /usr/bin/id tool && chmod 4755 tool"),
        limits: same,
        succeeded: |_, desk, _| mode(&desk.dir.path().join("tool")) & 0o6000 != 0,
        control: Control::Anyone,
    },
    Row {
        name: "create a program that runs as its owner",
        attempt: Attempt::Python("os.umask(0); os.close(os.open('tool', os.O_CREAT | os.O_WRONLY, 0o4755))"),
        limits: same,
        succeeded: |_, desk, _| mode(&desk.dir.path().join("tool")) & 0o6000 != 0,
        control: Control::Anyone,
    },
    Row {
        // Only the file rules stand in the way of this one.
        name: "write to its own entry in the process list",
        attempt: Attempt::Shell("echo 700 > /proc/self/oom_score_adj && echo SUCCEEDED"),
        limits: same,
        succeeded: said,
        control: Control::Anyone,
    },
    Row {
        name: "fork without end",
        attempt: Attempt::Python(
            "import time\nn = 0\ntry:\n    for n in range(200):\n        if os.fork() == 0: time.sleep(60); os._exit(0)\n    print('SUCCEEDED')\nexcept OSError as e: print(n, e)",
        ),
        limits: |limits| Limits { pids: 32, ..limits },
        succeeded: said,
        control: Control::Anyone,
    },
    Row {
        name: "fill memory",
        attempt: Attempt::Python(
            "b = bytearray(400 << 20)\nb[::4096] = b'x' * len(b[::4096])\nprint('SUCCEEDED')",
        ),
        limits: |limits| Limits { memory_bytes: 128 << 20, ..limits },
        succeeded: said,
        control: Control::Anyone,
    },
    Row {
        name: "fill the temporary directory",
        attempt: Attempt::Shell(
            "dd if=/dev/zero of=/tmp/fill.$ENGINE bs=1M count=40 && echo SUCCEEDED; rm -f /tmp/fill.$ENGINE",
        ),
        limits: same,
        succeeded: said,
        control: Control::Anyone,
    },
    Row {
        name: "fill shared memory",
        attempt: Attempt::Shell(
            "dd if=/dev/zero of=/dev/shm/fill.$ENGINE bs=1M count=40 && echo SUCCEEDED; rm -f /dev/shm/fill.$ENGINE",
        ),
        limits: same,
        succeeded: said,
        control: Control::Anyone,
    },
    Row {
        name: "write a file without end",
        attempt: Attempt::Shell("truncate -s 10G big"),
        limits: same,
        succeeded: |_, desk, _| fs::metadata(desk.dir.path().join("big")).is_ok_and(|m| m.len() > 64 << 20),
        control: Control::Anyone,
    },
    Row {
        name: "open files without end",
        attempt: Attempt::Python(
            "f = [os.open('/dev/null', os.O_RDONLY) for _ in range(300)]\nprint('SUCCEEDED')",
        ),
        limits: |limits| Limits { open_files: 128, ..limits },
        succeeded: said,
        control: Control::Anyone,
    },
    Row {
        name: "raise a limit again",
        attempt: Attempt::Python(
            "import resource\nr = resource.RLIMIT_NOFILE\ns, h = resource.getrlimit(r)\nresource.setrlimit(r, (h, h))\nif resource.getrlimit(r)[0] > 256: print('SUCCEEDED')",
        ),
        limits: same,
        succeeded: said,
        control: Control::Anyone,
    },
];

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).map_or(0, |meta| meta.permissions().mode())
}

fn exec_of(row: &Row, scene: &Scene) -> Exec {
    let mut exec = match &row.attempt {
        Attempt::Shell(script) => sh(script),
        Attempt::Python(script) => python(&format!("{CALL}{script}")),
    };
    scene.reveal(&mut exec);
    exec
}

async fn attempt(row: &Row, backend: Backend) -> (bool, Story) {
    let mut desk = Desk::new(backend);
    desk.spec.limits = (row.limits)(limits());
    let mut sandbox = desk.start().await;
    let outcome = attempt_in(row, &desk, &mut sandbox).await;
    sandbox.stop().await;
    outcome
}

async fn attempt_in(row: &Row, desk: &Desk, sandbox: &mut Sandbox) -> (bool, Story) {
    let mut scene = Scene::new();
    let story = run(sandbox, exec_of(row, &scene))
        .await
        .unwrap_or_else(|error| panic!("{} on {}: {error}", row.name, desk.backend.name()));
    let after = run(sandbox, sh("echo still here")).await;
    assert_eq!(after.unwrap().text(), "still here\n", "the sandbox survives: {}", row.name);
    ((row.succeeded)(&mut scene, desk, &story), story)
}

async fn suite(backend: Backend) {
    let mut outcomes = Vec::new();
    for row in ROWS {
        outcomes.push((row, attempt(row, backend).await));
    }
    judge(backend, outcomes);
}

/// The same where starting takes long: rows that need no limits of their own share a sandbox.
async fn suite_in_few(backend: Backend) {
    let shared = Desk::new(backend);
    let mut sandbox = shared.start().await;
    let mut outcomes = Vec::new();
    for row in ROWS {
        let outcome = if (row.limits)(limits()) == limits() {
            for entry in fs::read_dir(shared.dir.path()).unwrap().flatten() {
                let path = entry.path();
                if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
            }
            attempt_in(row, &shared, &mut sandbox).await
        } else {
            attempt(row, backend).await
        };
        outcomes.push((row, outcome));
    }
    sandbox.stop().await;
    judge(backend, outcomes);
}

fn judge(backend: Backend, outcomes: Vec<(&Row, (bool, Story))>) {
    let mut failures = Vec::new();
    for (row, (succeeded, story)) in outcomes {
        if succeeded {
            failures.push(format!("OPEN: {}: {:?} {}", row.name, story.ended, story.text()));
        }
        if matches!(story.status(), Status::NotStarted(_) | Status::TimedOut) {
            failures.push(format!("INVALID: {}: {:?} {}", row.name, story.ended, story.complaints()));
        }
    }
    assert!(failures.is_empty(), "{}:\n{}", backend.name(), failures.join("\n"));
}

#[tokio::test]
async fn nothing_hostile_succeeds_in_the_process_sandbox() {
    suite(Backend::Process).await;
}

#[tokio::test]
async fn nothing_hostile_succeeds_in_bubblewrap() {
    suite(Backend::Bubblewrap).await;
}

#[tokio::test]
async fn nothing_hostile_succeeds_in_a_machine() {
    if machine().is_some() {
        suite_in_few(Backend::Microvm).await;
    }
}

#[tokio::test]
async fn everything_hostile_succeeds_without_isolation() {
    let mut invalid = Vec::new();
    for row in ROWS.iter().filter(|row| row.control == Control::Anyone || is_root()) {
        let (succeeded, story) = attempt(row, Backend::None).await;
        if !succeeded {
            invalid.push(format!("{}: {:?} {} {}", row.name, story.ended, story.text(), story.complaints()));
        }
    }
    assert!(invalid.is_empty(), "these rows prove nothing:\n{}", invalid.join("\n"));
}
