"""Fills memory that outlives it: System V, POSIX queues, memory files, /dev/shm."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import tools

from zads.filters import Filter


class Attack(Filter):
    """Fills memory that outlives it: System V, POSIX queues, memory files, /dev/shm."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        made = tools.attempt(
            ("shmget", tools.CALL["shmget"], 0, 10_000, 0o1777),
            ("shmat", tools.CALL["shmat"], 0, 0, 0),
            ("semget", tools.CALL["semget"], 0, 10, 0o1777),
            ("msgget", tools.CALL["msgget"], 0, 0o1777),
            ("memfd", tools.CALL["memfd_create"], tools.buffer(b"x"), 0),
            ("mq_open", tools.CALL["mq_open"], tools.buffer(b"x"), 0o102, 0o777, 0),
            ("memfd_secret", 447, 0),
        )
        for folder in ("/dev/shm", "/tmp", "/run", "/dev/mqueue", "/run/sandbox", str(Path(__file__).parent)):
            if tools.opens(f"{folder}/filled", 0o102):
                made["done"].append(folder)
        return made
