//! The names of all settings, in one place: in files, in the environment and in messages.

/// A setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Jobs,
    Sandbox,
    State,
    Sync,
    Color,
    Memory,
    Pids,
    Cpus,
    Output,
    Wall,
    ReadOnly,
}

/// A table of a settings file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Top,
    Limits,
    Toolchains,
}

impl Key {
    pub(super) const ALL: [Self; 11] = [
        Self::Jobs,
        Self::Sandbox,
        Self::State,
        Self::Sync,
        Self::Color,
        Self::Memory,
        Self::Pids,
        Self::Cpus,
        Self::Output,
        Self::Wall,
        Self::ReadOnly,
    ];

    /// The name in messages and in `blueprint config show`, such as `limits.memory`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Jobs => "jobs",
            Self::Sandbox => "sandbox",
            Self::State => "state",
            Self::Sync => "sync",
            Self::Color => "color",
            Self::Memory => "limits.memory",
            Self::Pids => "limits.pids",
            Self::Cpus => "limits.cpus",
            Self::Output => "limits.output",
            Self::Wall => "limits.wall",
            Self::ReadOnly => "toolchains.read_only",
        }
    }

    /// The environment variable that sets it, if any: what opens the host is only ever written into
    /// the user's own file.
    pub(super) fn variable(self) -> Option<&'static str> {
        match self {
            Self::Jobs => Some("BLUEPRINT_JOBS"),
            Self::Sandbox => Some("BLUEPRINT_SANDBOX"),
            Self::State => Some("BLUEPRINT_STATE"),
            Self::Sync => Some("BLUEPRINT_SYNC"),
            Self::Color => Some("BLUEPRINT_COLOR"),
            Self::Memory => Some("BLUEPRINT_LIMITS_MEMORY"),
            Self::Pids => Some("BLUEPRINT_LIMITS_PIDS"),
            Self::Cpus => Some("BLUEPRINT_LIMITS_CPUS"),
            Self::Output => Some("BLUEPRINT_LIMITS_OUTPUT"),
            Self::Wall => Some("BLUEPRINT_LIMITS_WALL"),
            Self::ReadOnly => None,
        }
    }

    /// The option that sets it.
    pub(super) fn flag(self) -> &'static str {
        match self {
            Self::Jobs => "--jobs",
            Self::Sandbox => "--sandbox",
            Self::State => "--state",
            Self::Sync => "--sync",
            Self::Color => "--color",
            Self::Memory => "--memory",
            Self::Pids => "--pids",
            Self::Cpus => "--cpus",
            Self::Output => "--output-limit",
            Self::Wall => "--wall",
            Self::ReadOnly => "",
        }
    }

    pub(super) fn section(self) -> Section {
        match self {
            Self::Jobs | Self::Sandbox | Self::State | Self::Sync | Self::Color => Section::Top,
            Self::Memory | Self::Pids | Self::Cpus | Self::Output | Self::Wall => Section::Limits,
            Self::ReadOnly => Section::Toolchains,
        }
    }

    /// The name inside its table.
    pub(super) fn leaf(self) -> &'static str {
        self.name().rsplit('.').next().unwrap_or(self.name())
    }

    /// The setting called `name` in `section`.
    pub(super) fn find(section: Section, name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.section() == section && key.leaf() == name)
    }
}

/// The known name nearest to `wrong`, if one is near enough to be what was meant.
pub(super) fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(wrong, name), name))
        .filter(|(distance, name)| *distance <= 1 + name.len().min(wrong.chars().count()) / 4)
        // Of two that are as near, the one that begins as it was written: people get the beginning right.
        .min_by_key(|(distance, name)| {
            let same = wrong.chars().zip(name.chars()).take_while(|(one, other)| one == other).count();
            (*distance, std::cmp::Reverse(same), *name)
        })
        .map(|(_, name)| name)
}
