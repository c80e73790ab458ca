//! One running command: its pipes, its clock, its caps and its end.
//! It is over when its main process is; whatever that left behind is killed and never waited for.

use std::{
    collections::VecDeque,
    fs::File,
    io::{Read, Write},
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::signal::{self, Signal},
    unistd::Pid,
};

use crate::{
    contract::Usage,
    guest::{
        channel::{Channel, is_patience},
        spawn::Spawned,
    },
    kernel::{self, Patience, Reaped},
    wire::{CHUNK_BYTES, Cause, End, ExitReport, Kind, Request},
};

/// A command between its start and its report.
#[derive(Debug)]
pub(super) struct Command {
    stream: u32,
    main: Pid,
    stdin: Option<File>,
    input: VecDeque<u8>,
    input_ended: bool,
    stdout: Option<File>,
    stderr: Option<File>,
    cap: u64,
    truncated: bool,
    started: Instant,
    wall_at: Option<Instant>,
    grace: Duration,
    kill_at: Option<Instant>,
    cause: Option<Cause>,
    end: Option<End>,
    usage: Usage,
    buffer: Box<[u8]>,
}

impl Command {
    pub(super) fn new(stream: u32, spawned: Spawned, request: &Request) -> Self {
        let started = Instant::now();
        Self {
            stream,
            main: spawned.main,
            stdin: spawned.stdin.map(File::from),
            input: VecDeque::new(),
            input_ended: false,
            stdout: Some(spawned.stdout.into()),
            stderr: Some(spawned.stderr.into()),
            cap: request.output_bytes,
            truncated: false,
            started,
            wall_at: started.checked_add(Duration::from_millis(request.wall_ms)),
            grace: Duration::from_millis(request.grace_ms),
            kill_at: None,
            cause: None,
            end: None,
            usage: Usage::default(),
            buffer: vec![0; CHUNK_BYTES].into_boxed_slice(),
        }
    }

    pub(super) fn stream(&self) -> u32 {
        self.stream
    }

    /// When something must happen even if no file says so.
    pub(super) fn next_timer(&self) -> Option<Instant> {
        match (self.end, self.cause) {
            (Some(_), _) => None,
            (None, Some(_)) => self.kill_at,
            (None, None) => self.wall_at,
        }
    }

    /// The command's own ends that have something to say.
    pub(super) fn readable(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.stdout.iter().chain(&self.stderr).map(AsFd::as_fd)
    }

