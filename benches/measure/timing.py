"""Times commands: wall and processor seconds, and peak memory, of exactly one process and what it waited for."""

import os
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from statistics import median


class Failed(Exception):
    """A command failed, or what it wrote is wrong. Its time does not count, and nothing else is measured."""


@dataclass
class Took:
    wall: float  # seconds
    cpu: float  # seconds, user and system
    rss: int  # peak resident set, KiB

    def json(self):
        return asdict(self)


class Launcher:
    """Starts commands through measure/launch.py."""

    def __init__(self, folder):
        self.output = os.path.join(folder, "output")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("SNAPSHOTTER_", "TAR_"))}
        environment.update(LC_ALL="C", TZ="UTC")
        script = os.path.join(os.path.dirname(__file__), "launch.py")
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # so that close() reaches whatever it is running
        )

    def run(self, command):
        """Runs a command, which must succeed, and returns what it Took."""
        words = [self.output, *map(str, command)]
        self.process.stdin.write("\0".join(words).encode() + b"\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        if not answer:
            raise Failed("the launcher ended")
        if int(answer[0]) != 0:
            with open(self.output, "rb") as file:
                said = file.read()[-2000:].decode(errors="replace")
            raise Failed(f"exit {int(answer[0])}: {' '.join(words[1:])}\n{said}")
        wall, user, system, rss = map(float, answer[1:])
        return Took(wall, user + system, int(rss))

    def said(self):
        """What the last command printed."""
        with open(self.output, encoding="utf-8", errors="replace") as file:
            return file.read()

    def close(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


def middle(rounds, key="wall"):
    """The median over rounds, which are dictionaries as Took.json makes them."""
    return median(one[key] for one in rounds)
