"""Runs the commands that it is told, one after the other, and says what each took.

It is a process of its own, and a small one, since a child's peak memory starts with what its parent had when it forked.
A request is one line of arguments between NUL bytes, the first of them the file for the command's output. The answer is
one line: exit status, wall, user and system seconds, peak resident KiB.
"""

import posix
import sys
from time import perf_counter

for line in sys.stdin.buffer:
    output, *command = line.rstrip(b"\n").split(b"\0")
    started = perf_counter()
    child = posix.fork()
    if child == 0:
        try:
            posix.dup2(posix.open("/dev/null", posix.O_RDONLY), 0)
            file = posix.open(output, posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC, 0o600)
            posix.dup2(file, 1)
            posix.dup2(file, 2)
            posix.execve(command[0], command, posix.environ)
        finally:
            posix._exit(127)
    _, status, used = posix.wait4(child, 0)
    wall = perf_counter() - started
    code = posix.waitstatus_to_exitcode(status)
    print(code, wall, used.ru_utime, used.ru_stime, used.ru_maxrss, flush=True)
