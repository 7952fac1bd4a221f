"""The worker's group of filters as it runs in production: in a sandboxed process, with packets in shared memory."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench import clocks, cuts
from zads.errors import ZadsError
from zads.filters.owner import Spec
from zads.filters.sandbox import Sandbox

BATCH = 200  # packets; a busy worker hands over at least this number at a time

_HEAD = f'''"""A filter of the benchmark."""
from zads.filters import Filter

{inspect.getsource(cuts.bright).replace("candidate: Fields", "candidate")}
{inspect.getsource(cuts.rises).replace("history: Iterable[Fields] | None, candidate: Fields", "history, candidate")}
'''

_CANDIDATE = """
class Bright(Filter):
    "Bright, real and no known asteroid."
    programmes = {{1, 2, 3}}
    fields = {fields}

    def accept(self, alert):
        return bright(alert["candidate"], {limit})
"""

_LIGHT_CURVE = """
class Rising(Filter):
    "Bright, real, no known asteroid, and rising."
    programmes = {{1, 2, 3}}
    fields = {fields}

    def accept(self, alert):
        candidate = alert["candidate"]
        return bright(candidate, {limit}) and rises(alert["prv_candidates"], candidate)
"""

_COLUMNS = """
class Bright(Filter):
    "Bright, real and no known asteroid, by columns."
    programmes = {{1, 2, 3}}
    fields = {fields}

    def accept_batch(self, alerts):
        candidate = alerts["candidate"]
        positive = (candidate["isdiffpos"] == "t") | (candidate["isdiffpos"] == "1")
        asteroid = (candidate["ssdistnr"] >= 0) & (candidate["ssdistnr"] < 5)
        return (candidate["magpsf"] < {limit}) & (candidate["rb"] > 0.65) & positive & ~asteroid
"""


def write(directory: Path, rule: str, count: int = cuts.FILTERS) -> list[Spec]:
    """Write the files of `count` filters of a rule ("candidate", "light curve" or "columns")."""
    directory.mkdir(parents=True)
    specs = []
    for number in range(count):
        late = rule == "light curve" and number % cuts.EVERY == 0
        body = _LIGHT_CURVE if late else _COLUMNS if rule == "columns" else _CANDIDATE
        fields = (*cuts.FIELDS, cuts.HISTORY) if late else cuts.FIELDS
        limit = cuts.LIMITS[number % cuts.FILTERS]
        path = directory / f"filter{number:04d}.py"
        path.write_text(_HEAD + body.format(fields=fields, limit=limit))
        specs.append(Spec(path.stem, str(path)))
    return specs


class RunningGroup:
    """A group that runs."""

    def __init__(self, sandbox: Sandbox, process: int) -> None:
        self._sandbox, self.process = sandbox, process

    def passed(self, packets: Sequence[bytes]) -> list[list[int]]:
        """The filters that pass each packet. Raises ZadsError if a filter failed."""
        verdicts, undecodable = self._sandbox.run(packets)
        failed = [name for name, mine in verdicts.items() if mine.failed or mine.skipped]
        if undecodable or failed or self._sandbox.restarts:
            raise ZadsError(f"the group failed: {len(undecodable)} packets, filters {failed[:3]}")
        found: list[list[int]] = [[] for _ in packets]
        for number, spec in enumerate(self._sandbox.specs):
            for index in verdicts[spec.name].passed:
                found[index].append(number)
        return found

    def cost(self, packets: Sequence[bytes]) -> float:
        """Processor time of both processes for a packet, in microseconds. Few packets are repeated to fill a batch."""
        batch = list(itertools.islice(itertools.cycle(packets), max(BATCH, len(packets))))
        passes, begun = 0, clocks.spent({self.process})
        while (seconds := clocks.spent({self.process}) - begun) < clocks.SHORTEST or not passes:
            self._sandbox.run(batch)
            passes += 1
        return seconds / passes / len(batch) * 1e6


@contextmanager
def running(specs: Sequence[Spec]) -> Iterator[RunningGroup]:
    """Start a group, and end it after the body."""
    before = clocks.children()
    with Sandbox(specs) as sandbox:
        broken = [declared.error for declared in sandbox.declared.values() if declared.error]
        if broken:
            raise ZadsError(f"a filter of the benchmark cannot be loaded: {broken[0]}")
        (process,) = clocks.children() - before
        yield RunningGroup(sandbox, process)
