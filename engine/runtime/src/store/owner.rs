//! Who holds a lease: a process, named so that another process can tell whether it still lives.
//! It must never call a process dead on anything but proof.

use std::fs;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// A process that drives a run. What the system does not tell is `None`; then only the heartbeat counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Process id.
    pub pid: u32,
    /// When the process started, in clock ticks since the boot: tells it from a later one of the same id.
    pub start_time: Option<u64>,
    /// The namespace the process id counts in; ids mean nothing outside it.
    pub pid_namespace: Option<u64>,
    /// Name of the machine, for people.
    pub host: String,
    /// The boot of the machine.
    pub boot_id: Option<String>,
}

/// What can be said of another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It has ended, or is only waiting to be reaped.
    Dead,
    /// It is there: the same process, not a later one of its id.
    Alive,
    /// It cannot be seen from here: another machine, another namespace, or a system that does not tell.
    Unknown,
}

impl Owner {
    /// This process.
    pub fn current() -> Self {
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        Self {
            pid: std::process::id(),
            start_time: stat_of(std::process::id()).map(|s| s.start_time),
            pid_namespace: own_pid_namespace(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            boot_id: boot_id.map(|id| id.trim().to_owned()).filter(|id| !id.is_empty()),
        }
    }

    /// Whether this owner is dead, as seen from `seer`, which must be the calling process.
    pub fn life(&self, seer: &Self) -> Life {
        let (Some(boot), Some(own_boot)) = (&self.boot_id, &seer.boot_id) else { return Life::Unknown };
        if self.host != seer.host {
            return Life::Unknown;
        }
        if boot != own_boot {
            // The same machine was started again since. (A different machine may have an equal name, but not
            // this file: the log's shared memory keeps all its users on one machine.)
            return Life::Dead;
        }
        if self.pid_namespace.is_none() || self.pid_namespace != seer.pid_namespace {
            return Life::Unknown;
        }
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return Life::Unknown };
        if test_kill_process(pid) == Err(Errno::SRCH) {
            return Life::Dead;
        }
        match (stat_of(self.pid), self.start_time) {
            (Some(stat), _) if stat.ended => Life::Dead,
            (Some(stat), Some(start)) if stat.start_time != start => Life::Dead,
            (Some(_), Some(_)) => Life::Alive,
            _ => Life::Unknown,
        }
    }
}

struct Stat {
    start_time: u64,
    /// Killed, and only waiting to be reaped by its parent.
    ended: bool,
}

fn stat_of(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program comes second, in parentheses, and may itself hold spaces and parentheses.
    let mut fields = text[text.rfind(')')? + 1..].split_ascii_whitespace();
    let ended = matches!(fields.next()?, "Z" | "X" | "x");
    // `starttime` is field 22 of proc(5); the state before it is field 3.
    let start_time = fields.nth(18)?.parse().ok()?;
    Some(Stat { start_time, ended })
}

fn own_pid_namespace() -> Option<u64> {
    let link = fs::read_link("/proc/self/ns/pid").ok()?;
    link.to_str()?.strip_prefix("pid:[")?.strip_suffix(']')?.parse().ok()
}
