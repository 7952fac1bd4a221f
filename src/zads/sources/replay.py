"""A topic as a source: its committed records from the beginning, or from a moment, to the end that it has now."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from zads import kafka, principals
from zads.errors import ZadsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from confluent_kafka import Consumer, Message

ANSWER_SECONDS = 20.0
STALL_SECONDS = 60.0
BATCH = 500


def replay(conf: Mapping[str, Any], topic: str, *, since: float = 0.0) -> Iterator[Message]:
    """The records of a topic whose timestamp is not before `since` (Unix seconds), in order within each partition.

    Nobody's offsets are read or committed. Raises ZadsError if the topic is not there, or if nothing comes for
    STALL_SECONDS although the end has not been reached.
    """
    reader = kafka.consumer(
        conf,
        kafka.own_group(conf, principals.program("replay")),
        **{"enable.partition.eof": True, "fetch.wait.max.ms": 20},
    )
    try:
        start = _start(reader, topic, since)
        reader.assign(start)
        unread = {one.partition for one in start}
        last = time.monotonic()
        while unread:
            for message in reader.consume(BATCH, 0.1):
                last = time.monotonic()
                problem = message.error()
                if problem is None:
                    yield message
                elif problem.code() == KafkaError._PARTITION_EOF:
                    unread.discard(message.partition())
                elif not problem.retriable():
                    raise ZadsError(f"cannot read {topic}: {problem.str()}")
            if time.monotonic() - last > STALL_SECONDS:
                raise ZadsError(f"{topic}: nothing came for {STALL_SECONDS:.0f} s, and its end is not reached")
    finally:
        reader.close()


def _start(reader: Consumer, topic: str, since: float) -> list[TopicPartition]:
    try:
        facts = reader.list_topics(topic, ANSWER_SECONDS).topics[topic]
        if facts.error is not None:
            raise ZadsError(f"cannot read {topic}: {facts.error.str()}", hint="zads topics lists what there is")
        moments = [TopicPartition(topic, number, int(since * 1000)) for number in facts.partitions]
        return reader.offsets_for_times(moments, ANSWER_SECONDS)
    except KafkaException as error:
        raise ZadsError(f"cannot read {topic}: {error.args[0].str()}") from error
