//! What can be wrong with the folder of logins. Names files, and never what is in them.

use std::path::PathBuf;

use blueprint_agent::mcp::LoginFileError;

/// Why a login cannot be read or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum LoginsError {
    /// Nothing says where the user's state is.
    #[error("there is no place for logins: neither HOME nor XDG_STATE_HOME is an absolute path")]
    NoFolder,
    /// Others could read or change what is there.
    #[error("`{path}` is open to others: {why}")]
    Open {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It cannot be read or written.
    #[error("`{path}` cannot be {done}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was to be done with it.
        done: &'static str,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It holds no login.
    #[error("the login in `{path}` cannot be used")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: LoginFileError,
    },
    /// It holds the login for another server.
    #[error("`{path}` holds the login for another server")]
    Elsewhere {
        /// The file.
        path: PathBuf,
    },
    /// Another process does not let go of it.
    #[error("another process renews the login in `{path}` and does not come to an end")]
    Busy {
        /// The file.
        path: PathBuf,
    },
}
