//! The system calls a command may make: an allow-list, so that calls newer than this list do not exist.
//! Arguments are judged only where the kernel takes them by value; nothing behind a pointer is trusted.

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, SECCOMP_RET_ALLOW,
    SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_PROCESS, c_long, sock_filter,
};

mod calls;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xC000_00B7;

/// System call numbers from here up belong to the x32 interface.
#[cfg(target_arch = "x86_64")]
const X32: u32 = 0x4000_0000;

/// Offsets into the kernel's `seccomp_data`.
const NUMBER_AT: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;
const ARGUMENTS_AT: u32 = 16;

/// What happens to one system call.
#[derive(Clone, Copy, Debug)]
pub(super) enum Verdict {
    /// It fails with this errno.
    Refuse(i32),
    /// It is made if one of these holds, else it fails with the errno.
    OnlyIf(&'static [Test], i32),
    /// It fails with the errno if one of these holds, else it is made.
    Unless(&'static [Test], i32),
}

/// `argument & mask == value`, on the lower 32 bits: all judged arguments are 32-bit for the kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Test {
    pub(super) argument: u32,
    pub(super) mask: u32,
    pub(super) value: u32,
}

/// Whether commands may choose the processors they run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Affinity {
    /// They may; something else limits processor time.
    Free,
    /// They may not; it is what limits processor time.
    Fixed,
}

/// The filter as the kernel takes it.
pub(super) fn program(affinity: Affinity) -> Vec<sock_filter> {
    let mut out = vec![
        statement(BPF_LD | BPF_W | BPF_ABS, ARCHITECTURE_AT),
        jump(BPF_JEQ, ARCHITECTURE, 1, 0),
        give(SECCOMP_RET_KILL_PROCESS),
        statement(BPF_LD | BPF_W | BPF_ABS, NUMBER_AT),
    ];
    #[cfg(target_arch = "x86_64")]
    out.extend([jump(BPF_JGE, X32, 0, 1), refuse(libc::ENOSYS)]);
    if affinity == Affinity::Fixed {
        out.extend([jump(BPF_JEQ, libc::SYS_sched_setaffinity as u32, 0, 1), refuse(libc::EPERM)]);
    }
    for ((call, _), verdict) in calls::JUDGED {
        judge(*call, *verdict, &mut out);
    }
    for call in calls::FORBIDDEN {
        judge(*call, Verdict::Refuse(libc::EPERM), &mut out);
    }
    for (call, _) in calls::ALLOWED {
        out.extend([jump(BPF_JEQ, *call as u32, 0, 1), give(SECCOMP_RET_ALLOW)]);
    }
    out.push(refuse(libc::ENOSYS));
    out
}

/// The names of all calls that commands may make, with whatever arguments.
#[cfg(feature = "host")]
pub(crate) fn call_names() -> impl Iterator<Item = &'static str> {
    let judged = calls::JUDGED.iter().filter(|(_, verdict)| !matches!(verdict, Verdict::Refuse(_)));
    let names = judged.map(|((_, name), _)| *name).chain(calls::ALLOWED.iter().map(|(_, name)| *name));
    names.map(|name| name.strip_prefix("SYS_").unwrap_or(name))
}

fn judge(call: c_long, verdict: Verdict, out: &mut Vec<sock_filter>) {
    let (tests, matched, otherwise) = match verdict {
        Verdict::Refuse(errno) => (&[][..], refuse(errno), refuse(errno)),
        Verdict::OnlyIf(tests, errno) => (tests, give(SECCOMP_RET_ALLOW), refuse(errno)),
        Verdict::Unless(tests, errno) => (tests, refuse(errno), give(SECCOMP_RET_ALLOW)),
    };
    let mut body = Vec::new();
    for test in tests {
        body.push(statement(BPF_LD | BPF_W | BPF_ABS, low_half(test.argument)));
        body.push(statement(BPF_ALU | BPF_AND | BPF_K, test.mask));
        body.push(jump(BPF_JEQ, test.value, 0, 1));
        body.push(matched);
    }
    body.push(otherwise);
    // Every body is far shorter than a jump can be.
    out.push(jump(BPF_JEQ, call as u32, 0, u8::try_from(body.len()).unwrap_or(u8::MAX)));
    out.extend(body);
}

const fn low_half(argument: u32) -> u32 {
    let at = ARGUMENTS_AT + argument * 8;
    if cfg!(target_endian = "big") { at + 4 } else { at }
}

fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

fn jump(comparison: u32, k: u32, if_true: u8, if_false: u8) -> sock_filter {
    sock_filter { code: (BPF_JMP | comparison | BPF_K) as u16, jt: if_true, jf: if_false, k }
}

