//! Virtual machines: what they are made of here, and what only they must hold to.
//! A test that has no machine says so; where one is required it fails instead.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    time::Duration,
};

use blueprint_sandbox::{
    Acceleration, Backend, Exec, ExecError, Isolation, MachineSettings, Network, ReadOnlyMount, Rootfs,
    StartError, Status, Verdict, WorkspaceMode, WorkspaceOwner, probe_machine,
};

use tokio::sync::mpsc;

use crate::{
    desk::{Desk, launcher, python, run, run_until, sh},
    endings::{alive, eventually, marker},
    scene::is_root,
};

/// Names the backends that must work here, separated by commas.
const REQUIRED: &str = "BLUEPRINT_REQUIRE_BACKENDS";

#[expect(clippy::disallowed_methods, reason = "a test is told about its surroundings this way")]
fn told(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// What `.ci/microvm` named, or `None` with a word about it.
pub(crate) fn machine() -> Option<MachineSettings> {
    let path = |name: &str| told(&format!("BLUEPRINT_MICROVM_{name}")).map(PathBuf::from);
    let found = path("ROOTFS").zip(path("CACHE")).map(|(rootfs, cache)| MachineSettings {
        kernel: path("KERNEL"),
        modules: path("MODULES"),
        workspace_bytes: 64 << 20,
        ..MachineSettings::new(Rootfs::Directory(rootfs), cache)
    });
    let required = told(REQUIRED).is_some_and(|names| names.split(',').any(|name| name == "microvm"));
    assert!(found.is_some() || !required, "a machine is required here: eval \"$(.ci/microvm)\"");
    if found.is_none() {
        // Past the harness, which would keep it to itself.
        drop(writeln!(io::stdout(), "skipped: no virtual machine was named; eval \"$(.ci/microvm)\""));
    }
    found
}

/// A desk in a machine, if there can be one.
fn desk() -> Option<Desk> {
    machine().map(|_| Desk::new(Backend::Microvm))
}

/// The processes below one, the nearest first.
pub(crate) fn below(parent: u32) -> Vec<u32> {
    let mut found = vec![parent];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        next += 1;
        let children = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
            let living = fields.next()? != "Z";
            let its: u32 = fields.next()?.parse().ok()?;
            (living && its == parent).then(|| entry.file_name().to_str()?.parse::<u32>().ok()).flatten()
        });
        found.extend(children);
    }
    found.split_off(1)
}

/// Emulators below a process.
pub(crate) fn emulators(parent: u32) -> Vec<u32> {
    let is_emulator = |pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("qemu-system"))
    };
    below(parent).into_iter().filter(is_emulator).collect()
}

pub(crate) fn lives(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.starts_with(" Z")))
}

/// An emulator of a name of its own, by which it is known among those of other tests.
struct Marked {
    _dir: tempfile::TempDir,
    program: PathBuf,
}

impl Marked {
    fn for_desk(desk: &mut Desk) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let program = dir.path().join("qemu-system-x86_64");
        symlink("/usr/bin/qemu-system-x86_64", &program).unwrap();
        desk.spec.machine.as_mut().unwrap().qemu = Some(program.clone());
        Self { _dir: dir, program }
    }

    fn pid(&self) -> u32 {
        let name = self.program.to_str().unwrap();
        let found = fs::read_dir("/proc").unwrap().flatten().find(|entry| {
            fs::read(entry.path().join("cmdline"))
                .is_ok_and(|line| line.split(|byte| *byte == 0).next() == Some(name.as_bytes()))
        });
        found.unwrap().file_name().to_str().unwrap().parse().unwrap()
    }
}

fn kill(pid: u32) {
    use nix::{sys::signal::Signal, unistd::Pid};
    nix::sys::signal::kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).unwrap();
}

