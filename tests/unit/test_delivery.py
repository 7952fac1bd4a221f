"""Whether an exposure is complete."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from zads.sources import delivery
from zads.sources.delivery import Delivery, UnfinishedError, listing
from zads.sources.files import Item, SourceError
from zads.sources.spool import Exposure, Spool


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


def drop(spool: Spool, name: str, **files: bytes) -> Path:
    place = spool.incoming / name
    place.mkdir(parents=True)
    for file, data in files.items():
        (place / file).write_bytes(data)
    return place


def only(spool: Spool) -> Exposure:
    (exposure,) = spool.pending()
    return exposure


@pytest.mark.parametrize(
    "change",
    [
        lambda path: (path / "b").write_bytes(b"1"),
        lambda path: (path / "a").unlink(),
        lambda path: (path / "a").write_bytes(b"12"),
        lambda path: os.utime(path / "a", (0, 0)),
        lambda path: (path / "below" / "c").write_bytes(b"3"),
        lambda path: (path / "a").replace(path / "z"),
    ],
)
def test_a_listing_tells_every_change_of_a_directory(spool, change):
    path = drop(spool, "e", a=b"1")
    (path / "below").mkdir()
    before = listing(path)
    assert listing(path) == before
    change(path)
    assert listing(path) != before


def test_a_listing_is_the_same_after_a_rename(spool):
    path = drop(spool, "e", a=b"1")
    before = listing(path)
    assert listing(path.rename(spool.done / "e")) == before
    file = spool.incoming / "x.tar"
    file.write_bytes(b"1")
    before = listing(file)
    assert listing(file.rename(spool.done / "x.tar")) == before


def test_an_archive_that_may_still_be_written_is_unfinished_and_later_refused(spool):
    path = spool.incoming / "e.tar"
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        made.addfile(tarfile.TarInfo("a"))
    path.write_bytes(out.getvalue()[:1000])
    with pytest.raises(UnfinishedError, match="may still be written"):
        Delivery(only(spool)).check()
    os.utime(path, (0, 0))
    with pytest.raises(SourceError, match="breaks off after a"):
        Delivery(only(spool)).check()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("e.tar", b"this is no archive"),
        ("e.tar", b"x" * 600),
        ("e.tar.gz", b"this is no archive"),
        ("e.tar", b"PK\3\4"),
    ],
)
def test_what_begins_as_no_archive_does_is_not_waited_for(spool, name, data):
    (spool.incoming / name).write_bytes(data)
    with pytest.raises(SourceError, match="not a readable archive"):
        Delivery(only(spool)).check()


def test_a_file_that_cannot_be_taken_is_unfinished_while_it_is_young(spool):
    path = drop(spool, "e", a=b"1", b=b"2")
    os.utime(path / "b", (0, 0))
    looked = Delivery(only(spool))
    assert looked.unfinished(Item("a", b"1", 1, "half"))
    assert not looked.unfinished(Item("b", b"2", 1, "half"))
    assert looked.unfinished(Item("vanished", b"", 0, "cannot be read"))


def sums(**files: bytes) -> str:
    return "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items())


def test_a_marker_gives_an_exposure_its_name(spool):
    drop(spool, ".e", a=b"1")
    spool.admit()
    assert not spool.pending()
    (spool.incoming / "e.ready").touch()
    spool.admit()
    exposure = only(spool)
    assert (exposure.name, exposure.path.name, exposure.marker) == ("e", "e", spool.incoming / "e.ready")
    Delivery(exposure).check()
    spool.finish(exposure, {}, listing(exposure.path))
    assert not list(spool.incoming.iterdir())


def test_a_marker_without_an_exposure_is_no_exposure_and_one_waits_for_the_name_to_be_free(spool):
    (spool.incoming / "e.ready").touch()
    spool.admit()
    assert not spool.pending()
    drop(spool, "e", a=b"1")
    drop(spool, ".e", a=b"2")
    spool.admit()
    assert (spool.incoming / "e" / "a").read_bytes() == b"1"
    assert (spool.incoming / ".e" / "a").read_bytes() == b"2"


@pytest.mark.parametrize("above", ["", "./", "e/", ".e/", "*"])
def test_a_marker_lists_what_must_be_there(spool, above):
    path = drop(spool, "e", a=b"1")
    marker = spool.incoming / "e.ready"
    text = sums(a=b"1", b=b"2")
    marker.write_text(text.replace("  ", " *") if above == "*" else text.replace("  ", f"  {above}"))
    with pytest.raises(UnfinishedError, match="'b' is not there yet"):
        Delivery(only(spool)).check()
    (path / "b").write_bytes(b"3")
    with pytest.raises(UnfinishedError, match="'b' is not"):
        Delivery(only(spool)).check()
    (path / "b").write_bytes(b"2")
    Delivery(only(spool)).check()
    (path / "c").write_bytes(b"4")
    with pytest.raises(UnfinishedError, match="'c' is not listed"):
        Delivery(only(spool)).check()


def test_a_marker_lists_an_archive(spool):
    out = io.BytesIO()
    tarfile.open(fileobj=out, mode="w").close()
    (spool.incoming / ".e.tar").write_bytes(out.getvalue())
    (spool.incoming / "e.tar.ready").write_text(sums(**{"e.tar": out.getvalue()}))
    spool.admit()
    exposure = only(spool)
    assert exposure.name == "e"
    Delivery(exposure).check()


def test_sha256sum_writes_a_marker_whatever_the_names(spool):
    path = drop(spool, "e", **{"a b": b"1", "n\nl": b"2", "b\\s": b"3", "ü": b"4"})
    text = subprocess.run("sha256sum *", shell=True, cwd=path, check=True, capture_output=True).stdout
    (spool.incoming / "e.ready").write_bytes(text)
    Delivery(only(spool)).check()


@pytest.mark.parametrize("text", ["nonsense\n", "0" * 64, sums(a=b"1")[:-8] + "\n", "\x00" * 100])
def test_a_marker_that_is_none_or_still_written_lets_the_exposure_wait(spool, text):
    drop(spool, "e", a=b"1")
    (spool.incoming / "e.ready").write_text(text)
    with pytest.raises(UnfinishedError):
        Delivery(only(spool)).check()


def test_an_empty_marker_lists_nothing(spool):
    drop(spool, "e", a=b"1")
    (spool.incoming / "e.ready").write_text("\n")
    Delivery(only(spool)).check()


def test_a_pipe_that_a_marker_lists_is_not_opened(spool):
    path = drop(spool, "e")
    os.mkfifo(path / "a")
    (spool.incoming / "e.ready").write_text(sums(a=b""))
    with pytest.raises(UnfinishedError, match="not a regular file"):
        Delivery(only(spool)).check()


def test_quiet_is_a_matter_of_seconds():
    assert 1 <= delivery.QUIET_SECONDS <= 10
