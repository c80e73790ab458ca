//! The few system calls no safe wrapper covers, each behind a function that cannot be misused.
//! The only module besides the guest's `fork` with `unsafe` code; it decides nothing.
#![expect(unsafe_code, reason = "raw system calls: mount API, clone with namespaces, capabilities, seccomp")]

use std::{
    ffi::CStr,
    io, mem,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    ptr,
    time::Duration,
};

use nix::unistd::Pid;

/// Which side of a process creation we are on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    /// The new process.
    Child,
    /// The old one.
    Parent(Pid),
}

/// Mount attributes that may only be added.
pub(crate) const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY;
/// No set-user-id programs.
pub(crate) const NO_SUID: u64 = libc::MOUNT_ATTR_NOSUID;
/// No device nodes.
pub(crate) const NO_DEVICES: u64 = libc::MOUNT_ATTR_NODEV;

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn owned(result: libc::c_long) -> io::Result<OwnedFd> {
    let fd = check(result)? as RawFd;
    // SAFETY: the kernel just returned this descriptor to us, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes over a descriptor that the kernel has just made for us: a received or a duplicated one.
#[cfg(feature = "host")]
pub(crate) fn adopt(fd: RawFd) -> OwnedFd {
    // SAFETY: callers pass on what a system call returned, once, so nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Creates a process in new namespaces, like `fork`. The caller must be single-threaded.
pub(crate) fn clone_into(namespaces: libc::c_int) -> io::Result<Side> {
    let flags = libc::c_long::from(namespaces) | libc::c_long::from(libc::SIGCHLD);
    // SAFETY: without CLONE_VM the child works on a copy of our memory; the zero stack makes it continue on
    // ours, as `fork` does. Only the launcher calls this, and it never has a second thread.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) })?;
    Ok(if pid == 0 { Side::Child } else { Side::Parent(Pid::from_raw(pid as libc::pid_t)) })
}

/// Ends this process at once, running nothing on the way out.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` touches no memory of ours.
    unsafe { libc::_exit(code) }
}

/// A detached copy of the mount at `path` with everything below it.
pub(crate) fn open_tree(path: &CStr) -> io::Result<OwnedFd> {
    let flags =
        libc::OPEN_TREE_CLONE | (libc::O_CLOEXEC as libc::c_uint) | (libc::AT_RECURSIVE as libc::c_uint);
    // SAFETY: `path` is NUL-terminated and lives through the call.
    owned(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) })
}

/// Whether changing attributes reaches the mounts below as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Only this mount.
    One,
    /// All mounts below too.
    All,
}

/// Adds attributes to a mount and, with a user namespace, translates its file owners by that namespace's map.
pub(crate) fn restrict_mount(
    mount: BorrowedFd<'_>,
    attributes: u64,
    owners: Option<BorrowedFd<'_>>,
    reach: Reach,
) -> io::Result<()> {
    let attr = libc::mount_attr {
        attr_set: attributes | owners.map_or(0, |_| libc::MOUNT_ATTR_IDMAP),
        attr_clr: 0,
        propagation: 0,
        userns_fd: owners.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    let recursive = if reach == Reach::All { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: `attr` is a fully initialised structure of the size we name and lives through the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | recursive,
            ptr::from_ref(&attr),
            size_of::<libc::mount_attr>(),
        )
    })?;
    Ok(())
}

/// Attaches a detached mount on top of the file or directory that `target` holds open.
pub(crate) fn attach(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: both paths are empty NUL-terminated strings, so only the descriptors matter.
    check(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            target.as_raw_fd(),
            c"".as_ptr(),
            libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH,
        )
    })?;
    Ok(())
}

/// Marks every descriptor from 3 up to be closed by the next `exec`.
pub(crate) fn close_others_on_exec() -> io::Result<()> {
    /// No descriptor has a larger number, whatever the limits are; gVisor takes none that fills all bits.
    const LAST: u32 = 1 << 30;
    // SAFETY: takes three integers; changes flags of our own descriptors only.
    let marked =
        check(unsafe { libc::syscall(libc::SYS_close_range, 3_u32, LAST, libc::CLOSE_RANGE_CLOEXEC) });
    match marked {
        Ok(_) => Ok(()),
        // A kernel that has the call and not the flag.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => close_each_on_exec(),
        Err(error) => Err(error),
    }
}

fn close_each_on_exec() -> io::Result<()> {
    let listed = std::fs::read_dir("/proc/self/fd")?.collect::<io::Result<Vec<_>>>()?;
    for number in listed.iter().filter_map(|entry| entry.file_name().to_str()?.parse::<RawFd>().ok()) {
        if number < 3 {
            continue;
        }
        // SAFETY: takes integers only; changes a flag of one of our own descriptors.
        let done = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
        // The listing's own descriptor is closed by now.
        if let Err(error) = check(libc::c_long::from(done))
            && error.raw_os_error() != Some(libc::EBADF)
        {
            return Err(error);
        }
    }
    Ok(())
}

