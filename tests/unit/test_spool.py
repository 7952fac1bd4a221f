"""The spool: what is waiting, and where it goes."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from zads.errors import ZadsError
from zads.sources.files import Item
from zads.sources.spool import Spool, remove


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


def drop(spool: Spool, name: str) -> None:
    (spool.incoming / name).mkdir()


def test_exposures_wait_in_the_order_of_their_names_and_hidden_ones_do_not(spool):
    for name in ("b", ".c", "a.tar", "a"):
        drop(spool, name)
    assert [(one.name, one.path.name) for one in spool.pending()] == [("a", "a"), ("a", "a.tar"), ("b", "b")]


def test_a_finished_exposure_leaves_its_receipt_and_a_second_takes_neither_its_place(spool):
    for number in (1, 2):
        drop(spool, "a")
        spool.finish(spool.pending()[0], {"number": number})
    assert not spool.pending()
    assert json.loads((spool.done / "a.json").read_text()) == {"number": 1}
    assert json.loads((spool.done / "a+2.json").read_text()) == {"number": 2}
    assert (spool.done / "a").is_dir()
    assert (spool.done / "a+2").is_dir()


def test_an_exposure_that_was_to_be_finished_when_the_producer_died_is_finished_again(spool):
    drop(spool, "a")
    (spool.done / "a.json").write_text("{}")
    spool.finish(spool.pending()[0], {"number": 1})
    assert json.loads((spool.done / "a.json").read_text()) == {"number": 1}


def test_copies_of_refused_files_stay_within_their_directory(spool):
    drop(spool, "a")
    exposure = spool.pending()[0]
    for name in ("../../outside", "/etc/passwd", "below/b.avro", ".."):
        spool.keep_refused(exposure, Item(name, b"x", 1))
    assert {path.relative_to(spool.refused).as_posix() for path in spool.refused.rglob("*") if path.is_file()} == {
        "a/_.._outside", "a/etc_passwd", "a/below_b.avro", "a/unnamed"
    }  # fmt: skip


def test_old_originals_are_removed_and_receipts_and_unfinished_ones_are_not(spool):
    for name in ("old", "new", "unfinished"):
        drop(spool, name)
    old, _, _ = sorted(spool.pending(), key=lambda one: one.name != "old")
    (spool.done / "unfinished").mkdir()
    for exposure in spool.pending()[:2]:
        spool.finish(exposure, {})
    os.utime(spool.done / "old.json", (0, time.time() - 7200))
    assert spool.sweep(3600) == 1
    assert sorted(path.name for path in spool.done.iterdir()) == ["new", "new.json", "old.json", "unfinished"]
    assert old.state == "gone"


@pytest.mark.parametrize("taken", ["a.json", "a"])
def test_what_is_taken_away_while_old_originals_are_removed_is_no_error(spool, monkeypatch, taken):
    for name in ("a", "b"):
        drop(spool, name)
        spool.finish(spool.pending()[0], {})
        os.utime(spool.done / f"{name}.json", (0, 0))
    listed = os.scandir

    def scandir(path):
        monkeypatch.undo()
        entries = list(listed(path))
        remove(spool.done / taken)
        return entries

    monkeypatch.setattr("zads.sources.spool.os.scandir", scandir)
    assert spool.sweep(3600) == 1
    assert not (spool.done / "b").exists()


def test_the_state_of_an_exposure_changes_with_its_permissions(spool):
    drop(spool, "a")
    exposure = spool.pending()[0]
    before = exposure.state
    assert exposure.state == before
    os.utime(exposure.path, (0, 0))
    exposure.path.chmod(0o700)
    assert exposure.state != before


def test_a_spool_that_cannot_be_made_is_said_to_be_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ZadsError, match="cannot make the spool"):
        Spool(tmp_path / "file" / "spool")
