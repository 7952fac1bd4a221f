"""A subscriber that measures how old each record is when it is read."""

from __future__ import annotations

import threading
import time
from array import array
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
from confluent_kafka import KafkaError, KafkaException

from zads import kafka, names, reading
from zads.errors import ZadsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ANSWER_SECONDS = 30


class Subscriber(threading.Thread):
    """Reads topics from now on, as a user does.

    ``latencies`` are seconds from the producer's stamp to the moment of reading, in the order of reading; ``read``
    counts records by topic; ``ends`` is the offset behind the last one of each (topic, partition). With a ``source``
    only records with that header ``source`` count. Raises ZadsError if a topic is missing or may not be read.
    """

    def __init__(self, conf: Mapping[str, str], topics: Sequence[str], source: bytes | None = None) -> None:
        super().__init__(name="subscriber", daemon=True)
        self.latencies = array("d")
        self.read: Counter[str] = Counter()
        self.ends: dict[tuple[str, int], int] = {}
        self.error: str = ""
        self._source = source
        self._stop_reading = threading.Event()
        self._news = threading.Condition()
        self._consumer = kafka.consumer(conf, kafka.own_group(conf, names.SUBSCRIBER_GROUP))
        try:
            self._consumer.assign([end for name in topics for end in kafka.ends(self._consumer, name, ANSWER_SECONDS)])
        except KafkaException as error:
            self._consumer.close()
            raise ZadsError(
                f"the public site does not let {', '.join(topics)} be read: {error.args[0].str()}"
            ) from error

    def run(self) -> None:
        """Read until `close`."""
        while not self._stop_reading.is_set():
            if messages := reading.arrived(self._consumer):
                with self._news:
                    self._measure(messages, time.time())
                    self._news.notify_all()
        self._consumer.close()

    def _measure(self, messages: list[Any], now: float) -> None:
        for message in messages:
            if (error := message.error()) is not None:
                if error.code() != KafkaError._PARTITION_EOF and not error.retriable():
                    self.error = error.str()
                continue
            headers = reading.headers(message)
            if self._source is not None and headers.get(names.HEADER_SOURCE) != self._source:
                continue
            self.read[message.topic()] += 1
            self.ends[message.topic(), message.partition()] = message.offset() + 1
            if produced := headers.get(names.HEADER_PRODUCED):
                self.latencies.append(now - float(produced))

    def wait_for(self, count: int, seconds: float) -> bool:
        """Whether `count` records have been read in all within `seconds`; an error ends the wait."""
        with self._news:
            self._news.wait_for(lambda: len(self.latencies) >= count or bool(self.error), seconds)
            return len(self.latencies) >= count

    def close(self) -> None:
        """End the reading."""
        self._stop_reading.set()
        if self.ident is not None:  # it was started
            self.join()


def percentiles(latencies: Iterable[float]) -> dict[str, float] | None:
    """The latencies' p50, p95, p99 and max, in seconds; None when nothing was read."""
    values = np.sort(np.fromiter(latencies, float))
    if not values.size:
        return None
    found = {name: float(np.percentile(values, share)) for name, share in (("p50", 50), ("p95", 95), ("p99", 99))}
    return {name: round(value, 4) for name, value in {**found, "max": float(values[-1])}.items()}
