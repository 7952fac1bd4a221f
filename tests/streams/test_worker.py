"""What a filter passes is on its topic once, whatever happens to the worker and whatever other filters do."""

from __future__ import annotations

import itertools
import json
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.broker import Broker, await_true
from zads import kafka, names
from zads.filters import status, worker
from zads.filters.counts import Counts, RestoreInterrupted, restore
from zads.filters.outcome import REJECTIONS_A_VISIT
from zads.packet import Packet
from zads.sources.simulator import simulate

NIGHTS = (f"201901{day:02d}" for day in range(1, 31))
GROUPS = (f"group{number}" for number in itertools.count())
EVEN = 'alert["candid"] % 2 == 0'


class Keeper:
    """Runs a worker, and restarts it when it ends, as its service does."""

    def __init__(self, command: list[str], log: Path) -> None:
        self._command, self._log = command, log
        self._stopping = threading.Event()
        self.exits: list[int] = []
        self._start()
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    def _start(self) -> None:
        with self._log.open("ab") as log:
            self._begin = log.tell()
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log)

    def _keep(self) -> None:
        while True:
            self.exits.append(self.process.wait())
            if self._stopping.is_set():
                return
            self._start()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def stop(self) -> int:
        """Stop it as a service manager does, after its start (before that a signal ends it). Returns the status."""
        await_true(self._runs, "the worker to run", 40, self.log)
        self._stopping.set()
        self.process.send_signal(signal.SIGTERM)
        self._thread.join(40)
        if self._thread.is_alive():
            self.process.kill()
            pytest.fail(f"the worker did not stop\n{self.log()}")
        return self.exits[-1]

    def _runs(self) -> bool:
        return b"worker started" in self._log.read_bytes()[self._begin :]

    def log(self) -> str:
        return self._log.read_text(errors="replace")[-4000:]


class Night:
    """A group of filters with its own configuration, on a separate night."""

    def __init__(self, broker: Broker, directory: Path) -> None:
        self.broker, self.directory = broker, directory
        self.group = next(GROUPS)
        self.topic = names.night_topic(next(NIGHTS), 1)
        broker.create(self.topic, partitions=8)
        self.properties = directory / "kafka.properties"
        self.properties.write_text("".join(f"{name}={value}\n" for name, value in broker.conf.items()))
        self.config = directory / "group.json"
        self.filters: list[dict[str, Any]] = []
        self.keepers: list[Keeper] = []

    def add(self, name: str, accept: str, *, state: str = "active", cap: int = 1_000_000) -> None:
        """Add a filter whose verdict is a body or an expression: its file, its topic, its entry in the group's file."""
        body = accept if "\n" in accept or accept.startswith(("raise", "while")) else f"return {accept}"
        self.write(name, body)
        self.broker.create(names.filter_topic(name), partitions=2)
        self.filters.append({"name": name, "owner": "alice", "group": self.group, "state": state, "cap": cap})
        self.configure()

    def write(self, name: str, body: str) -> None:
        text = "\n".join(f"        {line}" for line in body.splitlines())
        (self.directory / f"{name}.py").write_text(
            "import os\nfrom zads.filters import Filter\nKEPT = []\nclass Cut(Filter):\n"
            f'    """{name}."""\n    fields = ("candid", "candidate.rb")\n    time_limit = 0.3\n'
            f"    def accept(self, alert):\n{text}\n"
        )

    def configure(self) -> None:
        temporary = self.config.with_suffix(".part")
        temporary.write_text(json.dumps({"group": self.group, "programmes": [1], "filters": self.filters}))
        temporary.replace(self.config)

    def publish(self, visits: int, alerts: int, *, seed: int = 1) -> None:
        """Publish simulated alerts on the night's topic."""
        producer = kafka.producer(self.broker.conf)
        for _, members in simulate("20190101", visits, alerts, seed=seed):
            for _, data in members:
                packet = Packet.trusted(data)
                headers = [(names.HEADER_CANDID, str(packet.candid)), (names.HEADER_VISIT, packet.visit)]
                headers.append((names.HEADER_FORMAT, names.FORMAT_AVRO))
                producer.produce(self.topic, data, packet.key, headers=headers)
        assert producer.flush(30) == 0

    def start(self, name: str = "1") -> Keeper:
        command = [sys.executable, "-m", "zads.cli", "worker", "--config", str(self.config)]
        command += ["--kafka", str(self.properties), "--name", name]
        self.keepers.append(Keeper(command, self.directory / f"worker-{name}.log"))
        return self.keepers[-1]

    def all_topics(self) -> list[str]:
        known = kafka.admin(self.broker.conf).list_topics(timeout=20).topics
        return sorted(name for name in known if re.search(names.topic_pattern({1}), name))

    def everything(self) -> list[Packet]:
        """Every alert on the topics that the worker subscribes to, those of other tests' nights too."""
        return [Packet.trusted(m.value()) for topic in self.all_topics() for m in self.broker.read_all(topic)]

    def passed(self, name: str) -> Counter[bytes]:
        return Counter(message.value() for message in self.broker.read_all(names.filter_topic(name)))

    def records(self) -> list[dict[str, Any]]:
        """The newest committed record of each filter and worker of the group."""
        latest: dict[bytes, dict[str, Any]] = {}
        for message in self.broker.read_all(names.FILTER_COUNTS_TOPIC):
            value = json.loads(message.value())
            if value["group"] == self.group:
                latest[message.key()] = value
        return list(latest.values())

    def counts(self) -> dict[str, Counter[str]]:
        """Each filter's committed numbers, summed over the workers of the group."""
        total: dict[str, Counter[str]] = {}
        for value in self.records():
            numbers = {key: value[key] for key in ("seen", "passed", "capped", "failed", "skipped")}
            total.setdefault(value["filter"], Counter()).update(numbers)
        return total

    def seen(self, name: str) -> int:
        return self.counts().get(name, Counter())["seen"]

    def await_seen(self, name: str, number: int, seconds: float = 60) -> None:
        await_true(
            lambda: self.seen(name) >= number, f"{number} alerts seen by {name}", seconds,
            lambda: f"{self.counts()}\n{self.keepers[-1].log()}",
        )  # fmt: skip


