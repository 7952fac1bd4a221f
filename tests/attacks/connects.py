"""Opens sockets of every kind, and connects to the one by which processes are started."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import tools

from zads.filters import Filter


class Attack(Filter):
    """Opens sockets of every kind, and connects to the one by which processes are started."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        return tools.attempt(
            *(
                (f"socket {family} {kind}", tools.CALL["socket"], family, kind, 0)
                for family in (1, 2, 10, 16, 17, 38)
                for kind in (1, 2, 3, 5)
            ),
            ("socketpair", tools.CALL["socketpair"], 1, 1, 0, tools.buffer()),
            ("pipe2", tools.CALL["pipe2"], tools.buffer(), 0),
            ("eventfd", tools.CALL["eventfd2"], 0, 0),
            ("epoll", tools.CALL["epoll_create1"], 0),
            *((f"sendmsg {fd}", tools.CALL["sendmsg"], fd, tools.buffer(bytes(64)), 0) for fd in range(8)),
            *((f"recvmsg {fd}", tools.CALL["recvmsg"], fd, tools.buffer(bytes(64)), 0) for fd in range(8)),
        )
