"""The canary: a marked record that shows whether the mirror delivers it to the public site unchanged, and how soon.

Its topic is mirrored like that of every night. It must not be a real night's topic, which would then hold a record that
no telescope made; `names.CANARY_NIGHT` is before the survey's first night.
"""

from __future__ import annotations

import os
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException

from zads import kafka, names
from zads.errors import ZadsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from confluent_kafka import Consumer

CANARY_BYTES = 65_000  # as large as a packet
ANSWER_SECONDS = 20.0
NOT_THERE = "is the site up? A deployment makes the topic on both: make deploy TAGS=access"


class CanaryError(ZadsError):
    """The canary did not arrive, or arrived changed; `hop` names where it was lost: origin, mirror or public."""

    def __init__(self, message: str, *, hop: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.hop = hop


@dataclass(frozen=True)
class CanaryDelays:
    """Seconds from sending a canary until origin acknowledged it, and until a subscriber of the public site read it."""

    topic: str
    acknowledged_seconds: float
    read_seconds: float


def send(
    origin: Mapping[str, str],
    public: Mapping[str, str],
    topic: str = names.night_topic(names.CANARY_NIGHT, 1),
    *,
    limit: float = 60.0,
) -> CanaryDelays:
    """Send one canary and wait for it at the public site for `limit` seconds.

    The clients need the right to write to the topic at origin and to read it at public. Raises CanaryError.
    """
    mark, value = uuid.uuid4().hex.encode(), os.urandom(CANARY_BYTES)
    subscriber = kafka.consumer(public, kafka.own_group(public, names.CANARY_GROUP))
    try:
        _assign_to_ends(subscriber, topic)
        started = time.monotonic()
        _publish(origin, topic, mark, value, limit)
        acknowledged = time.monotonic() - started
        read = _await(subscriber, mark, value, started, limit)
    finally:
        subscriber.close()
    return CanaryDelays(topic, acknowledged, read)


def _assign_to_ends(subscriber: Consumer, topic: str) -> None:
    try:
        subscriber.assign(kafka.ends(subscriber, topic, ANSWER_SECONDS))
    except KafkaException as error:
        raise CanaryError(
            f"the public site does not let {topic} be read: {error.args[0].str()}", hop="public", hint=NOT_THERE
        ) from error


def _publish(origin: Mapping[str, str], topic: str, mark: bytes, value: bytes, limit: float) -> None:
    failures: list[Any] = []
    client = kafka.producer(origin, **{"delivery.timeout.ms": int(limit * 1000), "linger.ms": 0})
    client.produce(
        topic,
        key=mark,
        value=value,
        headers=[(names.HEADER_SOURCE, b"canary"), (names.HEADER_PRODUCED, f"{time.time():.6f}".encode())],
        on_delivery=lambda error, _: failures.append(error) if error is not None else None,
    )
    waiting = client.flush(limit + 1)
    if waiting or failures:
        why = failures[0].str() if failures else f"no answer within {limit:.0f} s"
        raise CanaryError(f"origin did not take the canary for {topic}: {why}", hop="origin")


def _await(subscriber: Consumer, mark: bytes, value: bytes, started: float, limit: float) -> float:
    while (passed := time.monotonic() - started) < limit:
        message = subscriber.poll(min(1.0, limit - passed))
        if message is None:
            continue
        error = message.error()
        if error is not None:
            raise CanaryError(f"the public site cannot be read: {error.str()}", hop="public")
        if message.key() == mark:
            if message.value() != value:
                raise CanaryError("the canary arrived with other bytes", hop="mirror")
            return time.monotonic() - started
    raise CanaryError(
        f"origin has the canary, public has not seen it within {limit:.0f} s",
        hop="mirror",
        hint="look at MirrorMaker: journalctl -u zads-mirrormaker on the mirror's host",
    )
