"""A night is archived by the archive's own account: all of it, byte for byte, or not at all.

It takes minutes, so `make drill` runs it and `make test` does not.
"""

from __future__ import annotations

import json
import pkgutil
import subprocess
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import archiving
from archiving import POLICY, Sites
from packets import reencoded
from zads import cli, kafka, names, replay
from zads.archive import service, tarball
from zads.archive.catalogue import Catalogue
from zads.archive.contents import Contents
from zads.archive.making import Maker, NotWholeError
from zads.archive.record import Archive
from zads.archive.room import Room
from zads.errors import ZadsError
from zads.packet import Packet
from zads.replay import Pace
from zads.site import nights


@pytest.fixture(scope="module")
def sites() -> Iterator[Sites]:
    yield from archiving.sites()


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return Catalogue(tmp_path / "archive")


def maker(sites: Sites, catalogue: Catalogue, beat: object = lambda: None) -> Maker:
    """It works with the archive's own rights."""
    room = Room(catalogue.directory, 0)
    return Maker(sites.confs(names.ARCHIVE), catalogue, beat, room=room, clock=time.time)  # type: ignore[arg-type]


def held(catalogue: Catalogue, archive: Archive) -> dict[str, bytes]:
    with tarfile.open(catalogue.path(archive)) as found:
        return {one.name: found.extractfile(one).read() for one in found}


def by_programme(packets: list[bytes]) -> dict[int, dict[str, bytes]]:
    found: dict[int, dict[str, bytes]] = {1: {}, 2: {}}
    for data in packets:
        packet = Packet.trusted(data)
        found[packet.programid][f"{packet.candid}.avro"] = data
    return found


def test_a_night_is_archived_packet_for_packet(sites: Sites, catalogue: Catalogue, tmp_path: Path) -> None:
    night = sites.night()
    packets = by_programme(night.publish(tmp_path / "spool", visits=range(3), alerts=40))
    made = {one.programme: one for one in maker(sites, catalogue).make(night.night, POLICY)}
    for programme, archive in made.items():
        assert held(catalogue, archive) == packets[programme]
        names_in_order = [name for name, _ in tarball.read(catalogue.path(archive), lambda: None)]
        assert names_in_order == sorted(packets[programme], key=lambda name: int(name.partition(".")[0]))
    assert set(made) == {1, 2}
    assert [one.programme for one in catalogue.archives("public")] == [1]
    assert [one.programme for one in catalogue.archives("private")] == [2]
    checked = subprocess.run(
        ["sha256sum", "--check", f"{made[1].file}.sha256"], cwd=catalogue.directory / "public", check=False
    )
    assert checked.returncode == 0
    assert (made[1].alerts, made[1].files, made[1].missing) == (len(packets[1]),) * 2 + (0,)
    assert [path.name for path in catalogue.work.iterdir()] == ["state.json"]
    assert maker(sites, catalogue).make(night.night, POLICY) == [], "a second run changes nothing"
    other = Catalogue(tmp_path / "other")
    again = {one.programme: one for one in maker(sites, other).make(night.night, POLICY)}
    assert {n: one.sha256 for n, one in again.items()} == {n: one.sha256 for n, one in made.items()}, "reproducible"


def test_late_alerts_make_a_new_version_which_has_everything(
    sites: Sites, catalogue: Catalogue, tmp_path: Path
) -> None:
    night = sites.night()
    first = night.publish(tmp_path / "spool", visits=range(2), alerts=20)
    (one,) = (a for a in maker(sites, catalogue).make(night.night, POLICY) if a.programme == 1)
    # What was archived expires, and then an exposure comes late, with an alert that was processed again.
    for programme in (1, 2):
        night.expire(programme)
    assert night.values("origin", 1) == []
    late = night.publish(tmp_path / "spool", visits=[2], alerts=20)
    again = reencoded(
        next(data for data in first if Packet.trusted(data).programid == 1),
        lambda record: record["candidate"].update(rb=0.25),
    )
    night.drop(tmp_path / "spool", "again", {"again.avro": again})
    night.produce(tmp_path / "spool")
    (two,) = (a for a in maker(sites, catalogue).make(night.night, POLICY) if a.programme == 1)
    wanted = by_programme([*first, *late])[1]
    wanted[f"{Packet.trusted(again).candid}.v2.avro"] = again
    assert held(catalogue, two) == wanted
    assert (one.version, two.version, two.added, two.alerts) == (1, 2, len(wanted) - one.files, len(wanted) - 1)
    assert not list((catalogue.directory / "public").glob(one.file))
    assert (catalogue.directory / "public" / two.file).exists()


