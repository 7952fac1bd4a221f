"""A topic as a source: its committed records, from the beginning to its present end."""

from __future__ import annotations

import contextlib
import heapq
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException

from zads import kafka, names, reading
from zads.errors import ZadsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from confluent_kafka import Message

AHEAD_KBYTES = 8_192  # of each partition


def in_time(conf: Mapping[str, Any], topic: str, time_of: Callable[[Message], float]) -> Iterator[Message]:
    """The records of a topic in the order of their times; each partition's must be in that order already.

    Every partition has a client of its own, which holds at most AHEAD_KBYTES back. Raises as `replay` does.
    """
    with _explained(topic):
        _check(conf, topic)
        ends = reading.committed_ends(conf, reading.existing(conf, [topic]))
        held = {**conf, "queued.max.messages.kbytes": AHEAD_KBYTES}
        group = names.program("replay")
        parts = [reading.read_to_end(held, {where: end}, group=group) for where, end in ends.items()]
        yield from heapq.merge(*parts, key=time_of)


def replay(conf: Mapping[str, Any], topic: str) -> Iterator[Message]:
    """The records of a topic, in order within each partition.

    Raises ZadsError if the topic cannot be read, or its records stop coming before its end.
    """
    with _explained(topic):
        _check(conf, topic)
        yield from reading.read_topics(conf, [topic], group=names.program("replay"))


def _check(conf: Mapping[str, Any], topic: str) -> None:
    facts = kafka.admin(conf).list_topics(topic, timeout=reading.ANSWER_SECONDS).topics[topic]
    if facts.error is not None:
        raise ZadsError(f"cannot read {topic}: {facts.error.str()}", hint="zads topics lists what there is")


@contextlib.contextmanager
def _explained(topic: str) -> Iterator[None]:
    try:
        yield
    except KafkaException as error:
        raise ZadsError(f"cannot read {topic}: {error.args[0].str()}") from error
    except TimeoutError as error:
        raise ZadsError(f"cannot read {topic}: no answer in time") from error
