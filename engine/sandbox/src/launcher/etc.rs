//! The files of `/etc` that we write ourselves, so that nothing of the host's accounts or resolvers shows.
//! Nothing here depends on the host.

use std::{fs, io, path::Path};

use crate::{
    contract::{HOME, HostIds},
    launcher::identity::INSIDE_ID,
};

/// Who commands are where we make the user namespace ourselves.
pub(super) const INSIDE: HostIds = HostIds { uid: INSIDE_ID, gid: INSIDE_ID };

/// Their names and contents.
pub(crate) fn files(hostname: &str, ids: HostIds) -> [(&'static str, String); 7] {
    let HostIds { uid, gid } = ids;
    [
        (
            "passwd",
            format!(
                "root:x:0:0:root:/:/usr/sbin/nologin\n\
                 sandbox:x:{uid}:{gid}:sandbox:{HOME}:/bin/sh\n\
                 nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"
            ),
        ),
        ("group", format!("root:x:0:\nsandbox:x:{gid}:\nnogroup:x:65534:\n")),
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
    files(hostname, INSIDE).into_iter().try_for_each(|(name, content)| fs::write(etc.join(name), content))
}
