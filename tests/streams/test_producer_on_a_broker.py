"""What the pipeline drops into the spool is published once, whatever happens on the way."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections import Counter
from itertools import takewhile
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from prometheus_client import REGISTRY

from bench.broker import Broker, await_true
from packets import reencoded
from zads import kafka, metrics, names, reading, schemas
from zads.commands.simulate import drop
from zads.ledger import LedgerEntry
from zads.packet import Packet
from zads.producer import Producer, ProducerError
from zads.sources.replay import replay
from zads.sources.simulator import simulate
from zads.sources.spool import Spool

JPEG = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffd9")
NIGHTS = (f"201811{day:02d}" for day in range(1, 31))


class Origin:
    """A separate night for each test: its topics, and six exposures of all schemas and programmes."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.conf = broker.conf
        self.night = next(NIGHTS)
        self.topics = [names.night_topic(self.night, programme) for programme in names.PROGRAMMES]
        self.exposures = list(simulate(self.night, 6, 20, seed=5))

    def published(self) -> Counter[bytes]:
        return Counter(message.value() for topic in self.topics for message in self.broker.read_all(topic))

    def rejected(self) -> dict[str, dict[str, str]]:
        """Source -> headers and bytes of its refusal, for this night's exposures."""
        found = {}
        exposures = tuple(name for name, _ in self.exposures)
        for message in self.broker.read_all(names.REJECTED_TOPIC):
            headers = {name: value.decode() for name, value in message.headers()}
            source = headers[names.HEADER_SOURCE]
            if source.startswith(exposures):
                assert source not in found, "refused twice"
                found[source] = {**headers, "value": message.value()}
        return found


@pytest.fixture
def origin(broker: Broker) -> Origin:
    made = Origin(broker)
    broker.create(*made.topics, partitions=4)
    return made


@pytest.fixture
def night(origin: Origin) -> list[tuple[str, list[tuple[str, bytes]]]]:
    return origin.exposures


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


def produce(origin: Origin, spool: Spool, name: str = "producer") -> int:
    return Producer(origin.conf, spool, name=name).run(once=True)


def originals(*exposures: tuple[str, list[tuple[str, bytes]]]) -> Counter[bytes]:
    return Counter(data for _, packets in exposures for _, data in packets)


def receipt(spool: Spool, name: str) -> dict:
    return json.loads((spool.done / f"{name}.json").read_text())


def test_every_schema_and_programme_arrives_byte_for_byte_on_its_topic_with_its_headers(origin, spool, night):
    for name, packets in night[:2]:
        drop(spool.incoming, name, packets)
    assert produce(origin, spool) == 2
    visits = {data: name for name, packets in night[:2] for _, data in packets}
    seen = []
    for topic in origin.topics:
        for message in origin.broker.read_all(topic):
            packet = Packet.parse(message.value())
            headers = {name: value.decode() for name, value in message.headers()}
            assert (packet.topic, packet.key) == (topic, message.key())
            assert float(headers.pop(names.HEADER_PRODUCED)) > 0
            assert headers == {
                names.HEADER_CANDID: str(packet.candid),
                names.HEADER_VISIT: visits[message.value()],
                names.HEADER_SCHEMA: packet.schema_version,
                names.HEADER_FORMAT: "avro",
            }
            seen.append(message.value())
    assert Counter(seen) == originals(*night[:2])
    assert {Packet.parse(data).schema_version for data in seen} == {"3.2", "3.3", "4.01", "4.02"}


def with_new_field(data: bytes, version: str = "4.03") -> bytes:
    """The packet in an unknown schema version, with one more optional field."""

    def widen(schema: dict) -> None:
        schema["version"] = version
        schema["fields"].append({"name": "host", "type": ["null", "string"], "default": None})

    return reencoded(data, lambda record: record.update(schemavsn=version, host="NGC 1"), widen)