#[tokio::test]
async fn a_machine_says_what_it_is_made_of() {
    let Some(desk) = desk() else { return };
    let mut sandbox = desk.start().await;
    let facts = sandbox.attestation().clone();
    assert_eq!((facts.backend, facts.isolation), (Backend::Microvm, Isolation::Isolated));
    assert_eq!((facts.network, facts.workspace_owner), (Network::LoopbackOnly, WorkspaceOwner::Copied));
    assert_ne!(facts.host_uid, 0);
    assert!(facts.landlock_abi.is_some_and(|abi| abi >= 2));
    let machine = facts.machine.unwrap();
    assert!(machine.emulator.starts_with("QEMU"), "{machine:?}");
    assert_ne!(machine.acceleration, Acceleration::Auto);
    for digest in [&machine.kernel_digest, &machine.initrd_digest, &machine.rootfs_digest] {
        assert_eq!(digest.len(), 64);
    }
    let script = "
import os, socket
def name(index):
    try: return socket.if_indextoname(index)
    except OSError: return None
print(os.uname().release, os.cpu_count(), [name(index) for index in range(1, 9) if name(index)])
print(next(line for line in open('/proc/self/status') if line.startswith('CapBnd')).split()[1])
";
    let story = run(&mut sandbox, python(script)).await.unwrap();
    let expected = format!("{} {} ['lo']\n0000000000000000\n", facts.kernel, machine.processors);
    assert_eq!(story.text(), expected, "{}", story.complaints());
    assert_ne!(facts.kernel, fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim());
    sandbox.stop().await;
}

