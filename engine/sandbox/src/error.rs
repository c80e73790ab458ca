//! How a sandbox fails, as opposed to how a command in it fails.
//! A failure here always says what to do; it must never be mistaken for a command's own exit.

use std::{io, path::PathBuf};

use thiserror::Error;

use crate::{
    contract::Backend,
    wire::{Failure, FrameError, Stage},
};

/// Why no sandbox could be started. Nothing ran.
#[derive(Debug, Error)]
pub enum StartError {
    /// What was asked for makes no sense.
    #[error("the sandbox cannot be described: {0}")]
    BadSpec(String),
    /// A directory that should be mounted is missing or unusable.
    #[error("`{path}` cannot be mounted into the sandbox")]
    Source {
        /// The directory on the host.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The backend cannot do what was asked for; nothing weaker was used instead.
    #[error("the backend `{backend}` cannot provide {what}", backend = backend.name())]
    Unsupported {
        /// Which backend.
        backend: Backend,
        /// What it lacks.
        what: String,
    },
    /// Something a virtual machine is made of is missing.
    #[error("no virtual machine can be started: {0}")]
    Missing(String),
    /// The program that builds the sandbox could not be started.
    #[error("`{program}` could not be started")]
    Spawn {
        /// The program.
        program: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A step of the set-up failed.
    #[error("the sandbox could not be set up ({detail}); {advice}")]
    Setup {
        /// Which step.
        stage: Stage,
        /// What failed and why.
        detail: String,
        /// What to do about it.
        advice: &'static str,
    },
    /// The container engine does not answer.
    #[error(
        "the container engine at `{host}` cannot be used: {reason}; start Docker, name its socket in `DOCKER_HOST`, and \
         be a user who may open it"
    )]
    NoEngine {
        /// Its address.
        host: String,
        /// Why not.
        reason: String,
    },
    /// The engine lacks the runtime.
    #[error(
        "the container engine has no runtime `{runtime}` (it has: {known}); install it and name it under `runtimes` in \
         the engine's `daemon.json`; nothing weaker was used instead"
    )]
    NoRuntime {
        /// The engine's name for what is missing.
        runtime: String,
        /// What it has.
        known: String,
    },
    /// There is no such image.
    #[error("the image `{image}` cannot be used: {reason}")]
    NoImage {
        /// Its name.
        image: String,
        /// Why not.
        reason: String,
    },
    /// The engine refused a request.
    #[error("the container engine did not {what}")]
    Engine {
        /// What was asked of it.
        what: &'static str,
        /// What it said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The engine made something else than what was ordered.
    #[error("the container is not what was ordered: {0}; it was removed before anything ran")]
    NotAsOrdered(String),
    /// A limit that was ordered is not enforced.
    #[error(
        "the limit of {limit} is not in force in the container; the engine may lack the control group for it (rootless \
         engines need version 2 with delegation)"
    )]
    NotInForce {
        /// Which.
        limit: &'static str,
    },
    /// What answers inside is not what the backend promises.
    #[error("the sandbox is not what the backend `{backend}` promises: {what}", backend = backend.name())]
    NotWhatItSays {
        /// The backend.
        backend: Backend,
        /// What is missing.
        what: &'static str,
    },
    /// The builder went away without a word.
    #[error("the sandbox ended before it was ready{0}")]
    Died(String),
    /// It did not become ready in time.
    #[error("the sandbox was not ready in time")]
    TimedOut,
    /// It answered something that is not the protocol.
    #[error("the sandbox does not speak the guest protocol: {0}")]
    Protocol(String),
    /// The channel to it broke.
    #[error("the channel to the sandbox broke")]
    Channel(#[source] io::Error),
}

/// Why an image was not built. Nothing is left of the build, unless it says so.
#[derive(Debug, Error)]
pub enum BuildError {
    /// The engine cannot be asked.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A step failed.
    #[error("the image `{image}` could not be built: {step} failed: {reason}")]
    Failed {
        /// What was to be built.
        image: String,
        /// Which step.
        step: String,
        /// Why, in the engine's words.
        reason: String,
        /// The last lines that the step wrote, as it wrote them.
        last: Vec<String>,
    },
    /// It took too long.
    #[error("the image `{image}` was not built within {seconds} seconds: it was at {step}")]
    TooSlow {
        /// What was to be built.
        image: String,
        /// The time it had.
        seconds: u64,
        /// Which step it was at.
        step: String,
    },
    /// It was told to stop.
    #[error("the build of the image `{image}` was stopped")]
    Stopped {
        /// What was to be built.
        image: String,
    },
    /// It failed, and layers of it could not be removed.
    #[error("layers of the image `{image}` are left in the engine; `docker image prune` removes them")]
    Left {
        /// What was to be built.
        image: String,
        /// Why there is no image.
        #[source]
        source: Box<Self>,
    },
}

