"""The spool: what is waiting, and where it goes."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from zads.errors import ZadsError
from zads.sources.delivery import UnfinishedError, listing
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


def write(spool: Spool, name: str, data: bytes = b"x") -> None:
    (spool.incoming / name).write_bytes(data)


def settle(spool: Spool, **told: object) -> None:
    (exposure,) = spool.pending()
    spool.finish(exposure, {"exposure": exposure.name, **told}, listing(exposure.path))


def test_an_exposure_that_changes_while_it_is_moved_goes_back(spool, monkeypatch):
    drop(spool, "a")
    (exposure,) = spool.pending()
    seen = listing(exposure.path)
    renamed = Path.rename

    def rename(path, target):
        moved = renamed(path, target)
        if path == exposure.path:
            (moved / "late.avro").write_bytes(b"late")
        return moved

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(UnfinishedError, match="changed while it was moved"):
        spool.finish(exposure, {}, seen)
    assert (spool.incoming / "a" / "late.avro").exists()
    assert not (spool.done / "a.json").exists()
    monkeypatch.undo()
    spool.finish(exposure, {}, listing(exposure.path))
    assert (spool.done / "a" / "late.avro").exists()


def test_what_a_dying_producer_had_moved_aside_is_put_back_and_waits_for_its_name(spool):
    drop(spool, "a")
    (spool.incoming / "a").rename(spool.root / ".moving" / "a")
    drop(spool, "a")
    spool.open()
    assert (spool.root / ".moving" / "a").exists()
    (spool.incoming / "a").rmdir()
    spool.put_back()
    assert [one.name for one in spool.pending()] == ["a"]


def test_what_was_not_read_is_not_removed_but_read(spool):
    for name in ("a", "b"):
        drop(spool, name)
        settle(spool)
        os.utime(spool.done / f"{name}.json", (0, 0))
    (spool.done / "a" / "late.avro").write_bytes(b"late")
    assert spool.sweep(3600) == 1
    assert (spool.incoming / "a" / "late.avro").exists()
    assert not (spool.done / "b").exists()


def test_what_is_written_into_an_exposure_that_was_just_moved_is_read_too(spool, monkeypatch):
    monkeypatch.setattr("zads.sources.spool.RECHECK_SECONDS", (0.0,))
    for name in ("a", "b"):
        drop(spool, name)
        settle(spool)
    (spool.done / "a" / "late.avro").write_bytes(b"late")
    spool.recheck()
    assert (spool.incoming / "a" / "late.avro").exists()
    assert (spool.done / "b").exists()


def test_sidecars_are_neither_exposures_nor_overwrite_or_are_overwritten(spool):
    for round_ in (b"1", b"2"):
        drop(spool, "a")
        for suffix in ("json", "md5", "JSON"):
            write(spool, f"a.{suffix}", round_)
        spool.admit()
        settle(spool, number=round_.decode())
    assert not list(spool.incoming.iterdir())
    kept = sorted(path.read_bytes() for path in spool.done.rglob("*.sidecar"))
    assert kept == [b"1"] * 3 + [b"2"] * 3
    assert [json.loads((spool.done / name).read_text())["number"] for name in ("a.json", "a+2.json")] == ["1", "2"]


def test_no_two_exposures_share_a_receipt_whatever_their_names(spool):
    names = ["a", "a.tar", "a.tar.gz", "a.json", "a.json.tar", "a+2"]
    for name in names:
        drop(spool, name)
        settle(spool, dropped=name)
    receipts = [path for path in spool.done.glob("*.json") if path.is_file()]
    assert sorted(json.loads(path.read_text())["dropped"] for path in receipts) == sorted(names)
    assert len([path for path in spool.done.iterdir() if path.is_dir()]) == len(names)


LONG = [b"q" * length for length in (200, 201, 249, 250, 251, 252, 255)] + ["ü".encode() * 127]
STRANGE = [b"\xff\xfe", b"a\nb", b"\x1b[31mred", b"a b", b"-rf", "\u202e".encode()]


@pytest.mark.parametrize("name", [*LONG, *STRANGE])
@pytest.mark.parametrize("how", ["finish", "refuse"])
def test_an_exposure_of_any_name_gets_its_receipt(spool, name, how):
    for number in (1, 2):
        drop(spool, os.fsdecode(name))
        (exposure,) = spool.pending()
        spool.keep_refused(exposure, Item("bad", b"x", 1))
        path = getattr(spool, how)(exposure, {"exposure": exposure.name, "number": number}, listing(exposure.path))
        assert json.loads(path.read_text())["number"] == number
        assert json.loads(path.read_text())["exposure"] == exposure.name
    assert not list(spool.incoming.iterdir())


@pytest.mark.parametrize(
    "name", ["q" * 250, "y/" * 200 + "z", "a\0b", "\udcff", "ü" * 200, "a\nb", "\x1b[31m", "", "/", "..", "a/../b"]
)
def test_a_refused_file_of_any_name_is_kept(spool, name):
    drop(spool, "a")
    (exposure,) = spool.pending()
    for _ in range(2):
        spool.keep_refused(exposure, Item(name, b"content", 7))
    (copy,) = [path for path in spool.refused.rglob("*") if path.is_file()]
    assert copy.read_bytes() == b"content"
    assert copy.parent == spool.refused / "a"


def test_two_refused_files_that_would_have_one_name_are_both_kept(spool):
    drop(spool, "a")
    (exposure,) = spool.pending()
    spool.keep_refused(exposure, Item("b/c", b"1", 1))
    spool.keep_refused(exposure, Item("b_c", b"2", 1))
    assert sorted(path.read_bytes() for path in (spool.refused / "a").iterdir()) == [b"1", b"2"]


def test_copies_find_a_place_where_a_refused_exposure_has_their_name(spool):
    write(spool, "a")
    (exposure,) = spool.pending()
    spool.refuse(exposure, {})
    spool.keep_refused(exposure, Item("bad", b"1", 1))
    assert (spool.refused / "a.files" / "bad").read_bytes() == b"1"


def test_an_incoming_on_another_file_system_is_refused_at_the_start(tmp_path):
    elsewhere = Path("/dev/shm") / f"zads-{os.getpid()}"
    if not Path("/dev/shm").is_dir() or Path("/dev/shm").stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system")
    elsewhere.mkdir()
    try:
        (tmp_path / "incoming").symlink_to(elsewhere)
        with pytest.raises(ZadsError, match="different file systems"):
            Spool(tmp_path).open()
        assert not list(elsewhere.iterdir())
    finally:
        elsewhere.rmdir()