fn give(action: u32) -> sock_filter {
    statement(BPF_RET | BPF_K, action)
}

fn refuse(errno: i32) -> sock_filter {
    give(SECCOMP_RET_ERRNO | errno as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the filter as the kernel would, for one call.
    fn answer(architecture: u32, number: u32, arguments: [u32; 6]) -> u32 {
        let program = program(Affinity::Free);
        let load = |at: u32| match at {
            NUMBER_AT => number,
            ARCHITECTURE_AT => architecture,
            at => arguments[((at - ARGUMENTS_AT) / 8) as usize],
        };
        let (mut pc, mut acc) = (0, 0);
        loop {
            let op = program[pc];
            pc += 1;
            match u32::from(op.code) {
                code if code == BPF_LD | BPF_W | BPF_ABS => acc = load(op.k),
                code if code == BPF_ALU | BPF_AND | BPF_K => acc &= op.k,
                code if code == BPF_JMP | BPF_JEQ | BPF_K => {
                    pc += usize::from(if acc == op.k { op.jt } else { op.jf });
                }
                code if code == BPF_JMP | BPF_JGE | BPF_K => {
                    pc += usize::from(if acc >= op.k { op.jt } else { op.jf });
                }
                code if code == BPF_RET | BPF_K => return op.k,
                code => panic!("unknown instruction {code}"),
            }
        }
    }

    fn call(number: c_long, arguments: [u32; 6]) -> u32 {
        answer(ARCHITECTURE, number as u32, arguments)
    }

    #[test]
    fn ordinary_calls_are_made() {
        assert_eq!(call(libc::SYS_read, [0; 6]), SECCOMP_RET_ALLOW);
        assert_eq!(call(libc::SYS_execve, [0; 6]), SECCOMP_RET_ALLOW);
        assert_eq!(call(libc::SYS_clone, [libc::SIGCHLD as u32, 0, 0, 0, 0, 0]), SECCOMP_RET_ALLOW);
        assert_eq!(call(libc::SYS_socket, [libc::AF_INET as u32, 1, 0, 0, 0, 0]), SECCOMP_RET_ALLOW);
        assert_eq!(call(libc::SYS_fchmod, [3, 0o755, 0, 0, 0, 0]), SECCOMP_RET_ALLOW);
    }

    #[test]
    fn namespaces_are_out_of_reach() {
        let refused = SECCOMP_RET_ERRNO | libc::EPERM as u32;
        assert_eq!(call(libc::SYS_clone, [libc::CLONE_NEWUSER as u32, 0, 0, 0, 0, 0]), refused);
        assert_eq!(call(libc::SYS_unshare, [0; 6]), refused);
        assert_eq!(call(libc::SYS_clone3, [0; 6]), SECCOMP_RET_ERRNO | libc::ENOSYS as u32);
    }

    #[test]
    fn files_that_run_as_their_owner_cannot_be_made() {
        let refused = SECCOMP_RET_ERRNO | libc::EPERM as u32;
        assert_eq!(call(libc::SYS_fchmod, [3, 0o4755, 0, 0, 0, 0]), refused);
        assert_eq!(call(libc::SYS_fchmodat, [0, 0, 0o2755, 0, 0, 0]), refused);
        assert_eq!(call(libc::SYS_openat, [0, 0, libc::O_CREAT as u32, 0o4755, 0, 0]), refused);
        assert_eq!(
            call(libc::SYS_openat, [0, 0, 0, 0o4755, 0, 0]),
            SECCOMP_RET_ALLOW,
            "the mode means nothing here"
        );
    }

    #[test]
    fn other_interfaces_of_the_kernel_are_closed() {
        assert_eq!(answer(0x4000_0003, 1, [0; 6]), SECCOMP_RET_KILL_PROCESS, "i386");
        #[cfg(target_arch = "x86_64")]
        assert_eq!(answer(ARCHITECTURE, X32 + 1, [0; 6]), SECCOMP_RET_ERRNO | libc::ENOSYS as u32);
        assert_eq!(answer(ARCHITECTURE, 4000, [0; 6]), SECCOMP_RET_ERRNO | libc::ENOSYS as u32, "the future");
    }

    #[test]
    fn processors_can_be_fixed() {
        let free = program(Affinity::Free).len();
        assert_eq!(program(Affinity::Fixed).len(), free + 2);
        assert_eq!(call(libc::SYS_sched_setaffinity, [0; 6]), SECCOMP_RET_ALLOW);
    }

    #[test]
    fn the_filter_fits_into_the_kernel() {
        assert!(program(Affinity::Fixed).len() < 4096);
    }
}