/// An error with what caused it, in one line.
#[cfg(feature = "host")]
pub(crate) fn described(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        // Some errors repeat their cause.
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    text
}

/// Why a command could not be carried through. Its outcome is unknown; the sandbox is over.
#[derive(Debug, Error)]
pub enum ExecError {
    /// The command itself is malformed.
    #[error("the command cannot be described: {0}")]
    BadCommand(String),
    /// The guest could not confine or create the process; nothing ran.
    #[error("the sandbox could not run the command ({detail}); {advice}")]
    Refused {
        /// Which step.
        stage: Stage,
        /// What failed and why.
        detail: String,
        /// What to do about it.
        advice: &'static str,
    },
    /// The sandbox ended under the command.
    #[error("the sandbox ended while the command was running")]
    Died,
    /// The workspace could not be brought into the sandbox, or what the command left could not be taken out of
    /// it. The host's files are then as they were, unless the host itself could not write them.
    #[error("the workspace of the virtual machine could not be synchronised")]
    Workspace(#[source] io::Error),
    /// An earlier command was abandoned half-way, so this sandbox cannot be used any more.
    #[error("an earlier command in this sandbox was abandoned")]
    Abandoned,
    /// The guest said something that is not the protocol.
    #[error("the sandbox broke the guest protocol: {0}")]
    Protocol(String),
    /// The channel to it broke.
    #[error("the channel to the sandbox broke")]
    Channel(#[source] io::Error),
}

impl From<FrameError> for StartError {
    fn from(error: FrameError) -> Self {
        Self::Protocol(error.to_string())
    }
}

impl From<FrameError> for ExecError {
    fn from(error: FrameError) -> Self {
        Self::Protocol(error.to_string())
    }
}

impl From<Failure> for StartError {
    fn from(failure: Failure) -> Self {
        Self::Setup { stage: failure.stage, detail: describe(&failure), advice: advice(&failure) }
    }
}

impl From<Failure> for ExecError {
    fn from(failure: Failure) -> Self {
        Self::Refused { stage: failure.stage, detail: describe(&failure), advice: advice(&failure) }
    }
}

fn describe(failure: &Failure) -> String {
    match failure.errno {
        Some(errno) => format!("{}: {}", failure.detail, io::Error::from_raw_os_error(errno)),
        None => failure.detail.clone(),
    }
}

fn advice(failure: &Failure) -> &'static str {
    match failure.stage {
        Stage::Namespaces | Stage::Identity => {
            "allow unprivileged user namespaces (`kernel.unprivileged_userns_clone`, \
             `user.max_user_namespaces`, `kernel.apparmor_restrict_unprivileged_userns`, or the seccomp \
             profile of an outer container), or choose the backend `bubblewrap`"
        }
        Stage::Source => "check that the path exists and that you may read it",
        Stage::WorkspaceOwner => {
            "keep the workspace on a file system that supports id-mapped mounts (ext4, xfs, btrfs, tmpfs), \
             or run as a user other than root"
        }
        Stage::Mounts => "an outer container may forbid mounts; run outside of it or choose another backend",
        Stage::Landlock => "use a kernel of version 5.19 or newer with Landlock enabled (`lsm=landlock,...`)",
        Stage::Seccomp => "use a kernel with seccomp filters (`CONFIG_SECCOMP_FILTER`)",
        Stage::Network => {
            "an outer container may forbid network namespaces; run outside of it, and leave port 3128 of the sandbox \
             to us"
        }
        Stage::Guest => {
            "check that the executable is readable and, for `bubblewrap`, that `bwrap` is installed"
        }
        Stage::ResourceLimits | Stage::Privileges | Stage::Spawn => {
            "the host may be out of processes, memory or files"
        }
        Stage::Boot | Stage::Protocol => "use the same version of the program on both sides",
    }
}
