//! What a guest lives in, seen from outside: the part that is ended from here when the guest does not end by itself.
//! Must end everything inside whatever the guest does, and says nothing about commands.

use std::{fmt, path::PathBuf, process::Stdio, time::Duration};

use tokio::{
    io::AsyncReadExt,
    process::{Child, ChildStderr, Command},
    time,
};

use crate::{
    contract::{Ended, Status},
    docker::Container,
    error::{ExecError, StartError},
    host::{
        Launcher,
        accounting::Counters,
        channel::{Incoming, Incomings, Outgoings, Reader},
    },
    launcher::{HIDDEN_ARGUMENT, remove_groups},
    machine::Machine,
};

/// Time a vessel may take to end by itself once its channel is closed.
const PATIENCE: Duration = Duration::from_secs(2);

/// Time a machine may take to give back a workspace after the time of a command is up.
const GIVING_BACK: Duration = Duration::from_mins(1);

/// Error text of a builder that is kept, in bytes.
const COMPLAINT_BYTES: u64 = 4096;

/// What a guest lives in.
pub(super) enum Vessel {
    /// A child process of ours that built it and waits outside.
    Launched(Box<Launched>),
    /// A container of an engine.
    Container(Box<Container>),
    /// A virtual machine.
    Machine(Box<Machine>),
}

impl fmt::Debug for Vessel {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Launched(launched) => launched.fmt(out),
            Self::Container(container) => container.fmt(out),
            Self::Machine(machine) => machine.fmt(out),
        }
    }
}

impl Vessel {
    /// Takes note of the control groups the guest says it is in.
    pub(super) fn learn_groups(&mut self, groups: Vec<PathBuf>) {
        match self {
            Self::Launched(launched) => launched.learn_groups(groups),
            // A container's were found from outside, and a machine is in none of the host's, whatever it says.
            Self::Container(_) | Self::Machine(_) => {}
        }
    }

    /// Stops everything in it until it is resumed, where that costs less than letting it wait. Says whether it is well.
    pub(super) async fn pause(&self) -> bool {
        match self {
            // A guest with nothing to do sleeps. Only gVisor's kernel has work of its own.
            Self::Launched(_) | Self::Machine(_) => true,
            Self::Container(container) => container.pause().await,
        }
    }

    /// Lets it go on.
    pub(super) async fn resume(&self) -> bool {
        match self {
            Self::Launched(_) | Self::Machine(_) => true,
            Self::Container(container) => container.resume().await,
        }
    }

    /// What was counted about it so far.
    pub(super) fn counters(&self) -> Counters {
        match self {
            Self::Launched(launched) => Counters::read(&launched.control_groups),
            Self::Container(container) => Counters::read(container.groups()),
            Self::Machine(_) => Counters::default(),
        }
    }

    /// Whether what it shows read-only has proved to be so.
    pub(super) fn is_read_only(&self) -> bool {
        match self {
            Self::Launched(_) | Self::Machine(_) => true,
            Self::Container(container) => container.is_read_only(),
        }
    }

    /// The same once the guest is gone: the control groups of a container go with it.
    pub(super) async fn last_counters(&self, before: Counters) -> Counters {
        match self {
            Self::Launched(_) | Self::Machine(_) => self.counters(),
            Self::Container(container) if container.ran_out_of_memory().await => {
                Counters { memory_kills: before.memory_kills + 1, ..before }
            }
            Self::Container(_) => before,
        }
    }

    /// Ends it with everything inside, and waits until that has happened. The channel to it was closed before.
    pub(super) async fn end(&mut self, reader: &mut Reader) {
        match self {
            Self::Launched(launched) => launched.end(reader).await,
            Self::Container(container) => {
                // An engine that still has output for us waits a minute for us to take it.
                reader.close();
                container.end().await;
            }
            Self::Machine(machine) => machine.end().await,
        }
    }

