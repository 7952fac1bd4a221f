"""Finds the records of one alert in topics, reading no more of them than is needed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from dataclasses import dataclass

from confluent_kafka import KafkaException, Message

from zads import kafka, names, reading
from zads.errors import ZadsError
from zads.packet import Packet, PacketError
from zads.site.entry import Site

#: How far clocks and transactions may put the time of an alert's record beside the moment that is known of it.
MARGIN_SECONDS = 120.0
#: The newest records of refused input that are searched.
MOST_REFUSED = 100_000
_FIRST_DAY = 2_457_754.5  # ZTF's candids begin with the days since this Julian date, 2017-01-01, and five decimals
_CANDID_REST = 10**10  # readout channel and number of the candidate, behind the date


def night_of_candid(candid: int) -> str | None:
    """The night that ZTF's numbering of candids gives, which a night's topic can confirm; None if it has no date."""
    days = candid // _CANDID_REST / 1e5
    if not 1.0 <= days <= 12_000.0:
        return None
    return names.night_of(_FIRST_DAY + days)


@dataclass(frozen=True)
class Reader:
    """A client at a site. What it may not see is as if it did not exist."""

    site: Site
    conf: Mapping[str, str]

    def topics(self) -> set[str]:
        """The names of the topics that it may see. Raises ZadsError if the site does not answer."""
        with self._explained():
            known = kafka.admin(self.conf).list_topics(timeout=reading.ANSWER_SECONDS).topics
            return {name for name, about in known.items() if about.error is None}

    def records(
        self,
        topics: Iterable[str],
        *,
        partition: int | None = None,
        begin: float | None = None,
        end: float | None = None,
        newest: int | None = None,
    ) -> Generator[Message, None, None]:
        """The committed records of topics, or of one partition of each.

        `begin`, `end`: only those that arrived between these moments (Unix seconds); `newest`: only so many at the end
        of each partition. Topics that this client may not read are left out.
        """
        for topic in topics:
            try:
                yield from self._records(topic, partition, begin, end, newest)
            except KafkaException as error:
                if error.args[0].code() not in kafka.DENIED:
                    raise kafka.failure(self.conf, error.args[0]) from error
            except TimeoutError as error:
                raise ZadsError(f"{self.site} does not answer in time", hint="is the site up? make verify") from error

    def _records(
        self, topic: str, partition: int | None, begin: float | None, end: float | None, newest: int | None
    ) -> Generator[Message, None, None]:
        places = [one for one in reading.existing(self.conf, [topic]) if partition in (None, one[1])]
        ends = reading.committed_ends(self.conf, places)
        if end is not None:
            ends |= reading.since(self.conf, places, end)
        starts: dict[reading.Partition, int] = {}
        if begin is not None:
            starts = reading.since(self.conf, places, begin)
            ends = {where: one for where, one in ends.items() if where in starts}
        if newest is not None:
            starts = {where: max(0, one - newest) for where, one in ends.items()}
        ends = {where: one for where, one in ends.items() if one > starts.get(where, 0)}
        yield from reading.read_to_end(self.conf, ends, starts=starts, group=names.program("trace"))

    def _explained(self) -> _Explained:
        return _Explained(self.conf)


class _Explained:
    """A context in which errors of the cluster become ZadsError."""

    def __init__(self, conf: Mapping[str, str]) -> None:
        self._conf = conf

    def __enter__(self) -> None:
        return

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, KafkaException):
            raise kafka.failure(self._conf, error.args[0]) from error


def is_about(message: Message, candid: int) -> bool:
    """Whether a record is about an alert, by its header, or by its packet if it has no such header."""
    header = reading.headers(message).get(names.HEADER_CANDID)
    if header is not None:
        return header == str(candid).encode()
    return _candid(message.value() or b"") == candid


def _candid(data: bytes) -> int | None:
    try:
        return Packet.trusted(data).candid
    except PacketError:
        return None


def refused(message: Message, candid: int) -> bool:
    """Whether refused input is of an alert: by its header, by its bytes if they can be read, or by its file's name."""
    if is_about(message, candid):
        return True
    source = reading.headers(message).get(names.HEADER_SOURCE, b"").decode(errors="replace")
    return source.rpartition("/")[2].partition(".")[0] == str(candid)


def first(messages: Generator[Message, None, None], wanted: Callable[[Message], bool], most: int) -> list[Message]:
    """The first so many of the messages that are wanted."""
    found = []
    with contextlib.closing(messages):
        for message in messages:
            if wanted(message):
                found.append(message)
                if len(found) == most:
                    break
    return found


def nights_topics(topics: Collection[str], night: str, programmes: Collection[int]) -> list[str]:
    """The topics among these that hold a night's alerts of these programmes."""
    return sorted(names.night_topic(night, one) for one in programmes if names.night_topic(night, one) in topics)
