"""Has the kernel send signals to others by what happens at its own pipes."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import tools

from zads.filters import Filter


class Attack(Filter):
    """Has the kernel send signals to others by what happens at its own pipes."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        others = [os.getppid()]
        return tools.attempt(
            *((f"F_SETOWN {one}", tools.CALL["fcntl"], fd, 8, one) for fd in range(8) for one in others),
            *(
                (f"F_SETOWN_EX {one}", tools.CALL["fcntl"], fd, 15, tools.buffer())
                for fd in range(8)
                for one in others[:2]
            ),
            *((f"F_SETSIG {fd}", tools.CALL["fcntl"], fd, 10, 10) for fd in range(8)),
            *((f"O_ASYNC {fd}", tools.CALL["fcntl"], fd, 4, 0o20000) for fd in range(8)),
            *((f"FIOASYNC {fd}", tools.CALL["ioctl"], fd, 0x5452, tools.buffer(b"\1")) for fd in range(8)),
            *((f"FIOSETOWN {fd}", tools.CALL["ioctl"], fd, 0x8901, tools.buffer()) for fd in range(8)),
        )
