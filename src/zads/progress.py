"""How far each hop has come: whether origin's last alerts are at the public site, and whether the filters saw them.

It reads only the ends of the partitions of each programme's newest nights, since a hop that is behind is behind there.
It writes nothing and commits no offset.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from confluent_kafka import KafkaException, Message

from zads import kafka, names, reading
from zads.errors import ZadsError
from zads.filters import status
from zads.reading import Partition
from zads.site.policy import Policy

# Seconds that an alert may be under way.
UNDER_WAY = 60.0
# After a partition's last record come the markers of its transaction and of aborted ones.
_MARKERS = 16
_NIGHTS = 2


@dataclass(frozen=True)
class Tail:
    """The last record of a partition: its offset, key and `candid`, and when the site took it (Unix seconds)."""

    offset: int
    alert: tuple[bytes | None, bytes | None]
    arrived: float


def newest_topics(topics: Iterable[str]) -> list[str]:
    """The topics of each programme's two newest nights (tonight's may still be empty), without the canaries'."""
    nights: dict[int, list[tuple[str, str]]] = {}
    for name in topics:
        parsed = names.parse_topic(name)
        if parsed and parsed[0] != names.CANARY_NIGHT:
            nights.setdefault(parsed[1], []).append((parsed[0], name))
    return sorted(name for found in nights.values() for _, name in sorted(found)[-_NIGHTS:])


def not_mirrored(
    origin: Mapping[Partition, Tail], public: Mapping[Partition, Tail], now: float, under_way: float = UNDER_WAY
) -> list[str]:
    """The topics whose last alerts are at origin but not at the public site, in words; `now` in Unix seconds."""
    late: dict[str, list[float]] = {}
    for where, tail in origin.items():
        at_public = public.get(where)
        if (at_public is None or at_public.alert != tail.alert) and now - tail.arrived > under_way:
            late.setdefault(where[0], []).append(now - tail.arrived)
    return [
        f"the mirror is behind: the last alerts of {len(ages)} partitions of {topic}, at origin for {min(ages):.0f} s "
        "and more, are not at the public site; journalctl -u zads-mirrormaker on its host says why"
        for topic, ages in sorted(late.items())
    ]


def not_filtered(
    group: str,
    public: Mapping[Partition, Tail],
    committed: Mapping[Partition, int],
    now: float,
    under_way: float = UNDER_WAY,
) -> list[str]:
    """How far the workers of a group are behind the alerts that the public site has had for a while, in words."""
    late = [
        tail
        for where, tail in public.items()
        if committed.get(where, 0) <= tail.offset and now - tail.arrived > under_way
    ]
    if not late:
        return []
    age = now - min(tail.arrived for tail in late)
    return [
        f"the filters of {group} are behind in {len(late)} partitions, by alerts that arrived up to {age:.0f} s ago; "
        f"journalctl -u 'zads-filters-{group}@*' on the workers' hosts says why"
    ]


def open_circuits(records: Iterable[Mapping[str, object]], filters: Iterable[str]) -> list[str]:
    """The filters that a worker has stopped since they failed, in words; `records`: the newest by filter and worker."""
    wanted = set(filters)
    return sorted(
        f"the circuit of the filter {record['filter']} is open at the worker {record['worker']}: it fails, and sees no "
        "alerts until it is mended; zads_rejected holds what it failed at, with the reasons"
        for record in records
        if record.get("circuit") == "open" and record.get("filter") in wanted
    )


def tails(conf: Mapping[str, str], topics: Iterable[str]) -> dict[Partition, Tail]:
    """The last committed record of each partition of these topics, except those without records.

    Raises confluent_kafka.KafkaException, TimeoutError or reading.StalledError if the cluster does not answer.
    """
    partitions = reading.existing(conf, topics)
    ends = {where: end for where, end in reading.committed_ends(conf, partitions).items() if end > 0}
    found: dict[Partition, Tail] = {}
    back = _MARKERS
    while ends:
        starts = {where: max(0, end - back) for where, end in ends.items()}
        for message in reading.read_to_end(conf, ends, starts=starts, stall_seconds=reading.ANSWER_SECONDS):
            found[reading.place(message)] = _tail(message)
        ends = {where: end for where, end in ends.items() if where not in found and end > back}
        back *= 8
    return found


def _tail(message: Message) -> Tail:
    key = message.key()
    return Tail(
        message.offset() or 0,
        (key if isinstance(key, bytes) else None, reading.headers(message).get(names.HEADER_CANDID)),
        message.timestamp()[1] / 1000,
    )


def problems(
    origin: Mapping[str, str], public: Mapping[str, str], policy: Policy, under_way: float = UNDER_WAY
) -> list[str]:
    """Every hop that is behind and every open circuit, in words. Raises ZadsError if a site does not answer.

    An alert may be ``under_way`` for that many seconds before a hop counts as behind.
    """
    conf = origin
    try:
        known = kafka.admin(origin).list_topics(timeout=reading.ANSWER_SECONDS).topics
        topics = [
            name
            for name in newest_topics(known)
            if (parsed := names.parse_topic(name)) and parsed[1] in policy.allowed("public")
        ]
        at_origin = tails(origin, topics)
        conf = public
        at_public = tails(public, topics)
        found = not_mirrored(at_origin, at_public, time.time(), under_way)
        for group in policy.groups():
            programmes = policy.read_by(group)
            read = {
                where: tail
                for where, tail in at_public.items()
                if (parsed := names.parse_topic(where[0])) and parsed[1] in programmes
            }
            committed = kafka.committed(public, names.filters_principal(group), read) if read else {}
            found += not_filtered(group, read, committed, time.time(), under_way)
        return found + open_circuits(status.records(public), [one.name for one in policy.filters if one.runs])
    except KafkaException as error:
        raise kafka.failure(conf, error.args[0]) from error
    except TimeoutError as error:
        raise ZadsError(f"{conf.get('bootstrap.servers')} does not answer in time", hint="is the site up?") from error
