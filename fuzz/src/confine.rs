//! A place where an archive may do its worst: a small filesystem in memory at `/srv`, in a mount namespace of
//! the calling thread in which all else is read-only. The rest of the process keeps its own view, so that the
//! fuzzer can write its corpus.

use std::fs;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::statvfs::{FsFlags, statvfs};

pub(crate) const SCRATCH: &str = "/srv";
const LIMITS: &str = "size=128m,nr_inodes=2000,mode=0755";

/// The place, which only [`Scratch::enter`] makes.
pub(crate) struct Scratch(());

impl Scratch {
    /// For this thread, and those that it starts. Panics unless all is as it must be.
    pub(crate) fn enter() -> Scratch {
        assert!(nix::unistd::geteuid().is_root(), "only root can make the rest of the system read-only");
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        change(None, Path::new("/"), MsFlags::MS_REC | MsFlags::MS_PRIVATE).unwrap();
        for point in mount_points() {
            // One that another hides cannot be reached; what can be is checked below.
            let _ = change(None, &point, MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY);
        }
        let scratch = Scratch(());
        Scratch::attach();
        std::env::set_current_dir("/").unwrap();
        Scratch::assert_confined();
        scratch
    }

    /// Empties it.
    #[expect(clippy::unused_self, reason = "who has none is not confined")]
    pub(crate) fn renew(&self) {
        umount2(SCRATCH, MntFlags::MNT_DETACH).unwrap();
        Scratch::attach();
    }

    fn attach() {
        let flags = MsFlags::MS_NODEV | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
        mount(Some("scratch"), SCRATCH, Some("tmpfs"), flags, Some(LIMITS)).unwrap();
    }

    /// Nothing outside can be written.
    pub(crate) fn assert_confined() {
        for point in mount_points().into_iter().filter(|point| point != Path::new(SCRATCH)) {
            match statvfs(&point) {
                Ok(stat) => {
                    assert!(stat.flags().contains(FsFlags::ST_RDONLY), "{} is writable", point.display());
                }
                Err(Errno::ENOENT | Errno::EACCES) => {}
                Err(error) => panic!("{}: {error}", point.display()),
            }
        }
        for outside in ["/outside", "/tmp/outside", "/var/outside"] {
            let refused = nix::unistd::mkdir(outside, nix::sys::stat::Mode::S_IRWXU);
            assert!(matches!(refused, Err(Errno::EROFS)), "{outside}: {refused:?}");
        }
    }
}

fn change(from: Option<&Path>, to: &Path, flags: MsFlags) -> nix::Result<()> {
    mount(from, to, None::<&str>, flags, None::<&str>)
}

/// Every mount of this thread's namespace.
fn mount_points() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/thread-self/mounts").unwrap();
    mounts.lines().map(|line| PathBuf::from(line.split(' ').nth(1).unwrap().replace("\\040", " "))).collect()
}
