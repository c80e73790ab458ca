//! Commands that are spoken to while they run, on every backend.

use std::time::{Duration, Instant};

use blueprint_sandbox::{Ended, Exec, ExecError, Output, Sandbox, Status};
use tokio::sync::mpsc;

use crate::desk::{Desk, backends, command, every, limits, python, run, sh};

/// The two ends of a command that is spoken to.
struct Line {
    say: Option<mpsc::Sender<Vec<u8>>>,
    hear: mpsc::Receiver<Output>,
    heard: Vec<u8>,
}

impl Line {
    async fn say(&self, text: &[u8]) -> bool {
        match &self.say {
            Some(say) => say.send(text.to_vec()).await.is_ok(),
            None => false,
        }
    }

    /// What it wrote until it has said this many bytes, or has nothing more to say.
    async fn hear(&mut self, bytes: usize) -> Vec<u8> {
        while self.heard.len() < bytes {
            let Some(piece) = self.hear.recv().await else { break };
            self.heard.extend(piece.bytes);
        }
        let rest = self.heard.split_off(bytes.min(self.heard.len()));
        std::mem::replace(&mut self.heard, rest)
    }

    fn hang_up(&mut self) {
        self.say = None;
    }
}

/// Runs a command, and a conversation with it.
async fn talk<T>(
    sandbox: &mut Sandbox,
    exec: Exec,
    conversation: impl AsyncFnOnce(&mut Line) -> T,
) -> (Result<Ended, ExecError>, T) {
    let (say, input) = mpsc::channel(1);
    let (output, hear) = mpsc::channel(4);
    let mut line = Line { say: Some(say), hear, heard: Vec::new() };
    let work = async {
        let ended = sandbox.exec_with_input(exec, input, &output, std::future::pending()).await;
        drop(output);
        ended
    };
    tokio::join!(work, conversation(&mut line))
}

