"""Starts processes and threads in every way that there is."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import tools

from zads.filters import Filter


class Attack(Filter):
    """Starts processes and threads in every way that there is."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        return tools.attempt(
            ("fork", tools.CALL["fork"]),
            ("vfork", tools.CALL["vfork"]),
            ("clone", tools.CALL["clone"], 17, 0, 0, 0, 0),
            ("thread", tools.CALL["clone"], 0x3D0F00, 0, 0, 0, 0),
            ("clone3", tools.CALL["clone3"], tools.buffer(bytes(88)), 88),
            ("execve", tools.CALL["execve"], tools.buffer(b"/bin/true"), 0, 0),
            ("execveat", tools.CALL["execveat"], 0, tools.buffer(b"/bin/true"), 0, 0, 0),
        )
