"""The deployed system that the chain is measured on: inventories/bench in containers.

The lab and the playbook `deploy` bring it up. It is fed as by the telescope's pipeline: exposures are renamed into the
producer's spool. They are made and copied to that host before a measurement begins.
"""

from __future__ import annotations

import datetime
import io
import itertools
import json
import struct
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, TopicPartition

from bench.usage import Parts, Usage, between
from zads import julian, kafka, names, reading
from zads.errors import ZadsError
from zads.filters import status
from zads.inventory import Inventory
from zads.lab.hosts import Lab
from zads.lab.removal import down
from zads.packet import Packet

ENV = "bench"
APPS = "apps-1"
STAGED = "/var/lib/zads/bench"
SPOOL = "/var/lib/zads/producer/spool"
PROGRAMME = 1
#: Alerts of a night before its topics are deleted: three replicas on each site are in memory.
NIGHT_ALERTS = 45_000
VISIT_ALERTS = 1_000
#: Alerts that open a night. When they have been read, every hop knows its topics.
OPENING = 60
#: When the brokers are warm, Java's compiler takes at most this part of the processor time.
COMPILING = 0.05
#: The longest wait for the last alerts after the last exposure.
PATIENCE_SECONDS = 240.0
#: Added to an alert's candid for each copy. No two candids of a survey differ by a small multiple of it.
_STRIDE = 1_000_003
_DROP = """
import json, os, sys, time
interval, names, receipts = json.load(sys.stdin)
started = time.monotonic()
for number, name in enumerate(names):
    time.sleep(max(0.0, started + number * interval - time.monotonic()))
    os.rename(f"{staged}/{name}", f"{incoming}/{name}")
while receipts and os.listdir("{incoming}"):
    time.sleep(0.005)
print(time.monotonic() - started)
""".replace("{incoming}", f"{SPOOL}/incoming").replace("{staged}", STAGED)

# The producer does not publish the same bytes twice in a night: each exposure gets new candids.
_RENUMBER = """
import json, sys, tarfile
def encoded(value):
    value <<= 1
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])
for source, target, candids, shift in json.load(sys.stdin):
    with open(source, "rb") as stream:
        data = bytearray(stream.read())
    with tarfile.open(source) as archive:
        for member, candid in zip(archive, candids):
            place = slice(member.offset_data, member.offset_data + member.size)
            data[place] = data[place].replace(encoded(candid), encoded(candid + shift))
    with open(target, "wb") as stream:
        stream.write(data)
"""


@dataclass(frozen=True)
class Measurement:
    """The measurement of some exposures that were played."""

    alerts: int
    usage: Usage
    #: seconds from the producer's stamp to the reading, of each alert
    latencies: np.ndarray
    #: from the first producer's stamp to the last reading
    seconds: float

    @property
    def rate(self) -> float:
        """Alerts a second, from the first produced to the last read."""
        return self.alerts / self.seconds

    @property
    def cost(self) -> float:
        """CPU-milliseconds an alert: the busy time of the whole machine."""
        return 1000 * self.usage.busy / self.alerts

    def percentile(self, share: float) -> float:
        """A percentile of the latencies, in seconds."""
        return float(np.percentile(self.latencies, share))


class Reader(threading.Thread):
    """A subscriber: reads a topic from its end (or beginning) and records when each alert was produced and read."""

    def __init__(self, conf: dict[str, str], name: str, *, rewind: bool = False, **over: object) -> None:
        super().__init__(name="reader", daemon=True)
        self.produced: list[float] = []
        self.read: list[float] = []
        self.ends: dict[int, int] = {}
        self._stop_reading = threading.Event()
        self._consumer = kafka.consumer(conf, conf.get("group.id", "reader"), **over)
        self.topic = name
        try:
            places = kafka.ends(self._consumer, name, 30)
        except KafkaException:
            self._consumer.close()
            raise
        if rewind:
            places = [TopicPartition(name, place.partition, OFFSET_BEGINNING) for place in places]
        self._consumer.assign(places)

    def run(self) -> None:
        """Read until `close`."""
        while not self._stop_reading.is_set():
            for message in reading.arrived(self._consumer):
                if (error := message.error()) is not None:
                    if error.code() != KafkaError._PARTITION_EOF and not error.retriable():
                        raise ZadsError(f"the subscriber cannot read: {error.str()}")
                    continue
                self.produced.append(float(reading.headers(message).get(names.HEADER_PRODUCED, b"nan")))
                self.read.append(time.time())
                partition, offset = message.partition(), message.offset()
                assert partition is not None
                assert offset is not None, "what was read has a place"
                self.ends[partition] = offset + 1

    def stop(self) -> None:
        """Ask the thread to end."""
        self._stop_reading.set()

    def close(self) -> None:
        """End the thread and close the consumer."""
        self.stop()
        self.join()
        self._consumer.close()


