"""Checks that what was written is right: a listing of a tree, with the hash of every file, held against another one.

Listings are text files, so that trees of a million files need no memory, and so that a difference can be shown.
"""

import hashlib
import os
import stat
from itertools import zip_longest

from .timing import Failed

PART = 8 << 20


def listing(root, file, nanoseconds=True, folder_times=True):
    """Writes a line for everything below `root`, in a fixed order: type, mode, owner, time, size, hash, name."""
    with open(file, "w", encoding="utf-8", errors="surrogateescape") as out:
        root_state = os.lstat(root)
        # Without its name: the root may be another one.
        out.write(line(root, root_state, "", nanoseconds, folder_times))
        pending = [root]
        while pending:
            folder = pending.pop()
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
            for entry in entries:
                state = entry.stat(follow_symlinks=False)
                out.write(line(entry.path, state, entry.path[len(root) :], nanoseconds, folder_times))
                if stat.S_ISDIR(state.st_mode):
                    pending.append(entry.path)
    return file


def line(path, state, name, nanoseconds, folder_times):
    mode, size, content = state.st_mode, "-", "-"
    time = str(state.st_mtime_ns if nanoseconds else state.st_mtime_ns // 10**9)
    if stat.S_ISREG(mode):
        size, content = state.st_size, digest(path)
    elif stat.S_ISLNK(mode):
        content = os.readlink(path)
    elif not folder_times:
        time = "-"
    return f"{mode:o} {state.st_uid}:{state.st_gid} {time} {size} {content} {name}\n"


def digest(path):
    """SHA-256 of a file, or its first 128 bits, which no accident makes alike."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        hasher = hashlib.sha256()
        while part := os.read(handle, PART):
            hasher.update(part)
        return hasher.hexdigest()[:32]
    finally:
        os.close(handle)


def equal(expected, found, what):
    """Fails at the first line in which two listings differ."""
    with open(expected, "rb") as one, open(found, "rb") as other:
        for number, (left, right) in enumerate(zip_longest(one, other, fillvalue=b"nothing\n"), 1):
            if left != right:
                left, right = (text.decode(errors="replace") for text in (left, right))
                raise Failed(f"{what} is not what was backed up, entry {number}:\nexpected {left}found    {right}")
