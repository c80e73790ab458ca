//! What the guest of a machine does around each command that no other guest must.
//! Runs only while no command does.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
};

use super::exchange::Exchange;
use crate::{
    launcher::During,
    wire::{ExitReport, Failure, Stage},
};

/// The kernel's counters. They are the machine's own, so whatever they count is commands'.
const COUNTERS: &str = "/proc/vmstat";

/// The inside of a machine.
#[derive(Debug)]
pub(crate) struct Interior {
    exchange: Option<Exchange>,
    counters: File,
    kills: u64,
}

impl Interior {
    /// Must be made before commands' view hides the counters.
    pub(super) fn new(exchange: Option<Exchange>) -> Result<Self, Failure> {
        let counters = File::open(COUNTERS).during(Stage::Guest, format_args!("`{COUNTERS}`"))?;
        Ok(Self { exchange, counters, kills: 0 })
    }

    /// Takes over what the host changed.
    pub(crate) fn before_command(&mut self) -> Result<(), Failure> {
        self.kills = self.memory_kills()?;
        self.exchange.as_mut().map_or(Ok(()), Exchange::before_command)
    }

    /// Counts, and gives the host what the command left.
    pub(crate) fn after_command(&mut self, report: &mut ExitReport) -> Result<(), Failure> {
        report.usage.memory_kills = self.memory_kills()?.saturating_sub(self.kills);
        self.exchange.as_mut().map_or(Ok(()), Exchange::after_command)
    }

    /// How many processes this kernel killed for want of memory.
    fn memory_kills(&mut self) -> Result<u64, Failure> {
        let mut text = String::new();
        self.counters
            .seek(SeekFrom::Start(0))
            .and_then(|_| self.counters.read_to_string(&mut text))
            .during(Stage::Guest, format_args!("`{COUNTERS}`"))?;
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok());
        Ok(count.unwrap_or_default())
    }
}