class Cluster:
    """The benchmark's own deployment."""

    def __init__(self, root: Path, say: Callable[[str], None]) -> None:
        self.root, self.say = root, say
        self._lab = Lab(Inventory.load(ENV, root, realised=False), say)
        self._night = datetime.date(2030, 1, 1)
        self._used = NIGHT_ALERTS
        self._packets: Sequence[bytes] = ()
        self._tars: dict[int, list[tuple[str, list[int]]]] = {}
        self._played = 0
        #: how to reach each site as its administrator, once it is deployed
        self.origin: dict[str, str] = {}
        self.public: dict[str, str] = {}
        #: partitions of a night's topics
        self.partitions = int(self._lab.inventory.common("topics_night")["partitions"])

    def up(self) -> float | None:
        """Start the hosts and deploy. Returns the seconds of a first deployment, None for a later one."""
        self.command(".venv/bin/python", "scripts/images.py")
        fresh = not self._lab.containers()
        self._lab.up()
        seconds = self.deploy()
        self._look()
        return seconds if fresh else None

    def _look(self) -> None:
        self.inventory = Inventory.load(ENV, self.root)
        self.origin = kafka.read_properties(self.inventory.client("admin-origin"))
        self.public = kafka.read_properties(self.inventory.client("admin-public"))
        self.reader = kafka.read_properties(self.inventory.client("reader"))
        self.parts = Parts.of_lab(ENV)
        known = kafka.admin(self.origin).list_topics(timeout=30).topics
        nights = [parsed[0] for name in known if (parsed := names.parse_topic(name))]
        self._night = max([self._night, *(datetime.datetime.strptime(night, "%Y%m%d").date() for night in nights)])

    def leave(self) -> None:
        """End the clients that are kept for both sites: once these are down, they would complain without end."""
        for conf in (self.origin, self.public):
            kafka.forget(conf)

    def down(self) -> None:
        """Remove its containers, networks and volumes."""
        down(self.root, ENV)

    def deploy(self, *options: str) -> float:
        """Deploy the inventory, with further options of ansible-playbook. Returns the seconds that it took."""
        started = time.monotonic()
        self.command("scripts/ansible", ENV, "deploy", *options)
        seconds = time.monotonic() - started
        self.say(f"deployed in {seconds:.0f} s")
        return seconds

    def command(self, *words: str) -> str:
        """Run a command in the repository's root. Returns its output. Raises ZadsError with the end of it."""
        result = subprocess.run(
            words, cwd=self.root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            check=False,
        )  # fmt: skip
        if result.returncode:
            raise ZadsError(f"{' '.join(words)} failed: {result.stdout[-3000:]}")
        return result.stdout

    def on(self, host: str, script: str, given: bytes = b"") -> str:
        """Run a shell script on a host, as root. Returns its output. Raises ZadsError with its messages."""
        container = str(self._lab.container(host).name)
        command = ["docker", "exec", "-i", container, "sh", "-ec", script]
        result = subprocess.run(command, input=given, capture_output=True, check=False)
        if result.returncode:
            raise ZadsError(f"{host}: {script!r} failed: {(result.stderr or result.stdout).decode()[-2000:]}")
        return result.stdout.decode()

    def load(self, packets: Sequence[bytes]) -> None:
        """Take the packets of the public programme, to be played repeatedly."""
        self._packets = [data for data in packets if Packet.trusted(data).programid == PROGRAMME]
        self._used = NIGHT_ALERTS  # the next play begins a new night

    @property
    def topic(self) -> str:
        """The topic of the present night."""
        return names.night_topic(f"{self._night:%Y%m%d}", PROGRAMME)

    def new_night(self) -> None:
        """Begin a night: delete the topics of earlier ones, create new ones, and wait until all hops know them."""
        self._night += datetime.timedelta(days=1)
        for conf in (self.origin, self.public):
            client = kafka.admin(conf)
            old = [name for name in client.list_topics(timeout=30).topics if names.parse_topic(name)]
            for answer in client.delete_topics(old, operation_timeout=30).values() if old else ():
                answer.result(60)
        shape = {**self.inventory.common("topics_night"), "partitions": self.partitions}
        wanted = json.dumps({"night": f"{self._night:%Y%m%d}", "topics_night": shape})
        self.command("scripts/ansible", ENV, "night", "-e", wanted)
        self.on(APPS, f"rm -rf {STAGED}/* {SPOOL}/done/* && mkdir -p {STAGED}")
        self._tars.clear()
        self._used = 0
        self.play(1, OPENING)

    def stream(self, alerts: int) -> list[bytes]:
        """A number of packets of the present night."""
        return list(itertools.islice(dated(self._packets, f"{self._night:%Y%m%d}"), alerts))

    def _stage(self, alerts: int) -> list[tuple[str, list[int]]]:
        """Put models of exposures with this number of alerts on the producer's host, once a night.

        Returns their paths, each with the candids of its alerts.
        """
        if alerts not in self._tars:
            copies = max(1, min(4, 4000 // alerts))
            stream = dated(self._packets, f"{self._night:%Y%m%d}")
            paths = []
            for number in range(copies):
                path = f"{STAGED}/{alerts}-{number}.tar"
                packets = list(itertools.islice(stream, alerts))
                self.on(APPS, f"cat > {path}", _tar(packets))
                paths.append((path, [Packet.trusted(data).candid for data in packets]))
            self._tars[alerts] = paths
        return self._tars[alerts]

    def ready(self, exposures: int, alerts: int = VISIT_ALERTS) -> list[str]:
        """Make new exposures ready on the producer's host. Returns their names."""
        models = self._stage(alerts)
        ready, copies = [], []
        for number in range(exposures):
            self._played += 1
            name = f"{self._night:%Y%m%d}-{time.time():.0f}-{self._played:06}.tar"
            model, candids = models[number % len(models)]
            copies.append((model, f"{STAGED}/{name}", candids, self._played * _STRIDE * 1000))
            ready.append(name)
        self.on(APPS, f"rm -rf {SPOOL}/done/*; python3 -c '{_RENUMBER}'", json.dumps(copies).encode())
        self._used += exposures * alerts
        return ready

    def drop(self, exposures: Sequence[str], interval: float = 0.0, *, receipts: bool = False) -> float:
        """Drop exposures that are ready into the spool, one every `interval` seconds.

        With `receipts` it waits until the last has its receipt. Returns the seconds that it took.
        """
        return float(self.on(APPS, f"python3 -c '{_DROP}'", json.dumps([interval, exposures, receipts]).encode()))

    def play(self, exposures: int, alerts: int = VISIT_ALERTS, interval: float = 0.0) -> Measurement:
        """Drop exposures with this number of alerts each, and wait until all hops have processed them."""
        total = exposures * alerts
        if self._used + total > NIGHT_ALERTS:
            self.new_night()
        ready = self.ready(exposures, alerts)
        reader = Reader(self.reader, self.topic)
        reader.start()
        try:
            before = self.parts.snapshot()
            self.drop(ready, interval)
            await_that(f"{total} alerts read", lambda: len(reader.read) >= total, reader.is_alive)
            await_that("the filters are done", lambda: self.behind(reader) == 0)
            after = self.parts.snapshot()
        finally:
            reader.close()
        produced, read = np.array(reader.produced), np.array(reader.read)
        return Measurement(total, between(before, after), read - produced, float(read.max() - produced.min()))

    def behind(self, reader: Reader) -> int:
        """The number of offsets that the filters are behind a subscriber."""
        ends = {(reader.topic, number): end for number, end in reader.ends.items()}
        return status.lag(self.public, names.filters_principal("cuts"), ends)

    def warm(self, seconds: float, enough: float = 0.05) -> list[float]:
        """Play until Java has compiled what is used and the cost of an alert no longer falls.

        An alert costs three times as much on new sites. Returns the costs on the way (CPU-ms an alert).
        """
        costs: list[float] = []
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            played = self.play(8)
            costs.append(played.cost)
            compiling = sum(kinds.get("compiler", 0.0) for kinds in played.usage.threads.values()) / played.usage.busy
            self.say(f"warming: {costs[-1]:.2f} CPU-ms an alert, {compiling:.0%} of them in Java's compiler")
            if compiling < COMPILING and len(costs) > 3 and min(costs[:-2]) < (1 + enough) * min(costs[-2:]):
                break
        return costs


def await_that(
    what: str,
    condition: Callable[[], bool],
    alive: Callable[[], bool] = lambda: True,
    seconds: float = PATIENCE_SECONDS,
) -> None:
    """Wait for a condition. Raises ZadsError naming what did not come true."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until or not alive():
            raise ZadsError(f"not within {seconds:g} s: {what}")
        time.sleep(0.05)


def dated(packets: Sequence[bytes], night: str) -> Iterator[bytes]:
    """The packets repeatedly, with another night's date and new candids.

    Only the eight bytes of the date and the nine of the candid change, so the packets keep their size.
    """
    midnight = datetime.datetime.strptime(night, "%Y%m%d").replace(tzinfo=datetime.UTC)
    jd = struct.pack("<d", midnight.timestamp() / julian.SECONDS_A_DAY + julian.UNIX_EPOCH_JD + 0.25)
    round_ = 0
    while True:
        round_ += 1
        for data in packets:
            packet = Packet.trusted(data)
            old = _long(packet.candid)
            new = _long(packet.candid + round_ * _STRIDE)
            if len(old) != len(new):
                raise ZadsError(f"candid {packet.candid} has no neighbour of its length")
            yield data.replace(struct.pack("<d", packet.jd), jd).replace(old, new)


def _long(value: int) -> bytes:
    """Avro's encoding of a positive long."""
    value <<= 1
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def _tar(packets: Iterable[bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for number, data in enumerate(packets):
            member = tarfile.TarInfo(f"{number:05}.avro")
            member.size, member.mode = len(data), 0o644
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()
