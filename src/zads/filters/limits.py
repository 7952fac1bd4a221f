"""Limits that Python itself keeps in the process of filters: the time of a call and of a batch, and printed text."""

from __future__ import annotations

import io
import signal
import time

from zads.filters import shared_memory, wire

TICK_SECONDS = 0.1


class Overrun(BaseException):
    """Raised in a filter's code when it has taken too long. `whole`: its time for the whole batch is used up."""

    def __init__(self, reason: str, whole: bool) -> None:
        super().__init__(reason)
        self.whole = whole


class Clock:
    """Interrupts a filter's Python code when one call, or all its calls of a batch, take too long.

    Processor time counts, since the work of others must not make a filter late. A filter that waits becomes late, too
    (see `wire.late`).
    """

    def __init__(self, words: memoryview) -> None:
        self._words = words
        self._armed = False
        signal.signal(signal.SIGALRM, self._tick)

    def start(self, call_seconds: float, batch_seconds: float) -> None:
        """Watch a filter from now on."""
        self._call, self._batch = call_seconds, batch_seconds
        self._begun = self._since = (time.process_time(), time.monotonic())
        self._last = -1
        self._armed = True

    def stop(self) -> None:
        """Stop watching."""
        self._armed = False

    def _tick(self, *_: object) -> None:
        if not self._armed:
            return
        now = (time.process_time(), time.monotonic())
        if (alert := self._words[shared_memory.ALERT]) != self._last:
            self._last, self._since = alert, now
        if wire.late(self._begun, now, self._batch):
            raise Overrun(f"it took more than {self._batch:g} s for a batch of alerts", whole=True)
        if wire.late(self._since, now, self._call):
            raise Overrun(f"it took more than {self._call:g} s for one call", whole=False)


class PrintedText(io.TextIOBase):
    """Keeps the beginning of what filters print, and drops the rest at no cost."""

    def __init__(self) -> None:
        self.kept = ""

    def write(self, text: str) -> int:
        """Keep the text as far as there is room."""
        if len(self.kept) < wire.MAX_OUTPUT:
            self.kept += text[: wire.MAX_OUTPUT - len(self.kept)]
        return len(text)

    def writable(self) -> bool:
        """Whether the stream can be written to: always."""
        return True


def shortened(text: str, most: int = wire.MAX_REASON) -> str:
    """The text as it may be sent: cut to `most` characters, without half characters."""
    return text[:most].encode("utf-8", "replace").decode()
