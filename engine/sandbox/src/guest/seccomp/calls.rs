//! The lists behind the filter. A call in none of them answers `ENOSYS`, as on a kernel that lacks it.
//! Adding a call here widens what every command can do to the kernel; the hostile suite must cover it.

use libc::{
    AF_INET, AF_INET6, AF_UNIX, CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID,
    CLONE_NEWUSER, CLONE_NEWUTS, EAFNOSUPPORT, ENOSYS, EPERM, O_CREAT, S_IFIFO, S_IFMT, S_IFREG, S_IFSOCK,
    S_ISGID, S_ISUID, c_long,
};

use super::{Test, Verdict};

/// A call by its number, and by the name it has everywhere.
pub(super) type Call = (c_long, &'static str);

macro_rules! call {
    ($name:ident) => {
        (libc::$name, stringify!($name))
    };
}

const NAMESPACE_FLAGS: u32 = (CLONE_NEWCGROUP
    | CLONE_NEWIPC
    | CLONE_NEWNET
    | CLONE_NEWNS
    | CLONE_NEWPID
    | CLONE_NEWUSER
    | CLONE_NEWUTS) as u32;

/// Bits that make a program run as its owner or group. Files are the caller's on disk, so such a file would
/// hand the caller's identity to anyone on the host.
const RUN_AS_OWNER: u32 = S_ISUID | S_ISGID;

/// `O_CREAT` or the kernel's own bit of `O_TMPFILE`: only then does a mode mean anything.
const CREATES: u32 = O_CREAT as u32 | 0o20_000_000;

const NO_OWNER_MODE_1: &[Test] = &[Test { argument: 1, mask: RUN_AS_OWNER, value: 0 }];
const NO_OWNER_MODE_2: &[Test] = &[Test { argument: 2, mask: RUN_AS_OWNER, value: 0 }];

const fn plain_node(argument: u32, kind: u32) -> Test {
    Test { argument, mask: S_IFMT | RUN_AS_OWNER, value: kind }
}

/// Calls whose arguments decide.
pub(super) const JUDGED: &[(Call, Verdict)] = &[
    (call!(SYS_clone), Verdict::OnlyIf(&[Test { argument: 0, mask: NAMESPACE_FLAGS, value: 0 }], EPERM)),
    // Its flags are behind a pointer; C libraries fall back to `clone`.
    (call!(SYS_clone3), Verdict::Refuse(ENOSYS)),
    // The same for the mode; libraries fall back to `openat`.
    (call!(SYS_openat2), Verdict::Refuse(ENOSYS)),
    (call!(SYS_io_uring_setup), Verdict::Refuse(ENOSYS)),
    (
        call!(SYS_socket),
        Verdict::OnlyIf(
            &[
                Test { argument: 0, mask: u32::MAX, value: AF_UNIX as u32 },
                Test { argument: 0, mask: u32::MAX, value: AF_INET as u32 },
                Test { argument: 0, mask: u32::MAX, value: AF_INET6 as u32 },
            ],
            EAFNOSUPPORT,
        ),
    ),
    (
        call!(SYS_socketpair),
        Verdict::OnlyIf(&[Test { argument: 0, mask: u32::MAX, value: AF_UNIX as u32 }], EAFNOSUPPORT),
    ),
    (
        call!(SYS_ioctl),
        Verdict::Unless(
            &[
                // Typing into a terminal, console functions, line disciplines.
                Test { argument: 1, mask: u32::MAX, value: libc::TIOCSTI as u32 },
                Test { argument: 1, mask: u32::MAX, value: 0x541C },
                Test { argument: 1, mask: u32::MAX, value: libc::TIOCSETD as u32 },
            ],
            EPERM,
        ),
    ),
    (
        call!(SYS_personality),
        Verdict::OnlyIf(
            &[
                Test { argument: 0, mask: u32::MAX, value: 0 },
                Test { argument: 0, mask: u32::MAX, value: 8 },
                Test { argument: 0, mask: u32::MAX, value: 0x2_0000 },
                Test { argument: 0, mask: u32::MAX, value: u32::MAX },
            ],
            EPERM,
        ),
    ),
    (call!(SYS_fchmod), Verdict::OnlyIf(NO_OWNER_MODE_1, EPERM)),
    (call!(SYS_fchmodat), Verdict::OnlyIf(NO_OWNER_MODE_2, EPERM)),
    (call!(SYS_fchmodat2), Verdict::OnlyIf(NO_OWNER_MODE_2, EPERM)),
    (
        call!(SYS_openat),
        Verdict::OnlyIf(
            &[
                Test { argument: 2, mask: CREATES, value: 0 },
                Test { argument: 3, mask: RUN_AS_OWNER, value: 0 },
            ],
            EPERM,
        ),
    ),
    (
        call!(SYS_mknodat),
        Verdict::OnlyIf(
            &[plain_node(2, 0), plain_node(2, S_IFREG), plain_node(2, S_IFIFO), plain_node(2, S_IFSOCK)],
            EPERM,
        ),
    ),
    // The third flag leaves a device node behind.
    (call!(SYS_renameat2), Verdict::OnlyIf(&[Test { argument: 4, mask: 4, value: 0 }], EPERM)),
    #[cfg(target_arch = "x86_64")]
    (call!(SYS_chmod), Verdict::OnlyIf(NO_OWNER_MODE_1, EPERM)),
    #[cfg(target_arch = "x86_64")]
    (call!(SYS_creat), Verdict::OnlyIf(NO_OWNER_MODE_1, EPERM)),
    #[cfg(target_arch = "x86_64")]
    (
        call!(SYS_open),
        Verdict::OnlyIf(
            &[
                Test { argument: 1, mask: CREATES, value: 0 },
                Test { argument: 2, mask: RUN_AS_OWNER, value: 0 },
            ],
            EPERM,
        ),
    ),
    #[cfg(target_arch = "x86_64")]
    (
        call!(SYS_mknod),
        Verdict::OnlyIf(
            &[plain_node(1, 0), plain_node(1, S_IFREG), plain_node(1, S_IFIFO), plain_node(1, S_IFSOCK)],
            EPERM,
        ),
    ),
];

/// Calls that programs try and that must fail as forbidden rather than as missing.
pub(super) const FORBIDDEN: &[c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_kcmp,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
];

/// Calls that are made whatever their arguments.
pub(super) const ALLOWED: &[Call] = &[
    call!(SYS_accept),
    call!(SYS_accept4),
    call!(SYS_bind),
    call!(SYS_brk),
    call!(SYS_capget),
    call!(SYS_capset),
    call!(SYS_chdir),
    call!(SYS_clock_getres),
    call!(SYS_clock_gettime),
    call!(SYS_clock_nanosleep),
    call!(SYS_close),
    call!(SYS_close_range),
    call!(SYS_connect),
    call!(SYS_copy_file_range),
    call!(SYS_dup),
    call!(SYS_dup3),
    call!(SYS_epoll_create1),
    call!(SYS_epoll_ctl),
    call!(SYS_epoll_pwait),
    call!(SYS_epoll_pwait2),
    call!(SYS_eventfd2),
    call!(SYS_execve),
    call!(SYS_execveat),
    call!(SYS_exit),
    call!(SYS_exit_group),
    call!(SYS_faccessat),
    call!(SYS_faccessat2),
    call!(SYS_fadvise64),
    call!(SYS_fallocate),
    call!(SYS_fchdir),
    call!(SYS_fchown),
    call!(SYS_fchownat),
    call!(SYS_fcntl),
    call!(SYS_fdatasync),
    call!(SYS_fgetxattr),
    call!(SYS_flistxattr),
    call!(SYS_flock),
    call!(SYS_fremovexattr),
    call!(SYS_fsetxattr),
    call!(SYS_fstat),
    call!(SYS_fstatfs),
    call!(SYS_fsync),
    call!(SYS_ftruncate),
    call!(SYS_futex),
    call!(SYS_futex_waitv),
    call!(SYS_get_mempolicy),
    call!(SYS_get_robust_list),
    call!(SYS_getcpu),
    call!(SYS_getcwd),
    call!(SYS_getdents64),
    call!(SYS_getegid),
    call!(SYS_geteuid),
    call!(SYS_getgid),
    call!(SYS_getgroups),
    call!(SYS_getitimer),
    call!(SYS_getpeername),
    call!(SYS_getpgid),
    call!(SYS_getpid),
    call!(SYS_getppid),
    call!(SYS_getpriority),
    call!(SYS_getrandom),
    call!(SYS_getresgid),
    call!(SYS_getresuid),
    call!(SYS_getrlimit),
    call!(SYS_getrusage),
    call!(SYS_getsid),
    call!(SYS_getsockname),
    call!(SYS_getsockopt),
    call!(SYS_gettid),
    call!(SYS_gettimeofday),
    call!(SYS_getuid),
    call!(SYS_getxattr),
    call!(SYS_inotify_add_watch),
    call!(SYS_inotify_init1),
    call!(SYS_inotify_rm_watch),
    call!(SYS_ioprio_get),
    call!(SYS_ioprio_set),
    call!(SYS_kill),
    call!(SYS_landlock_add_rule),
    call!(SYS_landlock_create_ruleset),
    call!(SYS_landlock_restrict_self),
    call!(SYS_lgetxattr),
    call!(SYS_linkat),
    call!(SYS_listen),
    call!(SYS_listxattr),
    call!(SYS_llistxattr),
    call!(SYS_lremovexattr),
    call!(SYS_lseek),
    call!(SYS_lsetxattr),
    call!(SYS_madvise),
    call!(SYS_mbind),
    call!(SYS_membarrier),
    call!(SYS_memfd_create),
    call!(SYS_mincore),
    call!(SYS_mkdirat),
    call!(SYS_mlock),
    call!(SYS_mlock2),
    call!(SYS_mlockall),
    call!(SYS_mmap),
    call!(SYS_mprotect),
    call!(SYS_mq_getsetattr),
    call!(SYS_mq_notify),
    call!(SYS_mq_open),
    call!(SYS_mq_timedreceive),
    call!(SYS_mq_timedsend),
    call!(SYS_mq_unlink),
    call!(SYS_mremap),
    call!(SYS_msgctl),
    call!(SYS_msgget),
    call!(SYS_msgrcv),
    call!(SYS_msgsnd),
    call!(SYS_msync),
    call!(SYS_munlock),
    call!(SYS_munlockall),
    call!(SYS_munmap),
    call!(SYS_nanosleep),
    call!(SYS_newfstatat),
    call!(SYS_pidfd_open),
    call!(SYS_pidfd_send_signal),
    call!(SYS_pipe2),
    call!(SYS_pkey_alloc),
    call!(SYS_pkey_free),
    call!(SYS_pkey_mprotect),
    call!(SYS_ppoll),
    call!(SYS_prctl),
    call!(SYS_pread64),
    call!(SYS_preadv),
    call!(SYS_preadv2),
    call!(SYS_prlimit64),
    call!(SYS_pselect6),
    call!(SYS_pwrite64),
    call!(SYS_pwritev),
    call!(SYS_pwritev2),
    call!(SYS_read),
    call!(SYS_readahead),
    call!(SYS_readlinkat),
    call!(SYS_readv),
    call!(SYS_recvfrom),
    call!(SYS_recvmmsg),
    call!(SYS_recvmsg),
    call!(SYS_removexattr),
    call!(SYS_renameat),
    call!(SYS_restart_syscall),
    call!(SYS_rseq),
    call!(SYS_rt_sigaction),
    call!(SYS_rt_sigpending),
    call!(SYS_rt_sigprocmask),
    call!(SYS_rt_sigqueueinfo),
    call!(SYS_rt_sigreturn),
    call!(SYS_rt_sigsuspend),
    call!(SYS_rt_sigtimedwait),
    call!(SYS_rt_tgsigqueueinfo),
    call!(SYS_sched_get_priority_max),
    call!(SYS_sched_get_priority_min),
    call!(SYS_sched_getaffinity),
    call!(SYS_sched_getattr),
    call!(SYS_sched_getparam),
    call!(SYS_sched_getscheduler),
    call!(SYS_sched_rr_get_interval),
    call!(SYS_sched_setaffinity),
    call!(SYS_sched_setattr),
    call!(SYS_sched_setparam),
    call!(SYS_sched_setscheduler),
    call!(SYS_sched_yield),
    call!(SYS_seccomp),
    call!(SYS_semctl),
    call!(SYS_semget),
    call!(SYS_semop),
    call!(SYS_semtimedop),
    call!(SYS_sendfile),
    call!(SYS_sendmmsg),
    call!(SYS_sendmsg),
    call!(SYS_sendto),
    call!(SYS_set_mempolicy),
    call!(SYS_set_robust_list),
    call!(SYS_set_tid_address),
    call!(SYS_setfsgid),
    call!(SYS_setfsuid),
    call!(SYS_setgid),
    call!(SYS_setgroups),
    call!(SYS_setitimer),
    call!(SYS_setpgid),
    call!(SYS_setpriority),
    call!(SYS_setregid),
    call!(SYS_setresgid),
    call!(SYS_setresuid),
    call!(SYS_setreuid),
    call!(SYS_setrlimit),
    call!(SYS_setsid),
    call!(SYS_setsockopt),
    call!(SYS_setuid),
    call!(SYS_setxattr),
    call!(SYS_shmat),
    call!(SYS_shmctl),
    call!(SYS_shmdt),
    call!(SYS_shmget),
    call!(SYS_shutdown),
    call!(SYS_sigaltstack),
    call!(SYS_signalfd4),
    call!(SYS_splice),
    call!(SYS_statfs),
    call!(SYS_statx),
    call!(SYS_symlinkat),
    call!(SYS_sync),
    call!(SYS_sync_file_range),
    call!(SYS_syncfs),
    call!(SYS_sysinfo),
    call!(SYS_tee),
    call!(SYS_tgkill),
    call!(SYS_timer_create),
    call!(SYS_timer_delete),
    call!(SYS_timer_getoverrun),
    call!(SYS_timer_gettime),
    call!(SYS_timer_settime),
    call!(SYS_timerfd_create),
    call!(SYS_timerfd_gettime),
    call!(SYS_timerfd_settime),
    call!(SYS_times),
    call!(SYS_tkill),
    call!(SYS_truncate),
    call!(SYS_umask),
    call!(SYS_uname),
    call!(SYS_unlinkat),
    call!(SYS_utimensat),
    call!(SYS_vmsplice),
    call!(SYS_wait4),
    call!(SYS_waitid),
    call!(SYS_write),
    call!(SYS_writev),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_access),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_alarm),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_arch_prctl),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_chown),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_dup2),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_epoll_create),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_epoll_wait),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_eventfd),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_fork),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_futimesat),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_getdents),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_getpgrp),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_inotify_init),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_lchown),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_link),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_lstat),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_mkdir),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_pause),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_pipe),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_poll),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_readlink),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_rename),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_rmdir),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_select),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_signalfd),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_stat),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_symlink),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_time),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_unlink),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_utime),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_utimes),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_vfork),
];
