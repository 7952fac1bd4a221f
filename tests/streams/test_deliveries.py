"""In every way of delivery, nothing is lost silently, doubled or altered, and no exposure stops others."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import json
import os
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from bench.broker import Broker, await_true
from packets import reencoded
from zads import audit, names
from zads.commands.simulate import drop
from zads.packet import Packet
from zads.producer import Producer, ProducerError, disk, intake
from zads.sources import delivery
from zads.sources.simulator import simulate
from zads.sources.spool import Spool

NIGHTS = (f"203004{day:02d}" for day in range(1, 31))
Packets = list[tuple[str, bytes]]


class Origin:
    """A separate night for each test: its topics, and exposures of ten alerts."""

    def __init__(self, broker: Broker, *, create: bool = True) -> None:
        self.broker = broker
        self.conf = broker.conf
        self.night = next(NIGHTS)
        self.topics = [names.night_topic(self.night, programme) for programme in names.PROGRAMMES]
        self.exposures: list[tuple[str, Packets]] = list(simulate(self.night, 6, 10, seed=3))
        if create:
            self.create()

    def create(self) -> None:
        self.broker.create(*self.topics)

    def published(self) -> Counter[bytes]:
        return Counter(message.value() for topic in self.topics for message in self.broker.read_all(topic))

    def reasons(self) -> dict[str, str]:
        """Source -> reason of all that was ever refused."""
        found = {}
        for message in self.broker.read_all(names.REJECTED_TOPIC):
            headers = {name: value.decode("utf-8", "replace") for name, value in message.headers()}
            assert headers[names.HEADER_SOURCE] not in found, "refused twice"
            found[headers[names.HEADER_SOURCE]] = headers[names.HEADER_REASON]
        return found


@pytest.fixture
def origin(broker: Broker) -> Origin:
    return Origin(broker)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


@contextmanager
def producing(origin: Origin, spool: Spool, **options: object) -> Iterator[Producer]:
    """A producer that runs until the body ends. The test fails with its errors."""
    stop, failures = threading.Event(), []
    made = Producer(origin.conf, spool, stop=stop, **options)

    def run() -> None:
        try:
            made.run()
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield made
    finally:
        stop.set()
        thread.join(30)
    assert not thread.is_alive()
    assert not failures


def produce(origin: Origin, spool: Spool) -> int:
    return Producer(origin.conf, spool).run(once=True)


def tar(packets: Packets) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for name, data in packets:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    return out.getvalue()


def put(spool: Spool, name: str, data: bytes, *, old: bool = True) -> None:
    hidden = spool.incoming / ".part"
    hidden.write_bytes(data)
    if old:
        os.utime(hidden, (0, 0))  # so old that nobody writes it any more
    hidden.rename(spool.incoming / name)


def originals(*exposures: tuple[str, Packets]) -> Counter[bytes]:
    return Counter(data for _, packets in exposures for _, data in packets)


def receipt(spool: Spool, name: str) -> dict:
    return json.loads((spool.done / f"{name}.json").read_text())


def of_night(packet: bytes, jd: float) -> bytes:
    return reencoded(packet, lambda record: record["candidate"].update(jd=jd))


# Archives


def test_a_damaged_archive_is_not_published_and_a_whole_one_is_published_once(origin, spool):
    (name, packets), (after, later), (third, others) = origin.exposures[:3]
    whole = tar(packets)
    put(spool, f"{name}.tar", whole[: 512 + -(-len(packets[0][1]) // 512) * 512])
    flipped = bytearray(gzip.compress(tar(others), 1))
    flipped[len(flipped) // 2] ^= 1
    put(spool, f"{third}.tar.gz", bytes(flipped))
    drop(spool.incoming, after, later)
    produce(origin, spool)
    assert origin.published() == originals(origin.exposures[1])
    reasons = origin.reasons()
    assert "end marker" in reasons[f"{name}.tar"]
    assert "gzip data are damaged" in reasons[f"{third}.tar.gz"]
    assert (spool.refused / f"{name}.tar").exists()
    for again in range(2):
        put(spool, f"{name}.tar", whole)
        put(spool, f"{third}.tar.gz", gzip.compress(tar(others), 1))
        produce(origin, spool)
        assert origin.published() == originals(*origin.exposures[:3]), again
    assert receipt(spool, f"{name}+2")["published_before"]


def test_the_producer_waits_until_an_archive_is_copied(origin, spool):
    name, packets = origin.exposures[0]
    whole = tar(packets)
    with producing(origin, spool), (spool.incoming / f"{name}.tar").open("wb", 0) as stream:
        for start in range(0, len(whole), len(whole) // 8):
            stream.write(whole[start : start + len(whole) // 8])
            time.sleep(0.3)
        await_true(lambda: (spool.done / f"{name}.json").exists(), "the copied archive to be published")
    assert origin.published() == originals(origin.exposures[0])
    assert not [source for source in origin.reasons() if source.startswith(name)]


# Files copied one by one


def test_files_copied_one_by_one_are_published_once_and_never_refused_half_written(origin, spool, monkeypatch):
    monkeypatch.setattr(intake, "CHUNK_PACKETS", 3)
    name = "copied"
    packets = [one for _, some in origin.exposures for one in some]
    place = spool.incoming / name
    place.mkdir()
    with producing(origin, spool):
        for file, data in reversed(packets):
            with (place / file).open("wb", 0) as stream:  # slowly, in two halves
                stream.write(data[: len(data) // 2])
                time.sleep(0.01)
                stream.write(data[len(data) // 2 :])
        await_true(lambda: (spool.done / f"{name}.json").exists(), "the copied exposure to be finished", 60)
    assert origin.published() == originals(*origin.exposures)
    written = receipt(spool, name)
    assert (written["read"], sum(written["published"].values()), written["refused"]) == (60, 60, 0)
    assert sorted(path.name for path in (spool.done / name).iterdir()) == sorted(file for file, _ in packets)
    assert not [source for source in origin.reasons() if source.startswith(name)]


def test_a_late_file_is_published_with_its_exposure(origin, spool, monkeypatch):
    name, packets = origin.exposures[0]
    drop(spool.incoming, name, packets[1:])
    finish = Spool.finish

    def late(self, exposure, receipt, seen=""):
        if not (exposure.path / packets[0][0]).exists():
            (exposure.path / packets[0][0]).write_bytes(packets[0][1])
        return finish(self, exposure, receipt, seen)

    monkeypatch.setattr(Spool, "finish", late)
    produce(origin, spool)
    assert origin.published() == originals(origin.exposures[0])
    written = receipt(spool, name)
    assert (written["read"], sum(written["published"].values())) == (10, 10)
    assert len(list((spool.done / name).iterdir())) == 10


def test_an_exposure_waits_until_its_files_are_those_of_its_marker(origin, spool):
    name, packets = origin.exposures[0]
    drop(spool.incoming, name, packets[:4])
    lines = [f"{hashlib.sha256(data).hexdigest()}  {file}\n" for file, data in packets]
    (spool.incoming / f"{name}.ready").write_text("".join(lines))
    (after, later) = origin.exposures[1]
    drop(spool.incoming, after, later)
    with producing(origin, spool):
        await_true(lambda: (spool.done / f"{after}.json").exists(), "the exposure behind it to be published")
        assert origin.published() == originals(origin.exposures[1])
        assert REGISTRY.get_sample_value("zads_producer_deferred", {"reason": "unfinished"}) == 1
        for file, data in packets[4:]:
            (spool.incoming / name / file).write_bytes(data)
        await_true(lambda: (spool.done / f"{name}.json").exists(), "the exposure to be published once it is complete")
    assert origin.published() == originals(*origin.exposures[:2])
    assert not list(spool.incoming.iterdir())


# Once across exposures


def test_the_same_bytes_are_published_once_a_night_across_exposures_and_restarts(origin, spool):
    (name, packets), (after, later) = origin.exposures[:2]
    drop(spool.incoming, name, packets)
    produce(origin, spool)
    drop(spool.incoming, f"{name}-again", packets)
    drop(spool.incoming, after, [*later, *packets[:5]])
    put(spool, "z.tar.gz", gzip.compress(tar([*packets, *later]), 1))
    produce(origin, spool)
    assert origin.published() == originals(*origin.exposures[:2])
    assert [receipt(spool, one)["already"] for one in (name, f"{name}-again", after, "z")] == [0, 10, 5, 20]
    assert receipt(spool, f"{name}-again")["published"] == {}
    assert not [source for source in origin.reasons() if source.startswith((name, after, "z"))]


def test_other_bytes_under_the_same_candid_are_published_and_marked(origin, spool):
    name, packets = origin.exposures[0]
    changed = [(file, reencoded(data, lambda record: record["candidate"].update(rb=0.5))) for file, data in packets[:3]]
    third = [(file, reencoded(data, lambda record: record["candidate"].update(rb=0.6))) for file, data in packets[:1]]
    drop(spool.incoming, name, packets)
    for number, contents in enumerate((changed, packets[:3], third, changed)):
        drop(spool.incoming, f"{name}-{number}", contents)
    produce(origin, spool)
    wanted = originals(origin.exposures[0]) + originals((name, changed)) + originals((name, third))
    assert origin.published() == wanted
    assert [receipt(spool, f"{name}-{number}")["versions"] for number in range(4)] == [3, 0, 1, 0]
    versions = {}
    for topic in origin.topics:
        for message in origin.broker.read_all(topic):
            versions[message.value()] = dict(message.headers()).get(names.HEADER_VERSION)
    assert [versions[data] for _, data in packets] == [None] * 10
    assert [versions[data] for _, data in changed] == [b"2"] * 3
    assert versions[third[0][1]] == b"3"
    # The audit does not count a marked version as a fault.
    site = audit.read_site("origin", origin.conf, [origin.night])
    assert sum(manifest.conflicts for manifest in site.topics.values()) == 0
    assert sum(manifest.versions for manifest in site.topics.values()) == 4
    assert sum(manifest.duplicates for manifest in site.topics.values()) == 0


def test_a_second_delivery_under_one_name_adds_what_is_new(origin, spool):
    (name, packets), (_, more) = origin.exposures[:2]
    for contents in (packets[:6], packets, packets[:2], [*packets, *more]):
        drop(spool.incoming, name, contents)
        produce(origin, spool)
    assert origin.published() == originals(*origin.exposures[:2])
    written = [receipt(spool, stem) for stem in (name, f"{name}+2", f"{name}+3", f"{name}+4")]
    assert [one["read"] for one in written] == [6, 10, 2, 20]
    assert [sum(one["published"].values()) for one in written] == [6, 10, 2, 20]
    assert [one["published_before"] for one in written] == [False, False, True, False]


# What cannot be settled


def test_bad_exposures_are_set_aside_and_the_one_behind_them_is_published(origin, broker, spool, monkeypatch):
    monkeypatch.setattr(delivery, "QUIET_SECONDS", 0.0)
    healthy = origin.exposures[0][1]
    good = healthy[0][1]
    unmade = Origin(broker, create=False)
    poison = {
        "00": [("1990.avro", of_night(good, 2447893.0))],
        "01": [("2100.avro", of_night(good, 2488070.0))],
        "02": [("canary.avro", of_night(good, 2451544.8))],
        "03": unmade.exposures[0][1],
        "04": [("x" * 250, b"bad")],
        "q" * 250: [("bad.avro", b"bad")],
        "r" * 255: [("good.avro", healthy[1][1])],
        "s\n\x1b[31m": [("bad\n.avro", b"bad"), ("\x1b[2J", b"bad")],
        os.fsdecode(b"t\xff"): [(os.fsdecode(b"bad\xff.avro"), b"bad")],
        "u.json": [("bad.avro", b"bad")],
    }
    for name, contents in poison.items():
        place = spool.incoming / name
        place.mkdir()
        for file, data in contents:
            (place / file).write_bytes(data)
    members = [("y/" * 300 + "z", b"bad"), ("a\0b", b"bad"), ("v" * 300, b"bad")]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for name, data in members:
            info = tarfile.TarInfo("m")
            info.size, info.pax_headers = len(data), {"path": name}
            made.addfile(info, io.BytesIO(data))
    put(spool, "w.tar", out.getvalue())
    put(spool, "x.tar", b"")
    put(spool, "y.avro", good[: len(good) // 2])
    (spool.incoming / "yy").symlink_to("/etc")
    os.mkfifo(spool.incoming / "yz")
    drop(spool.incoming, "zz", healthy[2:])
    with producing(origin, spool):
        await_true(lambda: (spool.done / "zz.json").exists(), "the exposure behind all of them to be published", 60)
        await_true(
            lambda: REGISTRY.get_sample_value("zads_producer_deferred", {"reason": "topic"}) == 1, "03 to be deferred"
        )
        assert origin.published() == Counter([healthy[1][1], *(data for _, data in healthy[2:])])
        assert [path.name for path in spool.incoming.iterdir()] == ["03"]
        unmade.create()
        await_true(
            lambda: (spool.done / "03.json").exists(), "the deferred exposure to be published once its topics exist"
        )
    assert unmade.published() == originals(unmade.exposures[0])
    reasons = origin.reasons()
    assert "not one of this survey's" in reasons["00/1990.avro"]
    assert "not one of this survey's" in reasons["01/2100.avro"]
    assert "canaries" in reasons["02/canary.avro"]
    assert "neither a directory nor a file" in reasons["yy"]
    assert "neither a directory nor a file" in reasons["yz"]
    assert len([source for source in reasons if source.startswith("w/")]) == 3


def test_exposures_of_a_night_without_topics_keep_their_order_and_other_nights_go_on(origin, broker, spool):
    unmade = Origin(broker, create=False)
    broker.create(unmade.topics[0])  # the topics of two programmes are missing
    for number, (_, packets) in enumerate(unmade.exposures):
        drop(spool.incoming, f"{number}-a", packets)
    drop(spool.incoming, "5-b", origin.exposures[0][1])
    with producing(origin, spool):
        await_true(lambda: (spool.done / "5-b.json").exists(), "the exposure of another night to be published")
        assert not broker.read_all(unmade.topics[0]), "the night is published in its order or not at all"
        broker.create(*unmade.topics[1:])
        await_true(lambda: (spool.done / "5-a.json").exists(), "the night to be published once its topics exist")
    assert unmade.published() == originals(*unmade.exposures)
    for topic in unmade.topics:
        candids = [Packet.trusted(message.value()).candid for message in broker.read_all(topic)]
        assert candids == sorted(candids)


def test_an_error_of_one_exposure_leaves_it_in_the_spool_and_the_others_go_on(origin, spool, monkeypatch):
    (bad, packets), (good, others) = origin.exposures[:2]
    drop(spool.incoming, bad, packets)
    drop(spool.incoming, good, others)
    parse = Packet.parse

    def fails(data, **options):
        if data == packets[5][1]:
            raise RuntimeError("a fault of our own")
        return parse(data, **options)

    monkeypatch.setattr(Packet, "parse", fails)
    with pytest.raises(ProducerError, match="1 exposures could not be settled"):
        produce(origin, spool)
    assert origin.published() == originals(origin.exposures[1])
    assert [path.name for path in spool.incoming.iterdir()] == [bad]
    monkeypatch.undo()
    produce(origin, spool)
    assert origin.published() == originals(*origin.exposures[:2])


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
@pytest.mark.parametrize("what", ["finish", "keep_refused", "open"])
def test_the_producer_waits_for_a_disk_that_takes_no_data(origin, spool, monkeypatch, what, code):
    monkeypatch.setattr(delivery, "QUIET_SECONDS", 0.0)
    monkeypatch.setattr(disk, "RETRY_SECONDS", 0.1)
    name, packets = origin.exposures[0]
    drop(spool.incoming, name, [*packets, ("bad.avro", b"bad")])
    works, times = getattr(Spool, what), []

    def full(self, *arguments):
        times.append(what)
        if len(times) < 3:
            raise OSError(code, os.strerror(code))
        return works(self, *arguments)

    monkeypatch.setattr(Spool, what, full)
    produce(origin, spool)
    assert len(times) == 3
    assert origin.published() == originals(origin.exposures[0])
    assert receipt(spool, name)["refused"] == 1


def test_a_packet_dated_decades_ahead_delays_neither_its_exposure_nor_any_other(origin, spool):
    """An exposure of that night alone waits for its topics, and nobody waits for it."""
    healthy = origin.exposures[0][1]
    stray = of_night(healthy[0][1], 2466154.5)  # 2040
    drop(spool.incoming, "0-alone", [("stray.avro", of_night(healthy[0][1], 2466155.5))])
    drop(spool.incoming, "1-mixed", [*healthy[1:3], ("stray.avro", stray), *healthy[3:5]])
    drop(spool.incoming, "2-behind", healthy[5:])
    with producing(origin, spool):
        for name in ("1-mixed", "2-behind"):
            await_true(lambda name=name: (spool.done / f"{name}.json").exists(), f"{name} to be published", 60)
        assert [path.name for path in spool.incoming.iterdir()] == ["0-alone"]
    assert origin.published() == Counter(data for _, data in healthy[1:])
    assert "far in the future" in origin.reasons()["1-mixed/stray.avro"]