/// The capabilities a guest needs to run commands as another user and to end them: `CAP_KILL`, `CAP_SETGID`,
/// `CAP_SETUID`.
pub(crate) const BECOME_ANOTHER: [u32; 3] = [5, 6, 7];

/// Gives up every capability of this process but these, now and after any `exec`. None can be gained.
pub(crate) fn keep_capabilities(kept: &[u32]) -> io::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    const VERSION_3: u32 = 0x2008_0522;
    bound_capabilities(kept)?;
    // SAFETY: takes integers only.
    let cleared = check(libc::c_long::from(unsafe {
        libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    }));
    // A kernel without that set has nothing to clear; elsewhere the empty inheritable set below clears it again.
    cleared
        .map(|_| ())
        .or_else(|error| if error.raw_os_error() == Some(libc::EINVAL) { Ok(()) } else { Err(error) })?;
    let header = Header { version: VERSION_3, pid: 0 };
    let bits = kept.iter().fold(0_u32, |bits, capability| bits | 1 << capability);
    // Effective and permitted, never inheritable.
    let sets = [[bits, bits, 0], [0; 3]];
    // SAFETY: version 3 of the call reads one header and two triples of words; both live through it.
    check(unsafe { libc::syscall(libc::SYS_capset, ptr::from_ref(&header), sets.as_ptr()) })?;
    Ok(())
}

/// Rules out that this process or what it starts gains a capability it does not have, but for these.
pub(crate) fn bound_capabilities(kept: &[u32]) -> io::Result<()> {
    for capability in (0..64).filter(|capability| !kept.contains(capability)) {
        // SAFETY: takes integers only.
        let dropped = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        if dropped < 0 {
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                // Past the kernel's last capability, or already without the right to change the set. The
                // effective sets below are what counts, and `no_new_privs` keeps them empty.
                Some(libc::EINVAL | libc::EPERM) => break,
                _ => return Err(error),
            }
        }
    }
    Ok(())
}

/// This process's priority at disks; negative if the kernel has none.
pub(crate) fn disk_priority() -> i64 {
    const PROCESS: libc::c_int = 1;
    // SAFETY: takes integers only.
    unsafe { libc::syscall(libc::SYS_ioprio_get, PROCESS, 0) }
}

/// The beginning of the kernel's own log, if it lets us read it. Only kernels that are programs do.
pub(crate) fn first_words() -> Option<String> {
    const READ_ALL: libc::c_int = 3;
    let mut text = vec![0_u8; 4096];
    // SAFETY: the kernel writes at most the length it is told, which is that of the buffer.
    let count = unsafe { libc::klogctl(READ_ALL, text.as_mut_ptr().cast(), text.len() as libc::c_int) };
    text.truncate(usize::try_from(count).ok()?);
    let text = String::from_utf8_lossy(&text).into_owned();
    text.lines().next().map(|line| line.chars().filter(|c| !c.is_control()).collect())
}

/// The Landlock ABI of this kernel, or the reason there is none.
pub(crate) fn landlock_abi() -> io::Result<u32> {
    const VERSION: u32 = 1;
    // SAFETY: with the version flag the call takes no structure.
    let abi = check(unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, ptr::null::<u8>(), 0_usize, VERSION)
    })?;
    Ok(abi as u32)
}

/// Puts a system call filter on this process and everything it starts. Needs `no_new_privs`.
pub(crate) fn filter_system_calls(program: &[libc::sock_filter]) -> io::Result<()> {
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(io::Error::other)?,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: `filter` points at `program`, whose length it names; the kernel copies and only reads it.
    check(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, ptr::from_ref(&filter))
    })?;
    Ok(())
}

/// Brings the loopback interface of this network namespace up.
pub(crate) fn raise_loopback(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: all-zero bytes are a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads one `ifreq`, which lives through the call.
    check(libc::c_long::from(unsafe {
        libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as libc::Ioctl, ptr::from_ref(&request))
    }))?;
    Ok(())
}

/// How fast the processor's counter runs, in thousands a second, measured for a moment.
#[cfg(all(feature = "host", target_arch = "x86_64"))]
pub(crate) fn counter_khz() -> u64 {
    const MOMENT: Duration = Duration::from_millis(20);
    let begin = std::time::Instant::now();
    // SAFETY: reads a counter; every processor of this architecture has it.
    let first = unsafe { std::arch::x86_64::_rdtsc() };
    std::thread::sleep(MOMENT);
    // SAFETY: as above.
    let last = unsafe { std::arch::x86_64::_rdtsc() };
    let microseconds = begin.elapsed().as_micros().max(1);
    (u128::from(last.saturating_sub(first)) * 1000 / microseconds) as u64
}

