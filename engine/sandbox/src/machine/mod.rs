//! The backend `microvm`: a command runs in a small virtual machine with a kernel of its own.
//! Host and machine share a byte stream and disks that are read as if an enemy had written them; never a directory.

mod settings;
mod boot;
mod tree;
mod stamp;
mod disk;
mod exchange;
mod interior;
mod inside;
#[cfg(feature = "host")]
mod cache;
#[cfg(feature = "host")]
mod image;
#[cfg(feature = "host")]
mod shown;
#[cfg(feature = "host")]
mod initrd;
#[cfg(feature = "host")]
mod parts;
#[cfg(feature = "host")]
mod qemu;
#[cfg(feature = "host")]
mod hypervisor;
#[cfg(feature = "host")]
mod place;
#[cfg(feature = "host")]
mod outside;
#[cfg(feature = "host")]
mod take;
#[cfg(feature = "host")]
mod running;

pub(crate) use boot::ENTRY;
#[cfg(feature = "host")]
pub(crate) use hypervisor::{ENTRY as HYPERVISOR, supervise};
pub(crate) use inside::first_process;
pub(crate) use interior::Interior;
#[cfg(feature = "host")]
pub(crate) use running::{Machine, Prepared};
pub use settings::{Acceleration, MachineFacts, MachineSettings, Rootfs};
