//! What the calls of the program can answer: the errors that their manual pages name and that a filesystem, a limit or a
//! signal can bring about in the way that they are used here. An error that only a wrong argument has is left out, and so
//! is one that is an answer, as that there is no such attribute: nobody could tell a wrong one from a right one.

use nix::errno::Errno::{self, *};
use nix::sys::signal::Signal;

use crate::support::tracer::How;

/// Calls that cannot fail when they are called as here, or that have nothing to do with what is done.
const NEVER_FAIL: &[&str] = &[
    "close directory",
    "exit",
    "exit_group",
    "fcntl F_GETFD",
    "fcntl F_GETFL",
    "futex FUTEX_WAKE",
    "getegid",
    "geteuid",
    "gettid",
    "ioctl TCGETS",
    "prctl",
    "restart_syscall",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_getaffinity",
    "set_robust_list",
];

/// What one of these calls fails with may be the end of all of them: a disk that is full or broken, a limit.
const LASTING: [Errno; 5] = [EIO, ENOSPC, EMFILE, ENOMEM, EDQUOT];

/// The errors of a call, and whether it may do less than it was asked to; `None` for one that is not known.
fn known(call: &str) -> Option<(&'static [Errno], bool)> {
    let errors: &[Errno] = match call {
        "openat" => &[EACCES, EINTR, EIO, EMFILE, ENFILE, ENOMEM],
        "openat O_CREAT" => &[EACCES, EDQUOT, EINTR, EIO, EMFILE, ENFILE, ENOMEM, ENOSPC, EROFS],
        "fcntl F_DUPFD_CLOEXEC" => &[EMFILE, ENOMEM],
        "read" | "pread64" | "preadv" => &[EINTR, EIO, ENOMEM],
        "pwrite64" => &[EDQUOT, EFBIG, EINTR, EIO, ENOMEM, ENOSPC],
        "write" => &[EINTR, EIO, ENOSPC, EPIPE],
        "statx" | "newfstatat" | "fstat" | "readlink" | "readlinkat" | "faccessat2" => &[EACCES, EIO, ENOMEM],
        "fstatfs" => &[EINTR, EIO, ENOMEM, ENOSYS],
        "flistxattr" | "listxattr" | "fgetxattr" | "getxattr" | "getdents64" | "lseek" => &[EIO, ENOMEM],
        "fsetxattr" | "setxattr" => &[E2BIG, EDQUOT, EIO, ENOMEM, ENOSPC, EOPNOTSUPP, EPERM, EROFS],
        "fremovexattr" | "removexattr" => &[EIO, ENOMEM, EPERM, EROFS],
        "flock" => &[EINTR, ENOLCK, EOPNOTSUPP],
        "fallocate" => &[EDQUOT, EFBIG, EINTR, EIO, ENOSPC, EOPNOTSUPP, EPERM],
        "ftruncate" => &[EDQUOT, EFBIG, EINTR, EIO, ENOSPC, EPERM],
        "close" | "fsync" | "fdatasync" => &[EDQUOT, EINTR, EIO, ENOSPC],
        "syncfs" => &[EDQUOT, EIO, ENOSPC],
        "mkdirat" | "symlinkat" | "mknodat" | "linkat" => {
            &[EACCES, EDQUOT, EIO, EMLINK, ENOMEM, ENOSPC, EPERM, EROFS]
        }
        "renameat2" => &[EACCES, EBUSY, EDQUOT, EINVAL, EIO, ENOMEM, ENOSPC, ENOSYS, EPERM, EROFS, EXDEV],
        "renameat" => &[EACCES, EBUSY, EDQUOT, EIO, ENOMEM, ENOSPC, EPERM, EROFS, EXDEV],
        "unlinkat" => &[EACCES, EBUSY, EIO, ENOMEM, EPERM, EROFS],
        "fchmod" | "fchmodat" | "utimensat" => &[EACCES, EIO, ENOMEM, EPERM, EROFS],
        "fchownat" => &[EDQUOT, EIO, ENOMEM, EPERM, EROFS],
        "ioctl FICLONERANGE" => {
            &[EDQUOT, EINVAL, EIO, ENOMEM, ENOSPC, ENOSYS, ENOTTY, EOPNOTSUPP, EPERM, ETXTBSY, EXDEV]
        }
        "brk" | "mmap" | "mremap" | "munmap" | "mprotect" | "madvise" | "sigaltstack" => &[ENOMEM],
        "clone3" => &[EAGAIN, ENOMEM, EPERM],
        "getrandom" => &[EINTR, ENOSYS],
        "clock_nanosleep" | "futex FUTEX_WAIT" => &[EINTR],
        _ if NEVER_FAIL.contains(&call) => &[],
        _ => return None,
    };
    let short = ["read", "pread64", "preadv", "pwrite64", "write", "getdents64"].contains(&call);
    Some((errors, short))
}

/// Whether a call fails with an error that lasts. What is said must be heard: it does not go to that disk.
pub(crate) fn fails_too(call: &str, errno: Errno) -> bool {
    call != "write" && known(call).is_some_and(|(errors, _)| errors.contains(&errno))
}

/// All that can happen to a call, but that it is killed.
pub(crate) fn hows(call: &str) -> Vec<How> {
    let known = known(call);
    let (errors, short) = known.unwrap_or_else(|| panic!("nothing is known of {call}: what can it answer?"));
    let mut all: Vec<How> = errors.iter().map(|&errno| How::Fails(errno)).collect();
    all.extend(short.then_some(How::Short));
    if !call.starts_with("exit") {
        all.push(How::Meets(Signal::SIGTERM));
    }
    let lasting = LASTING.into_iter().filter(|&errno| fails_too(call, errno));
    all.extend(lasting.map(How::FailsFromHere));
    all
}
