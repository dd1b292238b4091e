"""Where the data lies: a tmpfs of our own, and XFS and Btrfs in image files.

As root everything is mounted in a mount namespace of this process, and image files are unlinked as soon as they are
mounted. So nothing outside sees the mounts, and nothing is left of them however this process ends, also by SIGKILL, but
an empty directory.
"""

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager

from .timing import Failed

GIB = 1 << 30
CLONE_NEWNS = 0x20000


class NoRoom(Failed):
    pass


class CannotMount(Exception):
    """A filesystem cannot be made here: its tools, the privilege or the kernel's support are missing."""


def own_mounts():
    """Moves this process, and its children, into a mount namespace of their own."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
        raise CannotMount(f"no mount namespace: {os.strerror(ctypes.get_errno())}")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


def available_memory():
    with open("/proc/meminfo", encoding="ascii") as file:
        fields = dict(line.split(":", 1) for line in file)
    return int(fields["MemAvailable"].split()[0]) * 1024


def check_memory(needed, what):
    """Refuses to begin what would fill the memory. `needed` is bytes in tmpfs."""
    free = available_memory()
    spare = 512 << 20
    if needed + spare > free:
        raise NoRoom(f"{what} needs {(needed + spare) / GIB:.1f} GiB of memory, and {free / GIB:.1f} GiB is available")


TOUCH = "import mmap, sys; mmap.mmap(-1, int(sys.argv[1]), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x8000)"  # MAP_POPULATE


def touch_memory(size):
    """Writes to so many bytes of free memory.

    A virtual machine gets a page from its host when it first writes to it, and may give it back when it was free for a
    while. That takes several times as long as writing does, and is the host's time, not that of what is measured.
    """
    size = min(size, available_memory() // 2)
    subprocess.run([sys.executable, "-I", "-S", "-c", TOUCH, str(size)], check=True)


def remove(path, below):
    """Removes a tree, which must lie below the given folder."""
    path, below = os.path.abspath(path), os.path.abspath(below)
    if len(below) < 2 or not path.startswith(below + "/"):
        raise Failed(f"{path} is not below {below}")
    subprocess.run(["rm", "-rf", "--one-file-system", "--", path], check=True)


@contextmanager
def memory_folder(mounts):
    """An empty folder in a tmpfs: in one of our own if mounts can be made, else in /dev/shm."""
    if not mounts:
        folder = tempfile.mkdtemp(prefix="snapshotter-bench.", dir="/dev/shm")
        try:
            yield folder
        finally:
            shutil.rmtree(folder)
        return
    folder = tempfile.mkdtemp(prefix="snapshotter-bench.")
    try:
        options = f"mode=0755,nr_inodes=5m,size={available_memory()}"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
        try:
            yield folder
        finally:
            unmount(folder)
    finally:
        os.rmdir(folder)


MAKE = {
    "xfs": ["mkfs.xfs", "-q", "-m", "reflink=1"],
    "btrfs": ["mkfs.btrfs", "-q"],
    "ext4": ["mkfs.ext4", "-q", "-F"],
}


@contextmanager
def disk_folder(kind, size, needed, disk):
    """An empty folder in a new filesystem of `size` bytes, in a sparse file in the folder `disk`."""
    if not shutil.which(MAKE[kind][0]):
        raise CannotMount(f"{MAKE[kind][0]} is not installed")
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    if needed > free:
        raise NoRoom(f"{kind} needs {needed / GIB:.1f} GiB in {disk}, which has {free / GIB:.1f} GiB (--disk names another)")
    folder = tempfile.mkdtemp(prefix="snapshotter-bench.")
    try:
        handle, image = tempfile.mkstemp(prefix=f"snapshotter-bench-{kind}.", dir=disk)
        try:
            os.ftruncate(handle, size)
            os.close(handle)
            made = subprocess.run([*MAKE[kind], image], capture_output=True, text=True)
            if made.returncode == 0:
                made = subprocess.run(["mount", "-t", kind, "-o", "loop", image, folder], capture_output=True, text=True)
            if made.returncode != 0:
                raise CannotMount(made.stderr.strip().replace("\n", "; "))
        finally:
            os.unlink(image)
        try:
            yield folder
        finally:
            unmount(folder)
    finally:
        os.rmdir(folder)


def unmount(folder):
    """Unmounts. A process that was just killed may hold the filesystem for a moment."""
    for _ in range(50):
        if subprocess.run(["umount", folder], stderr=subprocess.DEVNULL).returncode == 0:
            return
        time.sleep(0.1)
    subprocess.run(["umount", "--lazy", folder], check=True)


def used_bytes(folder):
    """How much of a filesystem is used, once all of it is written."""
    subprocess.run(["sync", "--file-system", folder], check=True)
    state = os.statvfs(folder)
    return (state.f_blocks - state.f_bfree) * state.f_frsize