@pytest.fixture(scope="module")
def prepared(broker: Broker) -> Broker:
    broker.create(names.FILTER_COUNTS_TOPIC, cleanup_policy="compact")
    broker.create(names.owner_topic("alice"))
    return broker


@pytest.fixture
def night(prepared: Broker, tmp_path: Path) -> Iterator[Night]:
    made = Night(prepared, tmp_path)
    yield made
    for keeper in made.keepers:
        if not keeper._stopping.is_set():
            keeper.stop()


def even(packets: list[Packet]) -> Counter[bytes]:
    return Counter(packet.data for packet in packets if packet.candid % 2 == 0)


def test_a_killed_worker_passes_each_alert_once_and_keeps_to_caps(night: Night) -> None:
    name = f"{night.group}_evens", f"{night.group}_capped", f"{night.group}_quiet"
    night.add(name[0], EVEN)
    night.add(name[1], "{'seven': 7}", cap=7)
    night.add(name[2], "True", state="shadow")
    night.publish(4, 60)
    keeper = night.start()
    for seed in (2, 3, 4):
        before = night.seen(name[0])
        night.publish(4, 60, seed=seed)
        night.await_seen(name[0], before + 20)
        keeper.signal(signal.SIGKILL)
    everything = night.everything()
    night.await_seen(name[0], len(everything))
    assert keeper.stop() == 0
    assert keeper.exits.count(-signal.SIGKILL) == 3

    visits = Counter(packet.visit for packet in everything)
    assert night.passed(name[0]) == even(everything)
    passed = night.broker.read_all(names.filter_topic(name[1]))
    assert Counter(dict(m.headers())[names.HEADER_VISIT].decode() for m in passed) == {
        visit: min(7, number) for visit, number in visits.items()
    }
    assert {dict(message.headers())[names.HEADER_ANNOTATIONS] for message in passed} == {b'{"seven":7}'}
    assert {dict(message.headers())[names.HEADER_FORMAT] for message in passed} == {names.FORMAT_AVRO}
    assert night.passed(name[2]) == Counter()
    counts = night.counts()
    assert {row["seen"] for row in counts.values()} == {len(everything)}
    assert counts[name[1]]["passed"] + counts[name[1]]["capped"] == len(everything)
    assert counts[name[2]]["passed"] == len(everything)
    for topic in night.all_topics():
        parsed = names.parse_topic(topic)
        assert parsed is not None
        mine = status.counts(night.broker.conf, [parsed[0]])
        assert {mine[one]["seen"] for one in name} == {len(night.broker.read_all(topic))}


