"""A recorded night, read as the filters see it: from files, an archive or a topic, or a fair sample of it.

A night is read packet by packet and never held in memory: a whole one is 200,000 packets, 13 GB.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from zads import kafka, schemas
from zads.errors import ZadsError
from zads.packet import Packet
from zads.sources import files
from zads.sources.replay import replay

KEPT_REASONS = 100  # refused packets whose reasons are kept
REPORT_EVERY = 250  # packets between two reports of progress

#: Called from time to time with the number of alerts read, and of those that have passed the first filter.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class RecordedAlert:
    """One packet of a recorded night, and the name of its file or its place in the topic."""

    name: str
    packet: Packet


class RecordedNight:
    """A recorded night: its validated packets, in the order of their source. Each iteration reads them again.

    `refusals` counts the packets that a producer would refuse, which no filter sees; `refused` has the reasons of the
    first KEPT_REASONS. `passed_over` counts the files that are neither read nor refused, by reason. Iterating raises
    ZadsError if the source cannot be read or has no packet.
    """

    def __init__(self, where: str, read: Callable[[], Iterable[files.Item]]) -> None:
        self._where, self._read = where, read
        # A worker reads every schema version that a producer may be told to accept.
        self._admission = schemas.Admission(accepts=True)
        self.refused: list[str] = []
        self.refusals = 0
        self.passed_over: Counter[str] = Counter()

    def __iter__(self) -> Iterator[RecordedAlert]:
        self.refused, self.refusals, self.passed_over = [], 0, Counter()
        empty = True
        for item in self._read():
            if (packet := self._packet(item)) is not None:
                empty = False
                yield RecordedAlert(item.name, packet)
        if empty:
            hint = "give a directory or tar archive of .avro files, or a topic"
            raise ZadsError("; ".join([f"{self._where} has no packets", *self.refused[:1]]), hint=hint)

    def _packet(self, item: files.Item) -> Packet | None:
        if item.passed:
            self.passed_over[item.passed] += 1
            return None
        reason = item.refused
        if not reason:
            try:
                return Packet.parse(item.data, admission=self._admission)
            except ZadsError as error:
                reason = str(error)
        self.refusals += 1
        if len(self.refused) < KEPT_REASONS:
            self.refused.append(f"{item.name}: {reason}")
        return None


def of_path(path: Path) -> RecordedNight:
    """The packets of a directory, an archive or a file."""
    return RecordedNight(str(path), lambda: files.read(path))


def of_topic(topic: str, client: Path) -> RecordedNight:
    """The packets that a night's topic holds, read with a client's properties file. Raises ZadsError."""
    conf = kafka.read_properties(client)

    def read() -> Iterator[files.Item]:
        for message in replay(conf, topic):
            data = message.value() or b""
            yield files.Item(f"{topic}/{message.partition()}/{message.offset()}", data, len(data))

    return RecordedNight(topic, read)


@dataclass(frozen=True)
class Sample:
    """Packets of a night in its order, each chosen with the same chance; `of` is the number that the night has."""

    packets: list[RecordedAlert]
    of: int

    def __iter__(self) -> Iterator[RecordedAlert]:
        return iter(self.packets)


def sample(alerts: Iterable[RecordedAlert], count: int, seed: int = 1, progress: Progress | None = None) -> Sample:
    """A fair sample of a night, the same for the same seed (reservoir sampling: Vitter 1985, algorithm R).

    The sample is held in memory, with about 65 kB a packet.
    """
    chance = random.Random(seed)
    kept: list[tuple[int, RecordedAlert]] = []
    place = -1
    for place, alert in enumerate(alerts):
        if len(kept) < count:
            kept.append((place, alert))
        elif (replaced := chance.randrange(place + 1)) < count:
            kept[replaced] = (place, alert)
        if progress is not None and place % REPORT_EVERY == 0:
            progress(place, 0)
    return Sample([alert for _, alert in sorted(kept, key=lambda pair: pair[0])], place + 1)
