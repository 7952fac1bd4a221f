"""What is read of a directory or an archive, and what is refused there."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from zads.packet import MAX_BYTES
from zads.sources import files


def archive(path: Path, members: dict[str, bytes], mode: str = "w", **special: bytes) -> Path:
    with tarfile.open(path, mode) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for name, kind in special.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
    return path


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "exposure"
    (made / "below").mkdir(parents=True)
    for name in ("b.avro", "a.avro", "below/c.avro", ".hidden"):
        (made / name).write_bytes(name.encode())
    return made


def test_a_directory_is_read_by_name_all_of_it(directory):
    assert [(item.name, item.data) for item in files.read(directory)] == [
        (name, name.encode()) for name in (".hidden", "a.avro", "b.avro", "below/c.avro")
    ]


def test_an_archive_is_read_by_name_and_a_compressed_one_in_its_own_order(tmp_path):
    members = {"./b.avro": b"b", "a.avro": b"a"}
    assert list(files.packets(archive(tmp_path / "n.tar", members))) == [("a.avro", b"a"), ("b.avro", b"b")]
    for suffix in ("tar.gz", "tgz"):
        compressed = archive(tmp_path / f"n.{suffix}", members, "w:gz")
        assert list(files.packets(compressed)) == [("b.avro", b"b"), ("a.avro", b"a")]


@pytest.mark.parametrize("name", ["../outside", "/absolute", "a/../../outside"])
@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_a_path_out_of_the_archive_is_refused(tmp_path, name, suffix):
    path = archive(tmp_path / f"n.{suffix}", {name: b"x", "good": b"y"}, "w:gz" if suffix == "tar.gz" else "w")
    found = {item.name: item for item in files.read(path)}
    assert "leads out" in found[name].refused
    assert found["good"].data == b"y"


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_of_an_archive_are_refused(tmp_path, kind):
    (item,) = files.read(archive(tmp_path / "n.tar", {}, special=kind))
    assert "only regular files" in item.refused


def test_links_and_pipes_of_a_directory_are_refused_without_opening_them(tmp_path):
    (tmp_path / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe")
    reasons = {item.name: item.refused for item in files.read(tmp_path)}
    assert "symbolic link" in reasons["link"]
    assert "not a regular file" in reasons["pipe"]


def test_a_file_too_large_for_a_packet_is_refused_by_its_size(tmp_path):
    with (tmp_path / "large").open("wb") as stream:
        stream.truncate(20_000_000_000)  # a hole: reading it whole would take the memory of the machine
    (item,) = files.read(tmp_path)
    assert item.size == 20_000_000_000
    assert len(item.data) == files.HEAD_BYTES
    assert str(MAX_BYTES) in item.refused


def test_what_is_before_the_break_of_an_archive_is_read(tmp_path):
    for suffix, mode in (("tar", "w"), ("tar.gz", "w:gz")):
        path = archive(tmp_path / f"n.{suffix}", {"a": os.urandom(5000), "b": os.urandom(50_000)}, mode)
        path.write_bytes(path.read_bytes()[:20_000])
        items = list(files.read(path))
        assert items[0].name == "a"
        assert not items[0].refused
        assert "breaks off" in items[-1].refused


def test_what_is_no_archive_is_said_to_be_none(tmp_path):
    (tmp_path / "n.tar").write_bytes(b"\xff\xd8\xff" * 1000)
    with pytest.raises(files.SourceError, match="not a readable archive"):
        files.read(tmp_path / "n.tar")


def test_whoever_wants_all_or_nothing_is_told_of_the_first_refusal(tmp_path):
    with pytest.raises(files.SourceError, match=r"n.tar/../x: a path that leads out"):
        list(files.packets(archive(tmp_path / "n.tar", {"../x": b""})))


@pytest.mark.parametrize("name", ["58451.21875", "58451.21875.tar", "58451.21875.tar.gz", "58451.21875.tgz"])
def test_an_exposure_is_named_without_its_suffix(name):
    assert files.exposure_name(Path(name)) == "58451.21875"
