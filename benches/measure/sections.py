"""What is measured, section by section. Each leaves raw figures in `results`; measure/report.py makes tables of them."""

import os
import time

from . import check, data
from .place import GIB, CannotMount, NoRoom, check_memory, disk_folder, remove, touch_memory, used_bytes
from .timing import Failed
from .tools import PREFIX

MIB = 1 << 20
# Of each tree: how it is made, and how many bytes of tmpfs the source, an archive and a copy take at most, together.
TREES = {
    "small": ("60,000 files of 0.1–8 KiB", data.small, 1.3 * GIB),
    "large": ("2 files of 700 MiB", data.large, 4.2 * GIB),
    "mixed": ("8,000 files of 128 B–256 KiB and 12 of 32 MiB", data.mixed, 2.1 * GIB),
}
DISKS = ["xfs", "btrfs"]
DISK_FILES = 10
MILLION = 1_000_000
TINY_ROOM = 9200  # bytes of tmpfs for each file of the million: twice an inode and a half page, and 2 KiB of archive
STARTS = 50
TOUCHED = 2 * GIB  # more than any backup or restore of TREES writes
GROWTH_FILES = [1_000, 10_000, 100_000, 1_000_000]
GROWTH_BYTES = [16 * MIB, 64 * MIB, 256 * MIB, GIB, 4 * GIB]
QUICK = 10  # the part of the data that --quick takes
SETTLING = 60  # seconds that a filesystem has to give back what was removed