def test_a_topic_that_begins_again_adds_nothing(sites: Sites, catalogue: Catalogue, tmp_path: Path) -> None:
    night = sites.night()
    night.publish(tmp_path / "spool", visits=range(1), alerts=10)
    assert maker(sites, catalogue).make(night.night, POLICY)
    (catalogue.work / "state.json").unlink()
    assert maker(sites, catalogue).make(night.night, POLICY) == []
    assert catalogue.ends(night.topic(1)) == maker(sites, catalogue).topics()[night.topic(1)]


def test_a_record_that_the_ledger_does_not_know_keeps_the_night_from_its_archive(
    sites: Sites, catalogue: Catalogue, tmp_path: Path
) -> None:
    night = sites.night()
    packets = night.publish(tmp_path / "spool", visits=range(1), alerts=10)
    forged = reencoded(packets[0], lambda record: record["candidate"].update(rb=0.5))
    writer = kafka.producer(sites.brokers["origin"].conf)
    packet = Packet.trusted(forged)
    writer.produce(packet.topic, forged, packet.key, headers=[(names.HEADER_VERSION, b"2")])
    assert writer.flush(30) == 0
    if packet.programid == 1:
        night.mirror()
    with pytest.raises(NotWholeError, match=f"1 alerts at the origin are not in the ledger .candid {packet.candid}"):
        maker(sites, catalogue).make(night.night, POLICY)
    assert catalogue.archives() == []


def test_alerts_that_are_lost_keep_the_night_from_its_archive_unless_that_is_wanted(
    sites: Sites, catalogue: Catalogue, tmp_path: Path
) -> None:
    night = sites.night()
    packets = by_programme(night.publish(tmp_path / "spool", visits=range(1), alerts=20))
    night.expire(2)
    with pytest.raises(NotWholeError, match=f"{len(packets[2])} alerts of the ledger are not at the origin"):
        maker(sites, catalogue).make(night.night, POLICY)
    assert catalogue.archives() == []
    (one,) = maker(sites, catalogue).make(night.night, POLICY, incomplete=True)
    assert (one.programme, one.files, one.missing) == (1, len(packets[1]), len(packets[2]))
    assert f"incomplete: {one.missing}" in (catalogue.directory / "public/index.html").read_text()


def test_a_night_waits_for_the_public_site_and_is_not_read_again(
    sites: Sites, catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    night = sites.night()
    packets = by_programme(night.publish(tmp_path / "spool", visits=range(1), alerts=20, mirror=False))
    night.mirror(most=len(packets[1]) - 1)
    with pytest.raises(NotWholeError, match=f"the public site has {len(packets[1]) - 1} records"):
        maker(sites, catalogue).make(night.night, POLICY)
    assert catalogue.archives() == []
    night.mirror()
    monkeypatch.setattr(tarball, "write", None)  # what has been prepared is used
    made = maker(sites, catalogue).make(night.night, POLICY)
    assert sum(one.files for one in made) == 20
    assert held(catalogue, made[0]) == packets[1]


class Stop(Exception):
    """In place of the end of the process."""


@pytest.fixture(scope="module")
def interrupted(sites: Sites, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, str]]:
    """A night, and the digests of its archives."""
    directory, night = tmp_path_factory.mktemp("interrupted"), sites.night()
    night.publish(directory / "spool", visits=range(2), alerts=40)
    made = maker(sites, Catalogue(directory / "whole")).make(night.night, POLICY)
    return night.night, {one.stem: one.sha256 for one in made}


