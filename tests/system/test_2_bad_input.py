"""What is not a packet is refused with its reason, and harms nothing around it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, System, await_that, drop, make_night, put, read_topic

NIGHT = "20300201"


@pytest.fixture(scope="module")
def good(system: System, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Some packets of a simulated night, by file name."""
    make_night(NIGHT)
    out = tmp_path_factory.mktemp("simulated")
    command = [".venv/bin/zads", "simulate", "--night", NIGHT, "--visits", "1", "--alerts", "8", "--out", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    packets = {path.name: path.read_bytes() for path in sorted(out.rglob("*.avro"))}
    assert len(packets) == 8
    return packets


def published(system: System) -> int:
    """How many records the night's topics at the origin hold, all programmes."""
    return sum(len(read_topic("admin-origin", f"ztf_{NIGHT}_programid{programme}")) for programme in (1, 2, 3))


def test_bad_files_are_recorded_with_their_reason_and_the_good_ones_pass(
    system: System, good: dict[str, bytes]
) -> None:
    first = next(iter(good.values()))
    bad = {
        "empty.avro": b"",
        "half.avro": first[: len(first) // 2],
        "picture.avro": b"\xff\xd8\xff\xe0" + os.urandom(2000),
        "altered.avro": first[:-200] + bytes(100) + first[-100:],
        "huge.avro": bytes(20_000_000),
        "../outside.avro": first,
    }
    refused_before = len(read_topic("admin-origin", "zads_rejected"))
    published_before = published(system)
    drop(system, f"{NIGHT}-bad", {**bad, **good})
    await_that("the good packets arrive", lambda: published(system) == published_before + len(good), 60)
    await_that(
        "every bad file is on zads_rejected",
        lambda: len(read_topic("admin-origin", "zads_rejected")) == refused_before + len(bad),
        30,
    )
    reasons = {}
    for record in read_topic("admin-origin", "zads_rejected"):
        headers = {key: value.decode() for key, value in record.headers()}
        reasons[Path(headers["source"]).name] = headers["reason"]
    for name in bad:
        assert reasons[Path(name).name], name


def test_the_stream_goes_on_after_an_archive_that_is_none(system: System, good: dict[str, bytes]) -> None:
    put(system, f"{NIGHT}-none.tar", b"this is no archive")
    before = published(system)
    others = {f"again-{name}": content for name, content in list(good.items())[:2]}
    drop(system, f"{NIGHT}-after", others)
    await_that("what came after it arrives", lambda: published(system) == before + len(others), 60)


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
        drop(system, f"{NIGHT}-open", {f"open-{name}": content for name, content in list(good.items())[2:4]})
        await_that("what came after it arrives", lambda: published(system) == before + 2, 60)
    finally:
        system.on("apps-1", f"rm -rf {incoming}/closed")
    newest = dict(max(read_topic("admin-origin", "zads_rejected"), key=lambda record: record.timestamp()[1]).headers())
    assert newest["source"] == b"closed"
    assert b"Permission denied" in newest["reason"]