/// Elsewhere no emulator shows the host's counter.
#[cfg(all(feature = "host", not(target_arch = "x86_64")))]
pub(crate) fn counter_khz() -> u64 {
    0
}

/// A process that ended, and what it and the children it waited for used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reaped {
    /// Which.
    pub(crate) pid: Pid,
    /// The raw wait status.
    pub(crate) status: i32,
    /// Processor time in user mode.
    pub(crate) user: Duration,
    /// Processor time in the kernel.
    pub(crate) system: Duration,
    /// Largest resident memory, in bytes.
    pub(crate) max_rss_bytes: u64,
}

/// Whether to wait for a process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Return `None` if none has ended.
    Poll,
    /// Wait for one.
    Wait,
}

/// Collects one ended child of any kind. `ECHILD` means there is none left, running or ended.
pub(crate) fn reap(patience: Patience) -> nix::Result<Option<Reaped>> {
    let options = libc::__WALL | if patience == Patience::Poll { libc::WNOHANG } else { 0 };
    let mut status = 0;
    // SAFETY: all-zero bytes are a valid `rusage`.
    let mut used: libc::rusage = unsafe { mem::zeroed() };
    // SAFETY: both pointers are to live, writable values of the types the call fills in.
    let pid = unsafe { libc::wait4(-1, ptr::from_mut(&mut status), options, ptr::from_mut(&mut used)) };
    match pid {
        -1 => Err(nix::errno::Errno::last()),
        0 => Ok(None),
        pid => Ok(Some(Reaped {
            pid: Pid::from_raw(pid),
            status,
            user: duration(used.ru_utime),
            system: duration(used.ru_stime),
            max_rss_bytes: used.ru_maxrss.max(0) as u64 * 1024,
        })),
    }
}

fn duration(time: libc::timeval) -> Duration {
    Duration::new(time.tv_sec.max(0) as u64, (time.tv_usec.max(0) as u32).saturating_mul(1_000))
}

/// Creates a process, like `fork`. The caller must be single-threaded.
pub(crate) fn fork() -> io::Result<Side> {
    // SAFETY: the guest has one thread, so the child may do whatever its parent could.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Child => Ok(Side::Child),
        nix::unistd::ForkResult::Parent { child } => Ok(Side::Parent(child)),
    }
}

/// Creates a process that borrows our memory while we wait, like `vfork`, and runs `child` in it: what that returns is
/// its exit code, unless it became another program. Files, signals, limits and identity are its own from the start. Copying memory is what
/// costs most at a kernel that is a program.
pub(crate) fn fork_borrowing(child: &mut dyn FnMut() -> libc::c_int) -> io::Result<Pid> {
    const STACK_BYTES: usize = 256 << 10;
    struct Work<'a>(&'a mut dyn FnMut() -> libc::c_int);
    extern "C" fn enter(argument: *mut libc::c_void) -> libc::c_int {
        // SAFETY: the argument is the pointer below, which outlives the call: the parent waits.
        let child: &mut Work<'_> = unsafe { &mut *argument.cast() };
        (child.0)()
    }
    let mut stack = vec![0_u128; STACK_BYTES / 16];
    let mut child = Work(child);
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the stack is writable, aligned and ours for as long as the child borrows our memory, since `CLONE_VFORK`
    // makes us wait. We have one thread, so nobody else touches the memory meanwhile.
    let pid = check(libc::c_long::from(unsafe {
        libc::clone(enter, stack.as_mut_ptr_range().end.cast(), flags, ptr::from_mut(&mut child).cast())
    }))?;
    Ok(Pid::from_raw(pid as libc::pid_t))
}

/// The signals whose action is not the default.
pub(crate) fn unusual_signals() -> Vec<libc::c_int> {
    let is_unusual = |signal: &libc::c_int| {
        // SAFETY: all-zero bytes are a valid `sigaction`, which the call fills in; it changes nothing.
        unsafe {
            let mut now: libc::sigaction = mem::zeroed();
            libc::sigaction(*signal, ptr::null(), ptr::from_mut(&mut now)) == 0
                && now.sa_sigaction != libc::SIG_DFL
        }
    };
    (1..=libc::SIGRTMAX()).filter(is_unusual).collect()
}

/// Gives these signals their default action and unblocks all, as a program expects to be started.
pub(crate) fn default_signals(unusual: &[libc::c_int]) {
    for signal in unusual {
        // SAFETY: installs no handler of ours. Signals whose action cannot be changed refuse, which is fine.
        unsafe { libc::signal(*signal, libc::SIG_DFL) };
    }
    // SAFETY: `set` is a valid signal set once `sigemptyset` has filled it in.
    unsafe {
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(ptr::from_mut(&mut set));
        libc::sigprocmask(libc::SIG_SETMASK, ptr::from_ref(&set), ptr::null_mut());
    }
}