    /// What its builder said before it went away; empty, or words in brackets with a space in front.
    pub(super) async fn complaint(&mut self) -> String {
        match self {
            Self::Launched(launched) => launched.complaint().await,
            Self::Container(container) => bracketed(&container.complaint()),
            Self::Machine(machine) => bracketed(&machine.complaint().await),
        }
    }

    /// Time beyond what it was given that its guest may take to report the end of a command.
    pub(super) fn patience(&self) -> Duration {
        match self {
            Self::Launched(_) | Self::Container(_) => PATIENCE,
            Self::Machine(_) => GIVING_BACK,
        }
    }

    /// Brings what changed in the workspace to where commands see it.
    pub(super) async fn before_command(&mut self) -> Result<(), ExecError> {
        match self {
            Self::Launched(_) | Self::Container(_) => Ok(()),
            Self::Machine(machine) => machine.before_command().await,
        }
    }

    /// Brings what a command left back to the host.
    pub(super) async fn after_command(&mut self, ended: &mut Ended) -> Result<(), ExecError> {
        match self {
            Self::Launched(_) | Self::Container(_) => {}
            Self::Machine(machine) => {
                let ran = !matches!(ended.status, Status::NotStarted(_));
                ended.usage.left_behind = machine.after_command(ran).await?;
            }
        }
        Ok(())
    }
}

/// A launcher of ours, and what it leaves to remove.
#[derive(Debug)]
pub(super) struct Launched {
    builder: Child,
    complaints: ChildStderr,
    name: String,
    control_groups: Vec<PathBuf>,
}

impl Launched {
    /// Starts a launcher for the sandbox of this name, and gives both ends of its channel.
    pub(super) fn spawn(
        launcher: &Launcher,
        name: String,
    ) -> Result<(Self, Incomings, Outgoings), StartError> {
        let failed = |source| StartError::Spawn { program: launcher.program().to_owned(), source };
        let mut builder = Command::new(launcher.program())
            .arg(HIDDEN_ARGUMENT)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // What a terminal sends to our group must reach us alone; we decide when a sandbox ends.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let (Some(stdin), Some(stdout), Some(complaints)) =
            (builder.stdin.take(), builder.stdout.take(), builder.stderr.take())
        else {
            return Err(failed(std::io::ErrorKind::BrokenPipe.into()));
        };
        let launched = Self { builder, complaints, name, control_groups: Vec::new() };
        Ok((launched, Box::new(stdout), Box::new(stdin)))
    }

    fn learn_groups(&mut self, groups: Vec<PathBuf>) {
        // Only directories that are named after this sandbox: we are going to remove them.
        let ours = |group: &PathBuf| group.starts_with("/sys/fs/cgroup") && group.ends_with(&self.name);
        self.control_groups = groups.into_iter().filter(ours).collect();
    }

    async fn end(&mut self, reader: &mut Reader) {
        if time::timeout(PATIENCE, self.builder.wait()).await.is_err() {
            drop(self.builder.start_kill());
            drop(self.builder.wait().await);
            // Its first process dies with it, and the channel's other end with that.
            let gone = async { while matches!(reader.next().await, Ok(Incoming::Frame(_))) {} };
            drop(time::timeout(PATIENCE, gone).await);
        }
        let left: Vec<_> = self.control_groups.iter().filter(|group| group.exists()).cloned().collect();
        if !left.is_empty() {
            drop(tokio::task::spawn_blocking(move || remove_groups(&left)).await);
        }
    }

    async fn complaint(&mut self) -> String {
        let mut text = Vec::new();
        let mut complaints = (&mut self.complaints).take(COMPLAINT_BYTES);
        let complete = time::timeout(PATIENCE, complaints.read_to_end(&mut text)).await.is_ok();
        if complete { bracketed(&text) } else { String::new() }
    }
}

/// A builder's words for an error message: one line, in brackets, without anything a terminal would act on.
fn bracketed(text: &[u8]) -> String {
    let line: String =
        String::from_utf8_lossy(text).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let line = line.trim();
    if line.is_empty() { String::new() } else { format!(" ({line})") }
}
