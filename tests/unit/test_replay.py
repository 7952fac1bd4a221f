"""Alerts that are streamed again: into no live topic, in the night's pace, with the headers that they had."""

from __future__ import annotations

from pathlib import Path

import pytest

from packets import make_packet
from zads import julian, names, replay
from zads.archive import tarball
from zads.archive.record import member
from zads.archive.room import Room
from zads.errors import ZadsError
from zads.packet import Packet
from zads.replay import Pace, Recorded, together


@pytest.mark.parametrize(
    "topic",
    [
        "ztf_20181129_programid1", "ztf_20181129_programid2", "ztf_20000101_programid1", "ztf_20991231_programid1",
        "ztf_2018_anything", "ztf_filter_asteroid", "ztf_owner_alice", "zads_ledger", "zads_rejected",
        "__consumer_offsets", "__transaction_state", "mm2-offsets.origin.internal",
    ],
)  # fmt: skip
def test_nothing_is_streamed_into_a_live_topic(topic: str) -> None:
    with pytest.raises(ZadsError, match=topic):
        replay.check_target(topic)


@pytest.mark.parametrize("topic", ["ztf_sample_spring", "replayed", "ztf_replay_20181129"])
def test_any_other_topic_will_do(topic: str) -> None:
    replay.check_target(topic)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


def recorded(moment: float, data: bytes = b"x") -> Recorded:
    return Recorded(b"key", (), data, moment, 7)


def test_times_keep_their_proportion() -> None:
    clock = Clock()
    pace = Pace(10.0, clock, clock.sleep)
    moments = [50.0, 50.0, 80.0, 380.0, 370.0]
    due = []
    for batch in together(map(recorded, moments), pace):
        due += [(one.moment, round(clock.now, 3)) for one in batch]
    # The last one is older than the one before it: it goes at once.
    assert due == [(50.0, 1000.0), (50.0, 1000.0), (80.0, 1003.0), (380.0, 1033.0), (370.0, 1033.0)]


def test_without_a_speed_nothing_waits() -> None:
    clock = Clock()
    batches = list(together(map(recorded, [0.0, 1e9, 5.0]), Pace(0.0, clock, clock.sleep)))
    assert clock.now == 1000.0
    assert [len(batch) for batch in batches] == [3]


def test_a_transaction_is_bounded_in_number_and_size() -> None:
    pace = Pace(0.0)
    assert [len(batch) for batch in together([recorded(0.0)] * 450, pace)] == [200, 200, 50]
    large = recorded(0.0, bytes(9_000_000))
    assert [len(batch) for batch in together([large] * 3, pace)] == [1, 1, 1]


def test_what_is_due_soon_goes_with_what_is_due_now() -> None:
    clock = Clock()
    moments = [0.0, 0.05, 0.5]
    assert [len(batch) for batch in together(map(recorded, moments), Pace(1.0, clock, clock.sleep))] == [2, 1]


def night(tmp_path: Path, **candidate: int) -> Path:
    packets = [(member(1, 1), make_packet(candid=1, **candidate)), (member(1, 2), make_packet(candid=1, history=3))]
    path = tmp_path / "night.tar.gz"
    tarball.write(path, packets, 0.0, Room(tmp_path, 0), lambda: None)
    return path


def test_an_archives_packets_get_the_headers_that_they_had(tmp_path: Path) -> None:
    first, second = replay.of_path(night(tmp_path), {1})
    packet = Packet.trusted(first.data)
    assert first.data == make_packet(candid=1)
    assert first.key == packet.key
    assert first.moment == julian.unix_seconds(packet.jd)
    assert dict(first.headers) == {
        names.HEADER_CANDID: b"1",
        names.HEADER_VISIT: packet.visit.encode(),
        names.HEADER_SCHEMA: b"4.01",
        names.HEADER_FORMAT: b"avro",
    }
    assert dict(second.headers)[names.HEADER_VERSION] == b"2"
    assert first.mark != second.mark
    assert len({first.mark, second.mark, recorded(0.0).mark}) == 3


def test_a_programme_is_streamed_only_if_it_is_named(tmp_path: Path) -> None:
    path = night(tmp_path, programid=2)
    with pytest.raises(ZadsError, match=r"1\.avro is of programme 2"):
        list(replay.of_path(path, {1}))
    assert len(list(replay.of_path(path, {1, 2}))) == 2


def test_a_file_that_is_no_packet_is_named(tmp_path: Path) -> None:
    (tmp_path / "1.avro").write_bytes(make_packet(candid=1)[:-5])
    with pytest.raises(ZadsError, match=r"1\.avro"):
        list(replay.of_path(tmp_path, {1}))
