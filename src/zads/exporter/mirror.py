"""Looks at the mirror: its own word about its places, the ends of both sites, and records where these leave a doubt.

MirrorMaker writes its place in each partition to a topic at the public site, in the transaction that holds the copied
records. The exporter follows that topic. At origin it reads, of programmes that are public anyway, at most one batch of
a partition in which the mirror does not move.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]  # its stubs forget to export this name

from zads import kafka, names, reading
from zads.errors import ZadsError, some
from zads.exporter import figures
from zads.exporter.figures import Found
from zads.exporter.stall import Ends, MirrorWatch, Verdict
from zads.reading import ANSWER_SECONDS, Partition
from zads.site.cluster import Cluster
from zads.site.policy import Policy

RUNBOOK = "docs/runbooks/mirror-is-silent.md"
#: Until a partition's next record has come, or its end. Twice as long as a broker may take to move a leader.
READ_SECONDS = 10.0
_AT_ONCE = 2000
#: The first of several batches is enough. A broker sends it whole, however small the limit of a partition.
_SMALL = {"max.partition.fetch.bytes": 50_000, "queued.max.messages.kbytes": 4096}

_log = structlog.get_logger("zads.exporter")


class Positions:
    """What the mirror copies next in each partition of origin, by its own word: the newest record of its topic."""

    def __init__(self, public: Mapping[str, str], group: str) -> None:
        self._conf = public
        over = {**_SMALL, "enable.partition.eof": True}
        self._consumer: Consumer = kafka.consumer({**public, "log_level": "0"}, group, **over)
        self._at: dict[Partition, int] = {}  # up to where each partition of the topic has been read
        self._found: dict[Partition, int] = {}

    def look(self) -> dict[Partition, int]:
        """The places now. Raises ZadsError or confluent_kafka.KafkaException if they cannot be read."""
        there = reading.existing(self._conf, [names.MIRROR_PLACES_TOPIC])
        if not there:
            raise ZadsError(
                f"the public site has no topic {names.MIRROR_PLACES_TOPIC}", hint="has the mirror ever run?"
            )
        if there != list(self._at):
            self._at = dict.fromkeys(there, 0)
            self._consumer.assign([TopicPartition(*where, 0) for where in there])
        # The ends of what is committed: a mirror that died in a transaction does not keep anybody waiting.
        ends = reading.committed_ends(self._conf, there)
        until = time.monotonic() + ANSWER_SECONDS
        while any(self._at[where] < end for where, end in ends.items()):
            self._read()
            if time.monotonic() > until:
                raise ZadsError(f"{names.MIRROR_PLACES_TOPIC} was not read to its end in {ANSWER_SECONDS:.0f} s")
        return dict(self._found)

    def close(self) -> None:
        """End the client."""
        self._consumer.close()

    def _read(self) -> None:
        for message in self._consumer.consume(_AT_ONCE, 0.1):
            error, where = message.error(), reading.place(message)
            if error is None:
                self._take(message)
                self._at[where] = (message.offset() or 0) + 1
            elif error.code() == KafkaError._PARTITION_EOF:  # it counts markers, too
                self._at[where] = message.offset() or 0
            elif not error.retriable():
                raise KafkaException(error)

    def _take(self, message: Any) -> None:
        where = source(message.key())
        if where is None:
            return
        offset = _offset(message.value())
        if offset is None:
            self._found.pop(where, None)
        else:
            self._found[where] = offset + 1


def source(key: bytes | None) -> Partition | None:
    """The partition of origin of a record of Connect's topic; None for a record of something else.

    The key is JSON: the connector's name, and the partition in the words of MirrorMaker (MirrorUtils.wrapPartition).
    """
    try:
        _, partition = json.loads(key or b"")
        return str(partition["topic"]), int(partition["partition"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _offset(value: bytes | None) -> int | None:
    try:
        return int(json.loads(value or b"")["offset"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


class Mirror:
    """Watches the mirror. `confs`: clients of both sites; `read_policy` says what is mirrored."""

    def __init__(self, confs: Mapping[Any, Mapping[str, str]], read_policy: Callable[[], Policy], group: str) -> None:
        self._origin, self._public = confs["origin"], confs["public"]
        self._read_policy, self._group = read_policy, group
        self._positions: Positions | None = None
        self._watch = MirrorWatch()
        self._silent = False

    def look(self) -> Found:
        """The figures now. Raises ZadsError or confluent_kafka.KafkaException if a site does not answer."""
        verdict = self.judge()
        self._tell(verdict)
        return {
            (figures.MIRROR_PARTITIONS, ()): verdict.partitions,
            (figures.MIRROR_BEHIND_PARTITIONS, ()): len(verdict.behind),
            (figures.MIRROR_UNREAD, ()): verdict.unread,
            (figures.MIRROR_BEHIND, ()): verdict.age,
            (figures.MIRROR_SILENT, ()): bool(verdict.silent),
        }

    def judge(self) -> Verdict:
        """How far the mirror is."""
        try:
            if self._positions is None:
                self._positions = Positions(self._public, self._group)
            places = self._positions.look()
        except (KafkaException, ZadsError):
            self._forget()
            raise
        # The ends are asked for after the places: no place can be beyond its end.
        ends = self._ends()
        asked = self._watch.see(time.monotonic(), ends, places)
        if asked:
            self._watch.read(has_records(self._origin, asked, ends.ends, self._group))
        return self._watch.verdict()

    def _forget(self) -> None:
        """Begin anew with a new client at the next look."""
        if self._positions is not None:
            self._positions.close()
            self._positions = None

    def _ends(self) -> Ends:
        programmes = self._read_policy().allowed("public")
        origin, public = Cluster(self._origin), Cluster(self._public)
        places = _mirrored(origin, programmes)
        wanted = [TopicPartition(*place) for place in places]
        starts = origin.offsets(dict.fromkeys(wanted, OffsetSpec.earliest()))  # type: ignore[no-untyped-call]
        there = {*_mirrored(public, programmes)}
        arrived = public.offsets(
            {TopicPartition(*place): OffsetSpec.latest() for place in places if place in there}  # type: ignore[no-untyped-call]
        )
        ends = reading.committed_ends(self._origin, [place for place in places if place in starts])
        return Ends(starts, ends, arrived)

    def _tell(self, verdict: Verdict) -> None:
        if verdict.silent and not self._silent:
            topics = sorted({topic for topic, _ in verdict.silent})
            _log.error(
                "the mirror is silent",
                topics=some(topics, 6),
                partitions=len(verdict.silent),
                seconds=round(verdict.age, 1),
                runbook=RUNBOOK,
            )
        elif self._silent and not verdict.silent:
            _log.info("the mirror moves again", behind_seconds=round(verdict.age, 1))
        self._silent = bool(verdict.silent)


def _mirrored(cluster: Cluster, programmes: Collection[int]) -> list[Partition]:
    """The partitions with a leader of all nights that the mirror copies, the canaries' among them."""
    return [
        (name, number)
        for name, topic in cluster.metadata().topics.items()
        if (parsed := names.parse_topic(name)) and parsed[1] in programmes
        for number, one in topic.partitions.items()
        if one.leader >= 0
    ]


def has_records(
    conf: Mapping[str, str], starts: Mapping[Partition, int], ends: Mapping[Partition, int], group: str
) -> dict[Partition, bool]:
    """Whether each partition has a committed record between two offsets. One that does not answer is left out."""
    found: dict[Partition, bool] = {}
    over = {**_SMALL, "enable.partition.eof": True, "fetch.wait.max.ms": 20}
    with contextlib.closing(kafka.consumer({**conf, "log_level": "0"}, group, **over)) as consumer:
        consumer.assign([TopicPartition(*where, offset) for where, offset in starts.items()])
        until = time.monotonic() + READ_SECONDS
        while starts.keys() - found.keys() and time.monotonic() < until:
            for message in reading.arrived(consumer):
                where, error = reading.place(message), message.error()
                if where in found:
                    continue
                if error is None:
                    found[where] = (message.offset() or 0) < ends[where]
                elif error.code() == KafkaError._PARTITION_EOF:
                    found[where] = False
                else:
                    continue
                consumer.pause([TopicPartition(*where)])
    return found
