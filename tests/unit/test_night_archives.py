"""Archives of nights: the same bytes for the same packets, never half of one, and only what the data policy allows."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from zads import ledger
from zads.archive import index, room, service, tarball, whole
from zads.archive.catalogue import Catalogue
from zads.archive.contents import Contents
from zads.archive.record import Archive, member, parse_member, parse_stem, stem
from zads.archive.room import NoRoomError, Room
from zads.archive.service import Quiet, Timing, beyond, due
from zads.archive.shelf import Shelf
from zads.errors import ZadsError
from zads.site import nights

NIGHT = "20181129"
TOPIC = f"ztf_{NIGHT}_programid1"
MIDNIGHT = nights.begin(NIGHT)
#: Real packets begin so: without it a file counts as no packet.
HEAD = b"Obj\x01"
Add = tuple[int, int, bytes]


def nothing() -> None:
    """Stands for the beat of a service."""


def packet(number: int) -> bytes:
    return HEAD + f"packet {number}".encode() * (number % 100 + 1)


def shelved(directory: Path, adds: list[Add]) -> Shelf:
    shelf = Shelf(directory, Room(directory, 0))
    for candid, version, data in adds:
        shelf.add(candid, version, data, recent=True)
    return shelf


def write(path: Path, shelf: Shelf) -> tuple[int, str]:
    packets = ((member(one.candid, one.version), one.data) for one in shelf)
    return tarball.write(path, packets, MIDNIGHT, Room(path.parent, 0), nothing)


def archive(**changes: object) -> Archive:
    known = Archive(
        NIGHT, 1, 1, 3, 3, 30, 4, hashlib.sha256(b"data").hexdigest(), "0" * 64, "2018-11-30T02:00:00+00:00"
    )
    return replace(known, **changes)  # type: ignore[arg-type]


def put(catalogue: Catalogue, one: Archive, *, public: bool = True, data: bytes = b"data") -> None:
    made = catalogue.work / f"{one.topic}.tar.gz"
    made.write_bytes(data)
    catalogue.publish(one, made, public=public)


# The file


def test_an_archive_does_not_depend_on_the_order_in_which_packets_come(tmp_path: Path) -> None:
    adds = [(number, 1, packet(number)) for number in (5, 697251920115015007, 12, 1)] + [(12, 2, packet(13))]
    first = write(tmp_path / "first.tar.gz", shelved(tmp_path, adds))
    second = write(tmp_path / "second.tar.gz", shelved(tmp_path, [*reversed(adds), adds[0]]))
    assert first == second
    assert (tmp_path / "first.tar.gz").read_bytes() == (tmp_path / "second.tar.gz").read_bytes()


def test_an_archive_is_what_everybodys_tar_reads(tmp_path: Path) -> None:
    adds = [(2, 1, packet(2)), (10, 1, packet(10)), (2, 2, packet(3)), (7, 1, HEAD + bytes(508))]
    size, sha256 = write(path := tmp_path / "night.tar.gz", shelved(tmp_path, adds))
    assert (size, sha256) == (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
    with tarfile.open(path) as found:
        assert [one.name for one in found] == ["2.avro", "2.v2.avro", "7.avro", "10.avro"]
        for one in found:
            assert (one.mtime, one.uid, one.gid, one.uname, one.mode) == (MIDNIGHT, 0, 0, "", 0o644)
            assert found.extractfile(one).read() == {member(c, v): data for c, v, data in adds}[one.name]
    listed = subprocess.run(["tar", "-tzf", path], capture_output=True, text=True, check=True)
    assert listed.stdout.split() == ["2.avro", "2.v2.avro", "7.avro", "10.avro"]
    assert listed.stderr == ""
    assert path.read_bytes()[4:8] == bytes(4), "gzip's header has a time"
    assert path.read_bytes()[3] == 0, "gzip's header has a name"


def test_a_flipped_bit_of_an_archive_is_noticed(tmp_path: Path) -> None:
    _, sha256 = write(path := tmp_path / "night.tar.gz", shelved(tmp_path, [(n, 1, packet(n)) for n in range(1, 50)]))
    whole_bytes = path.read_bytes()
    for place in range(10, len(whole_bytes), 97):
        flipped = bytearray(whole_bytes)
        flipped[place] ^= 16
        path.write_bytes(flipped)
        assert tarball.sha256(path, nothing) != sha256
    path.write_bytes(whole_bytes[:-30])
    with pytest.raises(tarball.DamagedArchiveError):
        list(tarball.read(path, nothing))


def test_an_archive_with_something_else_in_it_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "night.tar.gz"
    tarball.write(path, [("1.avro", b"no packet at all, but a text")], 0.0, Room(tmp_path, 0), nothing)
    with gzip.open(path) as file:
        assert file.read(512).rstrip(b"\0").startswith(b"1.avro")
    found = dict(tarball.read(path, nothing))
    assert found == {"1.avro": b"no packet at all, but a text"}, "what a packet is, its digest says"


def test_a_shelf_holds_each_packet_once_and_refuses_two_contents_of_a_version(tmp_path: Path) -> None:
    shelf = shelved(tmp_path, [(4, 1, b"a"), (4, 1, b"a"), (3, 1, b"b"), (4, 2, b"c")])
    assert [(one.candid, one.version, one.data) for one in shelf] == [(3, 1, b"b"), (4, 1, b"a"), (4, 2, b"c")]
    assert [one.sha256 for one in shelf] == [hashlib.sha256(data).digest() for data in (b"b", b"a", b"c")]
    with pytest.raises(ZadsError, match="candid 4"):
        shelved(tmp_path, [(4, 1, b"a"), (4, 1, b"b")]).entries()
    assert list(tmp_path.iterdir()) == [], "a shelf leaves nothing"


def test_a_digest_that_ends_with_zeros_is_whole(tmp_path: Path) -> None:
    number = next(n for n in range(100_000) if hashlib.sha256(str(n).encode()).digest()[-1] == 0)
    (one,) = shelved(tmp_path, [(1, 1, str(number).encode())])
    assert one.sha256 == hashlib.sha256(str(number).encode()).digest()


def test_a_packet_on_the_shelf_twice_stays_recent(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, Room(tmp_path, 0))
    shelf.add(1, 1, b"a", recent=False)
    shelf.add(1, 1, b"a", recent=True)
    assert shelf.entries()["recent"].tolist() == [True]


def test_a_full_disk_is_refused_before_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoRoomError, match=r"GB free, and .* stay free"):
        Room(tmp_path, 1 << 60).take(1)
    shelf = shelved(tmp_path, [(1, 1, packet(1))])

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tarball.os, "fsync", full)
    with pytest.raises(NoRoomError, match="stay free"):
        write(tmp_path / "night.tar.gz", shelf)
    with pytest.raises(OSError, match="Input/output"), Room(tmp_path).guarded():
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    assert room.RESERVE == 1_000_000_000


@given(st.lists(st.tuples(st.integers(1, 1 << 62), st.binary(min_size=1, max_size=5)), max_size=8))
def test_the_digest_of_contents_depends_on_what_is_there_alone(packets: list[tuple[int, bytes]]) -> None:
    def of(order: list[tuple[int, bytes]]) -> Contents:
        found = Contents()
        for candid, data in order:
            found.add(candid, len(data), hashlib.sha256(data).digest())
        return found

    assert of(packets) == of(packets[::-1])
    assert of([*packets, (1, b"more")]).digest != of(packets).digest
    assert len(of(packets).digest) == 64


# Names


@given(st.integers(1, (1 << 63) - 1), st.integers(1, 99_999))
def test_the_name_of_a_member_says_its_candid_and_version(candid: int, version: int) -> None:
    assert parse_member(member(candid, version)) == (candid, version)


@pytest.mark.parametrize(
    "name", ["", "1", "x.avro", "../1.avro", "01.avro", "1.v1.avro", "1.v0.avro", "1.avro.gz", "1.v2.avro\n", "٣.avro"]
)
def test_other_names_are_no_members(name: str) -> None:
    assert parse_member(name) is None


def test_the_name_of_an_archive_says_its_topic_and_version() -> None:
    assert parse_stem(stem(TOPIC, 1)) == (TOPIC, 1)
    assert parse_stem(stem(TOPIC, 12)) == (TOPIC, 12)
    for name in ("index", f"{TOPIC}.v1", f"../{TOPIC}", "ztf_20181129_programid9", f"{TOPIC}.v2.v3", f"{TOPIC}.tar"):
        assert parse_stem(name) is None


# The directory


def test_an_archive_comes_with_a_checksum_that_sha256sum_reads(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)
    put(catalogue, archive())
    checked = subprocess.run(
        ["sha256sum", "--check", f"{TOPIC}.tar.gz.sha256"], cwd=tmp_path / "public", capture_output=True, check=False
    )
    assert checked.stdout.decode() == f"{TOPIC}.tar.gz: OK\n"
    listed = json.loads((tmp_path / "public/index.json").read_text())["archives"]
    assert [(one["file"], one["checksum"]) for one in listed] == [(f"{TOPIC}.tar.gz", f"{TOPIC}.tar.gz.sha256")]
    page = (tmp_path / "public/index.html").read_text()
    assert f'href="{TOPIC}.tar.gz"' in page
    assert "<script" not in page
    assert catalogue.archives() == [archive()]
    assert catalogue.path(archive()).read_bytes() == b"data"
    assert oct((tmp_path / f"public/{TOPIC}.tar.gz").stat().st_mode)[-3:] == "644"


def test_what_is_not_public_lies_elsewhere_and_is_nobodys(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)
    put(catalogue, archive(programme=2), public=False)
    assert catalogue.archives("public") == []
    assert "programid2" not in "".join(path.read_text() for path in (tmp_path / "public").iterdir())
    assert oct((tmp_path / "private").stat().st_mode)[-3:] == "750"
    assert {oct(path.stat().st_mode)[-3:] for path in (tmp_path / "private").iterdir()} == {"640"}


def test_a_programme_that_the_policy_withdraws_leaves_the_public_directory(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)
    put(catalogue, archive())
    catalogue.withdraw({1})
    assert catalogue.archives("public") == [archive()]
    catalogue.withdraw(set())
    assert catalogue.archives("public") == []
    assert catalogue.archives("private") == [archive()]
    assert TOPIC not in (tmp_path / "public/index.html").read_text()
    assert sorted(path.name for path in (tmp_path / "public").iterdir()) == ["index.html", "index.json"]
    assert oct((tmp_path / f"private/{TOPIC}.tar.gz").stat().st_mode)[-3:] == "640"


@pytest.mark.parametrize("reached", range(4))
def test_an_interrupted_withdrawal_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reached: int) -> None:
    catalogue = Catalogue(tmp_path)
    put(catalogue, archive())
    moves, replace_ = iter(range(10)), Path.replace

    def die(path: Path, target: Path) -> Path:
        if next(moves) == reached:
            raise KeyboardInterrupt
        return replace_(path, target)

    monkeypatch.setattr(Path, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        catalogue.withdraw(set())
    monkeypatch.undo()
    again = Catalogue(tmp_path)
    again.tidy()
    again.withdraw(set())
    again.write_index()
    assert again.archives("private") == [archive()]
    assert again.archives("public") == []
    assert again.path(archive()).read_bytes() == b"data"
    assert again.path(archive()).parent.name == "private"
    assert (tmp_path / f"private/{TOPIC}.tar.gz.sha256").exists()
    assert not list((tmp_path / "public").glob("ztf*"))


def test_what_was_prepared_of_a_night_that_is_gone_is_removed(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)
    for name in (f"{TOPIC}.tar.gz", f"{TOPIC}.npy", "ztf_20181128_programid1.json", "state.json", "lock"):
        (catalogue.work / name).write_text("")
    catalogue.forget_prepared({TOPIC})
    assert {path.name for path in catalogue.work.iterdir()} == {
        f"{TOPIC}.tar.gz", f"{TOPIC}.npy", "state.json", "lock",
    }  # fmt: skip


def test_a_new_version_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)
    put(catalogue, archive())
    second = archive(version=2, added=1)
    put(catalogue, second)
    assert catalogue.archives() == [second]
    assert catalogue.newest(TOPIC) == second
    assert sorted(path.name for path in (tmp_path / "public").glob("ztf*")) == sorted(
        [f"{TOPIC}.v2.json", f"{TOPIC}.v2.tar.gz", f"{TOPIC}.v2.tar.gz.sha256"]
    )
    assert "version 2: 1 packets more" in (tmp_path / "public/index.html").read_text()


@pytest.mark.parametrize("reached", range(4))
def test_an_interrupted_publication_leaves_no_half_of_an_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reached: int
) -> None:
    """The run dies at each sync; what the next one finds is either the old state or the new one, without leftovers."""
    catalogue = Catalogue(tmp_path)
    put(catalogue, archive())
    syncs = iter(range(10))

    def die(_: Path) -> None:
        if next(syncs) == reached:
            raise KeyboardInterrupt

    monkeypatch.setattr("zads.wholefile.sync", die)
    with pytest.raises(KeyboardInterrupt):
        put(catalogue, archive(version=2))
    monkeypatch.undo()
    again = Catalogue(tmp_path)
    again.tidy()
    again.write_index()
    (one,) = again.archives()
    assert one.version == (2 if reached >= 2 else 1)
    assert {
        path.name.partition(".tar.gz")[0].removesuffix(".json") for path in (tmp_path / "public").glob("*ztf*")
    } == {one.stem}
    assert again.path(one).read_bytes() == b"data"


def test_a_name_that_was_being_written_is_tidied_up(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)
    put(catalogue, archive())
    (tmp_path / f"public/.{TOPIC}.json.part").write_text("{")
    (tmp_path / "public/notes.txt").write_text("somebody's")
    catalogue.tidy()
    assert not list((tmp_path / "public").glob(".*"))
    assert (tmp_path / "public/notes.txt").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"night": 3}', '{"night": "20181129"}'])
def test_a_damaged_description_is_named(tmp_path: Path, text: str) -> None:
    catalogue = Catalogue(tmp_path)
    (tmp_path / f"public/{TOPIC}.json").write_text(text)
    with pytest.raises(ZadsError, match=f"{TOPIC}.json does not describe an archive"):
        catalogue.archives()


def test_only_one_program_works_in_a_directory(tmp_path: Path) -> None:
    first, second = Catalogue(tmp_path), Catalogue(tmp_path)
    with first.locked(), pytest.raises(ZadsError, match="another run is at work"), second.locked():
        pass
    with second.locked():
        pass


def test_removed_archives_leave_the_index_and_the_disk(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)
    put(catalogue, archive())
    other = archive(night="20181130")
    put(catalogue, other)
    catalogue.remove([archive()])
    assert catalogue.archives() == [other]
    assert TOPIC not in (tmp_path / "public/index.json").read_text()
    assert not list((tmp_path / "public").glob(f"{TOPIC}*"))


def test_a_list_that_has_not_changed_is_not_written_again(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)
    put(catalogue, archive())
    before = (tmp_path / "public/index.html").stat().st_mtime_ns
    catalogue.write_index()
    assert (tmp_path / "public/index.html").stat().st_mtime_ns == before
    assert index.files([archive()]) == index.files([archive()])


@pytest.mark.parametrize("text", ["", "[]", '{"ztf_20181129_programid1": 3}', "{"])
def test_a_lost_memory_only_means_that_nights_are_read_again(tmp_path: Path, text: str) -> None:
    catalogue = Catalogue(tmp_path)
    catalogue.note_ends(TOPIC, {0: 5}, [TOPIC])
    assert Catalogue(tmp_path).ends(TOPIC) == {0: 5}
    (catalogue.work / "state.json").write_text(text)
    assert catalogue.ends(TOPIC) is None
    catalogue.note_ends(TOPIC, {0: 6}, [])
    assert catalogue.ends(TOPIC) == {0: 6}


# Whether a night is whole


def marks(tmp_path: Path, adds: list[Add], *, recent: bool = True) -> whole.Marks:
    shelf = Shelf(tmp_path, Room(tmp_path, 0))
    for candid, version, data in adds:
        shelf.add(candid, version, data, recent=recent)
    return whole.marks(shelf.entries())


def known(adds: list[Add]) -> np.ndarray:
    return np.array([ledger.mark(candid, hashlib.sha256(data).digest()) for candid, _, data in adds], "S14")


ALERTS: list[Add] = [(1 << 40, 1, b"a"), (256, 1, b"b"), (697251920115015007, 1, b"c"), (697251920115015007, 2, b"d")]


def test_a_night_that_the_ledger_knows_is_whole(tmp_path: Path) -> None:
    held = [marks(tmp_path, ALERTS[:2]), marks(tmp_path, ALERTS[2:])]
    assert whole.missing(known(ALERTS), held) == []
    assert whole.unknown(known(ALERTS), held) == []


def test_a_programme_without_alerts_is_whole(tmp_path: Path) -> None:
    assert whole.missing(known([]), [marks(tmp_path, [])]) == []
    assert whole.unknown(known(ALERTS), [marks(tmp_path, []), marks(tmp_path, ALERTS)]) == []
    assert list(shelved(tmp_path, [])) == []


def test_a_single_lost_or_altered_alert_is_found(tmp_path: Path) -> None:
    lost = [marks(tmp_path, ALERTS[1:])]
    assert whole.missing(known(ALERTS), lost) == [1 << 40]
    altered = [marks(tmp_path, [(1 << 40, 1, b"other"), *ALERTS[1:]])]
    assert whole.missing(known(ALERTS), altered) == [1 << 40]
    assert whole.unknown(known(ALERTS), altered) == [1 << 40]


def test_the_ledger_need_not_know_what_is_older_than_its_memory(tmp_path: Path) -> None:
    assert whole.unknown(known([]), [marks(tmp_path, ALERTS, recent=False)]) == []
    assert len(whole.unknown(known([]), [marks(tmp_path, ALERTS)])) == 3
    assert whole.missing(known(ALERTS), []) == sorted({candid for candid, _, _ in ALERTS})


def test_the_ledgers_marks_are_those_of_its_rows() -> None:
    digests = {candid: hashlib.sha256(str(candid).encode()).digest() for candid in (1 << 40, 697251920115015007, 256)}
    records = [
        ledger.rows_record("e", [ledger.Row.of_alert("e", NIGHT, candid, digest)])[1]
        for candid, digest in digests.items()
    ]
    assert ledger.marks(records).tolist() == known([(c, 1, str(c).encode()) for c in digests]).tolist()
    assert ledger.marks([]).tolist() == []


# The service

TIMING = Timing(after=2 * 3600.0, quiet=1800.0)
END = MIDNIGHT + nights.DAY


def test_a_night_is_due_when_it_has_ended_and_come_to_rest() -> None:
    topics = {TOPIC: {0: 5}, f"ztf_{NIGHT}_programid2": {0: 0}}
    since = dict.fromkeys(topics, END)

    def at(moment: float, archived: dict[str, dict[int, int] | None] | None = None) -> list[str]:
        return due(topics, archived or {}, since, TIMING, moment)

    assert at(END + 7199) == []
    assert at(END + 7200) == [NIGHT]
    assert at(END + 7200, {TOPIC: {0: 5}}) == [], "it is archived"
    assert at(END + 7200, {TOPIC: {0: 4}}) == [NIGHT], "late alerts have come"
    assert due(topics, {}, dict.fromkeys(topics, END + 7000), TIMING, END + 7200) == [], "alerts still come"


def test_an_empty_night_and_the_canaries_are_never_due() -> None:
    topics = {TOPIC: {0: 0, 1: 0}, "ztf_20000101_programid1": {0: 9}}
    assert due(topics, {}, dict.fromkeys(topics, 0.0), TIMING, END + 1e6) == []


def test_the_oldest_night_comes_first_since_its_records_expire_first() -> None:
    topics = {f"ztf_{night}_programid1": {0: 1} for night in ("20181130", "20181128", "20181129")}
    assert due(topics, {}, dict.fromkeys(topics, 0.0), TIMING, END + 1e6) == ["20181128", "20181129", "20181130"]


def test_a_topic_is_quiet_since_its_ends_were_first_seen() -> None:
    quiet = Quiet()
    assert quiet.see({TOPIC: {0: 1}}, 100.0) == {TOPIC: 100.0}
    assert quiet.see({TOPIC: {0: 1}}, 200.0) == {TOPIC: 100.0}
    assert quiet.see({TOPIC: {0: 2}}, 300.0) == {TOPIC: 300.0}
    assert quiet.see({TOPIC: {0: 2}}, 50.0) == {TOPIC: 50.0}, "a clock that has stepped back"


def test_the_archives_of_the_newest_nights_are_kept() -> None:
    archives = [archive(night=night, programme=programme) for night in ("20181128", NIGHT) for programme in (1, 2)]
    assert beyond(archives, 0) == []
    assert beyond(archives, 2) == []
    assert {one.night for one in beyond(archives, 1)} == {"20181128"}
    assert len(beyond(archives, 1)) == 2


class _Maker:
    """Archives nights as it is told, in place of Kafka."""

    def __init__(self, catalogue: Catalogue, make: Callable[[str], list[Archive]]) -> None:
        self.catalogue, self._make = catalogue, make
        self.reach = {TOPIC: {0: 3}, "ztf_20181130_programid1": {0: 4}}
        self.made: list[str] = []

    def topics(self) -> dict[str, dict[int, int]]:
        return self.reach

    def make(self, night: str, _: object) -> list[Archive]:
        self.made.append(night)
        found = self._make(night)
        for topic, ends in self.reach.items():
            if night in topic:
                self.catalogue.note_ends(topic, ends, self.reach)
        return found


class _Policy:
    def allowed(self, _: str) -> frozenset[int]:
        return frozenset({1})


def test_a_night_that_fails_keeps_no_other_and_is_tried_again_later(tmp_path: Path) -> None:
    catalogue, now = Catalogue(tmp_path), [END + 2 * nights.DAY]
    broken = {NIGHT}

    def make(night: str) -> list[Archive]:
        if night in broken:
            raise ZadsError("not whole")
        put(catalogue, one := archive(night=night))
        return [one]

    maker = _Maker(catalogue, make)
    timing = Timing(0.0, 0.0)
    archivist = service.Archivist(maker, catalogue, _Policy, timing, lambda: now[0])  # type: ignore[arg-type]
    assert archivist.round() is False
    assert [one.night for one in catalogue.archives()] == ["20181130"]
    assert archivist.round() is True, "it is not tried again at once"
    assert maker.made == [NIGHT, "20181130"]
    broken.clear()
    now[0] += service.RETRY_SECONDS
    assert archivist.round() is True
    assert [one.night for one in catalogue.archives()] == ["20181130", NIGHT]


def test_a_night_is_late_when_it_has_rested_and_is_still_not_archived(tmp_path: Path) -> None:
    catalogue, now = Catalogue(tmp_path), [END + 2 * nights.DAY]

    def make(_: str) -> list[Archive]:
        raise ZadsError("not whole")

    def late() -> float | None:
        archivist.round()
        return REGISTRY.get_sample_value("zads_archive_late")

    maker = _Maker(catalogue, make)
    del maker.reach["ztf_20181130_programid1"]
    archivist = service.Archivist(maker, catalogue, _Policy, TIMING, lambda: now[0])  # type: ignore[arg-type]
    assert late() == 0, "its alerts may have come just now"
    now[0] += TIMING.quiet + service.DUE_SECONDS - 1
    assert late() == 0
    now[0] += 1
    assert late() == 1
    maker.reach[TOPIC] = {0: 4}
    assert late() == 0, "late alerts have come"
    now[0] += TIMING.quiet + service.DUE_SECONDS
    assert late() == 1


def test_a_night_that_ended_lately_is_not_late(tmp_path: Path) -> None:
    catalogue, now = Catalogue(tmp_path), [END]

    def make(_: str) -> list[Archive]:
        raise ZadsError("not whole")

    maker = _Maker(catalogue, make)
    archivist = service.Archivist(maker, catalogue, _Policy, TIMING, lambda: now[0])  # type: ignore[arg-type]
    archivist.round()
    now[0] += service.LATE_SECONDS - 1
    archivist.round()
    assert REGISTRY.get_sample_value("zads_archive_late") == 0


def test_a_night_beyond_those_that_are_kept_is_not_archived_again(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)

    def make(night: str) -> list[Archive]:
        put(catalogue, one := archive(night=night))
        return [one]

    maker = _Maker(catalogue, make)
    archivist = service.Archivist(
        maker,  # type: ignore[arg-type]
        catalogue,
        _Policy,  # type: ignore[arg-type]
        Timing(0.0, 0.0, keep=1),
        lambda: END + 2 * nights.DAY,
    )
    assert archivist.round() is True
    assert [one.night for one in catalogue.archives()] == ["20181130"]
    maker.reach[TOPIC] = {0: 99}
    assert archivist.round() is True
    assert maker.made == [NIGHT, "20181130"]


def test_a_round_beside_another_run_waits_for_the_next(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)
    maker = _Maker(catalogue, lambda _: [])
    archivist = service.Archivist(maker, catalogue, _Policy, Timing(0.0, 0.0))  # type: ignore[arg-type]
    with Catalogue(tmp_path).locked():
        assert archivist.round() is False
    assert maker.made == []