@pytest.mark.parametrize(
    ("place", "calls"),
    [
        ("zads.archive.tarball.write", 0),
        ("zads.archive.tarball.read", 1),
        ("zads.ledger.alerts_of_night", 0),
        ("zads.archive.whole.at_public", 0),
        ("zads.wholefile.sync", 1),
        ("zads.archive.catalogue.Catalogue.note_ends", 0),
    ],
)
def test_a_run_that_is_interrupted_anywhere_leaves_nothing_half(
    sites: Sites,
    catalogue: Catalogue,
    interrupted: tuple[str, dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    calls: int,
) -> None:
    """It dies where a function would be called, after so many calls of it."""
    night, wanted = interrupted
    module, _, name = place.rpartition(".")
    original, left = pkgutil.resolve_name(f"{module}.{name}"), iter(range(calls))

    def die(*arguments: object, **options: object) -> object:
        if next(left, None) is None:
            raise Stop
        return original(*arguments, **options)

    monkeypatch.setattr(place, die)
    with pytest.raises(Stop):
        maker(sites, catalogue).make(night, POLICY)
    monkeypatch.undo()
    for one in catalogue.archives():
        assert tarball.sha256(catalogue.path(one), lambda: None) == one.sha256 == wanted[one.stem]
    catalogue.tidy()
    maker(sites, catalogue).make(night, POLICY)
    assert {one.stem: one.sha256 for one in catalogue.archives()} == wanted
    assert {path.name for path in catalogue.work.iterdir()} == {"state.json"}


def test_the_service_archives_a_night_after_its_end_and_again_after_late_alerts(
    sites: Sites, catalogue: Catalogue, tmp_path: Path
) -> None:
    night = sites.night()
    night.publish(tmp_path / "spool", visits=range(1), alerts=10)
    now = [nights.begin(night.night) + nights.DAY]
    timing = service.Timing(after=3600.0, quiet=1800.0)
    archivist = service.Archivist(maker(sites, catalogue), catalogue, lambda: POLICY, timing, lambda: now[0])

    def versions() -> list[int]:
        return [one.version for one in catalogue.archives() if one.night == night.night and one.programme == 1]

    def after(seconds: float) -> list[int]:
        now[0] += seconds
        archivist.round()  # nights of other tests may fail
        return versions()

    assert after(3599.0) == []
    assert after(1.0) == []
    assert after(1800.0) == [1]
    night.publish(tmp_path / "spool", visits=[1], alerts=10)
    assert after(60.0) == [1], "more may come"
    assert after(1800.0) == [2]


def test_the_command_archives_a_night_that_has_ended_and_refuses_one_that_has_not(
    sites: Sites, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    night = sites.night()
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps(archiving.DATA))
    for site, properties in sites.confs(names.ARCHIVE).items():
        (tmp_path / f"{site}.properties").write_text("".join(f"{k}={v}\n" for k, v in properties.items()))
    common = ["--directory", str(tmp_path / "archive"), "--policy", str(policy), "--reserve", "0"]
    common += ["--origin", str(tmp_path / "origin.properties"), "--public", str(tmp_path / "public.properties")]
    monkeypatch.setattr("zads.commands.archive.log_to_stderr", lambda: None)  # it would stay for the tests that follow
    assert cli.run(["archive", night.night, *common]) == 1
    assert "has not ended" in capsys.readouterr().err
    assert cli.run(["archive", "20181129", *common]) == 1
    assert "the origin has no topic of the night 20181129" in capsys.readouterr().err


# Replay

SAMPLE = names.sample_topic("again")


def records(sites: Sites, topic: str) -> list[tuple[bytes, bytes, dict[str, bytes]]]:
    return [
        (message.key(), message.value(), dict(message.headers())) for message in sites.brokers["public"].read_all(topic)
    ]


def test_an_archive_is_streamed_again_once_byte_for_byte(
    sites: Sites, catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "MOST_TOGETHER", 50)
    night = sites.night()
    night.publish(tmp_path / "spool", visits=range(3), alerts=100)
    archive = next(one for one in maker(sites, catalogue).make(night.night, POLICY) if one.programme == 1)
    conf, path = sites.brokers["public"].conf, catalogue.path(archive)

    def cut(most: int) -> Iterator[replay.Recorded]:
        for number, one in enumerate(replay.of_path(path, {1})):
            if number == most:
                raise Stop
            yield one

    with pytest.raises(Stop):
        replay.replay(conf, SAMPLE, cut(archive.files - 5), pace=Pace(0.0))
    found = replay.replay(conf, SAMPLE, replay.of_path(path, {1}), pace=Pace(0.0))
    assert 0 < found.already < archive.files, "the interrupted run had written something"
    assert found.written + found.already == archive.files
    assert found.contents.digest == archive.content
    original = {value: (key, headers) for key, value, headers in records(sites, night.topic(1))}
    streamed = records(sites, SAMPLE)
    assert Counter(value for _, value, _ in streamed) == Counter(list(original))
    for key, value, headers in streamed:
        assert key == original[value][0]
        same = {name: one for name, one in headers.items() if name != names.HEADER_PRODUCED}
        assert same == {n: one for n, one in original[value][1].items() if n != names.HEADER_PRODUCED}
        assert float(headers[names.HEADER_PRODUCED]) > float(original[value][1][names.HEADER_PRODUCED])
    assert replay.replay(conf, SAMPLE, replay.of_path(path, {1}), pace=Pace(0.0)).written == 0
    assert replay.replay(conf, SAMPLE, replay.of_path(path, {1}), pace=Pace(0.0), again=True).written == archive.files
    assert len(records(sites, SAMPLE)) == 2 * archive.files
    contents = Contents()
    for one in replay.of_path(path, {1}):
        contents.add(one.candid, len(one.data), one.sha256)
    assert contents.digest == archive.content


def test_a_kept_night_is_streamed_again_in_its_own_order_and_pace(sites: Sites, tmp_path: Path) -> None:
    night = sites.night()
    for visit in range(3):
        night.publish(tmp_path / "spool", visits=[visit], alerts=20)
    target = "replayed_in_time"
    sites.brokers["public"].create(target)
    conf = sites.brokers["public"].conf
    source = list(replay.of_topic(conf, night.topic(1), {1}))
    moments = [one.moment for one in source]
    assert moments == sorted(moments)
    assert Counter(one.data for one in source) == Counter(night.values("public", 1))
    duration = moments[-1] - moments[0]
    begun = time.monotonic()
    replay.replay(conf, target, source, pace=Pace(2.0))
    assert time.monotonic() - begun >= duration / 2
    assert [value for _, value, _ in records(sites, target)] == [one.data for one in source]


def test_a_second_replay_into_a_topic_ends_the_first(sites: Sites, tmp_path: Path) -> None:
    night = sites.night()
    night.publish(tmp_path / "spool", visits=range(1), alerts=30)
    target = "replayed_twice"
    sites.brokers["public"].create(target)
    conf = sites.brokers["public"].conf
    source = list(replay.of_topic(conf, night.topic(1), {1}))
    begun, go_on, failures = threading.Event(), threading.Event(), []

    def slowly() -> Iterator[replay.Recorded]:
        yield source[0]
        begun.set()
        assert go_on.wait(60)
        yield from source[1:]

    def first() -> None:
        try:
            replay.replay(conf, target, slowly(), pace=Pace(0.0))
        except ZadsError as error:
            failures.append(str(error))

    thread = threading.Thread(target=first)
    thread.start()
    assert begun.wait(60)
    replay.replay(conf, target, iter(source), pace=Pace(0.0))
    go_on.set()
    thread.join(60)
    assert len(failures) == 1
    assert "another replay into it has begun" in failures[0]
    assert Counter(value for _, value, _ in records(sites, target)) == Counter(one.data for one in source)


def test_a_topic_that_is_not_there_says_what_to_do(sites: Sites) -> None:
    with pytest.raises(ZadsError, match=r"there is no topic replayed_nowhere.*samples"):
        replay.replay(sites.brokers["public"].conf, "replayed_nowhere", iter([]), pace=Pace(0.0))


def test_the_archives_account_writes_nothing(sites: Sites) -> None:
    with pytest.raises(ZadsError, match=r"there is no topic ztf_sample_again, or this client may not see it"):
        replay.replay(sites.confs(names.ARCHIVE)["public"], SAMPLE, iter([]), pace=Pace(0.0))
