"""The tools that are measured: ours, and those that people use today."""

import os
import shutil
import subprocess
from dataclasses import dataclass

PREFIX = "volumes/bench"


@dataclass
class Peer:
    """A tar. It restores the archive that it wrote itself."""

    name: str
    path: str
    version: str
    applet: tuple = ()
    append: bool = True  # busybox tar cannot append: it makes a new archive
    nanoseconds: bool = False  # the archives that it writes by default have whole seconds
    folder_times: bool = True
    ours = False

    def prepare(self, launcher, archive):
        """The empty archive: none for a tool that cannot append."""
        if self.append:
            with open(archive, "xb") as file:
                file.write(bytes(1024))

    def backup(self, archive, source):
        parent, name = os.path.split(source)
        return [self.path, *self.applet, "-rf" if self.append else "-cf", archive, "-C", parent, name]

    def restore(self, archive, source, target):
        return [self.path, *self.applet, "-C", target, "-xpf", archive]

    def restored(self, source, target):
        return os.path.join(target, os.path.basename(source))


@dataclass
class Ours:
    """snapshotter, as `backup` and `restore --into` an empty directory."""

    name: str
    path: str
    flags: tuple = ()
    nanoseconds: bool = True
    folder_times: bool = True
    ours = True

    def command(self, archive, *words):
        return [self.path, "-q", "--archive", archive, *words]

    def prepare(self, launcher, archive):
        launcher.run([self.path, "-q", "init", archive])

    def backup(self, archive, source):
        return self.command(archive, "--prefix", PREFIX, "--volume", source, "backup", *self.flags)

    def restore(self, archive, source, target):
        return self.command(archive, "--prefix", PREFIX, "--volume", source, "restore", "--into", target)

    def restored(self, source, target):
        return target + source

    def verify(self, archive):
        return self.command(archive, "verify")


def first_line(command):
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except OSError:
        return None
    return ran.stdout.split("\n")[0].strip() or None


def peers():
    """The peers that are installed, and the names of those that are not."""
    busybox = shutil.which("busybox") or "busybox"
    found = [
        Peer("GNU tar", *found_at("tar", "gtar", says="GNU tar")),
        Peer("bsdtar", *found_at("bsdtar", "tar", says="bsdtar")),
        Peer("busybox tar -cf", busybox, busybox_version(busybox), ("tar",), append=False, folder_times=False),
    ]
    return [peer for peer in found if peer.version], [peer.name for peer in found if not peer.version]


def found_at(*names, says):
    """Path and version of the first of these programs that is the one meant: `tar` may be either."""
    for name in names:
        path = shutil.which(name)
        version = path and first_line([path, "--version"])
        if version and says in version:
            return path, version
    return names[0], None


def busybox_version(path):
    listed = subprocess.run([path, "--list"], capture_output=True, text=True) if os.path.isabs(path) else None
    return first_line([path]) if listed and "tar" in listed.stdout.split() else None


def libc(path):
    """What C library a program uses, and whether it is part of it."""
    with open(path, "rb") as file:
        content = file.read()
    if content[:4] != b"\x7fELF":
        return "a script"
    if b"/ld-musl-" in content:
        return "musl, dynamic"
    if b"/ld-linux" in content or b"/ld64.so" in content:
        return "glibc, dynamic"
    return "glibc, static" if b"GNU C Library" in content else "musl, static"


def ours(paths):
    """The builds to measure. The first is the one that counts; it also runs without checksums."""
    tools = [Ours("snapshotter", paths[0]), Ours("snapshotter --checksum never", paths[0], ("--checksum", "never"))]
    return tools + [Ours(f"snapshotter ({libc(path)})", path) for path in paths[1:]]


def built(repository):
    """The builds in the target directory: the static one, which users run, before the other."""
    target = os.path.join(repository, os.environ.get("CARGO_TARGET_DIR", "target"))
    folders = [f"{os.uname().machine}-unknown-linux-musl/release", "release"]
    paths = [os.path.join(target, folder, "snapshotter") for folder in folders]
    return [path for path in paths if os.path.isfile(path)]


def newest_source(repository):
    """When the program's sources last changed: a build that is older is not of them."""
    times = [os.stat(os.path.join(repository, "Cargo.lock")).st_mtime]
    for folder, _, names in os.walk(os.path.join(repository, "src")):
        times += [os.stat(os.path.join(folder, name)).st_mtime for name in names]
    return max(times)
