"""Shows a night while it streams: as a table on a terminal, elsewhere as a line every two seconds."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.live import Live
from rich.table import Table
from rich.text import Text

from zads.output import plain

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from rich.console import Console

#: A rate is the mean over this many seconds.
RATE_SECONDS = 10.0
#: Seconds between lines where the output is not a terminal.
LINE_SECONDS = 2.0
REFRESHES_A_SECOND = 4


@dataclass(frozen=True)
class Hop:
    """How many alerts have reached a hop, and how many of the hop before are still to come.

    ``latency``: p50, p95, p99 and max of the seconds from the producer to this hop; None where it is not measured.
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
        """The rate if ``count`` alerts have come in all until ``now`` (seconds of any clock)."""
        self._counts.append((now, count))
        while len(self._counts) > 2 and self._counts[1][0] <= now - RATE_SECONDS:
            self._counts.popleft()
        then, before = self._counts[0]
        return (count - before) / (now - then) if now > then else 0.0


class LiveView:
    """A context manager. Lines that are printed to its console while it is open appear above the table."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=REFRESHES_A_SECOND, transient=True)
        self._meters: dict[str, Meter] = {}
        self._last_line = 0.0
        self._started = time.monotonic()

    def __enter__(self) -> LiveView:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def update(self, doing: str, hops: Sequence[Hop]) -> None:
        """Show the present step (``doing``, in words) and where the alerts are."""
        now = time.monotonic()
        rates = [self._meters.setdefault(hop.name, Meter()).rate(hop.alerts, now) for hop in hops]
        if self._console.is_terminal:
            self._live.update(table(doing, hops, rates))
        elif now - self._last_line > LINE_SECONDS:
            self._last_line = now
            self._console.print(
                f"{now - self._started:6.1f} s  {line(doing, hops, rates)}",
                highlight=False, soft_wrap=True, markup=False,
            )  # fmt: skip


def table(doing: str, hops: Sequence[Hop], rates: Sequence[float]) -> Table:
    """A table with one row for each hop; ``rates`` are alerts a second."""
    made = Table(title=Text(plain(doing)), title_justify="left")
    made.add_column("hop")
    for heading in ("alerts", "a second", "still to come", "median age", "99 % within"):
        made.add_column(heading, justify="right")
    for hop, rate in zip(hops, rates, strict=True):
        ages = [f"{hop.latency[name]:.2f} s" for name in ("p50", "p99")] if hop.latency else ["", ""]
        made.add_row(Text(plain(hop.name)), str(hop.alerts), f"{rate:.1f}", str(hop.behind or ""), *ages)
    return made


def line(doing: str, hops: Sequence[Hop], rates: Sequence[float]) -> str:
    """All hops in one line; ``rates`` are alerts a second."""
    parts = []
    for hop, rate in zip(hops, rates, strict=True):
        words = f"{hop.name} {hop.alerts}"
        if rate:
            words += f" ({rate:.0f}/s)"
        if hop.latency:
            words += f" {hop.latency['p50']:.2f} s old"
        parts.append(words + (f", {hop.behind} to come" if hop.behind else ""))
    return f"{doing}: {'; '.join(parts)}"
