"""Requests that librdkafka cannot make: a broker's log directories, and reassignments of partitions.

The bytes are those of Kafka's protocol (https://kafka.apache.org/protocol.html): DescribeLogDirs, version 4, which
Kafka has since 3.3; AlterPartitionReassignments and ListPartitionReassignments, version 0.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from zads.errors import ZadsError
from zads.site.broker_connection import TAGS, Answer, array, ask, text

_DESCRIBE_LOG_DIRS = (35, 4)  # key and version of the request
_ALTER_REASSIGNMENTS = (45, 0)
_LIST_REASSIGNMENTS = (46, 0)
_STORAGE_ERROR = 56  # of a log directory that failed
_NOTHING = b"\0"  # an array that is absent: where a request names topics, all of them
_NO_REASSIGNMENT = 85  # Kafka's error for a cancellation where nothing is under way
Place = tuple[str, int]  # a partition: its topic and its number
_Held = tuple[Place, int, bool]  # a replica in a directory: its bytes, and whether it is about to take another's place


@dataclass(frozen=True)
class LogDirectory:
    """A directory of a broker's log: whether the broker can use it, and its disk's size and free space in bytes.

    A size is -1 if the broker does not know it.
    """

    path: str
    usable: bool
    total: int
    free: int


@dataclass(frozen=True)
class Reassignment:
    """A partition that gets other replicas: the numbers of the brokers that it comes to and that it leaves."""

    partition: str
    adding: tuple[int, ...]
    removing: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.partition} (to {_numbers(self.adding)}, from {_numbers(self.removing)})"


@dataclass(frozen=True)
class Stored:
    """A log directory, and the bytes of each replica in it by topic and number of the partition."""

    directory: LogDirectory
    sizes: Mapping[Place, int]


def stored(conf: Mapping[str, str], host: str, port: int, seconds: float) -> list[Stored]:
    """As `log_directories`, with all that the directories hold; replicas on their way to another disk count on both.

    Raises ZadsError if the broker does not answer in `seconds`.
    """
    return [
        Stored(LogDirectory(one.path, one.code == 0, one.total, one.free), {place: size for place, size, _ in one.held})
        for one in _directories(conf, (host, port), _NOTHING, seconds)
    ]


def log_directories(conf: Mapping[str, str], host: str, port: int, seconds: float) -> list[LogDirectory]:
    """The log directories of the broker at this address. Raises ZadsError if it does not answer in `seconds`."""
    # An array with no element: the directories alone are asked for, not their partitions. After an error that is not of
    # storage the broker uses the directory and cannot say its size, as in a unit that hides /proc/mounts.
    return [
        LogDirectory(one.path, one.code != _STORAGE_ERROR, one.total, one.free)
        for one in _directories(conf, (host, port), array(()), seconds)
    ]


def replica_sizes(conf: Mapping[str, str], host: str, port: int, seconds: float) -> dict[Place, int]:
    """The bytes of each replica on the broker at this address; one that is about to take another's place is left out.

    Raises ZadsError if it does not answer in `seconds`.
    """
    found = _directories(conf, (host, port), _NOTHING, seconds)
    return {place: size for one in found for place, size, replaces in one.held if not replaces}


def reassignments(conf: Mapping[str, str], host: str, port: int, seconds: float) -> list[Reassignment]:
    """All reassignments of the cluster whose controller is the broker at this address.

    Raises ZadsError if it does not answer in `seconds`, or is not the controller.
    """

    def read(answer: Answer) -> list[Reassignment]:
        answer.number(4)
        code = answer.number(2)
        answer.text()  # of the error
        _require_success(host, port, code)
        return [one for topic in answer.array(_reassigned_topic) for one in topic]

    body = struct.pack(">i", int(seconds * 1000)) + _NOTHING + TAGS
    return ask(conf, (host, port), _LIST_REASSIGNMENTS, body, seconds, read)


def reassign(
    conf: Mapping[str, str],
    host: str,
    port: int,
    wanted: Mapping[Place, tuple[int, ...] | None],
    seconds: float,
) -> dict[str, str]:
    """Begin to give partitions these replicas, the preferred leader first; None cancels what is under way there.

    The broker at this address must be the controller. It answers at once; the copying goes on in the brokers. Returns
    why a partition was refused, by its name; a cancellation that finds nothing under way is no refusal.
    Raises ZadsError if it does not answer in `seconds`, or is not the controller.
    """

    def read(answer: Answer) -> dict[str, str]:
        answer.number(4)
        code = answer.number(2)
        answer.text()
        _require_success(host, port, code)
        return {name: why for topic in answer.array(_answered_topic) for name, why in topic.items()}

    topics: dict[str, list[bytes]] = {}
    for (topic, number), replicas in sorted(wanted.items()):
        numbers = _NOTHING if replicas is None else array([struct.pack(">i", one) for one in replicas])
        topics.setdefault(topic, []).append(struct.pack(">i", number) + numbers + TAGS)
    listed = array([text(name) + array(partitions) + TAGS for name, partitions in topics.items()])
    body = struct.pack(">i", int(seconds * 1000)) + listed + TAGS
    return ask(conf, (host, port), _ALTER_REASSIGNMENTS, body, seconds, read)


@dataclass(frozen=True)
class _Directory:
    """A log directory as a broker describes it: Kafka's error, the replicas in it, and its bytes in all and free."""

    code: int
    path: str
    held: list[_Held]
    total: int
    free: int


