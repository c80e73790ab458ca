//! How commands end, and that nothing of them is left: on every backend unless a test says otherwise.

use std::{
    fs,
    time::{Duration, Instant},
};

use blueprint_sandbox::{Backend, Exec, Limits, NotStarted, Status, Stream};
use tokio::sync::{mpsc, oneshot};

use crate::desk::{Desk, backends, command, every, host_sees, isolating, limits, python, run, run_until, sh};

/// A number that shows a process of a test in the host's process list.
pub(crate) fn marker() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    format!("9{}.{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}

/// How many sleepers with this marker the host runs.
pub(crate) fn alive(mark: &str) -> usize {
    let line = format!("sleep\0{mark}\0");
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .filter(|found| *found == line.as_bytes())
        .count()
}

/// Waits for something to become true.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn every_exit_code_is_passed_on_verbatim() {
    for backend in every() {
        let desk = Desk::new(backend);
        let mut sandbox = desk.start().await;
        for code in 0..=255 {
            let story = run(&mut sandbox, sh(&format!("exit {code}"))).await.unwrap();
            assert_eq!(story.status(), &Status::Exit(code), "{backend:?}");
        }
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn the_signal_that_ended_a_command_is_passed_on() {
    for backend in every() {
        let desk = Desk::new(backend);
        let mut sandbox = desk.start().await;
        for signal in [1, 2, 3, 6, 9, 11, 13, 15, 24, 31] {
            let story = run(&mut sandbox, sh(&format!("kill -{signal} $$"))).await.unwrap();
            assert_eq!(story.status(), &Status::Signal(signal), "{backend:?}");
        }
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn a_command_that_never_ran_differs_from_one_that_returned_127() {
    for backend in every() {
        let desk = Desk::new(backend);
        fs::write(desk.dir.path().join("text"), "not a program").unwrap();
        let mut sandbox = desk.start().await;
        for name in ["no-such-program", "/no/such/program", "./no-such-program"] {
            let story = run(&mut sandbox, command([name])).await.unwrap();
            assert_eq!(
                story.status(),
                &Status::NotStarted(NotStarted::ProgramNotFound),
                "{backend:?} {name}"
            );
            assert_eq!(story.status().shell_code(), 127);
        }
        let story = run(&mut sandbox, command(["./text"])).await.unwrap();
        let denied = Status::NotStarted(NotStarted::NotExecutable { errno: libc::EACCES });
        assert_eq!(story.status(), &denied, "{backend:?}");
        let story = run(&mut sandbox, Exec { cwd: "/work/missing".into(), ..sh("true") }).await.unwrap();
        let nowhere = Status::NotStarted(NotStarted::WorkingDirectory { errno: libc::ENOENT });
        assert_eq!(story.status(), &nowhere, "{backend:?}");
        let story = run(&mut sandbox, sh("exit 127")).await.unwrap();
        assert_eq!(story.status(), &Status::Exit(127));
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn a_command_gets_only_the_environment_it_was_given() {
    for backend in every() {
        let desk = Desk::new(backend);
        let mut exec = command(["/usr/bin/env"]);
        exec.env = [("ONLY".to_owned(), "this".to_owned())].into();
        let mut sandbox = desk.start().await;
        let story = run(&mut sandbox, exec).await.unwrap();
        assert_eq!(story.text(), "ONLY=this\n", "{backend:?}");
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn wall_time_ends_a_command_that_ignores_every_signal() {
    for backend in every() {
        let desk = Desk::new(backend);
        let mark = marker();
        let mut sandbox = desk.start().await;
        let script = format!("trap '' TERM INT HUP; sleep {mark} & sleep {mark} & while :; do wait; done");
        let exec = Exec { wall: Some(Duration::from_millis(200)), ..sh(&script) };
        let story = run(&mut sandbox, exec).await.unwrap();
        assert_eq!(story.status(), &Status::TimedOut, "{backend:?}");
        eventually("nothing is left", || alive(&mark) == 0).await;
        let story = run(&mut sandbox, sh("echo on")).await.unwrap();
        assert_eq!(story.text(), "on\n", "{backend:?}: the sandbox is still good");
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn a_command_may_use_its_grace() {
    for backend in backends() {
        let mut desk = Desk::new(backend);
        desk.spec.limits.grace = Duration::from_secs(30);
        let mut sandbox = desk.start().await;
        // An emulated shell may need a while until it has set its trap.
        let wall = Duration::from_millis(if backend == Backend::Microvm { 5000 } else { 200 });
        let exec = Exec {
            wall: Some(wall),
            ..sh("trap 'echo parting words; exit 0' TERM; while :; do sleep 0.01; done")
        };
        let story = run(&mut sandbox, exec).await.unwrap();
        assert_eq!(story.status(), &Status::TimedOut, "{backend:?}");
        assert_eq!(story.text(), "parting words\n", "{backend:?}");
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn a_cancelled_command_is_gone() {
    for backend in every().into_iter().filter(|backend| host_sees(*backend)) {
        let desk = Desk::new(backend);
        let mark = marker();
        let mut sandbox = desk.start().await;
        let running = async { eventually("it runs", || alive(&mark) == 1).await };
        let story = run_until(&mut sandbox, sh(&format!("sleep {mark}")), running).await.unwrap();
        assert_eq!(story.status(), &Status::Cancelled, "{backend:?}");
        eventually("nothing is left", || alive(&mark) == 0).await;
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn daemons_die_with_their_command() {
    for backend in isolating().into_iter().filter(|backend| host_sees(*backend)) {
        let desk = Desk::new(backend);
        let mark = marker();
        let mut sandbox = desk.start().await;
        let script = format!(
            "import os, sys\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: os.execvp('sleep', ['sleep', '{mark}'])\n    os._exit(0)\nos.wait()\nprint('left one')"
        );
        let story = run(&mut sandbox, python(&script)).await.unwrap();
        assert_eq!((story.status(), story.text().as_str()), (&Status::Exit(0), "left one\n"), "{backend:?}");
        assert_eq!(alive(&mark), 0, "{backend:?}: gone before the end is reported");
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn a_child_that_holds_the_output_does_not_delay_the_end() {
    for backend in every().into_iter().filter(|backend| host_sees(*backend)) {
        let desk = Desk::new(backend);
        let mark = marker();
        let mut sandbox = desk.start().await;
        let story = run(&mut sandbox, sh(&format!("sleep {mark} & echo done"))).await.unwrap();
        assert_eq!((story.status(), story.text().as_str()), (&Status::Exit(0), "done\n"), "{backend:?}");
        let story = run(&mut sandbox, sh(&format!("sleep {mark} & exec >&- 2>&-; exit 7"))).await.unwrap();
        assert_eq!(story.status(), &Status::Exit(7), "{backend:?}");
        eventually("nothing is left", || alive(&mark) == 0).await;
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn endless_output_is_cut_exactly_at_the_cap() {
    for backend in every() {
        let desk = Desk::new(backend);
        for script in ["yes", "head -c 1073741824 /dev/zero", "yes >&2"] {
            let mut sandbox = desk.start().await;
            let story = run(&mut sandbox, sh(script)).await.unwrap();
            assert_eq!(story.status(), &Status::OutputLimit, "{backend:?} {script}");
            assert!(story.ended.truncated);
            let kept = story.bytes(Stream::Stdout).len() + story.bytes(Stream::Stderr).len();
            assert_eq!(kept as u64, limits().output_bytes, "{backend:?} {script}");
            assert_eq!(story.ended.usage.output_bytes, limits().output_bytes);
            sandbox.stop().await;
        }
    }
}

#[tokio::test]
async fn a_flood_does_not_grow_the_engine() {
    let resident = || {
        let pages = fs::read_to_string("/proc/self/statm").unwrap();
        pages.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
    };
    for backend in every() {
        let mut desk = Desk::new(backend);
        desk.spec.limits.output_bytes = 1 << 30;
        let mut sandbox = desk.start().await;
        let before = resident();
        let (sender, mut receiver) = mpsc::channel(4);
        let flood = async {
            let ended =
                sandbox.exec(sh("head -c 300000000 /dev/zero"), &sender, std::future::pending()).await;
            drop(sender);
            ended
        };
        let drain = async {
            let (mut bytes, mut most) = (0, 0);
            while let Some(piece) = receiver.recv().await {
                bytes += piece.bytes.len();
                most = most.max(resident());
            }
            (bytes, most)
        };
        let (ended, (bytes, most)) = tokio::join!(flood, drain);
        assert_eq!((ended.unwrap().status, bytes), (Status::Exit(0), 300_000_000), "{backend:?}");
        assert!(most.saturating_sub(before) < 100 << 20, "{backend:?}: {most} after {before}");
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn output_up_to_the_cap_is_whole() {
    for backend in every() {
        let desk = Desk::new(backend);
        let mut sandbox = desk.start().await;
        let story = run(&mut sandbox, sh("head -c 1048576 /dev/zero")).await.unwrap();
        assert_eq!(story.status(), &Status::Exit(0), "{backend:?}");
        assert!(!story.ended.truncated);
        assert_eq!(story.bytes(Stream::Stdout).len(), 1 << 20);
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn no_byte_is_lost_or_moved_within_a_stream() {
    for backend in every() {
        let mut desk = Desk::new(backend);
        desk.spec.limits.output_bytes = 64 << 20;
        let script = "
import os, threading
def write(fd, mark):
    for n in range(60000):
        line = b'%s %d\\n' % (mark, n)
        while line: line = line[os.write(fd, line):]
a = threading.Thread(target=write, args=(1, b'out'))
b = threading.Thread(target=write, args=(2, b'err'))
a.start(); b.start(); a.join(); b.join()
";
        let mut sandbox = desk.start().await;
        let story = run(&mut sandbox, python(script)).await.unwrap();
        assert_eq!(story.status(), &Status::Exit(0), "{backend:?} {}", story.complaints());
        for (stream, mark) in [(Stream::Stdout, "out"), (Stream::Stderr, "err")] {
            let expected: Vec<u8> = (0..60000).flat_map(|n| format!("{mark} {n}\n").into_bytes()).collect();
            assert!(story.bytes(stream) == expected, "{backend:?} {mark}");
        }
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn input_of_any_size_arrives_whole() {
    for backend in every() {
        let mut desk = Desk::new(backend);
        desk.spec.limits.output_bytes = 64 << 20;
        let mut sandbox = desk.start().await;
        for size in [0, 1, 65_536, 5_000_000] {
            let input: Vec<u8> = (0..size).map(|n: usize| (n * 31 % 251) as u8).collect();
            let exec = Exec { stdin: Some(input.clone()), ..command(["cat"]) };
            let story = run(&mut sandbox, exec).await.unwrap();
            assert_eq!(story.status(), &Status::Exit(0), "{backend:?}");
            assert!(story.bytes(Stream::Stdout) == input, "{backend:?} {size}");
        }
        let exec = Exec { stdin: Some(vec![b'x'; 5_000_000]), ..sh("exec <&-; echo no thanks") };
        let story = run(&mut sandbox, exec).await.unwrap();
        assert_eq!(story.text(), "no thanks\n", "{backend:?}");
        let story = run(&mut sandbox, command(["cat"])).await.unwrap();
        assert_eq!(story.status(), &Status::Exit(0), "{backend:?}: no input is an empty one");
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn a_receiver_that_takes_nothing_cannot_stop_the_clock() {
    for backend in every() {
        let mut desk = Desk::new(backend);
        desk.spec.limits = Limits { output_bytes: 1 << 30, grace: Duration::from_millis(50), ..limits() };
        let mut sandbox = desk.start().await;
        let (sender, receiver) = mpsc::channel(1);
        let exec = Exec { wall: Some(Duration::from_millis(200)), ..sh("yes") };
        let ended = sandbox.exec(exec, &sender, std::future::pending()).await.unwrap();
        assert_eq!(ended.status, Status::TimedOut, "{backend:?}");
        drop(receiver);
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn a_dropped_receiver_discards_the_output() {
    for backend in every() {
        let desk = Desk::new(backend);
        let mut sandbox = desk.start().await;
        let (sender, receiver) = mpsc::channel(1);
        drop(receiver);
        let ended = sandbox
            .exec(sh("head -c 900000 /dev/zero; exit 4"), &sender, std::future::pending())
            .await
            .unwrap();
        assert_eq!(ended.status, Status::Exit(4), "{backend:?}");
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn too_much_memory_is_named_as_the_cause() {
    for backend in isolating() {
        let mut desk = Desk::new(backend);
        desk.spec.limits.memory_bytes = 128 << 20;
        let mut sandbox = desk.start().await;
        let story =
            run(&mut sandbox, python("b = bytearray(600 << 20)\nb[::4096] = b'x' * len(b[::4096])")).await;
        assert_eq!(story.unwrap().status(), &Status::MemoryLimit, "{backend:?}");
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn dropping_a_sandbox_ends_everything_inside() {
    for backend in every().into_iter().filter(|backend| host_sees(*backend)) {
        let desk = Desk::new(backend);
        let mark = marker();
        let mut sandbox = desk.start().await;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn({
            let exec = sh(&format!("trap '' TERM; sleep {mark}; sleep {mark}"));
            async move {
                let (sender, _receiver) = mpsc::channel(1);
                tokio::select! {
                    ended = sandbox.exec(exec, &sender, std::future::pending()) => panic!("{ended:?}"),
                    _ = stopped => {}
                }
                drop(sandbox);
            }
        });
        eventually("it runs", || alive(&mark) == 1).await;
        stop.send(()).unwrap();
        task.await.unwrap();
        eventually("nothing is left", || alive(&mark) == 0).await;
    }
}

#[tokio::test]
async fn an_abandoned_sandbox_runs_nothing_more() {
    let desk = Desk::new(Backend::Process);
    let mut sandbox = desk.start().await;
    let (sender, _receiver) = mpsc::channel(1);
    let abandoned = tokio::time::timeout(
        Duration::from_millis(50),
        sandbox.exec(sh("sleep 60"), &sender, std::future::pending()),
    );
    assert!(abandoned.await.is_err());
    let error = run(&mut sandbox, sh("true")).await.unwrap_err();
    assert!(matches!(error, blueprint_sandbox::ExecError::Abandoned));
    sandbox.stop().await;
}
