"""The demo's signs that a night is under way, and what it reads to know."""

from __future__ import annotations

from pathlib import Path

import pytest

from zads import demo
from zads.demo import _too_few
from zads.inventory import Inventory
from zads.subscriber import percentiles

COUNTS = {"ztf_20300101_programid1": 10, "ztf_20300101_programid2": 3}


def test_a_site_whose_offsets_are_fewer_than_the_alerts_is_named() -> None:
    ends = {("origin", name, number): 5 for name in COUNTS for number in range(2)}
    assert _too_few(ends, COUNTS) == ""
    ends["origin", "ztf_20300101_programid1", 1] = 4
    assert _too_few(ends, COUNTS) == "origin has at most 9 of 10 alerts of ztf_20300101_programid1"
    assert _too_few(ends | {("origin", "ztf_20300101_programid1", 2): 2}, COUNTS) == ""
    assert _too_few({("public", "ztf_20300101_programid2", 0): 0}, COUNTS).startswith("public has at most 0 of 3")


def test_percentiles_of_nothing_are_none() -> None:
    assert percentiles([]) is None
    assert percentiles([0.1, 0.3, 0.2]) == {"p50": 0.2, "p95": 0.29, "p99": 0.298, "max": 0.3}


def test_a_night_does_not_wait_for_what_others_have_left_in_the_spool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "incoming").mkdir()
    (tmp_path / "incoming" / "deferred.tar").touch()
    monkeypatch.setattr(demo, "on_host", lambda host, variables, script: ["sh", "-c", script])
    drop = demo.RemoteDrop(Inventory("local", tmp_path, {"producers": ["p"]}, {"p": {"producer_spool": str(tmp_path)}}))
    assert drop.pending() == 0
    drop.put("mine.tar", b"")
    assert drop.pending() == 1
    (tmp_path / "incoming" / "mine.tar").unlink()
    assert drop.pending() == 0
