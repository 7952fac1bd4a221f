"""Rewrites its results again and again while the worker reads them."""

import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import tools

from zads.filters import Filter


class Attack(Filter):
    """Rewrites its results again and again while the worker reads them."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        serve = tools.serving()
        signal.signal(signal.SIGALRM, lambda *_: None)
        tools.frame(b'{"done":true}')
        while True:
            serve["words"][2] = 100
            serve["results"]._area[0:100] = b"[" * 100
            serve["words"][2] = 0xFFFFFFFF