def test_a_compatible_new_schema_is_published_if_accepted_and_counted_by_its_fingerprint(origin, spool, night):
    name, packets = night[0]
    latest = [data for _, data in packets if Packet.parse(data).schema_version == "4.02"][:3]
    changed = [(f"{number}.avro", with_new_field(data)) for number, data in enumerate(latest)]
    drop(spool.incoming, f"{name}-refused", changed)
    produce(origin, spool)
    written = receipt(spool, f"{name}-refused")
    assert (written["published"], written["refused"], written["new_schemas"]) == ({}, 3, {})
    assert all("host is new: null or string" in one["reason"] for one in written["refusals"])
    assert origin.published() == Counter()

    drop(spool.incoming, f"{name}-again", changed)
    Producer(origin.conf, spool, admission=schemas.Admission(accepts=True)).run(once=True)
    written = receipt(spool, f"{name}-again")
    mark = Packet.trusted(changed[0][1]).new_schema.schema.mark
    assert (sum(written["published"].values()), written["refused"], written["new_schemas"]) == (3, 0, {mark: 3})
    assert origin.published() == Counter(data for _, data in changed)
    # The next producer counts them from the ledger, even if it accepts no new schema.
    metrics.PRODUCER_NEW_SCHEMAS.clear()
    produce(origin, spool)
    assert REGISTRY.get_sample_value("zads_producer_new_schema_packets", {"schema": mark}) == 3


def test_a_receipt_says_what_became_of_an_exposure(origin, spool, night):
    name, packets = night[0]
    drop(spool.incoming, name, [*packets, ("z.avro", b"")])
    produce(origin, spool)
    written = receipt(spool, name)
    assert (written["read"], sum(written["published"].values()), written["refused"]) == (21, 20, 1)
    assert written["refusals"][0]["file"] == "z.avro"
    assert not written["published_before"]
    assert (spool.done / name).is_dir()
    assert not list(spool.incoming.iterdir())


# Kills a run at a number of packets that it has given to Kafka, or before a call.
KILL = """
import os, sys
from pathlib import Path
from zads import kafka, transactions
from zads.producer import Producer, intake, publisher
from zads.sources.spool import Spool

intake.CHUNK_PACKETS = 8
at, spool, properties = sys.argv[1:]
count = 0

def killed(*_, **__):
    os.kill(os.getpid(), 9)

if at.isdigit():
    produce = transactions.Transactions._produce
    def counted(self, record):
        global count
        count += 1
        if count == int(at):
            self._client.flush(10)   # the broker has the records of the open transaction
            killed()
        produce(self, record)
    transactions.Transactions._produce = counted
elif at == "receipt":
    Spool.finish = killed
elif at == "committed":
    publisher.Publisher._count = killed
elif at == "move":
    Path.rename = killed
Producer(kafka.read_properties(properties), Spool(Path(spool))).run(once=True)
"""


