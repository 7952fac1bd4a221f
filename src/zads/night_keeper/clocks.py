"""What time it is: by the brokers of each site, compared with this host's clock."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaException

from zads import kafka, names
from zads.errors import ZadsError
from zads.site.policy import Site

#: Clocks that differ by more are wrong: no topic is removed, and the log says so.
APART_SECONDS = 300.0
ANSWER_SECONDS = 20.0


@dataclass(frozen=True)
class Clocks:
    """The clocks of this host (`own`) and of the sites that answered, all read at the same moment (Unix seconds)."""

    own: float
    sites: Mapping[Site, float]

    @property
    def now(self) -> float:
        """The moment to go by: of three clocks the middle one; of two the site's; else this host's.

        So no single clock that is wrong makes or removes a night.
        """
        if len(self.sites) == 1:
            return next(iter(self.sites.values()))
        return statistics.median([self.own, *self.sites.values()])

    @property
    def apart(self) -> float:
        """Seconds between the clocks that differ most."""
        known = [self.own, *self.sites.values()]
        return max(known) - min(known)

    @property
    def agree(self) -> bool:
        """Whether all clocks say the same."""
        return self.apart <= APART_SECONDS


def offset(conf: Mapping[str, str], topic: str, own: Callable[[], float]) -> float:
    """Seconds by which the clock of a site is ahead of this host's, which `own` reads: the median of its brokers.

    Each broker that leads a partition of the canaries' topic stamps a record there. The answer takes a moment, which is
    the uncertainty. Raises confluent_kafka.KafkaException, or ZadsError if no broker has stamped a record.
    """
    found: list[float] = []
    failed: list[Any] = []

    def note(sent: float, error: Any, message: Any) -> None:
        if error is not None:
            failed.append(error)
            return
        kind, stamp = message.timestamp()
        if kind == TIMESTAMP_LOG_APPEND_TIME:
            found.append(stamp / 1000 - (sent + own()) / 2)

    client = kafka.producer(conf, **{"delivery.timeout.ms": int(ANSWER_SECONDS * 1000), "linger.ms": 0})
    about = client.list_topics(topic, timeout=ANSWER_SECONDS).topics[topic]
    if about.error is not None:
        raise KafkaException(about.error)
    led = {partition.leader: number for number, partition in about.partitions.items() if partition.leader >= 0}
    for number in led.values():
        client.produce(
            topic,
            b"",
            partition=number,
            headers=[(names.HEADER_SOURCE, b"clock")],
            on_delivery=partial(note, own()),
        )
        client.flush(ANSWER_SECONDS)
    if not found:
        raise KafkaException(failed[0]) if failed else ZadsError(f"no broker has stamped a record of {topic}")
    return statistics.median_low(found)
