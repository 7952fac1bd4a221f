"""What a streaming night looks like while it runs: a table on a terminal, a line every now and then elsewhere."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.live import Live
from rich.table import Table
from rich.text import Text

from zads.shown import plain

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from rich.console import Console

#: A rate is the mean over so many seconds.
RATE_SECONDS = 10.0
#: How often a program that is no terminal gets a line.
LINE_SECONDS = 2.0
REFRESHES_A_SECOND = 4


@dataclass(frozen=True)
class Hop:
    """Where alerts have come to: how many, how many of the hop before are still to come, and how old they were there.

    ``latency`` are p50, p95, p99 and max in seconds since the producer had an alert; None where nobody measures it.
    """

    name: str
    alerts: int
    behind: int = 0
    latency: dict[str, float] | None = None


class Meter:
    """Alerts a second, as the mean over the last RATE_SECONDS."""

    def __init__(self) -> None:
        self._counts: deque[tuple[float, int]] = deque()

    def rate(self, count: int, now: float) -> float:
        """The rate, when ``count`` alerts have come by ``now`` (seconds of any clock)."""
        self._counts.append((now, count))
        while len(self._counts) > 2 and self._counts[1][0] <= now - RATE_SECONDS:
            self._counts.popleft()
        then, before = self._counts[0]
        return (count - before) / (now - then) if now > then else 0.0


class LiveView:
    """A context manager; lines printed to its console meanwhile appear above the table."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=REFRESHES_A_SECOND, transient=True)
        self._meters: dict[str, Meter] = {}
        self._told = 0.0
        self._started = time.monotonic()

    def __enter__(self) -> LiveView:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def update(self, doing: str, hops: Sequence[Hop]) -> None:
        """Show what goes on (``doing``, in words) and where the alerts are."""
        now = time.monotonic()
        rates = [self._meters.setdefault(hop.name, Meter()).rate(hop.alerts, now) for hop in hops]
        if self._console.is_terminal:
            self._live.update(table(doing, hops, rates))
        elif now - self._told > LINE_SECONDS:
            self._told = now
            self._console.print(
                f"{now - self._started:6.1f} s  {line(doing, hops, rates)}",
                highlight=False, soft_wrap=True, markup=False,
            )  # fmt: skip


def table(doing: str, hops: Sequence[Hop], rates: Sequence[float]) -> Table:
    """One row a hop."""
    made = Table(title=Text(plain(doing)), title_justify="left")
    made.add_column("hop")
    for heading in ("alerts", "a second", "still to come", "median age", "99 % within"):
        made.add_column(heading, justify="right")
    for hop, rate in zip(hops, rates, strict=True):
        ages = [f"{hop.latency[name]:.2f} s" for name in ("p50", "p99")] if hop.latency else ["", ""]
        made.add_row(Text(plain(hop.name)), str(hop.alerts), f"{rate:.1f}", str(hop.behind or ""), *ages)
    return made


def line(doing: str, hops: Sequence[Hop], rates: Sequence[float]) -> str:
    """All hops in one line."""
    parts = []
    for hop, rate in zip(hops, rates, strict=True):
        words = f"{hop.name} {hop.alerts}"
        if rate:
            words += f" ({rate:.0f}/s)"
        if hop.latency:
            words += f" {hop.latency['p50']:.2f} s old"
        parts.append(words + (f", {hop.behind} to come" if hop.behind else ""))
    return f"{doing}: {'; '.join(parts)}"
