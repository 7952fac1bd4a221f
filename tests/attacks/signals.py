"""Sends its parent a signal in every way that there is, and asks whether it could send others one."""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import tools

from zads.filters import Filter


class Attack(Filter):
    """Sends its parent a signal in every way that there is, and asks whether it could send others one."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        every = [os.getppid()]
        return tools.attempt(
            *((f"kill {one}", tools.CALL["kill"], one, signal.SIGUSR1) for one in every),
            *((f"tkill {one}", tools.CALL["tkill"], one, signal.SIGUSR1) for one in every),
            *((f"tgkill {one}", tools.CALL["tgkill"], one, one, signal.SIGUSR1) for one in every),
            *((f"sigqueue {one}", tools.CALL["rt_sigqueueinfo"], one, signal.SIGUSR1, tools.buffer()) for one in every),
            *(
                (f"tgsigqueue {one}", tools.CALL["rt_tgsigqueueinfo"], one, one, signal.SIGUSR1, tools.buffer())
                for one in every
            ),
            *((f"pidfd_open {one}", tools.CALL["pidfd_open"], one, 0) for one in every),
            *((f"may signal {one}", tools.CALL["kill"], one, 0) for one in (-1, *tools.pids())),
            ("stop", tools.CALL["kill"], os.getpid(), signal.SIGSTOP),
        )
