"""The warm-up: canaries at a steady pace until the chain is quick.

After a start the brokers and the mirror run interpreted code, and open connections, coordinators and files when they
first need them. That would cost the first visits of a night many seconds. So packets go the whole way beforehand: from
origin through the mirror and the public site to a subscriber. They are on the canaries' topic, which no filter reads.

1. A round of packets is sent, `ROUND_SECONDS` long at the given rate.
2. Every packet of the round is awaited at the public site. If one is missing the chain is broken, which is an error.
3. The warm-up ends once 99 % of a round were read within the bound, or when the time is over.

A mirror restarts its tasks when it finds new topics. After topics were made, a warm-up must last longer than that.
"""

from __future__ import annotations

import itertools
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException

from zads import names
from zads.canary import NOT_THERE, CanaryError
from zads.errors import ZadsError
from zads.packet import Packet
from zads.sources import simulator
from zads.subscriber import Subscriber, percentiles
from zads.transactions import ClientLost, Record, TransactionAborted, TransactionError, Transactions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

ROUND_SECONDS = 4.0
# The packets of this many seconds are sent at once and committed together, like those of an exposure.
EXPOSURE_SECONDS = 0.25
DIFFERENT_PACKETS = 100
_ANY_NIGHT = "20300101"
# Packets a second: about what the telescope makes, and less than a cold chain carries on two cores.
RATE = 40.0
LIMIT_SECONDS = 60.0
UNTIL_SECONDS = 0.5
# Needed after a night's topics are made: the mirror looks for new ones every 5 s, and needs more time to start on them.
NEW_TOPICS_SECONDS = 12.0
ARRIVAL_SECONDS = 60.0  # within which a packet of a round must have arrived at the public site


@dataclass(frozen=True)
class WarmUpResult:
    """What a warm-up measured.

    `packets`: how many were sent, in `seconds`; `first` and `last`: the `percentiles` of the first and of the last
    round's latencies, from producing to reading at the public site; `reached`: the chain is as quick as wanted.
    """

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
    topic: str = names.night_topic(names.CANARY_NIGHT, 1),
    *,
    seconds: float = LIMIT_SECONDS,
    at_least: float = 0.0,
    until_seconds: float = UNTIL_SECONDS,
    rate: float = RATE,
    say: Callable[[str], None],
) -> WarmUpResult:
    """Send canaries until 99 % of a round are read within `until_seconds`, but at least for `at_least` seconds.

    No round begins after `seconds`. The clients need the right to write `topic` at origin, in transactions, and to read
    it at public. `rate`: packets a second. `say` gets a line for each round.
    Raises CanaryError if a site does not answer or a canary does not arrive.
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
    return WarmUpResult(canaries.sent, spent, rounds[0], rounds[-1], rounds[-1]["p99"] <= until_seconds)


class _Canaries:
    """Sends canaries to origin, in transactions like the producer's; `sent` counts them. Raises CanaryError."""

    def __init__(self, origin: Mapping[str, str], topic: str, mark: bytes) -> None:
        self._topic, self._mark = topic, mark
        self._packets: Iterator[Packet] = itertools.cycle(_packets())
        self._until = time.monotonic() + ARRIVAL_SECONDS
        self.sent = 0
        self._transactions = Transactions(
            origin,
            f"{names.WARM_UP}.{uuid.uuid4()}",
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
        headers = [(names.HEADER_SOURCE, self._mark)]
        try:
            self._transactions.write([Record(self._topic, one.key, one.data, headers) for one in packets])
        except (TransactionAborted, ClientLost, TransactionError) as error:
            raise self._not_accepted(str(error)) from error
        self.sent += len(packets)

    def _wait(self, reason: str) -> None:
        """Wait before a call to origin is resumed. Raises CanaryError when ARRIVAL_SECONDS are over."""
        if time.monotonic() > self._until:
            raise self._not_accepted(reason)
        time.sleep(0.05)

    def _not_accepted(self, reason: str) -> CanaryError:
        return CanaryError(f"origin did not take the canaries for {self._topic}: {reason}", hop="origin")


def _packets() -> list[Packet]:
    # The packets' dates do not matter: every record of the canaries' topic is a canary.
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
