//! Numbers with a unit or a range, and how people write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How many nodes run at the same time, 1 to 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Jobs(u16);

/// A size in bytes, at least 1, written `"2GiB"`, `"64MiB"`, `"500MB"` or `"4096B"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Bytes(u64);

/// How many processes a sandbox may hold, at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pids(u32);

/// Processors a sandbox may keep busy, 0.01 to 4096.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub(crate) struct Cpus(f64);

/// How long a command may run, more than nothing, written `"90s"`, `"10m"` or `"1h30m"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wall(Duration);

impl Jobs {
    pub(super) const DEFAULT: Self = Self(5);

    /// The number.
    pub(crate) fn get(self) -> usize {
        usize::from(self.0)
    }
}

impl Bytes {
    pub(super) const fn mebibytes(count: u64) -> Self {
        Self(count << 20)
    }

    /// The number of bytes.
    pub(crate) fn get(self) -> u64 {
        self.0
    }
}

impl Pids {
    pub(super) const DEFAULT: Self = Self(512);

    /// The number.
    pub(crate) fn get(self) -> u32 {
        self.0
    }
}

impl Cpus {
    pub(super) const DEFAULT: Self = Self(2.0);

    /// The number.
    pub(crate) fn get(self) -> f64 {
        self.0
    }
}

impl Wall {
    pub(super) const DEFAULT: Self = Self(Duration::from_mins(30));

    /// The duration.
    pub(crate) fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for Jobs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "must be a whole number from 1 to 1024";
        let jobs = text.trim().parse().map_err(|_| EXPECTED)?;
        if (1..=1024).contains(&jobs) { Ok(Self(jobs)) } else { Err(EXPECTED.to_owned()) }
    }
}

impl FromStr for Pids {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let pids = text.trim().parse().ok().filter(|pids| *pids > 0);
        pids.map(Self).ok_or_else(|| "must be a whole number of at least 1".to_owned())
    }
}

impl FromStr for Cpus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let cpus = text.trim().parse().ok().filter(|cpus| (0.01..=4096.0).contains(cpus));
        cpus.map(Self).ok_or_else(|| "must be a number from 0.01 to 4096".to_owned())
    }
}

const UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "must be a size such as \"2GiB\", \"64MiB\" or \"500MB\"".to_owned();
        let text = text.trim();
        let unit_at =
            text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').ok_or_else(expected)?;
        let (count, unit) = (&text[..unit_at], text[unit_at..].trim_start());
        let (_, scale) =
            UNITS.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or_else(expected)?;
        let bytes = scaled(count, scale).ok_or_else(expected)?;
        if bytes == 0 { Err("must be more than nothing".to_owned()) } else { Ok(Self(bytes)) }
    }
}

/// `count` times `scale`, exactly; fractions of a byte are dropped.
fn scaled(count: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = count.split_once('.').unwrap_or((count, ""));
    let bytes = whole.parse::<u64>().ok()?.checked_mul(scale)?;
    if fraction.is_empty() {
        return (!count.ends_with('.')).then_some(bytes);
    }
    if fraction.len() > 6 {
        return None;
    }
    let numerator = u128::from(fraction.parse::<u64>().ok()?) * u128::from(scale);
    bytes.checked_add(u64::try_from(numerator / 10_u128.pow(fraction.len() as u32)).ok()?)
}

impl FromStr for Wall {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "must be a duration such as \"90s\", \"10m\" or \"1h30m\"".to_owned();
        let signed: jiff::SignedDuration = text.trim().parse().map_err(|_| expected())?;
        let duration = Duration::try_from(signed).map_err(|_| expected())?;
        if duration.is_zero() { Err("must be more than nothing".to_owned()) } else { Ok(Self(duration)) }
    }
}

impl fmt::Display for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Pids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, scale) = UNITS[..5]
            .iter()
            .rev()
            .find(|(_, scale)| self.0.is_multiple_of(*scale))
            .copied()
            .unwrap_or(UNITS[0]);
        write!(f, "{}{unit}", self.0 / scale)
    }
}

impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::SignedDuration::try_from(self.0) {
            Ok(duration) => write!(f, "{duration:#}"),
            Err(_) => write!(f, "{}s", self.0.as_secs()),
        }
    }
}