def test_a_worker_ignores_canaries(night: Night) -> None:
    evens, canaries = f"{night.group}_evens", names.night_topic(names.CANARY_NIGHT, 1)
    night.broker.create(canaries)
    producer = kafka.producer(night.broker.conf)
    producer.produce(canaries, b"no packet", b"key")
    assert producer.flush(30) == 0
    night.add(evens, EVEN)
    night.publish(1, 40)
    keeper = night.start()
    everything = night.everything()
    night.await_seen(evens, len(everything))
    assert keeper.stop() == 0
    assert night.seen(evens) == len(everything)
    refused = night.broker.read_all(names.REJECTED_TOPIC)
    assert not [message for message in refused if message.value() == b"no packet"]


BAD: dict[str, str] = {
    "raises": "raise ValueError('no')",
    "loops": "while True: pass",
    "deaf": "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
    "allocates": "while True:\n    KEPT.append(bytearray(10**7))",
    "prints": "while True:\n    print('x' * 10**6)",
    "exits": "raise SystemExit(3)",
    "dies": "os._exit(3)",
    "forks": "while True:\n    os.fork()",
    "kills": "os.kill(os.getppid(), 9)",
    "nonsense": "return 'yes'\n",
}


def test_bad_filters_cost_other_filters_only_bounded_time(night: Night) -> None:
    good = f"{night.group}_good"
    for kind, body in BAD.items():
        night.add(f"{night.group}_{kind}", body if "\n" in body else f"{body}\n")
    night.add(good, EVEN)
    night.publish(1, 40)
    keeper = night.start()
    everything = night.everything()
    night.await_seen(good, len(everything), 180)
    assert keeper.stop() == 0
    assert len(keeper.exits) == 1, "the worker itself never ended"
    assert night.passed(good) == even(everything)
    counts = night.counts()
    letters: Counter[str] = Counter()
    alerts = {packet.data: str(packet.candid).encode() for packet in everything}
    for message in night.broker.read_all(names.REJECTED_TOPIC):
        headers = dict(message.headers())
        if (name := headers.get(names.HEADER_FILTER, b"").decode()).startswith(f"{night.group}_"):
            letters[name] += 1
            assert headers[names.HEADER_CANDID] == alerts[message.value()], "the bytes and the candid of the alert"
            assert headers[names.HEADER_REASON], name
    circuits = {record["filter"]: record["circuit"] for record in night.records()}
    assert circuits[good] == "closed"
    visits = len({packet.visit for packet in everything})
    for kind in BAD:
        assert circuits[f"{night.group}_{kind}"] == "open", kind
        assert letters[f"{night.group}_{kind}"] <= REJECTIONS_A_VISIT * visits, kind
        row = counts[f"{night.group}_{kind}"]
        assert row["passed"] == 0
        assert row["failed"] > 0, kind
        assert row["failed"] + row["skipped"] == len(everything), kind
        assert letters[f"{night.group}_{kind}"] > 0, kind
    shown, counted = Counter[str](), dict[str, dict[str, Any]]()
    for message in night.broker.read_all(names.owner_topic("alice")):
        headers = dict(message.headers())
        if (name := headers[names.HEADER_FILTER].decode()).startswith(f"{night.group}_"):
            if headers.get(names.HEADER_FORMAT) == names.FORMAT_JSON:
                counted[name] = json.loads(message.value())
            else:
                shown[name] += 1
                assert alerts[message.value()] == headers[names.HEADER_CANDID]
    assert shown == letters, "the owner is shown the same failures as the operators"
    assert set(counted) == {good, *(f"{night.group}_{kind}" for kind in BAD)}
    assert "visits" not in counted[good]


def test_a_stopped_worker_finishes_its_batch_and_the_next_one_continues(night: Night) -> None:
    evens = f"{night.group}_evens"
    night.add(evens, EVEN)
    night.publish(4, 60)
    keeper = night.start()
    night.await_seen(evens, 1)
    assert keeper.stop() == 0
    assert "worker stopped" in keeper.log()
    assert night.passed(evens).total() == night.counts()[evens]["passed"], (
        "outputs and counts belong to the same batches"
    )
    night.publish(1, 60, seed=2)
    follower = night.start()
    everything = night.everything()
    night.await_seen(evens, len(everything))
    assert follower.stop() == 0
    assert night.passed(evens) == even(everything)
    assert night.seen(evens) == len(everything)


