"""Bad input is refused with a reason, and does not affect good input."""

from __future__ import annotations

import datetime
import io
import json
import os
import tarfile
import time

import pytest

from local_system import System, await_that, drop, make_night, put, read_topic
from zads.sources import simulator

NIGHT = "20300201"
#: Names, bytes and nights differ from run to run, as a system may be kept up.
RUN = int(time.time())
UNMADE = f"{datetime.date(2031, 1, 1) + datetime.timedelta(days=RUN // 60 % 3000):%Y%m%d}"


@pytest.fixture(scope="module")
def good(system: System) -> dict[str, bytes]:
    """Some packets of a simulated night, by file name."""
    make_night(NIGHT)
    return simulated(NIGHT, 14)


def simulated(night: str, alerts: int) -> dict[str, bytes]:
    """Packets of a simulated night, by file name."""
    ((_, packets),) = simulator.simulate(night, 1, alerts, seed=RUN)
    return dict(packets)


def some(good: dict[str, bytes], first: int, last: int, prefix: str = "") -> dict[str, bytes]:
    """Some of the packets. Each may be delivered once: the same bytes are not published again."""
    return {f"{prefix}{name}": content for name, content in list(good.items())[first:last]}


def published(system: System) -> int:
    """The number of records on the night's topics at the origin, of all programmes."""
    return sum(len(read_topic("admin-origin", f"ztf_{NIGHT}_programid{programme}")) for programme in (1, 2, 3))


def refusals() -> dict[str, str]:
    """Source -> reason of all that the producer has refused."""
    found = [dict(record.headers()) for record in read_topic("admin-origin", "zads_rejected")]
    return {headers["source"].decode(): headers["reason"].decode() for headers in found}


def test_bad_files_are_recorded_with_their_reason_and_the_good_ones_pass(
    system: System, good: dict[str, bytes]
) -> None:
    first = next(iter(good.values()))
    bad = {
        "empty.avro": (b"", "it is empty"),
        "half.avro": (first[: len(first) // 2], "cut off"),
        "picture.avro": (b"\xff\xd8\xff\xe0" + os.urandom(2000), "JPEG"),
        "altered.avro": (first[:-16] + bytes(16), "the marker after its record"),
        "huge.avro": (bytes(20_000_000), "20000000 bytes"),
        "same.avro": (first, "already in this exposure"),
        "../outside.avro": (first, "leads out of the archive"),
    }
    exposure = f"{NIGHT}-{RUN}-bad"
    before = published(system)
    drop(system, exposure, {**{name: content for name, (content, _) in bad.items()}, **some(good, 0, 8)})
    await_that("the good packets arrive", lambda: published(system) == before + 8, 60)
    wanted = {f"{exposure}/{name}" for name in bad}
    await_that("every bad file is on zads_rejected", lambda: wanted <= refusals().keys(), 30)
    reasons = {source: reason for source, reason in refusals().items() if source.startswith(exposure)}
    assert reasons.keys() == wanted
    for name, (_, reason) in bad.items():
        assert reason in reasons[f"{exposure}/{name}"]


def test_the_stream_goes_on_behind_a_file_that_is_no_archive(system: System, good: dict[str, bytes]) -> None:
    name = f"{NIGHT}-{RUN}-none.tar"
    put(system, name, b"this is no archive")
    before = published(system)
    others = some(good, 8, 10)
    drop(system, f"{NIGHT}-{RUN}-after", others)
    await_that("the exposure behind it arrives", lambda: published(system) == before + len(others), 60)
    reason = await_that("the file is refused once nobody writes it any more", lambda: refusals().get(name), 60)
    assert "archive" in reason


def test_a_directory_without_permission_is_refused_and_the_stream_goes_on(
    system: System, good: dict[str, bytes]
) -> None:
    refused_before = len(read_topic("admin-origin", "zads_rejected"))
    incoming = "/var/lib/zads/producer/spool/incoming"
    system.on(
        "apps-1", f"mkdir {incoming}/.closed && chmod 0 {incoming}/.closed && mv {incoming}/.closed {incoming}/closed"
    )
    try:
        await_that(
            "the closed directory is on zads_rejected",
            lambda: len(read_topic("admin-origin", "zads_rejected")) == refused_before + 1,
            30,
        )
        before = published(system)
        drop(system, f"{NIGHT}-{RUN}-open", some(good, 10, 12))
        await_that("the exposure after it arrives", lambda: published(system) == before + 2, 60)
    finally:
        system.on("apps-1", f"rm -rf {incoming}/closed")
    newest = dict(max(read_topic("admin-origin", "zads_rejected"), key=lambda record: record.timestamp()[1]).headers())
    assert newest["source"] == b"closed"
    assert b"Permission denied" in newest["reason"]


def test_bad_exposures_are_set_aside_and_a_cut_archive_is_published_once_it_is_whole(
    system: System, good: dict[str, bytes]
) -> None:
    incoming = "/var/lib/zads/producer/spool/incoming"
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz") as archive:
        for name, content in some(good, 12, 14).items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    before = published(system)
    unmade = simulated(UNMADE, 2)
    drop(system, f"{NIGHT}-{RUN}-0-unmade", unmade)  # a night that has no topics
    drop(system, f"{NIGHT}-{RUN}-1-names", {"y/" * 200 + "z": b"bad", "q" * 250: b"bad"})
    drop(system, f"{NIGHT}-{RUN}-2-".ljust(250, "e"), {"bad": b"bad"})
    put(system, f"{NIGHT}-{RUN}-2.json", b"a sidecar")
    put(system, f"{NIGHT}-{RUN}-3-cut.tar.gz", whole.getvalue()[:-8])
    drop(system, f"{NIGHT}-{RUN}-4-behind", some(good, 12, 13))
    await_that("the exposure behind them arrives", lambda: published(system) == before + 1, 60)
    done, refused = "/var/lib/zads/producer/spool/done", "/var/lib/zads/producer/spool/refused"
    await_that(
        "the cut archive is refused",
        lambda: system.on("apps-1", f"ls {refused}/{NIGHT}-{RUN}-3-cut.tar.gz", check=False).startswith(refused),
        60,
    )
    put(system, f"{NIGHT}-{RUN}-3-cut.tar.gz", whole.getvalue())
    receipt = f"{done}/{NIGHT}-{RUN}-3-cut.json"
    written = json.loads(await_that("its receipt", lambda: system.on("apps-1", f"cat {receipt} 2>&-", check=False), 60))
    assert (written["read"], written["already"], sum(written["published"].values())) == (2, 1, 1)
    assert published(system) == before + 2
    waiting = f"ls {incoming} | grep -F -e {RUN}"  # without exposures of other runs
    assert system.on("apps-1", waiting).split() == [f"{NIGHT}-{RUN}-0-unmade.tar"]
    assert system.on("apps-1", f"cat {done}/{NIGHT}-{RUN}-2.json.sidecar") == "a sidecar"
    make_night(UNMADE)
    await_that(
        "the deferred exposure is published once its topics exist",
        lambda: system.on("apps-1", waiting, check=False) == "",
        60,
    )
