//! Runs the program call by call (`ptrace(2)`), and lets one of its system calls fail, do only a part of what it was
//! asked to, or meet a signal. In contrast to `strace` it counts the calls from the moment on that the program opens
//! its first file, tells apart what one call is used for, makes short reads and writes that are real ones, and sees
//! what is still open when the program ends.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

use nix::errno::Errno;
use nix::libc::{self, user_regs_struct};
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::Run;
use super::run::HANGS;

/// One call of the program: the thread that made it, in the order in which they began; its name; and which one it is of
/// those of this name that this thread made since the first file was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) thread: usize,
    pub(crate) name: String,
    pub(crate) number: usize,
    args: [u64; 6],
    /// What it was called with, as paths.
    pub(crate) about: String,
}

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// It is not done, and fails.
    Fails(Errno),
    /// The same, and so do all later ones of which `fails_too` is true.
    FailsFromHere(Errno),
    /// It does less than it was asked to.
    Short,
    /// When it begins, a signal comes.
    Meets(Signal),
}

/// A call to be struck.
#[derive(Debug, Clone)]
pub(crate) struct Strike {
    pub(crate) thread: usize,
    pub(crate) name: String,
    pub(crate) number: usize,
    pub(crate) how: How,
}

/// A run that has ended.
pub(crate) struct Traced {
    pub(crate) run: Run,
    /// After a strike, only up to the call behind it.
    pub(crate) calls: Vec<Call>,
    pub(crate) struck: Option<Call>,
    /// The next call of the struck thread was the same again, or went on behind it.
    pub(crate) repeated: bool,
    /// What was open when it ended and not when it began.
    pub(crate) open: Vec<PathBuf>,
}

/// Runs `command`, which opens `first` before any other file: its configuration.
pub(crate) fn trace(
    command: &Command,
    first: &Path,
    strike: Option<&Strike>,
    fails_too: &dyn Fn(&str, Errno) -> bool,
) -> Traced {
    let mut stopped = Command::new("sh");
    stopped.args(["-c", "kill -STOP $$; exec \"$0\" \"$@\""]).arg(command.get_program());
    stopped.args(command.get_args()).current_dir(command.get_current_dir().unwrap());
    stopped.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child =
        stopped.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_raw(child.id().cast_signed());
    let (ended, hangs) = mpsc::channel::<()>();
    thread::spawn(move || {
        if hangs.recv_timeout(HANGS) == Err(RecvTimeoutError::Timeout) {
            let _ = kill(pid, Signal::SIGKILL);
        }
    });
    let mut tracer = Tracer {
        pid,
        first: first.to_str().unwrap(),
        strike,
        fails_too,
        threads: Vec::new(),
        started: false,
        calls: Vec::new(),
        struck: None,
        repeated: None,
        inherited: HashMap::new(),
        open: Vec::new(),
    };
    let status = tracer.run();
    drop(ended);
    let Tracer { calls, struck, repeated, open, .. } = tracer;
    let output = output(&mut child, status);
    let run = Run::ended(&format!("{command:?}, struck: {strike:?}"), output);
    Traced { run, calls, struck, repeated: repeated == Some(true), open }
}

/// What it wrote is little enough to have waited in the pipes.
fn output(child: &mut Child, status: ExitStatus) -> Output {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    child.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
    child.stderr.take().unwrap().read_to_end(&mut stderr).unwrap();
    Output { status, stdout, stderr }
}

struct Tracer<'a> {
    pid: Pid,
    first: &'a str,
    strike: Option<&'a Strike>,
    fails_too: &'a dyn Fn(&str, Errno) -> bool,
    threads: Vec<Thread>,
    started: bool,
    calls: Vec<Call>,
    struck: Option<Call>,
    repeated: Option<bool>,
    /// What was open before it began, by the numbers.
    inherited: HashMap<OsString, PathBuf>,
    open: Vec<PathBuf>,
}

struct Thread {
    id: Pid,
    counts: HashMap<String, usize>,
    /// What is to be done when the call that was begun returns.
    then: Option<Then>,
}

enum Then {
    /// It fails: this is what it returns.
    Return(i64),
    /// It was asked for less: the registers it had, and what was in memory at an address.
    Restore(Box<user_regs_struct>, Option<(u64, i64)>),
}

