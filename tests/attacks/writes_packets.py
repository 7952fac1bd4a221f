"""Writes into the packets that all owners share, and changes the size of the shared memory."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import tools

from zads.filters import Filter


class Attack(Filter):
    """Writes into the packets that all owners share, and changes the size of the shared memory."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        serve = tools.serving()
        starts = [int(line.split("-")[0], 16) for line in tools.maps() if "zads-packets" in line]
        made = tools.attempt(
            *(("mprotect", tools.CALL["mprotect"], start, 4096, 3) for start in starts),
            *((f"ftruncate {fd}", tools.CALL["ftruncate"], fd, 0) for fd in range(16)),
            *((f"pwrite {fd}", tools.CALL["pwrite64"], fd, tools.buffer(b"spoilt"), 6, 0) for fd in range(16)),
            *((f"fallocate {fd}", tools.CALL["fallocate"], fd, 3, 0, 0, 4096) for fd in range(16)),
            *((f"seal {fd}", tools.CALL["fcntl"], fd, 1033, 1) for fd in range(16)),
            *((f"map {fd}", tools.CALL["mmap"], 0, 4096, 3, 1, fd, 0) for fd in tools.packets_descriptors()),
        )
        try:
            serve["area"][0:6] = b"spoilt"
            made["done"].append("area")
        except TypeError:
            pass
        return made