#[tokio::test]
async fn an_answer_comes_before_the_next_question() {
    for backend in every() {
        let desk = Desk::new(backend);
        let mut sandbox = desk.start().await;
        let script = "while read -r line; do echo \"<$line>\"; done; echo bye";
        let (ended, ()) = talk(&mut sandbox, sh(script), async |line| {
            for word in ["one", "two", "three"] {
                assert!(line.say(format!("{word}\n").as_bytes()).await);
                let answer = format!("<{word}>\n").into_bytes();
                assert_eq!(line.hear(answer.len()).await, answer, "{backend:?}");
            }
            line.hang_up();
            assert_eq!(line.hear(4).await, b"bye\n", "{backend:?}");
        })
        .await;
        assert_eq!(ended.unwrap().status, Status::Exit(0), "{backend:?}");
        let story = run(&mut sandbox, sh("echo on")).await.unwrap();
        assert_eq!(story.text(), "on\n", "{backend:?}: the sandbox is still good");
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn what_was_given_at_first_comes_first() {
    for backend in every() {
        let desk = Desk::new(backend);
        let mut sandbox = desk.start().await;
        let exec = Exec { stdin: Some(b"first ".to_vec()), ..command(["cat"]) };
        let (ended, heard) = talk(&mut sandbox, exec, async |line| {
            line.say(b"").await;
            line.say(b"second").await;
            line.hang_up();
            line.hear(usize::MAX).await
        })
        .await;
        assert_eq!(
            (ended.unwrap().status, heard),
            (Status::Exit(0), b"first second".to_vec()),
            "{backend:?}"
        );
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn no_byte_of_a_long_conversation_is_lost() {
    let pieces: Vec<Vec<u8>> = (0..400_usize).map(|n| (0..n * 97).map(|m| (n + m) as u8).collect()).collect();
    for backend in every() {
        let mut desk = Desk::new(backend);
        desk.spec.limits.output_bytes = 64 << 20;
        let mut sandbox = desk.start().await;
        let whole = pieces.concat();
        let (say, input) = mpsc::channel(1);
        let (output, mut hear) = mpsc::channel::<Output>(1);
        let work = async {
            let ended =
                sandbox.exec_with_input(command(["cat"]), input, &output, std::future::pending()).await;
            drop(output);
            ended
        };
        let speak = async {
            for piece in &pieces {
                say.send(piece.clone()).await.unwrap();
            }
            drop(say);
        };
        let listen = async {
            let mut heard = Vec::new();
            while let Some(piece) = hear.recv().await {
                heard.extend(piece.bytes);
            }
            heard
        };
        let (ended, (), heard) = tokio::join!(work, speak, listen);
        assert_eq!(ended.unwrap().status, Status::Exit(0), "{backend:?}");
        assert!(heard == whole, "{backend:?}: {} of {} bytes", heard.len(), whole.len());
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn a_command_that_does_not_read_holds_the_speaker_back() {
    const WALL: Duration = Duration::from_millis(500);
    for backend in every() {
        let mut desk = Desk::new(backend);
        desk.spec.limits = blueprint_sandbox::Limits { grace: Duration::from_millis(50), ..limits() };
        let mut sandbox = desk.start().await;
        let exec = Exec { wall: Some(WALL), ..command(["sleep", "600"]) };
        let (ended, taken) = talk(&mut sandbox, exec, async |line| {
            let started = Instant::now();
            let mut taken = 0;
            // Once it is being ended, what is sent may be thrown away.
            while line.say(&vec![0; 64 << 10]).await && started.elapsed() < WALL / 2 {
                taken += 64 << 10;
                assert!(taken < 2 << 20, "{backend:?}: somebody keeps it all in memory");
            }
            taken
        })
        .await;
        assert_eq!(ended.unwrap().status, Status::TimedOut, "{backend:?}");
        assert!(taken > 0, "{backend:?}");
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn a_command_that_closed_its_input_does_not_hold_the_speaker_up() {
    for backend in backends() {
        let desk = Desk::new(backend);
        let mut sandbox = desk.start().await;
        let script = "
import os, pathlib, time
os.close(0)
print('deaf', flush=True)
while not pathlib.Path('enough').exists(): time.sleep(0.005)
print('done')
";
        let (ended, ()) = talk(&mut sandbox, python(script), async |line| {
            assert_eq!(line.hear(5).await, b"deaf\n", "{backend:?}");
            // More than every buffer on the way can hold.
            for _ in 0..64 {
                assert!(line.say(&vec![0; 64 << 10]).await, "{backend:?}");
            }
            std::fs::write(desk.dir.path().join("enough"), "").unwrap();
            assert_eq!(line.hear(5).await, b"done\n", "{backend:?}");
        })
        .await;
        assert_eq!(ended.unwrap().status, Status::Exit(0), "{backend:?}");
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn a_command_that_ends_first_ends_the_conversation() {
    for backend in every() {
        let desk = Desk::new(backend);
        let mut sandbox = desk.start().await;
        let (ended, ()) = talk(&mut sandbox, sh("read -r line; exit 3"), async |line| {
            assert!(line.say(b"go\n").await);
            // The channel closes although nobody hung up.
            line.say.as_ref().unwrap().closed().await;
            assert!(line.hear(1).await.is_empty());
        })
        .await;
        assert_eq!(ended.unwrap().status, Status::Exit(3), "{backend:?}");
        let missing = talk(&mut sandbox, command(["no-such-program"]), async |line| {
            line.say.as_ref().unwrap().closed().await;
        });
        assert!(matches!(missing.await.0.unwrap().status, Status::NotStarted(_)), "{backend:?}");
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn a_cancelled_conversation_ends() {
    for backend in every() {
        let desk = Desk::new(backend);
        let mut sandbox = desk.start().await;
        let (_say, input) = mpsc::channel(1);
        let (output, mut hear) = mpsc::channel::<Output>(1);
        let script = "echo ready; exec cat";
        let work = sandbox.exec_with_input(sh(script), input, &output, async {
            assert_eq!(hear.recv().await.unwrap().bytes, b"ready\n");
        });
        assert_eq!(work.await.unwrap().status, Status::Cancelled, "{backend:?}");
        sandbox.stop().await;
    }
}