impl Tracer<'_> {
    fn run(&mut self) -> ExitStatus {
        // Children of other threads are none of ours.
        let all = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        waitpid(self.pid, Some(WaitPidFlag::WUNTRACED | WaitPidFlag::__WNOTHREAD)).unwrap();
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEEXEC
            | Options::PTRACE_O_TRACEEXIT
            | Options::PTRACE_O_EXITKILL;
        ptrace::seize(self.pid, options).unwrap();
        self.inherited = self.open_files();
        kill(self.pid, Signal::SIGCONT).unwrap();
        loop {
            match waitpid(None, Some(all)).unwrap() {
                WaitStatus::PtraceSyscall(id) => {
                    // One that was killed meanwhile is gone.
                    let _ = self.syscall(id);
                    self.go_on(id, None);
                }
                WaitStatus::PtraceEvent(id, _, event) => {
                    if event == Event::PTRACE_EVENT_EXIT as i32 && id == self.pid {
                        let mut open = self.open_files();
                        open.retain(|number, _| !self.inherited.contains_key(number));
                        self.open = open.into_values().collect();
                    }
                    self.thread(id);
                    self.go_on(id, None);
                }
                WaitStatus::Stopped(id, signal) => self.go_on(id, Some(signal)),
                WaitStatus::Exited(id, code) if id == self.pid => return ExitStatus::from_raw(code << 8),
                WaitStatus::Signaled(id, signal, _) if id == self.pid => {
                    return ExitStatus::from_raw(signal as i32);
                }
                _ => {}
            }
        }
    }

    fn go_on(&self, id: Pid, signal: Option<Signal>) {
        let lasting = self.strike.is_some_and(|strike| matches!(strike.how, How::FailsFromHere(_)));
        let _ = if self.repeated.is_some() && !lasting {
            ptrace::cont(id, signal)
        } else {
            ptrace::syscall(id, signal)
        };
    }

    fn thread(&mut self, id: Pid) -> usize {
        self.threads.iter().position(|thread| thread.id == id).unwrap_or_else(|| {
            self.threads.push(Thread { id, counts: HashMap::new(), then: None });
            self.threads.len() - 1
        })
    }

    /// A call begins or returns.
    fn syscall(&mut self, id: Pid) -> nix::Result<()> {
        let begins = ptrace::syscall_info(id)?.op == libc::PTRACE_SYSCALL_INFO_ENTRY;
        let thread = self.thread(id);
        if begins {
            return self.begins(id, thread);
        }
        match self.threads[thread].then.take() {
            None => Ok(()),
            Some(Then::Return(value)) => {
                let regs = ptrace::getregs(id)?;
                ptrace::setregs(id, user_regs_struct { rax: value.cast_unsigned(), ..regs })
            }
            Some(Then::Restore(before, memory)) => {
                if let Some((address, value)) = memory {
                    ptrace::write(id, address as *mut _, value)?;
                }
                let rax = ptrace::getregs(id)?.rax;
                ptrace::setregs(id, user_regs_struct { rax, ..*before })
            }
        }
    }

    fn begins(&mut self, id: Pid, thread: usize) -> nix::Result<()> {
        let regs = ptrace::getregs(id)?;
        let args = [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9];
        let mut name = name(regs.orig_rax, &args);
        if name == "close"
            && fs::metadata(format!("/proc/{}/fd/{}", self.pid, args[0])).is_ok_and(|found| found.is_dir())
        {
            name += " directory";
        }
        self.started |= name.starts_with("openat") && self.text(args[1]) == self.first;
        if !self.started {
            return Ok(());
        }
        let number = self.threads[thread].counts.entry(name.clone()).or_insert(0);
        *number += 1;
        let mut call = Call { thread, name, number: *number, args, about: String::new() };
        let Some(strike) = self.strike else {
            call.about = self.about(&call.args);
            self.calls.push(call);
            return Ok(());
        };
        if let Some(struck) = &self.struck {
            if self.repeated.is_none() && struck.thread == thread {
                self.repeated = Some(struck.is_repeated_by(&call));
            }
            if let How::FailsFromHere(errno) = strike.how
                && (self.fails_too)(&call.name, errno)
            {
                return self.strike(id, thread, strike.how, &call, regs);
            }
        } else if (strike.thread, strike.number) == (thread, call.number) && strike.name == call.name {
            call.about = self.about(&call.args);
            self.strike(id, thread, strike.how, &call, regs)?;
            self.struck = Some(call);
        }
        Ok(())
    }

    fn strike(
        &mut self,
        id: Pid,
        thread: usize,
        how: How,
        call: &Call,
        regs: user_regs_struct,
    ) -> nix::Result<()> {
        let then = match how {
            How::Meets(signal) => return kill(self.pid, signal),
            // It fails by leaving things as they are, which 0 asks for.
            How::Fails(_) | How::FailsFromHere(_) if call.name == "brk" => {
                ptrace::setregs(id, user_regs_struct { rdi: 0, ..regs })?;
                Then::Restore(Box::new(regs), None)
            }
            How::Fails(errno) | How::FailsFromHere(errno) => {
                // Linux closes a file even when that fails.
                if call.name != "close" {
                    ptrace::setregs(id, user_regs_struct { orig_rax: u64::MAX, ..regs })?;
                }
                Then::Return(-(errno as i64))
            }
            How::Short if call.name == "preadv" => {
                // Half of the first buffer alone.
                let length = ptrace::read(id, (regs.rsi + 8) as *mut _)?;
                ptrace::write(id, (regs.rsi + 8) as *mut _, (length / 2).max(1))?;
                ptrace::setregs(id, user_regs_struct { rdx: 1, ..regs })?;
                Then::Restore(Box::new(regs), Some((regs.rsi + 8, length)))
            }
            How::Short => {
                // One entry of a directory fits, as long as the tests' names are.
                let less = if call.name == "getdents64" { 48 } else { (regs.rdx / 2).max(1) };
                ptrace::setregs(id, user_regs_struct { rdx: less, ..regs })?;
                Then::Restore(Box::new(regs), None)
            }
        };
        self.threads[thread].then = Some(then);
        Ok(())
    }

    /// The text at an address.
    fn text(&self, address: u64) -> String {
        let mut bytes = [0; 256];
        let memory = fs::File::open(format!("/proc/{}/mem", self.pid)).unwrap();
        // A page that is not there ends it.
        let length = memory.read_at(&mut bytes, address).unwrap_or(0);
        let text = bytes[..length].split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }

    /// What the first arguments are, as far as they are files or text.
    fn about(&self, args: &[u64; 6]) -> String {
        let shown = args[..3].iter().map(|arg| match *arg {
            0..1024 => fs::read_link(format!("/proc/{}/fd/{arg}", self.pid))
                .map_or_else(|_| arg.to_string(), |path| path.display().to_string()),
            0x1000.. => format!("{:?}", self.text(*arg)),
            other => other.to_string(),
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    fn open_files(&self) -> HashMap<OsString, PathBuf> {
        let all = fs::read_dir(format!("/proc/{}/fd", self.pid)).unwrap().map(Result::unwrap);
        all.map(|fd| (fd.file_name(), fs::read_link(fd.path()).unwrap_or_default())).collect()
    }
}

impl Call {
    fn is_repeated_by(&self, next: &Call) -> bool {
        self.name == next.name && self.args[0] == next.args[0]
    }
}

/// The name of a call, with what it is used for where it can do very different things.
fn name(number: u64, args: &[u64; 6]) -> String {
    macro_rules! named {
        ($($name:ident)*) => {
            match i64::try_from(number).unwrap_or(-1) {
                $(n if n == libc::$name => stringify!($name).trim_start_matches("SYS_"),)*
                _ => return format!("number {number}"),
            }
        };
    }
    let name = named!(
        SYS_openat SYS_read SYS_pread64 SYS_preadv SYS_pwrite64 SYS_write SYS_close SYS_statx SYS_newfstatat SYS_fstat
        SYS_getdents64 SYS_readlink SYS_readlinkat SYS_listxattr SYS_flistxattr SYS_getxattr SYS_fgetxattr
        SYS_setxattr SYS_fsetxattr SYS_removexattr SYS_fremovexattr SYS_flock SYS_fstatfs SYS_lseek SYS_fallocate
        SYS_ftruncate SYS_fsync SYS_fdatasync SYS_syncfs SYS_mkdirat SYS_symlinkat SYS_mknodat SYS_linkat SYS_renameat
        SYS_renameat2 SYS_unlinkat SYS_fchmod SYS_fchmodat SYS_fchownat SYS_utimensat SYS_fcntl SYS_ioctl SYS_brk
        SYS_mmap SYS_munmap SYS_mremap SYS_mprotect SYS_madvise SYS_clone3 SYS_futex SYS_getrandom SYS_sigaltstack
        SYS_rt_sigprocmask SYS_rt_sigaction SYS_rt_sigreturn SYS_sched_getaffinity SYS_set_robust_list SYS_rseq
        SYS_prctl SYS_gettid SYS_getpid SYS_tgkill SYS_geteuid SYS_getegid SYS_faccessat2 SYS_clock_nanosleep
        SYS_restart_syscall SYS_exit SYS_exit_group
    );
    let purpose = match (name, args[1].try_into().unwrap_or(-1)) {
        ("openat", _) if args[2] & libc::O_CREAT as u64 != 0 => "O_CREAT",
        ("fcntl", libc::F_DUPFD_CLOEXEC) => "F_DUPFD_CLOEXEC",
        ("fcntl", libc::F_GETFD) => "F_GETFD",
        ("fcntl", libc::F_GETFL) => "F_GETFL",
        ("ioctl", 0x4020_940d) => "FICLONERANGE",
        ("ioctl", 0x5401) => "TCGETS",
        // In private memory or not.
        ("futex", libc::FUTEX_WAIT | 0x80 | 0x89) => "FUTEX_WAIT",
        ("futex", _) => "FUTEX_WAKE",
        ("fcntl" | "ioctl", other) => return format!("{name} {other:#x}"),
        _ => return name.to_owned(),
    };
    format!("{name} {purpose}")
}
