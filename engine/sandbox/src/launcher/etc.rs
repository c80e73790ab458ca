//! The files of `/etc` that we write ourselves, so that nothing of the host's accounts or resolvers shows.
//! Nothing here depends on the host.

use std::{fs, io, path::Path};

use crate::{contract::HOME, launcher::identity::INSIDE_ID};

/// Their names and contents.
pub(super) fn files(hostname: &str) -> [(&'static str, String); 7] {
    [
        (
            "passwd",
            format!(
                "root:x:0:0:root:/:/usr/sbin/nologin\n\
                 sandbox:x:{INSIDE_ID}:{INSIDE_ID}:sandbox:{HOME}:/bin/sh\n\
                 nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"
            ),
        ),
        ("group", format!("root:x:0:\nsandbox:x:{INSIDE_ID}:\nnogroup:x:65534:\n")),
        ("hostname", format!("{hostname}\n")),
        ("hosts", format!("127.0.0.1 localhost {hostname}\n::1 localhost ip6-localhost\n")),
        (
            "nsswitch.conf",
            "passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n".into(),
        ),
        ("resolv.conf", "# There is no network.\n".into()),
        ("shells", "/bin/sh\n/bin/bash\n".into()),
    ]
}

/// Writes them below `etc`.
pub(super) fn write(etc: &Path, hostname: &str) -> io::Result<()> {
    fs::create_dir_all(etc)?;
    files(hostname).into_iter().try_for_each(|(name, content)| fs::write(etc.join(name), content))
}
