//! A mount namespace in which everything but one directory is read-only. What is mounted in it is gone when the thread
//! ends, after a panic as well.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::statvfs::{FsFlags, statvfs};

/// Runs a test in a thread of its own, which [`confine`] may be called in.
pub(crate) fn confined(test: impl FnOnce() + Send) {
    let name = thread::current().name().unwrap_or("a test").to_owned();
    let result = thread::scope(|scope| {
        let builder = thread::Builder::new().name(name).stack_size(8 << 20);
        builder.spawn_scoped(scope, test).unwrap().join()
    });
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

/// Makes everything but `root` read-only, for this thread and what it starts.
pub(crate) fn confine(root: &Path) {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    attach(None, Path::new("/"), MsFlags::MS_REC | MsFlags::MS_PRIVATE, "").unwrap();
    attach(Some(root), root, MsFlags::MS_BIND, "").unwrap();
    for point in mount_points() {
        if point != root {
            // A mount that another hides cannot be reached; what can be is checked below.
            let _ = attach(None, &point, MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY, "");
        }
    }
    assert_confined(root);
}

/// Nothing outside `root` can be written.
pub(crate) fn assert_confined(root: &Path) {
    for point in mount_points().into_iter().filter(|point| !point.starts_with(root)) {
        match statvfs(&point) {
            Ok(stat) => {
                assert!(stat.flags().contains(FsFlags::ST_RDONLY), "{} is writable", point.display());
            }
            Err(Errno::ENOENT | Errno::EACCES) => {}
            Err(error) => panic!("{}: {error}", point.display()),
        }
    }
    let outside = root.with_extension("outside");
    assert_eq!(nix::unistd::mkdir(&outside, nix::sys::stat::Mode::S_IRWXU), Err(Errno::EROFS));
}

pub(crate) fn attach(from: Option<&Path>, to: &Path, flags: MsFlags, options: &str) -> nix::Result<()> {
    mount(from, to, None::<&str>, flags, Some(options))
}

/// Every mount of this thread's namespace.
fn mount_points() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/thread-self/mounts").unwrap();
    mounts.lines().map(|line| PathBuf::from(line.split(' ').nth(1).unwrap().replace("\\040", " "))).collect()
}
