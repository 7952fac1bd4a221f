"""Canaries at a steady pace until the chain is quick: fresh Java processes are slow until they have worked a while.

After a start the brokers and the mirror run interpreted code, and open connections, coordinators and files when these
are first needed. The first visits of a night would pay for it, with many seconds. So packets of a night that never was
go the whole way beforehand, origin to mirror to public to a subscriber, on the canaries' topic, which no filter reads.

1. a round of packets, `ROUND_SECONDS` long at the given rate;
2. the round is awaited at the public site: every packet, or the chain is broken and that is said;
3. once 99 % of a round were read within the bound, or the time is over, the warm-up ends.

A mirror that finds new topics begins its tasks anew, so a warm-up after these are made has to outlast that.
"""

from __future__ import annotations

import itertools
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException

from zads import principals, topics
from zads.canary import NOT_THERE, CanaryError
from zads.errors import ZadsError
from zads.packet import Packet
from zads.sources import simulator
from zads.subscriber import Subscriber, percentiles
from zads.transactions import ClientLost, Record, TransactionAborted, TransactionError, Transactions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

ROUND_SECONDS = 4.0
#: Packets of so long are sent at once and committed together, as those of an exposure are.
EXPOSURE_SECONDS = 0.25
DIFFERENT_PACKETS = 100
_ANY_NIGHT = "20300101"
#: Packets a second: about what the telescope makes, and less than a cold chain carries on two cores.
RATE = 40.0
LIMIT_SECONDS = 60.0
UNTIL_SECONDS = 0.5
#: After a night's topics are made: the mirror looks for new ones every 5 s and takes some to begin with them.
NEW_TOPICS_SECONDS = 12.0
ARRIVAL_SECONDS = 60.0  # within which a packet of a round must have arrived at the public site


@dataclass(frozen=True)
class Warmth:
    """What a warm-up measured: produced to read at the public site, in seconds, of its first and its last round."""

    packets: int
    seconds: float
    first: dict[str, float]
    last: dict[str, float]
    reached: bool

    def __str__(self) -> str:
        end = "warm" if self.reached else "not as quick as wanted yet"
        return (
            f"{end} after {self.seconds:.0f} s and {self.packets} canaries: 99 % read within {self.last['p99']:.2f} s"
            f" (at first {self.first['p99']:.2f} s)"
        )


def warm(
    origin: Mapping[str, str],
    public: Mapping[str, str],
    topic: str = topics.topic(topics.CANARY_NIGHT, 1),
    *,
    seconds: float = LIMIT_SECONDS,
    at_least: float = 0.0,
    until_seconds: float = UNTIL_SECONDS,
    rate: float = RATE,
    say: Callable[[str], None],
) -> Warmth:
    """Send canaries until 99 % of a round are read within `until_seconds`, though for `at_least` so long.

    No round begins after `seconds`, whatever was reached.

    The clients need the right to write `topic` at origin, in transactions, and to read it at public. `rate`: packets a
    second. `say` gets a line for each round. Raises CanaryError if a site does not answer or a canary does not arrive.
    """
    mark = f"warm-up {uuid.uuid4()}".encode()
    subscriber = _subscribe(public, topic, mark)
    rounds: list[dict[str, float]] = []
    started = time.monotonic()

    def cold() -> bool:
        spent = time.monotonic() - started
        return not rounds or (spent < seconds and (rounds[-1]["p99"] > until_seconds or spent < at_least))

    try:
        canaries = _Canaries(origin, topic, mark)
        while cold():
            before = len(subscriber.latencies)
            canaries.send(max(1, round(rate * ROUND_SECONDS)), rate)
            if not subscriber.wait_for(canaries.sent, ARRIVAL_SECONDS):
                raise _lost(topic, canaries.sent - len(subscriber.latencies), subscriber.error)
            measured = percentiles(subscriber.latencies[before:])
            assert measured is not None
            rounds.append(measured)
            say(f"canaries: median {measured['p50']:.2f} s, 99 % within {measured['p99']:.2f} s")
    finally:
        subscriber.close()
    spent = time.monotonic() - started
    return Warmth(canaries.sent, spent, rounds[0], rounds[-1], rounds[-1]["p99"] <= until_seconds)


class _Canaries:
    """Canaries to origin, in transactions as the producer's packets are; `sent` counts them. Raises CanaryError."""

    def __init__(self, origin: Mapping[str, str], topic: str, mark: bytes) -> None:
        self._topic, self._mark = topic, mark
        self._packets: Iterator[Packet] = itertools.cycle(_packets())
        self._until = time.monotonic() + ARRIVAL_SECONDS
        self.sent = 0
        self._transactions = Transactions(
            origin,
            f"{principals.WARM_UP}.{uuid.uuid4()}",
            call_seconds=ARRIVAL_SECONDS,
            waiting=self._wait,
            stamp=True,
        )
        try:
            self._transactions.open()
        except KafkaException as error:
            raise self._not_accepted(error.args[0].str()) from error

    def send(self, count: int, rate: float) -> None:
        """Send `count` canaries, `rate` a second, all acknowledged. Raises CanaryError if origin does not take one."""
        started = time.monotonic()
        exposure = max(1, round(rate * EXPOSURE_SECONDS))
        for first in range(0, count, exposure):
            time.sleep(max(0.0, started + first / rate - time.monotonic()))
            self._write(list(itertools.islice(self._packets, min(exposure, count - first))))

    def _write(self, packets: Sequence[Packet]) -> None:
        self._until = time.monotonic() + ARRIVAL_SECONDS
        headers = [(topics.HEADER_SOURCE, self._mark)]
        try:
            self._transactions.write([Record(self._topic, one.key, one.data, headers) for one in packets])
        except (TransactionAborted, ClientLost, TransactionError) as error:
            raise self._not_accepted(str(error)) from error
        self.sent += len(packets)

    def _wait(self, reason: str) -> None:
        """A call that origin needs longer for is resumed, until the time for arriving is over."""
        if time.monotonic() > self._until:
            raise self._not_accepted(reason)
        time.sleep(0.05)

    def _not_accepted(self, reason: str) -> CanaryError:
        return CanaryError(f"origin did not take the canaries for {self._topic}: {reason}", hop="origin")


def _packets() -> list[Packet]:
    # Their own dates do not matter, and no header tells of them: what they are is where they are.
    [(_, made)] = simulator.simulate(_ANY_NIGHT, 1, DIFFERENT_PACKETS)
    return [Packet.trusted(data) for _, data in made]


def _subscribe(public: Mapping[str, str], topic: str, mark: bytes) -> Subscriber:
    try:
        subscriber = Subscriber(public, [topic], mark)
    except ZadsError as error:
        raise CanaryError(str(error), hop="public", hint=NOT_THERE) from error
    subscriber.start()
    return subscriber


def _lost(topic: str, missing: int, error: str) -> CanaryError:
    if error:
        return CanaryError(f"the public site cannot be read: {error}", hop="public")
    return CanaryError(
        f"origin has the canaries for {topic}, public lacks {missing} after {ARRIVAL_SECONDS:.0f} s",
        hop="mirror",
        hint="look at MirrorMaker: journalctl -u zads-mirrormaker on the mirror's host",
    )
