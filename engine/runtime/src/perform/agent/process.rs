//! A process in a sandbox of its own that is spoken to while it runs, with the ends of pipes that tools expect. It
//! ends when nobody holds it any more, and its sandbox with it.

use blueprint_agent::tool::{Process, RanEnd};
use blueprint_sandbox::{Exec, Output, Sandbox, Status, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// What is on its way in one direction, in bytes. A side that does not read holds the other one back.
const PIPE: usize = 64 << 10;

/// How a process ends that was told to.
const SIGTERM: i32 = 15;

/// Starts the command. Both outputs must be read: they come over one channel.
///
/// What it writes is as it was written: whoever shows or keeps it redacts it.
pub(super) fn open(sandbox: Sandbox, exec: Exec) -> Process {
    let (stdin, input) = tokio::io::duplex(PIPE);
    let (stdout, out) = tokio::io::duplex(PIPE);
    let (stderr, err) = tokio::io::duplex(PIPE);
    let (tell, ended) = oneshot::channel();
    let held = CancellationToken::new();
    let kill = held.clone();
    drop(tokio::spawn(async move {
        if let Some(end) = drive(sandbox, exec, input, [out, err], kill.clone()).await {
            // Nobody may want to know.
            let _ = tell.send(end);
        }
    }));
    Process { stdin: Box::new(stdin), stdout: Box::new(stdout), stderr: Box::new(stderr), ended, kill: held }
}

/// Runs it to its end. `None`: the sandbox broke, and how it ended is not known.
async fn drive(
    mut sandbox: Sandbox,
    exec: Exec,
    mut input: DuplexStream,
    outputs: [DuplexStream; 2],
    kill: CancellationToken,
) -> Option<RanEnd> {
    let (say, said) = mpsc::channel(1);
    let (send, mut receive) = mpsc::channel::<Output>(4);
    let work = async {
        let ended = sandbox.exec_with_input(exec, said, &send, kill.cancelled()).await;
        drop(send);
        ended
    };
    let [mut out, mut err] = outputs.map(Some);
    let show = async {
        while let Some(output) = receive.recv().await {
            let pipe = if output.stream == Stream::Stdout { &mut out } else { &mut err };
            let Some(end) = pipe else { continue };
            // Nobody reads on, or nobody is there to read: the rest is thrown away, so that the process can end.
            let written = kill.run_until_cancelled(end.write_all(&output.bytes)).await;
            if !matches!(written, Some(Ok(()))) {
                *pipe = None;
            }
        }
    };
    let feed = async {
        let mut buffer = vec![0; PIPE];
        while let Ok(count @ 1..) = input.read(&mut buffer).await {
            if say.send(buffer.get(..count).unwrap_or_default().to_vec()).await.is_err() {
                break;
            }
        }
        drop(say);
        // The end of the input is not the end of the process.
        std::future::pending::<()>().await;
    };
    let ended = tokio::select! {
        (ended, ()) = async { tokio::join!(work, show) } => ended,
        () = feed => return None,
    };
    drop((input, out, err));
    sandbox.stop().await;
    match ended.map(|ended| ended.status) {
        Ok(Status::Exit(code)) => Some(RanEnd::Exit(code)),
        Ok(Status::Signal(signal)) => Some(RanEnd::Signal(signal)),
        Ok(Status::NotStarted(_)) => Some(RanEnd::NotStarted),
        Ok(Status::TimedOut) => Some(RanEnd::TimedOut),
        Ok(Status::Cancelled) => Some(RanEnd::Signal(SIGTERM)),
        Ok(Status::OutputLimit | Status::MemoryLimit) => Some(RanEnd::Limit),
        Err(error) => {
            tracing::warn!(error = %crate::chain(&error), "the sandbox of a process broke");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use blueprint_agent::tool::RanEnd;
    use blueprint_sandbox::{Backend, Exec, Limits, Sandbox, Spec, WorkspaceMode, WorkspaceMount};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::{PIPE, Process, open};

    async fn start(script: &str) -> Process {
        let host = std::env::temp_dir();
        let mount = WorkspaceMount { host, inside: PathBuf::from("/work"), mode: WorkspaceMode::ReadWrite };
        let limits = Limits { grace: Duration::from_millis(100), ..Limits::default() };
        let spec = Spec { workspace: Some(mount), limits, ..Spec::default() };
        let sandbox = Sandbox::start(Backend::None, &spec).await.unwrap();
        open(sandbox, Exec::new(["sh", "-c", script], "/work", Path::new("/")))
    }

    async fn ends(process: &mut Process) -> RanEnd {
        tokio::time::timeout(Duration::from_secs(20), &mut process.ended).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn it_is_spoken_to_and_ends_with_its_input() {
        let mut process = start("while read -r line; do echo \"<$line>\"; done; echo bye >&2; exit 4").await;
        let mut answer = [0; 6];
        for word in ["one1", "two2"] {
            process.stdin.write_all(format!("{word}\n").as_bytes()).await.unwrap();
            process.stdout.read_exact(&mut answer).await.unwrap();
            assert_eq!(answer, *format!("<{word}>").as_bytes());
            process.stdout.read_exact(&mut answer[..1]).await.unwrap();
        }
        process.stdin.shutdown().await.unwrap();
        let mut rest = String::new();
        process.stderr.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "bye\n");
        assert_eq!(ends(&mut process).await, RanEnd::Exit(4));
        assert_eq!(process.stdout.read(&mut answer).await.unwrap(), 0, "nothing more comes");
    }

    #[tokio::test]
    async fn it_is_killed_although_nobody_reads_or_writes() {
        let mut process = start("yes & yes >&2; cat").await;
        process.kill.cancel();
        assert_eq!(ends(&mut process).await, RanEnd::Signal(super::SIGTERM));
    }

    #[tokio::test]
    async fn dropping_it_ends_it() {
        let mut process = start("trap '' TERM; echo up; sleep 600; sleep 600").await;
        process.stdout.read_exact(&mut [0; 3]).await.unwrap();
        let (_keep, never) = tokio::sync::oneshot::channel();
        let ended = std::mem::replace(&mut process.ended, never);
        drop(process);
        let end = tokio::time::timeout(Duration::from_secs(20), ended).await.unwrap().unwrap();
        assert_eq!(end, RanEnd::Signal(super::SIGTERM));
    }

    #[tokio::test]
    async fn an_output_nobody_wants_holds_nothing_up() {
        let mut process = start("head -c 1000000 /dev/zero; echo on >&2; cat >/dev/null; exit 5").await;
        process.stdout = Box::new(tokio::io::empty());
        let mut heard = [0; 3];
        process.stderr.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, *b"on\n");
        process.stdin.write_all(&vec![0; PIPE * 3]).await.unwrap();
        process.stdin.shutdown().await.unwrap();
        assert_eq!(ends(&mut process).await, RanEnd::Exit(5));
    }

    #[tokio::test]
    async fn what_is_not_there_was_not_started() {
        let mut process = start("exec no-such-program").await;
        assert_eq!(ends(&mut process).await, RanEnd::Exit(127));
    }
}
