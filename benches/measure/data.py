"""The data: the same names, sizes, contents and attributes on every machine, from a seed.

Contents are pieces of a pool of random bytes, at random places. They do not compress, and no two large files are the
same. Nothing is sparse.
"""

import os
import random
from functools import cache

SEED = 20240917
POOL_SIZE = 32 << 20
PIECE = 1 << 20
MTIME = 1_600_000_000  # seconds; files are up to three years younger
MODES = [0o644] * 12 + [0o600] * 4 + [0o755] * 3 + [0o440]
# Of a directory at the root, and of all below it. Most volumes have one or two owners, which no name is known of.
OWNERS = [(1000, 1000)] * 5 + [(999, 998)]
WORDS = """account agent archive asset audit avatar backup base batch block branch build bundle cache catalog chart
chunk client cluster commit config content cursor daily data dead delta draft event export feed field fixture graph
group head history image import inbox index input item journal key label layer ledger lib link locale log main
manifest map media message meta module month node note object order output package page part peer plan plugin pool
post profile query queue ref region release remote report role root route run schema script segment session shard
sheet signal sketch snapshot source stage state static store stream summary system table tag task team temp test theme
thread ticket token trace track tree trunk unit update upload user value vendor version view volume week worker
zone""".split()
ENDINGS = [".json", ".log", ".txt", ".db", ".html", ".js", ".py", ".png", ".conf", ".dat", "", ".sst", ".idx", ".tmp"]


@cache
def pool():
    return memoryview(random.Random(SEED).randbytes(POOL_SIZE))


class Maker:
    """Makes trees. Owners are set if this process may set them."""

    def __init__(self, name):
        self.random = random.Random(f"{SEED} {name}")
        self.pool = pool()
        self.count = 0
        self.owner = OWNERS[0]

    def write(self, handle, size):
        """Writes `size` bytes that no other file has, as far as they have room for a number."""
        self.count += 1
        while size > 0:
            piece = min(size, PIECE)
            start = int(self.random.random() * (POOL_SIZE - piece))
            content = self.pool[start : start + piece]
            if piece == PIECE:
                self.count += 1
                content = self.count.to_bytes(16, "little") + content[16:]
            os.write(handle, content)
            size -= piece

    def file(self, path, size, attributes=True):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        self.write(handle, size)
        if attributes:
            if os.geteuid() == 0:
                os.fchown(handle, *self.owner)
            os.fchmod(handle, self.random.choice(MODES))
            self.touch(handle)
        os.close(handle)

    def touch(self, path):
        time = MTIME * 10**9 + int(self.random.random() * 10**17)
        os.utime(path, ns=(time, time))

    def folders(self, root, count):
        """Directories of up to six levels, most of them shallow. Returns those at the root, and of each all below it."""
        made = [(root, 0, None)]
        families = {}
        for number in range(count):
            parent, depth, family = self.random.choice(made[-200:] if number % 3 else made)
            if depth == 6:
                parent, depth, family = made[0]
            path = f"{parent}/{self.random.choice(WORDS)}-{number}"
            os.mkdir(path, 0o755)
            family = family or path
            families.setdefault(family, []).append(path)
            made.append((path, depth + 1, family))
        return families

    def tree(self, root, sizes, per_folder=15, attributes=True):
        """Files of the given sizes, about `per_folder` in a directory, made directory by directory."""
        os.mkdir(root, 0o755)
        families = self.folders(root, len(sizes) // per_folder)
        folders = [folder for family in families.values() for folder in family]
        owners = {folder: self.random.choice(OWNERS) for folder in families}
        owner = {folder: owners[family] for family, members in families.items() for folder in members}
        counts = [0] * len(folders)
        for _ in sizes:
            counts[int(self.random.random() * len(folders))] += 1
        sizes = iter(enumerate(sizes))
        for folder, count in zip(folders, counts):
            self.owner = owner[folder]
            for _ in range(count):
                number, size = next(sizes)
                name = f"{self.random.choice(WORDS)}_{number:x}{self.random.choice(ENDINGS)}"
                self.file(f"{folder}/{name}", size, attributes)
        for folder in reversed(folders):
            self.touch(folder)
        self.touch(root)

    def flat(self, root, count, size):
        """A few large files in one directory."""
        os.mkdir(root, 0o755)
        for number in range(count):
            self.file(f"{root}/{self.random.choice(WORDS)}-{number}.bin", size)
        self.touch(root)


def small(root, scale):
    maker = Maker("small")
    sizes = [maker.random.randint(100, 8192) for _ in range(60_000 // scale)]
    maker.tree(root, sizes)


def large(root, scale):
    Maker("large").flat(root, 2, (700 << 20) // scale)


def mixed(root, scale):
    """Sizes are spread evenly over the powers of two: as many files of 128 to 256 bytes as of 128 to 256 KiB."""
    maker = Maker("mixed")
    sizes = [int(2 ** maker.random.uniform(7, 18)) for _ in range(8_000 // scale)]
    sizes += [32 << 20] * max(1, 12 // scale)
    maker.random.shuffle(sizes)
    maker.tree(root, sizes)


def tiny(root, count):
    """`count` files of at most 100 bytes, half of them empty (in tmpfs each other one takes a page)."""
    maker = Maker("tiny")
    sizes = [max(0, maker.random.randint(-100, 100)) for _ in range(count)]
    maker.tree(root, sizes, per_folder=50, attributes=False)