    /// The command's input, if there is something for it.
    pub(super) fn writable(&self) -> Option<BorrowedFd<'_>> {
        self.stdin.as_ref().filter(|_| !self.input.is_empty()).map(AsFd::as_fd)
    }

    pub(super) fn take_input(&mut self, bytes: &[u8]) {
        self.input.extend(bytes);
    }

    pub(super) fn end_input(&mut self) {
        self.input_ended = true;
    }

    /// Signals the command's process group.
    pub(super) fn signal(&self, number: i32) {
        if let (None, Ok(signal)) = (self.end, Signal::try_from(number)) {
            // A group that is already gone needs no signal.
            let _ = signal::killpg(self.main, signal);
        }
    }

    /// Begins the end: politely, then by force when `grace` is over.
    pub(super) fn stop(&mut self, cause: Cause, grace: Duration) {
        if self.end.is_some() || self.cause.is_some() {
            return;
        }
        self.cause = Some(cause);
        if grace.is_zero() {
            self.kill_at = None;
            kill_everything();
        } else {
            self.kill_at = Instant::now().checked_add(grace);
            self.signal(libc::SIGTERM);
        }
    }

    /// Acts on what the clock says.
    pub(super) fn tick(&mut self, now: Instant) {
        if self.end.is_some() {
            return;
        }
        if self.cause.is_none() && self.wall_at.is_some_and(|at| now >= at) {
            self.stop(Cause::Wall, self.grace);
        }
        if self.kill_at.is_some_and(|at| now >= at) {
            self.kill_at = None;
            kill_everything();
        }
    }

    /// Takes note of a process that ended. If it was the main one, nothing else survives it.
    pub(super) fn note(&mut self, reaped: Reaped) -> nix::Result<()> {
        self.count(&reaped);
        if reaped.pid != self.main || self.end.is_some() {
            return Ok(());
        }
        self.end = Some(end_of(reaped.status));
        self.usage.wall = self.started.elapsed();
        self.stdin = None;
        loop {
            kill_everything();
            match kernel::reap(Patience::Wait) {
                Ok(Some(reaped)) => self.count(&reaped),
                Ok(None) | Err(Errno::EINTR) => {}
                Err(Errno::ECHILD) => return Ok(()),
                Err(errno) => return Err(errno),
            }
        }
    }

    fn count(&mut self, reaped: &Reaped) {
        self.usage.user += reaped.user;
        self.usage.system += reaped.system;
        self.usage.max_rss_bytes = self.usage.max_rss_bytes.max(reaped.max_rss_bytes);
    }

    /// Moves bytes in both directions as far as they go now.
    pub(super) fn pump(&mut self, channel: &mut Channel) {
        self.feed(channel);
        for kind in [Kind::Stdout, Kind::Stderr] {
            let slot = if kind == Kind::Stdout { &mut self.stdout } else { &mut self.stderr };
            let Some(mut pipe) = slot.take() else { continue };
            if self.drain(kind, &mut pipe, channel) == Pipe::Open {
                let slot = if kind == Kind::Stdout { &mut self.stdout } else { &mut self.stderr };
                *slot = Some(pipe);
            }
        }
    }

    fn drain(&mut self, kind: Kind, pipe: &mut File, channel: &mut Channel) -> Pipe {
        while channel.has_room() {
            match pipe.read(&mut self.buffer) {
                Ok(0) => return Pipe::Done,
                Ok(count) => self.keep(kind, count, channel),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                // Every writer is dead, so what is in the pipe now is all there will ever be. Waiting for it
                // to close could take forever: its other end may lie in a queue nobody reads.
                Err(error) if is_patience(&error) && self.end.is_none() => return Pipe::Open,
                Err(_) => return Pipe::Done,
            }
        }
        Pipe::Open
    }

    /// Passes on what was just read, as far as the cap allows.
    fn keep(&mut self, kind: Kind, count: usize, channel: &mut Channel) {
        let room = usize::try_from(self.cap - self.usage.output_bytes).unwrap_or(usize::MAX);
        let kept = self.buffer.get(..room.min(count)).unwrap_or_default();
        let dropped = kept.len() < count;
        if !kept.is_empty() {
            self.usage.output_bytes += kept.len() as u64;
            channel.send(kind, self.stream, kept);
        }
        if dropped {
            self.truncated = true;
            self.stop(Cause::Output, Duration::ZERO);
        }
    }

    fn feed(&mut self, channel: &mut Channel) {
        let mut spent = 0;
        while !self.input.is_empty() {
            let (front, _) = self.input.as_slices();
            match self.stdin.as_mut().map(|pipe| pipe.write(front)) {
                Some(Ok(count)) => {
                    spent += count;
                    self.input.drain(..count);
                }
                Some(Err(error)) if is_patience(&error) => break,
                // The command does not want it. The host may go on sending; it is thrown away.
                Some(Err(_)) | None => {
                    spent += self.input.len();
                    self.input.clear();
                    self.stdin = None;
                }
            }
        }
        if spent > 0 {
            channel.send(
                Kind::StdinCredit,
                self.stream,
                &u32::try_from(spent).unwrap_or(u32::MAX).to_le_bytes(),
            );
        }
        if self.input_ended && self.input.is_empty() {
            self.stdin = None;
        }
    }

    /// The report, once everything the command wrote has been passed on.
    pub(super) fn report(&self) -> Option<ExitReport> {
        let end = self.end.filter(|_| self.stdout.is_none() && self.stderr.is_none())?;
        Some(ExitReport { end, cause: self.cause, truncated: self.truncated, usage: self.usage })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pipe {
    Open,
    Done,
}

/// Kills every process of the sandbox but the guest.
fn kill_everything() {
    // Nobody left to kill is what we want.
    let _ = signal::kill(Pid::from_raw(-1), Signal::SIGKILL);
}

fn end_of(status: i32) -> End {
    if libc::WIFSIGNALED(status) {
        End::Signal(libc::WTERMSIG(status))
    } else {
        End::Exit(libc::WEXITSTATUS(status))
    }
}