def test_a_killed_producer_publishes_the_rest_and_nothing_twice(origin, spool, night, tmp_path):
    properties = tmp_path / "client.properties"
    properties.write_text("".join(f"{name}={value}\n" for name, value in origin.conf.items()))
    for name, packets in night:
        drop(spool.incoming, name, packets)
    for at in ("1", "5", "9", "15", "committed", "receipt", "move", "30", "8"):
        ended = subprocess.run(
            [sys.executable, "-c", KILL, at, str(spool.root), str(properties)],
            check=False, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert ended.returncode == -signal.SIGKILL, f"killed at {at}: {ended.stderr}"
    produce(origin, spool)
    assert origin.published() == originals(*night)
    assert not origin.rejected()
    for topic in origin.topics:
        # Candids grow from exposure to exposure and within each, so they must grow along every partition.
        last: dict[int, int] = {}
        for message in origin.broker.read_all(topic):
            candid = Packet.trusted(message.value()).candid
            assert last.get(message.partition(), 0) < candid
            last[message.partition()] = candid
    for name, _ in night:
        assert sum(receipt(spool, name)["published"].values()) == 20


def bad_files(good: bytes) -> dict[str, tuple[bytes, str, str]]:
    """File name -> bytes, a part of the reason, the path of the field."""

    def without(record_schema):
        fields = record_schema["fields"]
        fields[:] = [one for one in fields if one["name"] != "objectId"]

    def as_text(record_schema):
        candidate = next(one for one in record_schema["fields"] if one["name"] == "candidate")["type"]
        next(one for one in candidate["fields"] if one["name"] == "jd")["type"] = "string"

    def unknown(record_schema):
        record_schema["fields"].append({"name": "novelty", "type": "int"})
        record_schema["version"] = "9.99"

    return {
        "empty.avro": (b"", "empty", ""),
        "half.avro": (good[: len(good) // 2], "cut off", "block"),
        "picture.jpeg": (JPEG, "not an Avro", ""),
        "missing.avro": (reencoded(good, lambda record: record.pop("objectId"), without), "schema", "header"),
        "type.avro": (reencoded(good, lambda it: it["candidate"].update(jd="yesterday"), as_text), "schema", "header"),
        "unknown.avro": (reencoded(good, lambda it: it.update(novelty=1, schemavsn="9.99"), unknown), "9.99", "header"),
        "programme.avro": (
            reencoded(good, lambda it: it["candidate"].update(programid=9)),
            "9 is not a programme",
            "candidate.programid",
        ),
        "large.avro": (good + bytes(20_000_000), "bytes", ""),
        "copy.avro": (good, "already in this exposure", "candid"),
    }


def test_bad_files_are_refused_with_their_reasons_and_stop_nothing(origin, spool, night):
    (name, packets), (after, later) = night[:2]
    bad = bad_files(packets[0][1])
    drop(spool.incoming, name, [*packets, *((file, data) for file, (data, _, _) in bad.items())])
    drop(spool.incoming, after, later)
    produce(origin, spool)
    assert origin.published() == originals(*night[:2])
    refused = origin.rejected()
    assert set(refused) == {f"{name}/{file}" for file in bad}
    for file, (data, reason, field) in bad.items():
        written = refused[f"{name}/{file}"]
        assert written["value"] == data[:1_000_000]
        assert reason in written[names.HEADER_REASON]
        assert written[names.HEADER_FIELD] == field
        assert (spool.refused / name / file).read_bytes() == data[:1_000_000]


def test_members_of_an_archive_cannot_lead_out_of_it(origin, spool, night, tmp_path):
    name, packets = night[0]
    archive = tmp_path / "exposure.tar"
    with tarfile.open(archive, "w") as tar:
        for member, data in [*packets, ("../../outside.avro", packets[0][1]), ("/absolute.avro", packets[0][1])]:
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("link.avro")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    archive.rename(spool.incoming / f"{name}.tar")
    produce(origin, spool)
    assert origin.published() == originals(night[0])
    refused = origin.rejected()
    assert len(refused) == 3
    assert "leads out" in refused[f"{name}/../../outside.avro"][names.HEADER_REASON]
    assert "leads out" in refused[f"{name}//absolute.avro"][names.HEADER_REASON]
    assert "link" in refused[f"{name}/link.avro"][names.HEADER_REASON]
    assert not list(tmp_path.rglob("outside.avro"))
    assert (spool.done / f"{name}.tar").is_file()


# Permissions do not bind root, so the producer runs as another user in a separate process.
DROPPED = """
import os, sys
from pathlib import Path
from zads import kafka, schemas
from zads.producer import Producer
from zads.sources.spool import Spool
schemas.known()  # reads installed files, which the other user may not read
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
made = Producer(kafka.read_properties(sys.argv[2]), Spool(Path(sys.argv[1])))
sys.exit(made.run(once=True) != int(sys.argv[3]))
"""


def test_a_directory_without_permission_is_noted_once_and_stops_nothing(origin, spool, night, tmp_path):
    (name, packets), (after, later) = night[:2]
    properties = tmp_path / "client.properties"
    properties.write_text("".join(f"{key}={value}\n" for key, value in origin.conf.items()))
    closed = drop(spool.incoming, name, packets)
    drop(spool.incoming, after, later)
    closed.chmod(0)
    if os.getuid() == 0:
        for path in [spool.root, *spool.root.rglob("*")]:
            os.chown(path, 65534, 65534)
        for parent in takewhile(lambda path: path != Path(tempfile.gettempdir()), [tmp_path, *tmp_path.parents]):
            parent.chmod(parent.stat().st_mode | 0o011)
    try:
        for settled in (2, 1):
            # The second run finds only the directory that could not be moved.
            command = [sys.executable, "-c", DROPPED, str(spool.root), str(properties), str(settled)]
            ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
            assert ended.returncode == 0, ended.stdout + ended.stderr
    finally:
        closed.chmod(0o755)
    refused = origin.rejected()
    assert set(refused) == {name}
    assert "Permission denied" in refused[name][names.HEADER_REASON]
    assert origin.published() == originals(night[1])
    # Once it can be read, it is published.
    produce(origin, spool)
    assert origin.published() == originals(*night[:2])


def test_a_second_delivery_is_not_published_again(origin, spool, night):
    name, packets = night[0]
    for _ in range(2):
        drop(spool.incoming, name, packets)
        produce(origin, spool)
    assert origin.published() == originals(night[0])
    assert receipt(spool, f"{name}+2")["published_before"]
    assert not origin.rejected()


@pytest.mark.parametrize("other", ["fewer", "more", "changed"])
def test_a_second_delivery_with_other_contents_publishes_what_is_new(origin, spool, night, other):
    name, packets = night[0]
    drop(spool.incoming, name, packets)
    produce(origin, spool)
    changed = {
        "fewer": packets[:-1],
        "more": [*packets, ("zzz.avro", night[1][1][0][1])],
        "changed": [*packets[:-1], (packets[-1][0], night[1][1][0][1])],
    }[other]
    drop(spool.incoming, name, changed)
    drop(spool.incoming, night[1][0], night[1][1])
    produce(origin, spool)
    assert origin.published() == originals(*night[:2])
    assert not origin.rejected()
    assert receipt(spool, night[1][0])["already"] == (0 if other == "fewer" else 1)


def test_an_exposure_waits_for_its_topic_and_keeps_its_place(broker, spool):
    origin = Origin(broker)
    broker.create(*origin.topics[1:], partitions=4)
    for name, packets in origin.exposures[:2]:
        drop(spool.incoming, name, packets)
    heartbeat = spool.root / "heartbeat"
    ended = threading.Thread(target=lambda: Producer(origin.conf, spool, heartbeat=heartbeat).run(once=True))
    ended.start()
    await_true(lambda: REGISTRY.get_sample_value("zads_producer_blocked") == 1, "the producer to wait for its topic")
    assert not origin.broker.read_all(origin.topics[1]), "an exposure is published as a whole"
    assert time.time() - heartbeat.stat().st_mtime < 30, "a producer that waits is alive"
    broker.create(origin.topics[0], partitions=4)
    ended.join(60)
    assert not ended.is_alive()
    assert origin.published() == originals(*origin.exposures[:2])
    assert not origin.rejected()


def test_a_producer_that_has_been_replaced_ends(origin, spool, night, tmp_path):
    first, second = Producer(origin.conf, spool), Producer(origin.conf, Spool(tmp_path / "other"))
    first.run(once=True)
    second.run(once=True)
    drop(spool.incoming, *night[0])
    with pytest.raises(ProducerError, match="another producer has taken over"):
        first._settlement.settle(spool.pending()[0])
    assert not origin.published()


def test_a_topic_can_be_read_again_from_its_beginning_and_from_a_moment(origin, spool, night):
    drop(spool.incoming, *night[0])
    produce(origin, spool)
    moment = time.time()
    drop(spool.incoming, *night[1])
    produce(origin, spool)
    again = Counter(message.value() for topic in origin.topics for message in replay(origin.conf, topic))
    assert again == originals(*night[:2])

    since = [TopicPartition(topic, number, int(moment * 1000)) for topic in origin.topics for number in range(4)]
    with contextlib.closing(kafka.consumer(origin.conf, "test-moment")) as consumer:
        starts = {(one.topic, one.partition): one.offset for one in consumer.offsets_for_times(since, 20)}
    ends = reading.committed_ends(origin.conf, starts)
    later = Counter(message.value() for message in reading.read_to_end(origin.conf, ends, starts=starts))
    assert later == originals(night[1])


def test_anothers_open_transaction_does_not_hide_what_was_published(origin, spool, night):
    """The ledger's committed records lie behind it: a producer that starts waits for them."""
    other = kafka.producer(origin.conf, **{"transactional.id": f"other-{origin.night}"})
    other.init_transactions(30)
    other.begin_transaction()
    other.produce(names.LEDGER_TOPIC, LedgerEntry().record(), f"other-{origin.night}".encode())
    assert other.flush(10) == 0
    drop(spool.incoming, *night[0])
    stop = threading.Event()
    starting = threading.Thread(target=lambda: Producer(origin.conf, spool, stop=stop).run())
    starting.start()
    try:
        starting.join(1)
        assert starting.is_alive()
        assert not origin.published(), "it waits for the end of the ledger"
        other.abort_transaction(30)
        await_true(lambda: origin.published() == originals(night[0]), "the exposure to be published")
    finally:
        stop.set()
        starting.join(30)
    assert not starting.is_alive()
