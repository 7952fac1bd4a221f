"""Consumer groups of a real broker: what is seen of them, and changes that a reader refuses by being there."""

from __future__ import annotations

import contextlib
import datetime
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from bench.broker import ROOT, Broker, await_true
from zads import kafka
from zads.errors import ZadsError
from zads.groups import change, look
from zads.groups.look import Group
from zads.groups.owner import Owner

RECORDS = 40
ANNA = Owner("user", "anna")


@pytest.fixture
def topic(broker: Broker) -> str:
    """A night with two partitions, twenty records in each, stamped by the broker."""
    name = f"ztf_2030{uuid4().int % 10000:04d}_programid1"
    broker.create(name, partitions=2, message_timestamp_type="LogAppendTime")
    write(broker, name, range(RECORDS))
    return name


def write(broker: Broker, topic: str, numbers: range, transaction: bool = False) -> None:
    over = {"transactional.id": f"test-{uuid4().hex}"} if transaction else {}
    producer: Producer = kafka.producer(broker.conf, **over)
    if transaction:
        producer.init_transactions(30)
        producer.begin_transaction()
    for number in numbers:
        producer.produce(topic, str(number).encode(), partition=number % 2)
    if transaction:
        producer.commit_transaction(30)
    assert producer.flush(30) == 0


def commit(broker: Broker, group: str, topic: str, *offsets: int) -> None:
    with contextlib.closing(kafka.consumer(broker.conf, group)) as consumer:
        places = [TopicPartition(topic, number, offset) for number, offset in enumerate(offsets)]
        consumer.commit(offsets=places, asynchronous=False)


def seen(broker: Broker, group: str) -> Group:
    [found] = look.groups(broker.conf, [group])
    return found


@contextlib.contextmanager
def reading(broker: Broker, group: str, topic: str) -> Iterator[list[bytes]]:
    """A member of the group that reads on and commits; yields what it has read."""
    read: list[bytes] = []
    end = threading.Event()

    def run() -> None:
        consumer: Consumer = kafka.consumer(broker.conf, group, **{"client.id": "annas-program"})
        consumer.subscribe([topic])
        with contextlib.closing(consumer):
            while not end.is_set():
                for message in consumer.consume(100, 0.1):
                    assert message.error() is None
                    read.append(message.value() or b"")
                    consumer.commit(message=message, asynchronous=False)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield read
    finally:
        end.set()
        thread.join(30)


def test_a_group_is_seen_with_what_it_has_yet_to_read(broker: Broker, topic: str) -> None:
    group = f"anna-{uuid4().hex[:8]}"
    commit(broker, group, topic, 15)
    found = seen(broker, group)
    assert (found.state, found.members, found.has_read) == ("empty", (), True)
    first, second = found.places[topic, 0], found.places[topic, 1]
    assert (first.left, first.exact, first.committed) == (5, True, True)
    assert (second.left, second.exact, second.committed) == (20, False, False), "it begins with the oldest record"
    assert group in [one.name for one in look.groups(broker.conf)]


def test_a_group_that_has_read_all_of_a_transaction_has_nothing_left(broker: Broker, topic: str) -> None:
    write(broker, topic, range(RECORDS, RECORDS + 4), transaction=True)
    group = f"anna-{uuid4().hex[:8]}"
    commit(broker, group, topic, 22, 21)
    found = seen(broker, group)
    assert found.places[topic, 0].left == 0, "only the marker is left"
    assert found.places[topic, 1].left == 1
    assert found.places[topic, 0].exact


@pytest.mark.parametrize(("offsets", "left"), [((22, 22), 0), ((22, 21), 1), ((0, 22), 22)])
def test_a_kits_program_counts_alerts_and_not_the_marks_of_transactions(
    broker: Broker, topic: str, tmp_path: Path, offsets: tuple[int, int], left: int
) -> None:
    write(broker, topic, range(RECORDS, RECORDS + 4), transaction=True)
    group = f"anna-{uuid4().hex[:8]}"
    commit(broker, group, topic, *offsets)
    for name in ("kit.py", "lag.py"):
        shutil.copy(ROOT / "roles/access/templates/kit" / name, tmp_path)
    # A kit names an authority; without encryption nobody reads it.
    settings = {**broker.conf, "isolation.level": "read_committed", "ssl.ca.location": "ca.pem"}
    (tmp_path / "librdkafka.properties").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    done = subprocess.run(
        [sys.executable, str(tmp_path / "lag.py"), group], capture_output=True, text=True, timeout=60, check=False
    )
    # Of the first partition, 23 offsets are left when nothing is read: more than FEW, so the mark is counted there.
    assert done.stdout.split() == [str(left + (offsets[0] == 0)), group, topic], done.stderr