def _directories(conf: Mapping[str, str], address: tuple[str, int], topics: bytes, seconds: float) -> list[_Directory]:
    def directory(answer: Answer) -> _Directory:
        code, path = answer.number(2), answer.text()
        held = [replica for topic in answer.array(_held_topic) for replica in topic]
        found = _Directory(code, path, held, answer.number(8), answer.number(8))
        answer.tags()
        return found

    def read(answer: Answer) -> list[_Directory]:
        answer.number(4)  # milliseconds by which the answer was delayed
        _require_success(*address, answer.number(2))
        return answer.array(directory)

    return ask(conf, address, _DESCRIBE_LOG_DIRS, topics + TAGS, seconds, read)


def _held_topic(answer: Answer) -> list[_Held]:
    topic = answer.text()

    def partition(one: Answer) -> _Held:
        number, size = one.number(4), one.number(8)
        one.skip(8)  # its lag
        replaces = one.number(1)
        one.tags()
        return (topic, number), size, bool(replaces)

    found = answer.array(partition)
    answer.tags()
    return found


def _answered_topic(answer: Answer) -> dict[str, str]:
    """Why partitions of a topic were refused, by their names."""

    def partition(one: Answer) -> tuple[int, int, str]:
        number, code, why = one.number(4), one.number(2), one.text()
        one.tags()
        return number, code, why

    topic = answer.text()
    found = answer.array(partition)
    answer.tags()
    refused = [one for one in found if one[1] not in (0, _NO_REASSIGNMENT)]
    return {f"{topic}-{number}": why or f"Kafka's error {code}" for number, code, why in refused}


def _reassigned_topic(answer: Answer) -> list[Reassignment]:
    topic = answer.text()

    def partition(one: Answer) -> Reassignment:
        number = one.number(4)
        _, adding, removing = (tuple(one.array(lambda replica: replica.number(4))) for _ in range(3))
        one.tags()
        return Reassignment(f"{topic}-{number}", adding, removing)

    found = answer.array(partition)
    answer.tags()
    return found


def _require_success(host: str, port: int, code: int) -> None:
    if code:
        raise ZadsError(f"{host}:{port} answers with Kafka's error {code}")


def _numbers(brokers: tuple[int, ...]) -> str:
    return ",".join(map(str, brokers)) or "none"
