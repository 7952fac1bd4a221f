"""The alerts that a filter passed in a night, read from its topic."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from zads import names, reading
from zads.packet import Packet


@dataclass
class PassedAlerts:
    """How many alerts a filter passed, and some of them with their annotations (JSON, "" if there are none)."""

    count: int = 0
    examples: list[tuple[Packet, str]] = field(default_factory=list)


def read_passed_alerts(conf: Mapping[str, str], name: str, nights: Iterable[str], most: int = 6) -> PassedAlerts:
    """What the filter ``name`` passed in these nights, with at most ``most`` examples.

    Raises reading.StalledError or confluent_kafka.KafkaException if the topic cannot be read.
    """
    wanted = set(nights)
    found = PassedAlerts()
    for message in reading.read_topics(conf, [names.filter_topic(name)]):
        headers = reading.headers(message)
        if names.night_of_visit(headers.get(names.HEADER_VISIT, b"").decode(errors="replace")) in wanted:
            found.count += 1
            if len(found.examples) < most:
                note = headers.get(names.HEADER_ANNOTATIONS, b"").decode(errors="replace")
                found.examples.append((Packet.trusted(message.value() or b""), "" if note == "{}" else note))
    return found