def test_a_member_is_seen_with_its_program_and_address(broker: Broker, topic: str) -> None:
    group = f"anna-{uuid4().hex[:8]}"
    with reading(broker, group, topic) as read:
        await_true(lambda: len(read) == RECORDS, "everything to be read")
        found = seen(broker, group)
        [member] = found.members
        assert (found.state, member.client, member.partitions) == ("stable", "annas-program", 2)
        assert member.host.count(".") == 3
        await_true(lambda: seen(broker, group).left == 0, "the last commit")


def test_the_delay_is_the_age_of_the_first_record_that_is_left(broker: Broker, topic: str) -> None:
    written = time.time()
    time.sleep(3)
    write(broker, topic, range(2))
    group = f"anna-{uuid4().hex[:8]}"
    commit(broker, group, topic, 20, 0)
    arrived = look.arrivals(broker.conf, seen(broker, group))
    assert arrived[topic, 0] - arrived[topic, 1] >= 2.5
    assert arrived[topic, 1] <= written + 1
    commit(broker, group, topic, 21, 21)
    assert look.arrivals(broker.conf, seen(broker, group)) == {}


def test_the_moment_of_the_last_commit_is_known_by_partition(broker: Broker, topic: str) -> None:
    group = f"anna-{uuid4().hex[:8]}"
    assert look.last_commits(broker.conf, group) == {}
    commit(broker, group, topic, 1, 1)
    first = look.last_commits(broker.conf, group)
    assert abs(first[topic, 0] - time.time()) < 20
    time.sleep(1.5)
    commit(broker, group, topic, 2)
    second = look.last_commits(broker.conf, group)
    assert second[topic, 0] > first[topic, 0] + 1
    assert second[topic, 1] == first[topic, 1]


@pytest.mark.parametrize(("to", "read_again"), [("beginning", RECORDS), ("now", 0)])
def test_a_moved_group_reads_on_from_there(broker: Broker, topic: str, to: str, read_again: int) -> None:
    group = f"anna-{uuid4().hex[:8]}"
    commit(broker, group, topic, 10, 10)
    planned = change.move(broker.conf, seen(broker, group), change.moment(to))
    assert seen(broker, group).left == 20, "a plan changes nothing"
    change.apply(broker.conf, planned)
    with reading(broker, group, topic) as read:
        await_true(lambda: seen(broker, group).state == "stable", "the reader to join")
        await_true(lambda: seen(broker, group).left == 0, "the reader to come to the end")
        assert len(read) == read_again


def test_a_group_is_moved_to_a_time_and_after_the_last_record_to_the_end(broker: Broker, topic: str) -> None:
    time.sleep(1)
    between = datetime.datetime.now(datetime.UTC)
    time.sleep(1)
    write(broker, topic, range(6))
    group = f"anna-{uuid4().hex[:8]}"
    commit(broker, group, topic, 0, 0)
    planned = change.move(broker.conf, seen(broker, group), between)
    assert planned.offsets == {(topic, 0): (0, 20), (topic, 1): (0, 20)}
    assert planned.lines() == [f"{topic}: SKIPS at most 40 records that it has not read"]
    later = change.move(broker.conf, seen(broker, group), between + datetime.timedelta(days=1))
    assert later.offsets == {(topic, 0): (0, 23), (topic, 1): (0, 23)}


def test_kafka_itself_refuses_a_change_beside_a_reader(broker: Broker, topic: str) -> None:
    """The plan was made while nobody read, and a reader has come back since."""
    group = f"anna-{uuid4().hex[:8]}"
    commit(broker, group, topic, 20, 20)
    empty = seen(broker, group)
    planned = change.move(broker.conf, empty, "beginning")
    with reading(broker, group, topic):
        await_true(lambda: seen(broker, group).state == "stable", "the reader to join")
        with pytest.raises(ZadsError, match="somebody reads"):
            change.apply(broker.conf, planned)
        with pytest.raises(ZadsError, match="somebody reads"):
            change.remove(broker.conf, group)
        with pytest.raises(ZadsError, match="has 1 members"):
            change.refuse(seen(broker, group), ANNA, "moved")
        assert seen(broker, group).places[topic, 0].offset == 20


def test_a_removed_group_is_gone(broker: Broker, topic: str) -> None:
    group = f"anna-{uuid4().hex[:8]}"
    commit(broker, group, topic, 20, 20)
    change.refuse(seen(broker, group), ANNA, "removed")
    change.remove(broker.conf, group)
    assert group not in [one.name for one in look.groups(broker.conf)]
    gone = seen(broker, group)
    assert (gone.state, gone.places) == ("dead", {})
    assert look.last_commits(broker.conf, group) == {}