def test_a_reload_adds_new_filters_and_neither_loses_nor_doubles_alerts(night: Night) -> None:
    evens, later = f"{night.group}_evens", f"{night.group}_later"
    night.add(evens, EVEN)
    night.publish(2, 50)
    keeper = night.start()
    night.await_seen(evens, len(night.everything()))
    before = len(night.everything())
    night.add(later, "True")
    night.publish(2, 50, seed=2)
    keeper.signal(signal.SIGHUP)
    await_true(lambda: "reloaded" in keeper.log(), "the reload", 30, keeper.log)
    night.publish(2, 50, seed=3)
    everything = night.everything()
    night.await_seen(evens, len(everything))
    # An invalid configuration changes nothing.
    night.config.write_text("{")
    keeper.signal(signal.SIGHUP)
    await_true(lambda: "reload refused" in keeper.log(), "the refusal", 30, keeper.log)
    assert keeper.stop() == 0
    assert night.passed(evens) == even(everything)
    assert 50 <= len(night.passed(later)) == night.counts()[later]["seen"] <= len(everything) - before


def test_two_workers_share_a_group_and_each_alert_is_judged_once(night: Night) -> None:
    evens = f"{night.group}_evens"
    night.add(evens, EVEN)
    night.publish(3, 60)
    keepers = [night.start("1"), night.start("2")]
    night.await_seen(evens, 60)
    night.publish(3, 60, seed=2)
    keepers[0].signal(signal.SIGKILL)
    everything = night.everything()
    night.await_seen(evens, len(everything))
    assert [keeper.stop() for keeper in keepers] == [0, 0]
    assert night.passed(evens) == even(everything)
    assert night.seen(evens) == len(everything)


def test_partitions_that_move_while_a_batch_is_gathered_are_judged_once(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, large in (("GATHER_SECONDS", 10.0), ("BATCH_ALERTS", 100_000), ("BATCH_BYTES", 10**9)):
        monkeypatch.setattr(worker, name, large)
    evens = f"{night.group}_evens"
    night.add(evens, EVEN)
    night.publish(3, 60)
    everything = night.everything()
    working = worker.Worker(night.config, night.broker.conf, "1")
    thread = threading.Thread(target=working.run)
    thread.start()
    try:
        await_true(lambda: working._batch, "the beginning of a batch")
        other = kafka.consumer(
            night.broker.conf, names.filters_principal(night.group), **{"partition.assignment.strategy": "range"}
        )
        other.subscribe([names.topic_pattern({1})])
        await_true(lambda: [other.poll(0.1)] and other.assignment(), "another member to have partitions")
        assert night.seen(evens) == 0, "the batch is still being gathered"
        other.close()
        night.await_seen(evens, len(everything))
    finally:
        working.stop()
        thread.join(40)
    assert night.passed(evens) == even(everything)
    assert night.seen(evens) == len(everything)


def test_two_processes_of_one_name_cannot_both_write(night: Night) -> None:
    evens = f"{night.group}_evens"
    night.add(evens, EVEN)
    night.publish(1, 40)
    first = night.start()
    night.await_seen(evens, 1)
    first._stopping.set()  # not started again
    second = night.start()
    night.publish(1, 40, seed=2)
    await_true(lambda: bool(first.exits), "the older process to end", 60, first.log)
    assert first.exits[0] == 1
    everything = night.everything()
    night.await_seen(evens, len(everything))
    assert second.stop() == 0
    assert night.passed(evens) == even(everything)


def test_a_worker_waits_for_its_counts_as_long_as_another_transaction_is_open(prepared: Broker) -> None:
    producers = {
        name: kafka.producer(prepared.conf, **{"transactional.id": f"counts-{name}", "transaction.timeout.ms": 60_000})
        for name in ("other", "mine")
    }
    for name, producer in producers.items():
        producer.init_transactions(30)
        producer.begin_transaction()
        counted = {**Counts(7, 3).summary(), "filter": "f", "worker": name, "visits": {"v": 3}, "nights": {}}
        producer.produce(names.FILTER_COUNTS_TOPIC, json.dumps(counted).encode(), f"f/{name}".encode())
        assert producer.flush(30) == 0
    producers["mine"].commit_transaction(30)
    beats: list[None] = []
    found: list[dict[str, Counts]] = []
    restoring = threading.Thread(
        target=lambda: found.append(restore(prepared.conf, "counts", "mine", beat=lambda: beats.append(None)))
    )
    restoring.start()
    restoring.join(17)  # longer than any read of counts without such a transaction takes
    assert restoring.is_alive(), "what is committed cannot be read yet"
    assert len(beats) > 20, "its heartbeat goes on"
    producers["other"].abort_transaction(30)
    restoring.join(30)
    assert found == [{"f": Counts(7, 3, visits={"v": 3})}]


def test_a_worker_that_is_stopped_while_it_waits_for_its_counts_stops(prepared: Broker) -> None:
    with pytest.raises(RestoreInterrupted):
        restore(prepared.conf, "counts", "mine", asked_to_stop=lambda: True)
