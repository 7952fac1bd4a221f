"""A topic as a source: its committed records, from the beginning to its present end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException

from zads import kafka, names, reading
from zads.errors import ZadsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from confluent_kafka import Message


def replay(conf: Mapping[str, Any], topic: str) -> Iterator[Message]:
    """The records of a topic, in order within each partition.

    Raises ZadsError if the topic cannot be read, or its records stop coming before its end.
    """
    try:
        facts = kafka.admin(conf).list_topics(topic, timeout=reading.ANSWER_SECONDS).topics[topic]
        if facts.error is not None:
            raise ZadsError(f"cannot read {topic}: {facts.error.str()}", hint="zads topics lists what there is")
        yield from reading.read_topics(conf, [topic], group=names.program("replay"))
    except KafkaException as error:
        raise ZadsError(f"cannot read {topic}: {error.args[0].str()}") from error
    except TimeoutError as error:
        raise ZadsError(f"cannot read {topic}: no answer in time") from error
