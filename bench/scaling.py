"""The cost of an alert by number of filters and size of packets: nothing may grow faster than linearly."""

from __future__ import annotations

import io
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import fastavro
import numpy as np

from bench import clocks, group, packets
from bench.result import Context, Point, Result, Series
from zads.packet import Packet
from zads.sources import simulator

SYNC = b"zads benchmark  "  # the marker after a packet's header and after its record
FILTERS = (10, 30, 100, 300, 1000)
KILOBYTES = (35, 50, 75, 100, 150, 200)
SAMPLE = 50  # packets: a thousand filters take a while
ROUNDS = 5
#: The exponent of a linear cost is 1; measured ones scatter up to this.
LINEAR = 1.05


@dataclass(frozen=True)
class Curve:
    """A cost of an alert in microseconds: one value a round at each of some sizes."""

    label: str
    sizes: Sequence[float]
    costs: Sequence[Sequence[float]]

    def points(self) -> list[Point]:
        """The points for a plot."""
        return [
            (size, statistics.median(costs), min(costs), max(costs))
            for size, costs in zip(self.sizes, self.costs, strict=True)
        ]

    def growth(self, what: str, beyond: float = 0.0) -> Result:
        """The exponent of the cost's growth over the last four sizes, after `beyond` is subtracted from each size."""
        sizes = np.log(np.array(self.sizes[-4:]) - beyond)
        exponents = [float(np.polyfit(sizes, np.log(costs), 1)[0]) for costs in zip(*self.costs[-4:], strict=True)]
        note = f"the cost grows as {what} to this power, between {self.sizes[-4]:.0f} and {self.sizes[-1]:.0f}"
        name = f"growth: {self.label}"
        # If a fixed part becomes cheaper, growth looks steeper: nothing is worse then.
        return Result(name, exponents, "(exponent)", goal=LINEAR, sense="at most", note=note, compared=False)


def measure(context: Context) -> Iterator[Result | Series]:
    """Curves of the cost per alert, and the exponents of their growth."""
    cost = "µs an alert, processor time"
    curves = list(_by_filters(context))
    note = "The group of a filter worker, its sandboxed process included: candidate cuts."
    lines = {curve.label: curve.points() for curve in curves}
    yield Series("Cost of an alert by the number of filters", "filters in the group", cost, lines, True, note)
    for curve in curves:
        yield curve.growth("the number of filters")
    sets = [list(of_size(1000 * size, 10)) for size in KILOBYTES]
    header = sets[0][0].index(SYNC) / 1000
    curves = list(_by_size(context, sets))
    note = (
        f"Simulated packets of schema 4.02, of which the schema has {header:.0f} KB; the rest grows in all its parts."
    )
    lines = {curve.label: curve.points() for curve in curves}
    yield Series("Cost of an alert by the size of its packet", "KB a packet", cost, lines, True, note)
    for curve in curves:
        yield curve.growth("the size of the record in KB", header)


def _rounds(work: Sequence[Callable[[], float]]) -> list[list[float]]:
    """The values of each piece of work, one a round. In every round all of them have a turn."""
    found = [[one() for one in work] for _ in range(ROUNDS)]
    return [list(column) for column in zip(*found, strict=True)]


def _by_filters(context: Context) -> Iterator[Curve]:
    chosen = context.packets[:SAMPLE]
    for rule, label in (("candidate", "filters one after the other"), ("columns", "filters on columns")):
        context.say(f"scaling: {FILTERS[0]} to {FILTERS[-1]} {label}")
        with ExitStack() as stack:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            groups = [
                stack.enter_context(group.running(group.write(scratch / str(count), rule, count))) for count in FILTERS
            ]
            yield Curve(label, FILTERS, _rounds([partial(one.cost, chosen) for one in groups]))


def _by_size(context: Context, sets: Sequence[Sequence[bytes]]) -> Iterator[Curve]:
    sizes = [sum(map(len, chosen)) / len(chosen) / 1000 for chosen in sets]
    with (
        tempfile.TemporaryDirectory() as scratch,
        group.running(group.write(Path(scratch) / "filters", "candidate")) as running,
    ):
        ways: dict[str, Callable[[Sequence[bytes]], float]] = {
            "validation of larger packets": partial(clocks.cost, Packet.parse),
            "candidate cuts of larger packets": partial(clocks.cost, packets.by_candidate),
            "the group's candidate cuts of larger packets": running.cost,
        }
        for label, cost in ways.items():
            context.say(f"scaling: {label}")
            yield Curve(label, sizes, _rounds([partial(cost, chosen) for chosen in sets]))


def of_size(size: int, count: int) -> Iterator[bytes]:
    """`count` valid packets of about `size` bytes. Half of that, without the schema, is light curve, the rest cutouts.

    The smallest possible size is about 30,000 bytes.
    """
    for number, data in enumerate(_with_history()):
        if number == count:
            return
        reader = fastavro.reader(io.BytesIO(data))
        schema = fastavro.parse_schema(reader.writer_schema)
        record = cast("dict[str, Any]", next(reader))
        history = record["prv_candidates"]
        bare = len(_written(schema, {**record, "prv_candidates": None} | _cutouts(record, 0)))
        point = (len(_written(schema, record | _cutouts(record, 0))) - bare) / len(history)
        points = round((size - bare) / 2 / point)
        record["prv_candidates"] = [history[index % len(history)] for index in range(points)]
        left = size - len(_written(schema, record | _cutouts(record, 0)))
        yield _written(schema, record | _cutouts(record, left // 3))


def _with_history() -> Iterator[bytes]:
    """Simulated packets with a light curve."""
    for _, visit in simulator.simulate("20181129", 100, 100, schema_mix={"4.02": 1.0}, programme_mix={1: 1.0}):
        for _, data in visit:
            if Packet.trusted(data).read(("prv_candidates",))["prv_candidates"]:
                yield data


def _cutouts(record: dict[str, Any], size: int) -> dict[str, Any]:
    """Three cutouts of `size` bytes each: noise, which resembles compressed data."""
    noise = np.random.default_rng(1).bytes(size)
    names = [name for name in record if name.startswith("cutout")]
    return {name: {**record[name], "stampData": noise} for name in names}


def _written(schema: Any, record: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    fastavro.writer(buffer, schema, [record], sync_marker=SYNC)
    return buffer.getvalue()
