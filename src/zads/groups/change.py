"""Moves and removes a consumer group, on purpose: a plan first, and never while somebody reads.

A position is moved as a member of nothing: Kafka accepts that only from a group without members, so a reader that comes
back between the plan and the change makes it fail, and loses nothing.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]  # its stubs forget to export this name

from zads import kafka
from zads.errors import ZadsError
from zads.groups.look import Group
from zads.groups.owner import Owner
from zads.reading import Partition
from zads.site.cluster import ANSWER, Cluster

_BUSY = {KafkaError.NON_EMPTY_GROUP, KafkaError.UNKNOWN_MEMBER_ID, KafkaError.ILLEGAL_GENERATION}


@dataclass(frozen=True)
class Move:
    """New positions of a group: for each partition, the present offset and the new one."""

    group: str
    offsets: Mapping[Partition, tuple[int, int]]

    def __bool__(self) -> bool:
        return any(old != new for old, new in self.offsets.values())

    def lines(self) -> list[str]:
        """What it means for each topic, in words."""
        found = []
        for topic in sorted({topic for topic, _ in self.offsets}):
            steps = [new - old for (name, _), (old, new) in self.offsets.items() if name == topic]
            back, skipped = -sum(min(step, 0) for step in steps), sum(max(step, 0) for step in steps)
            parts = [f"reads at most {back} records again"] if back else []
            parts += [f"SKIPS at most {skipped} records that it has not read"] if skipped else []
            found.append(f"{topic}: {' and '.join(parts) or 'stays where it is'}")
        return found


def refuse(group: Group, owner: Owner, what: str) -> None:
    """Raises ZadsError if a group may not be changed now. `what`: the change as a participle, such as moved."""
    if owner.kind in ("filters", "program"):
        raise ZadsError(
            f"{group.name} belongs to {owner}, and is not {what}",
            hint="its program would publish records again, or never; stop it and ask those who wrote it",
        )
    if group.members:
        who = ", ".join(sorted({f"{one.client} at {one.host}" for one in group.members}))
        raise ZadsError(
            f"{group.name} has {len(group.members)} members ({who}), and is not {what}",
            hint="its readers must end first; a minute later they are no members any more, even if they died",
        )
    if group.leaderless:
        raise ZadsError(
            f"{len(group.leaderless)} partitions that {group.name} reads have no leader, and it is not {what}",
            hint="`zads disks` and `make verify` say which brokers are away; start them first",
        )
    if group.state not in ("empty", "dead"):
        raise ZadsError(f"{group.name} is {group.state}, and is not {what}", hint="try again in a minute")


def moment(text: str) -> str | datetime.datetime:
    """``beginning``, ``now``, or a time; a time without a zone is UTC. Raises ZadsError for anything else."""
    if text in ("beginning", "now"):
        return text
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise ZadsError(
            f"{text!r} is neither beginning, now nor a time", hint="write a time (UTC) as 2018-11-29T04:00"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)


def move(conf: Mapping[str, str], group: Group, to: str | datetime.datetime) -> Move:
    """What it means to move a group to a moment, in all topics in which it has been. Changes nothing.

    It goes to the first record that the site took at this time or later, or to the end if there is none.
    Raises confluent_kafka.KafkaException if the site does not answer.
    """
    places = {place: where.offset for place, where in group.places.items()}
    partitions = [TopicPartition(*place) for place in places]
    cluster = Cluster(conf)
    ends = cluster.offsets(dict.fromkeys(partitions, OffsetSpec.latest()))  # type: ignore[no-untyped-call]
    if to == "now":
        wanted = ends
    elif to == "beginning":
        wanted = cluster.offsets(dict.fromkeys(partitions, OffsetSpec.earliest()))  # type: ignore[no-untyped-call]
    else:
        assert isinstance(to, datetime.datetime)
        # Kafka takes negative times for words such as the end.
        spec = OffsetSpec.for_timestamp(max(round(to.timestamp() * 1000), 0))
        wanted = cluster.offsets(dict.fromkeys(partitions, spec))
    offsets = {
        place: (places[place], new if new >= 0 else ends[place]) for place, new in wanted.items() if place in ends
    }
    return Move(group.name, offsets)


def apply(conf: Mapping[str, str], planned: Move) -> None:
    """Move the group. Raises ZadsError if somebody reads as this group now."""
    wanted = [TopicPartition(*place, new) for place, (_, new) in planned.offsets.items()]
    with (
        contextlib.closing(kafka.consumer({**conf, "log_level": "0"}, planned.group)) as consumer,
        _idle(planned.group),
    ):
        for one in consumer.commit(offsets=wanted, asynchronous=False) or ():
            if one.error is not None:
                raise KafkaException(one.error)


def remove(conf: Mapping[str, str], name: str) -> None:
    """Remove a group with its positions. Raises ZadsError if somebody reads as this group now."""
    answers = Cluster(conf).client.delete_consumer_groups([name], request_timeout=ANSWER)
    with _idle(name):
        answers[name].result(2 * ANSWER)


@contextlib.contextmanager
def _idle(name: str) -> Iterator[None]:
    """Turns Kafka's refusal of a change beside a reader into words."""
    try:
        yield
    except KafkaException as error:
        if error.args[0].code() not in _BUSY:
            raise
        raise ZadsError(
            f"somebody reads as {name} again: nothing has changed", hint="its readers must end first"
        ) from error
