//! What the world does with a node: decided by a seed and by which try of which round of what it is, and by
//! nothing else, so that it is the same in whatever order things happen.

use blueprint_core::run::FailureClass;

use super::random::follows;

/// A failure as it matters here: its class, and what it looks like.
pub(super) type Fault = (FailureClass, Option<String>);

/// What the condition, list or inputs come to.
pub(super) enum Verdict {
    Skip,
    Go { items: u32 },
    Fault(Fault),
}

/// How work ends.
pub(super) enum Exit {
    Code(i64),
    Fault(Fault),
}

/// What people do at a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Approve,
    Reject,
    Silence,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Script {
    pub(super) seed: u64,
    /// How often things go wrong, in percent.
    pub(super) trouble: u64,
}

impl Script {
    fn number(&self, what: &str, id: &str) -> u64 {
        follows((self.seed, what, id))
    }

    fn goes_wrong(&self, what: &str, id: &str) -> bool {
        self.number(what, id) % 100 < self.trouble
    }

    fn fault(&self, id: &str) -> Fault {
        let class = match self.number("class", id) % 8 {
            0 => FailureClass::Infra,
            1 => FailureClass::Timeout,
            2 => FailureClass::Conflict,
            3 => FailureClass::Policy,
            _ => FailureClass::Command,
        };
        let look = match self.number("look", id) % 4 {
            0 => None,
            1 => Some("rare".to_owned()),
            _ => Some("often".to_owned()),
        };
        (class, look)
    }

    pub(super) fn verdict(&self, id: &str, each: bool, conditional: bool) -> Verdict {
        match self.number("verdict", id) % 20 {
            0 if self.trouble > 0 => Verdict::Fault(self.fault(id)),
            1..=4 if conditional => Verdict::Skip,
            other if each => Verdict::Go { items: (other % 5) as u32 },
            _ => Verdict::Go { items: 1 },
        }
    }

    pub(super) fn exit(&self, id: &str) -> Exit {
        if !self.goes_wrong("exit", id) {
            return Exit::Code(0);
        }
        let fault = self.fault(id);
        if fault.0 == FailureClass::Command { Exit::Code(1) } else { Exit::Fault(fault) }
    }

    /// How a command failure looks.
    pub(super) fn look(&self, id: &str) -> Option<String> {
        self.fault(id).1
    }

    /// Whether an attempt changes the workspace.
    pub(super) fn writes(&self, id: &str) -> bool {
        !self.number("writes", id).is_multiple_of(4)
    }

    pub(super) fn collects(&self, id: &str) -> Result<(), Fault> {
        if self.goes_wrong("collect", id) && self.number("collect", id).is_multiple_of(3) {
            Err(self.fault(id))
        } else {
            Ok(())
        }
    }

    pub(super) fn fate(&self, id: &str, may_be_silent: bool) -> Fate {
        if !self.goes_wrong("fate", id) {
            Fate::Approve
        } else if may_be_silent && self.number("silence", id).is_multiple_of(2) {
            Fate::Silence
        } else {
            Fate::Reject
        }
    }

    /// Whether a node is taken over from another run, and whether it was skipped there.
    pub(super) fn taken_over(&self, node: usize) -> Option<bool> {
        let number = follows((self.seed, "fork", node));
        (follows((self.seed, "forked")).is_multiple_of(4) && !number.is_multiple_of(3))
            .then_some(number.is_multiple_of(5))
    }
}
