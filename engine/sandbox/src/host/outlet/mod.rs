//! The host's end of the way out: frames of a guest become streams for the proxy, and the other way round.
//! Whatever a guest says here that ours would not say is the end of its sandbox, and never more memory than promised.

mod pipe;
mod streams;

pub(super) use streams::Outlet;