#[tokio::test]
async fn an_emulator_has_no_rights_of_the_callers() {
    let Some(mut desk) = desk() else { return };
    let marked = Marked::for_desk(&mut desk);
    let sandbox = desk.start().await;
    let pid = marked.pid();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    for line in ["NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t0000000000000000"] {
        assert!(status.contains(line), "{line}: {status}");
    }
    if is_root() {
        let uid = sandbox.attestation().host_uid;
        assert!(status.contains(&format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}")), "{status}");
        assert!(status.contains("Groups:\t \n"), "{status}");
    }
    assert!(fs::read(format!("/proc/{pid}/environ")).unwrap().is_empty());
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten() {
        let target = fs::read_link(entry.path()).unwrap_or_default();
        let target = target.to_string_lossy().into_owned();
        let known =
            ["socket:", "pipe:", "anon_inode:", "/dev/null"].iter().any(|kind| target.starts_with(kind));
        let ours = machine().is_some_and(|parts| {
            [Some(parts.cache), parts.kernel]
                .into_iter()
                .flatten()
                .any(|place| Path::new(&target).starts_with(place))
        });
        assert!(known || ours, "an emulator holds `{target}`");
    }
    sandbox.stop().await;
    assert!(!lives(pid));
}

#[tokio::test]
async fn both_sides_work_on_the_same_files() {
    let Some(desk) = desk() else { return };
    let root = desk.dir.path();
    fs::create_dir(root.join("dir")).unwrap();
    fs::write(root.join("dir/old"), "old").unwrap();
    fs::write(root.join("gone"), "x").unwrap();
    fs::write(root.join("tool"), "#!/bin/sh\necho tool $1\n").unwrap();
    fs::set_permissions(root.join("tool"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("dir/old", root.join("link")).unwrap();
    let mut sandbox = desk.start().await;
    let script = "./tool $(cat link) && rm gone && mv dir/old dir/new && ln -sf dir/new link && echo more >> dir/new && chmod 600 dir/new && cp tool tool2 && mkdir -p a/b && touch -d @1700000000 a/b/c";
    let story = run(&mut sandbox, sh(script)).await.unwrap();
    assert_eq!(story.text(), "tool old\n", "{}", story.complaints());
    assert!(!root.join("gone").exists() && !root.join("dir/old").exists());
    assert_eq!(fs::read_to_string(root.join("link")).unwrap(), "oldmore\n");
    let meta = |name: &str| fs::metadata(root.join(name)).unwrap();
    assert_eq!((meta("dir/new").mode() & 0o7777, meta("tool2").mode() & 0o7777), (0o600, 0o755));
    assert_eq!(meta("a/b/c").mtime(), 1_700_000_000);
    assert_eq!(meta("a/b/c").uid(), nix::unistd::geteuid().as_raw());
    // What the host changes between two commands is there for the second.
    let inode = meta("tool").ino();
    fs::write(root.join("dir/new"), "from outside").unwrap();
    fs::remove_file(root.join("tool2")).unwrap();
    let story = run(&mut sandbox, sh("cat dir/new; ls; echo end > last")).await.unwrap();
    assert_eq!(story.text(), "from outsidea\ndir\nlink\ntool\n", "{}", story.complaints());
    assert_eq!(fs::read(root.join("last")).unwrap(), b"end\n");
    assert_eq!(meta("tool").ino(), inode, "what did not change is not written again");
    sandbox.stop().await;
}

#[tokio::test]
async fn only_files_directories_and_links_that_stay_come_out() {
    let Some(desk) = desk() else { return };
    let root = desk.dir.path();
    fs::create_dir(root.join(".git")).unwrap();
    fs::write(root.join(".git/config"), "mine").unwrap();
    symlink("/etc/hostname", root.join("mine")).unwrap();
    let mut sandbox = desk.start().await;
    let script = "
import os, socket
os.mkfifo('pipe'); socket.socket(socket.AF_UNIX).bind('socket')
os.symlink('/etc/passwd', 'absolute'); os.symlink('../../etc/passwd', 'up'); os.symlink('file', 'fine')
open('file', 'w').write('x'); open('new\\nline', 'w').write('x'); open(b'\\xff\\xfe', 'w').write('x')
open('.git/config', 'w').write('theirs'); os.mkdir('.git/hooks'); open('.git/hooks/pre-commit', 'w').write('x')
";
    let story = run(&mut sandbox, python(script)).await.unwrap();
    assert_eq!(story.status(), &Status::Exit(0), "{}", story.complaints());
    assert_eq!(story.ended.usage.left_behind, 2);
    let mut names: Vec<_> = fs::read_dir(root)
        .unwrap()
        .map(|entry| String::from_utf8_lossy(entry.unwrap().file_name().as_encoded_bytes()).into_owned())
        .collect();
    names.sort();
    assert_eq!(names, [".git", "file", "fine", "mine", "new\nline", "\u{fffd}\u{fffd}"]);
    assert_eq!(fs::read(root.join(".git/config")).unwrap(), b"mine");
    assert_eq!(fs::read_dir(root.join(".git")).unwrap().count(), 1);
    assert!(!fs::symlink_metadata(root.join("file")).unwrap().file_type().is_fifo());
    let story = run(&mut sandbox, sh("ls pipe absolute; cat .git/config; rm -r .git")).await.unwrap();
    assert_eq!(story.text(), "absolute\npipe\ntheirs", "inside, everything is as it was left");
    // Even a repository that is gone inside does not keep the host's changes out.
    fs::write(root.join("late"), "late").unwrap();
    let story = run(&mut sandbox, sh("cat late")).await.unwrap();
    assert_eq!(story.text(), "late");
    assert_eq!(fs::read(root.join(".git/config")).unwrap(), b"mine");
    sandbox.stop().await;
}

#[tokio::test]
async fn single_files_are_shown_where_they_belong_and_stay_as_they_are() {
    let Some(mut desk) = desk() else { return };
    let beside = tempfile::tempdir().unwrap();
    fs::write(desk.dir.path().join("kept"), "of the workspace").unwrap();
    let tool = beside.path().join("tool");
    fs::write(&tool, format!("#!/bin/sh\necho a tool\n{}", "#".repeat(2 << 20))).unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    for (name, inside) in [
        ("tool", "/opt/blueprint/tool"),
        ("names", "/etc/hosts"),
        ("kept", "/work/kept"),
        ("home", "/home/sandbox/.rc"),
    ] {
        let host = beside.path().join(name);
        if name != "tool" {
            fs::write(&host, format!("{name}\n")).unwrap();
        }
        desk.spec.read_only.push(ReadOnlyMount { host, inside: inside.into() });
    }
    let places = "/opt/blueprint/tool /etc/hosts /work/kept /home/sandbox/.rc";
    let script = format!(
        "/opt/blueprint/tool; cat /etc/hosts kept ~/.rc; ls /opt/blueprint
        for file in {places}; do
            (echo bad > $file) 2>/dev/null && echo wrote $file; rm -f $file 2>/dev/null && echo removed $file
        done; echo more > beside"
    );
    let story = desk.sh(&script).await;
    assert_eq!(story.text(), "a tool\nnames\nkept\nhome\ntool\n", "{}", story.complaints());
    assert_eq!(fs::read(beside.path().join("names")).unwrap(), b"names\n");
    assert_eq!(fs::read(desk.dir.path().join("kept")).unwrap(), b"of the workspace");
    assert_eq!(fs::read(desk.dir.path().join("beside")).unwrap(), b"more\n");
}

#[tokio::test]
async fn a_tree_no_host_should_hold_stays_inside() {
    let Some(desk) = desk() else { return };
    fs::write(desk.dir.path().join("mine"), "mine").unwrap();
    let mut sandbox = desk.start().await;
    let script = "
import os
os.unlink('mine')
for _ in range(200): os.mkdir('d'); os.chdir('d')
";
    let error = run(&mut sandbox, python(script)).await.unwrap_err();
    assert!(matches!(&error, ExecError::Workspace(why) if why.to_string().contains("nested")), "{error:?}");
    assert_eq!(fs::read_dir(desk.dir.path()).unwrap().count(), 1);
    assert!(matches!(run(&mut sandbox, sh("true")).await.unwrap_err(), ExecError::Died));
    sandbox.stop().await;
}

#[tokio::test]
async fn a_workspace_has_a_size() {
    let Some(mut desk) = desk() else { return };
    desk.spec.limits.file_bytes = 1 << 30;
    let mut sandbox = desk.start().await;
    let story =
        run(&mut sandbox, sh("head -c 100000000 /dev/zero > big; rm big; echo ok > small")).await.unwrap();
    assert!(story.complaints().contains("No space"), "{}", story.complaints());
    assert_eq!(fs::read(desk.dir.path().join("small")).unwrap(), b"ok\n");
    sandbox.stop().await;
    fs::write(desk.dir.path().join("big"), vec![0; 65 << 20]).unwrap();
    let error = desk.try_start().await.unwrap_err();
    assert!(
        matches!(&error, StartError::Source { source, .. } if source.to_string().contains("made for")),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_scratch_workspace_lasts_as_long_as_its_machine() {
    let Some(desk) = desk() else { return };
    let desk = desk.mode(WorkspaceMode::Scratch);
    fs::write(desk.dir.path().join("file"), "old").unwrap();
    let mut sandbox = desk.start().await;
    run(&mut sandbox, sh("echo new > file; echo x > other")).await.unwrap();
    let story = run(&mut sandbox, sh("cat file other")).await.unwrap();
    assert_eq!(story.text(), "new\nx\n");
    sandbox.stop().await;
    assert_eq!(fs::read(desk.dir.path().join("file")).unwrap(), b"old");
    assert_eq!(fs::read_dir(desk.dir.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn nothing_of_a_command_is_left_in_a_machine() {
    let Some(desk) = desk() else { return };
    let mut sandbox = desk.start().await;
    let stubborn = "trap '' TERM INT HUP; sleep 600 & setsid sleep 600 & echo begun; while :; do wait; done";
    let story = run(&mut sandbox, Exec { wall: Some(Duration::from_secs(2)), ..sh(stubborn) }).await.unwrap();
    assert_eq!(story.status(), &Status::TimedOut);
    let (output, mut hear) = mpsc::channel(4);
    let script = sh("trap '' TERM; setsid sleep 600 & echo begun; sleep 600");
    let ended = sandbox.exec(script, &output, async { drop(hear.recv().await) }).await.unwrap();
    assert_eq!(ended.status, Status::Cancelled);
    let story = run(&mut sandbox, sh("cat /proc/[0-9]*/cmdline | tr '\\0' ' '; exit 0")).await.unwrap();
    assert!(!story.text().contains("sleep 600 "), "{}", story.text());
    sandbox.stop().await;
}

#[tokio::test]
async fn a_machine_that_dies_under_a_command_is_noticed() {
    let Some(mut desk) = desk() else { return };
    let marked = Marked::for_desk(&mut desk);
    fs::write(desk.dir.path().join("mine"), "mine").unwrap();
    let mut sandbox = desk.start().await;
    let pid = marked.pid();
    let murder = async {
        kill(pid);
        std::future::pending::<()>().await;
    };
    let error = run_until(&mut sandbox, sh("rm mine; sleep 600"), murder).await.unwrap_err();
    assert!(matches!(error, ExecError::Died), "{error:?}");
    assert!(desk.dir.path().join("mine").exists());
    sandbox.stop().await;
}

#[tokio::test]
async fn a_dropped_machine_is_gone() {
    let Some(mut desk) = desk() else { return };
    let marked = Marked::for_desk(&mut desk);
    let sandbox = desk.start().await;
    let pid = marked.pid();
    drop(sandbox);
    eventually("the emulator is gone", || !lives(pid)).await;
}

#[tokio::test]
async fn an_emulator_does_not_outlive_its_parent() {
    let Some(mut desk) = desk() else { return };
    let marked = Marked::for_desk(&mut desk);
    let sandbox = desk.start().await;
    let pid = marked.pid();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let parent: u32 = stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().parse().unwrap();
    assert_ne!(parent, std::process::id());
    kill(parent);
    eventually("the emulator is gone", || !lives(pid)).await;
    sandbox.stop().await;
}

/// An emulator that is a script, with a file it may write beside it.
fn scripted(name: &str, script: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let program = dir.path().join(name);
    let version = "case $1 in --version) echo QEMU of a test; exit;; esac";
    fs::write(&program, format!("#!/bin/sh\n{version}\nhere={}\n{script}\n", dir.path().display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    (dir, program)
}

#[tokio::test]
async fn a_machine_that_hangs_is_started_once_more() {
    let Some(mut desk) = desk() else { return };
    let script = "echo x >> $here/starts; [ $(wc -l < $here/starts) -gt 1 ] || exec sleep 600
exec /usr/bin/qemu-system-x86_64 \"$@\"";
    let (dir, program) = scripted("hangs-once", script);
    let machine = desk.spec.machine.as_mut().unwrap();
    (machine.qemu, machine.boot_seconds) = (Some(program), 10);
    let story = desk.sh("echo here").await;
    assert_eq!(story.text(), "here\n");
    assert_eq!(fs::read(dir.path().join("starts")).unwrap(), b"x\nx\n");
}

#[tokio::test]
async fn a_machine_that_never_starts_is_given_up() {
    let Some(mut desk) = desk() else { return };
    let mark = marker();
    let script = format!("echo x >> $here/starts; exec sleep {mark}");
    let (dir, program) = scripted("hangs", &script);
    let machine = desk.spec.machine.as_mut().unwrap();
    (machine.qemu, machine.boot_seconds) = (Some(program), 1);
    let error = desk.try_start().await.unwrap_err();
    assert!(matches!(error, StartError::TimedOut), "{error:?}");
    assert_eq!(fs::read(dir.path().join("starts")).unwrap(), b"x\nx\n");
    assert_eq!(alive(&mark), 0, "nothing is left of either");
    let (_dir, program) = scripted("says-no", "echo out of luck >&2; exit 1");
    desk.spec.machine.as_mut().unwrap().qemu = Some(program);
    let error = desk.try_start().await.unwrap_err();
    assert!(matches!(&error, StartError::Died(why) if why.contains("out of luck")), "{error:?}");
}

#[tokio::test]
async fn what_a_machine_lacks_is_named() {
    let mut desk = Desk::new(Backend::Microvm);
    desk.spec.machine = None;
    let error = desk.try_start().await.unwrap_err();
    assert!(error.to_string().contains("a microvm needs an image"), "{error}");
    let cache = tempfile::tempdir().unwrap();
    let settings = MachineSettings {
        qemu: Some("/no/such/qemu".into()),
        ..MachineSettings::new(Rootfs::Image("/no/such/image".into()), cache.path())
    };
    let Verdict::Broken { reason } = probe_machine(&launcher(), settings).await.verdict else {
        panic!("nothing can work without its parts");
    };
    for word in ["install `qemu-system-x86`", "`/no/such/image`", "a microvm needs an image"] {
        assert!(reason.contains(word), "{reason}");
    }
}

#[tokio::test]
async fn a_probe_uses_a_machine() {
    let Some(settings) = machine() else { return };
    let report = probe_machine(&launcher(), settings).await;
    assert!(matches!(&report.verdict, Verdict::Works(facts) if facts.machine.is_some()), "{report:?}");
}