class Sections:
    def __init__(self, folder, launcher, tools, options, say):
        self.folder = folder
        self.launcher = launcher
        self.tools = tools
        self.main = next(tool for tool in tools if tool.ours)
        self.gnu_tar = next((tool for tool in tools if tool.name == "GNU tar"), None)
        self.rounds = options.rounds
        self.scale = QUICK if options.quick else 1
        self.disk = options.disk
        self.say = say
        # What a child has before it begins, which no figure of memory can be below.
        self.results = {"floor": launcher.run(["/bin/true"]).rss}
        self.skipped = []

    def at(self, name):
        return os.path.join(self.folder, name)

    def time(self, command):
        """Times a command, which finds memory that the machine has."""
        time.sleep(0.05)  # until what was removed is free
        touch_memory(TOUCHED // self.scale)
        return self.launcher.run(command)

    def expect(self, source):
        """Listings of a source to compare with: complete, and with what the archives of some peers cannot hold left out."""
        return {
            (nanoseconds, folder_times): check.listing(
                source, self.at(f"expected-{nanoseconds:d}{folder_times:d}"), nanoseconds, folder_times
            )
            for nanoseconds, folder_times in sorted({(tool.nanoseconds, tool.folder_times) for tool in self.tools})
        }

    def compare(self, expected, tool, root, what):
        found = check.listing(root, self.at("found"), tool.nanoseconds, tool.folder_times)
        check.equal(expected[tool.nanoseconds, tool.folder_times], found, what)

    def check_archive(self, tool, source, archive, expected):
        """Our archive is right if we say so and GNU tar extracts the source from it. A peer's is checked by its restore."""
        if not tool.ours:
            return
        self.launcher.run(tool.verify(archive))
        if self.gnu_tar:
            extracted = self.at("extracted")
            os.mkdir(extracted)
            self.launcher.run([self.gnu_tar.path, "-C", extracted, "-xpf", archive])
            self.compare(expected, tool, f"{extracted}/{PREFIX}{source}", f"what GNU tar extracted from {tool.name}'s archive")
            remove(extracted, self.folder)

    def there_and_back(self, tool, source, expected):
        """One backup into a new archive and one restore of it into an empty folder, both checked."""
        archive, target = self.at("archive.tar"), self.at("target")
        tool.prepare(self.launcher, archive)
        backup = self.time(tool.backup(archive, source))
        self.check_archive(tool, source, archive, expected)
        os.mkdir(target)
        restore = self.time(tool.restore(archive, source, target))
        self.compare(expected, tool, tool.restored(source, target), f"what {tool.name} restored")
        remove(target, self.folder)
        remove(archive, self.folder)
        return {"backup": backup.json(), "restore": restore.json()}

    def in_turn(self, tools, source, expected, rounds):
        """All tools in turn, each round beginning with another one. The first backup and restore do not count."""
        self.there_and_back(self.main, source, expected)
        took = {way: {tool.name: [] for tool in tools} for way in ("backup", "restore")}
        for number in range(rounds):
            first = number % len(tools)
            for tool in tools[first:] + tools[:first]:
                for way, figures in self.there_and_back(tool, source, expected).items():
                    took[way][tool.name].append(figures)
        return took

    def tree(self, name):
        """A row of the table: everyone backs the same tree up and restores it."""
        title, make, room = TREES[name]
        self.say(f"{name}: {title}")
        check_memory(room / self.scale, name)
        source = self.at(name)
        make(source, self.scale)
        took = self.in_turn(self.tools, source, self.expect(source), self.rounds)
        self.results.setdefault("trees", {})[name] = {"title": title, "scale": self.scale, **took}
        remove(source, self.folder)

    def million(self):
        """Peak memory with very many files, both ways, and how long it takes to find one's way in their archive."""
        count = MILLION // self.scale
        self.say(f"million: {count:,} files of 0–100 bytes")
        check_memory(count * TINY_ROOM, "million")
        source, archive, target, empty = map(self.at, ("tiny", "archive.tar", "target", "empty"))
        data.tiny(source, count)
        expected = {(True, True): check.listing(source, self.at("expected"))}
        took = {"count": count, "list": [], "append": []}
        self.main.prepare(self.launcher, archive)
        took["backup"] = [self.time(self.main.backup(archive, source)).json()]
        self.check_archive(self.main, source, archive, expected)
        took["bytes"] = os.path.getsize(archive)
        os.mkdir(empty)
        for _ in range(self.rounds):
            took["list"].append(self.time(self.main.command(archive, "list")).json())
            append = self.main.command(archive, "--prefix", "empty", "--volume", empty, "backup")
            took["append"].append(self.time(append).json())
        os.mkdir(target)
        took["restore"] = [self.time(self.main.restore(archive, source, target)).json()]
        self.compare(expected, self.main, self.main.restored(source, target), "what was restored of a million files")
        for path in (source, archive, target, empty):
            remove(path, self.folder)
        self.results["million"] = took

    def start(self):
        """How long `snapshotter --version` takes, and a program that does nothing."""
        self.say("start: snapshotter --version")
        builds = {tool.name: tool.path for tool in self.tools if tool.ours and not tool.flags}
        commands = {name: [path, "--version"] for name, path in builds.items()}
        commands["true"] = ["/bin/true"]
        took = {name: [] for name in commands}
        for _ in range(STARTS):
            for name, command in commands.items():
                took[name].append(self.launcher.run(command).json())
        self.results["start"] = took

    def growth(self):
        """How time grows with the number of files, and with the number of bytes, for us and GNU tar."""
        tools = [tool for tool in (self.main, self.gnu_tar) if tool]
        took = {"files": [], "bytes": []}
        # The largest of each are left out of a quick run: they take longer than all the others together.
        last = -1 if self.scale > 1 else None
        for count in (count // self.scale for count in GROWTH_FILES[:last]):
            self.say(f"growth: {count:,} files")
            check_memory(count * TINY_ROOM, "growth")
            took["files"].append(self.grown(tools, count, lambda source: data.tiny(source, count), count > 100_000))
        for size in (size // self.scale for size in GROWTH_BYTES[:last]):
            self.say(f"growth: {size / MIB:,.1f} MiB")
            check_memory(3 * size, "growth")
            took["bytes"].append(
                self.grown(tools, size, lambda source: data.Maker("growth").flat(source, 1, size), size > GIB)
            )
        self.results["growth"] = took

    def grown(self, tools, size, make, once):
        source = self.at("growth")
        make(source)
        took = self.in_turn(tools, source, self.expect(source), 1 if once else self.rounds)
        remove(source, self.folder)
        return {"size": size, **took}

    def filesystem(self, kind):
        """Backup and restore of large files where the archive and the volume share a filesystem that can clone."""
        size = 10 * GIB // self.scale
        self.say(f"{kind}: {DISK_FILES} files, {size / GIB:.0f} GiB in all")
        # Without cloning there are three of everything. What the filesystem needs for itself comes on top.
        needed = 3 * size + GIB
        with disk_folder(kind, needed + needed // 10, needed, self.disk) as folder:
            self.results.setdefault("filesystems", {})[kind] = {"bytes": size, **self.on_disk(folder, size)}

    def on_disk(self, folder, size):
        source, archive, target, copy = (os.path.join(folder, name) for name in ("data", "archive.tar", "target", "copy"))
        data.Maker("disk").flat(source, DISK_FILES, size // DISK_FILES)
        expected = {(True, True): check.listing(source, self.at("expected"))}
        took = {"backup": [], "restore": [], "cp --reflink=always": []}
        start = used_bytes(folder)
        for number in range(1 if self.scale > 1 else min(self.rounds, 3)):
            self.main.prepare(self.launcher, archive)
            took["backup"].append(self.with_room(folder, self.main.backup(archive, source)))
            os.mkdir(target)
            took["restore"].append(self.with_room(folder, self.main.restore(archive, source, target)))
            if number == 0:
                self.check_on_disk(source, archive, expected)
                self.compare(expected, self.main, self.main.restored(source, target), "what was restored")
            remove(target, folder)
            remove(archive, folder)
            self.settle(folder, start)
            # The limit: the filesystem's own clones of the same files.
            took["cp --reflink=always"].append(self.with_room(folder, ["/bin/cp", "-a", "--reflink=always", source, copy]))
            remove(copy, folder)
            self.settle(folder, start)
        return took

    def settle(self, folder, start):
        """Waits until what was removed is free again: filesystems do that later, and it would count as ours."""
        until = time.monotonic() + SETTLING
        while used_bytes(folder) > start + start // 1000:
            if time.monotonic() > until:
                raise Failed(f"{folder} still uses what was removed from it {SETTLING} s ago")
            time.sleep(0.1)

    def with_room(self, folder, command):
        """Times a command, and adds how many bytes of the filesystem it used."""
        before = used_bytes(folder)
        took = self.time(command).json()
        return {**took, "used": used_bytes(folder) - before}

    def check_on_disk(self, source, archive, expected):
        """As check_archive, but GNU tar compares with the source: nothing is extracted, for want of room."""
        self.launcher.run(self.main.verify(archive))
        if self.gnu_tar:
            strip = PREFIX.count("/") + 1
            top = source.split("/")[1]
            self.launcher.run(
                [self.gnu_tar.path, "-C", "/", f"--strip-components={strip}", "-df", archive, f"{PREFIX}/{top}"]
            )

    def run(self, name):
        """Runs a section. What the machine cannot do is noted, with the reason; what goes wrong is an error."""
        try:
            if name in TREES:
                self.tree(name)
            elif name in DISKS:
                self.filesystem(name)
            else:
                getattr(self, name)()
        except (CannotMount, NoRoom) as error:
            self.skipped.append(f"{name}: {error}")
            self.say(f"skipped: {name}: {error}")


NAMES = [*TREES, *DISKS, "million", "start", "growth"]
