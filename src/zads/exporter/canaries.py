"""Canaries all night: marked records as large as packets, one every few seconds, from origin to the public site.

1. A canary is handed to origin, with a mark of this run and a number in its key.
2. Origin acknowledges it: the hop `origin`.
3. A subscriber of the public site reads it: the hop `mirror`, from the acknowledgement on, and `whole`.
4. One that does not arrive within LOST_SECONDS is lost; one that arrives with other bytes is altered.

All moments are of this host's steady clock. No filter reads canaries: how long filters take is measured on alerts.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException

from zads import kafka, metrics, names, reading
from zads.canary import CANARY_BYTES
from zads.errors import ZadsError

INTERVAL_SECONDS = 5.0
LOST_SECONDS = 120.0
#: A client that has had an error for so long is replaced by a new one.
_PATIENCE_SECONDS = 60.0
#: Why a client failed when Python cannot say it.
ODD = "the client failed, and raised what is no exception"
_log = structlog.get_logger("zads.exporter")


@dataclass
class _Canary:
    """A canary that is under way: when it was sent and acknowledged, and the digest of its bytes."""

    sent: float
    digest: bytes
    acknowledged: float | None = None


class Flight:
    """The canaries that are under way, and what became of the others. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: dict[bytes, _Canary] = {}

    def sent(self, key: bytes, value: bytes) -> None:
        """A canary was handed to the client."""
        with self._lock:
            self._waiting[key] = _Canary(self._clock(), hashlib.sha256(value).digest())
        metrics.CANARY_SENT.inc()

    def acknowledged(self, key: bytes) -> None:
        """Origin has it."""
        with self._lock:
            canary = self._waiting.get(key)
            if canary is not None and canary.acknowledged is None:
                canary.acknowledged = self._clock()
                metrics.CANARY_SECONDS.labels("origin").observe(canary.acknowledged - canary.sent)

    def arrived(self, key: bytes, value: bytes) -> None:
        """A record of the canaries' topic was read at the public site; those of others are left out."""
        with self._lock:
            canary, now = self._waiting.pop(key, None), self._clock()
        if canary is None:
            return
        if hashlib.sha256(value).digest() != canary.digest:
            metrics.CANARY_ALTERED.inc()
            _log.error("a canary arrived with other bytes", key=key.decode(), bytes=len(value))
            return
        metrics.CANARY_ARRIVED.inc()
        # The acknowledgement may come after the record itself.
        metrics.CANARY_SECONDS.labels("mirror").observe(now - (canary.acknowledged or now))
        metrics.CANARY_SECONDS.labels("whole").observe(now - canary.sent)

    def waiting_seconds(self) -> float:
        """For how long the oldest canary has been under way; 0 if none is."""
        with self._lock:
            return max((self._clock() - one.sent for one in self._waiting.values()), default=0.0)

    def give_up(self) -> None:
        """Count canaries that have not arrived in time as lost."""
        with self._lock:
            late = [key for key, one in self._waiting.items() if self._clock() - one.sent > LOST_SECONDS]
            lost = [self._waiting.pop(key) for key in late]
        for one in lost:
            where = "origin" if one.acknowledged is None else "mirror"
            metrics.CANARY_LOST.labels(where).inc()
            _log.error("a canary is lost", hop=where, seconds=LOST_SECONDS)


class Canaries:
    """Sends and reads canaries. `confs`: clients that may write the topic at origin and read it at public."""

    def __init__(self, confs: Mapping[Any, Mapping[str, str]], topic: str, interval: float = INTERVAL_SECONDS) -> None:
        self._origin, self._public = ({**confs[site], "log_level": "0"} for site in ("origin", "public"))
        self._topic, self._interval = topic, interval
        self._mark = f"canary {uuid.uuid4().hex}"
        self._number = 0
        self.flight = Flight()
        metrics.CANARY_WAITING.set_function(self.flight.waiting_seconds)

    def run(self, rest: Callable[[float], object]) -> None:
        """Send and read until `rest` raises. A client that does not work is replaced."""
        while True:
            try:
                self._fly(rest)
            except (KafkaException, ZadsError) as error:
                _log.warning("canaries begin anew", reason=str(error))
            except Exception:
                raise  # `rest` asks to end; a fault of ours ends the thread, then the process, which is started again
            except:  # noqa: E722 - the client may raise a KafkaError from C, which is no exception: no class matches it
                _log.warning("canaries begin anew", reason=ODD)
            self.flight.give_up()
            rest(self._interval)

    def _fly(self, rest: Callable[[float], object]) -> None:
        """One pair of clients. Raises ZadsError or confluent_kafka.KafkaException when they do not work."""
        subscriber = kafka.consumer(self._public, kafka.own_group(self._public, names.CANARY_GROUP))
        sender = kafka.producer(self._origin, **{"delivery.timeout.ms": int(LOST_SECONDS * 1000), "linger.ms": 0})
        try:
            subscriber.assign(kafka.ends(subscriber, self._topic, reading.ANSWER_SECONDS))
            next_one = well = time.monotonic()
            while True:
                rest(0.0)
                now = time.monotonic()
                if now >= next_one:
                    next_one = now + self._interval
                    self._send(sender)
                    self.flight.give_up()
                sender.poll(0)
                for message in reading.arrived(subscriber):
                    error = message.error()
                    if error is None:
                        well = now
                        self.flight.arrived(bytes(message.key() or b""), bytes(message.value() or b""))
                    elif not error.retriable():
                        raise KafkaException(error)
                if now - well > _PATIENCE_SECONDS + LOST_SECONDS:
                    raise ZadsError(f"no canary has arrived for {now - well:.0f} s")
        finally:
            subscriber.close()
            sender.purge()
            sender.flush(1)

    def _send(self, sender: Any) -> None:
        self._number += 1
        key, value = f"{self._mark} {self._number}".encode(), os.urandom(CANARY_BYTES)
        self.flight.sent(key, value)

        def acknowledged(error: KafkaError | None, _: Any) -> None:
            if error is None:
                self.flight.acknowledged(key)

        headers = [(names.HEADER_SOURCE, b"canary"), (names.HEADER_PRODUCED, f"{time.time():.6f}".encode())]
        try:
            sender.produce(self._topic, key=key, value=value, headers=headers, on_delivery=acknowledged)
        except BufferError:
            # Origin has not answered for so long that the client's queue is full: this one counts as lost in time.
            _log.warning("a canary finds no room in the client's queue")
