"""The copy of an ensemble's member has what a member starts from: the newest whole snapshot, and the log since."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

WHOLE = b"ZKSN" + bytes(40) + b"\x00\x00\x00\x01/"


@pytest.fixture
def module(plugin: Callable[[str], ModuleType]) -> ModuleType:
    return plugin("modules/ensemble_copy.py")


def member(directory: Path, **files: bytes) -> Path:
    for name, data in files.items():
        (directory / name.replace("_", ".")).write_bytes(data)
    return directory


def names(module: ModuleType, directory: Path) -> list[str]:
    return [path.name for path in module.chosen(directory)]


def test_the_newest_snapshot_and_the_logs_that_may_go_on_after_it(module: ModuleType, tmp_path: Path) -> None:
    member(
        tmp_path, snapshot_9=WHOLE, snapshot_10=WHOLE, log_1=b"", log_a=b"", log_11=b"", log_20=b"",
        currentEpoch=b"3", acceptedEpoch=b"3",
    )  # fmt: skip
    assert names(module, tmp_path) == ["snapshot.10", "log.a", "log.11", "log.20", "acceptedEpoch", "currentEpoch"]


@pytest.mark.parametrize("data", [b"", b"ZKSN", WHOLE[:-1], b"XXXX" + WHOLE[4:]])
def test_a_snapshot_that_is_being_written_does_not_count(module: ModuleType, tmp_path: Path, data: bytes) -> None:
    member(tmp_path, snapshot_9=WHOLE, snapshot_10=data, log_5=b"")
    assert names(module, tmp_path) == ["snapshot.9", "log.5"]


def test_a_member_that_never_worked_is_refused(module: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no whole snapshot"):
        module.chosen(member(tmp_path, snapshot_x=WHOLE, log_1=b""))


def test_the_archive_has_the_files_below_version_2(module: ModuleType, tmp_path: Path) -> None:
    member(tmp_path, snapshot_0=WHOLE, log_1=bytes(1_000_000))
    data, files = module.archive(tmp_path, 100_000)
    assert files == ["snapshot.0", "log.1"]
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.getnames() == ["version-2/snapshot.0", "version-2/log.1"]
        found = tar.extractfile("version-2/snapshot.0")
        assert found is not None
        assert found.read() == WHOLE


def test_too_much_data_is_refused(module: ModuleType, tmp_path: Path) -> None:
    member(tmp_path, snapshot_0=WHOLE, log_1=bytes(range(256)) * 8)
    with pytest.raises(ValueError, match="more than 100 bytes"):
        module.archive(tmp_path, 100)


def test_a_file_that_zookeeper_removes_meanwhile_is_looked_for_again(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    member(tmp_path, snapshot_0=WHOLE, log_1=b"x")
    chosen = module.chosen
    first = [[tmp_path / "snapshot.gone"]]
    monkeypatch.setattr(module, "chosen", lambda directory: first.pop() if first else chosen(directory))
    assert module.archive(tmp_path, 1000)[1] == ["snapshot.0", "log.1"]


# the way back


@pytest.fixture
def back(plugin: Callable[[str], ModuleType]) -> ModuleType:
    return plugin("modules/ensemble_data.py")


def copied(module: ModuleType, directory: Path) -> bytes:
    directory.mkdir()
    data: bytes = module.archive(member(directory, snapshot_0=WHOLE, log_1=b"x", currentEpoch=b"1"), 1000)[0]
    return data


def test_a_member_without_data_gets_those_of_the_copy(module: ModuleType, back: ModuleType, tmp_path: Path) -> None:
    found = back.files(copied(module, tmp_path / "old"))
    (tmp_path / ".version-2.part").mkdir()  # an interrupted run
    (tmp_path / "version-2").mkdir()
    assert not back.present(tmp_path / "version-2")
    assert back.put(tmp_path, found, 5.0) == ""
    there = {path.name: path.read_bytes() for path in (tmp_path / "version-2").iterdir()}
    assert there == {"snapshot.0": WHOLE, "log.1": b"x", "currentEpoch": b"1"}
    assert back.present(tmp_path / "version-2")
    assert not (tmp_path / ".version-2.part").exists()


def test_data_that_were_there_are_kept_beside(module: ModuleType, back: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "version-2").mkdir()
    member(tmp_path / "version-2", log_7=b"newer")
    kept = back.put(tmp_path, back.files(copied(module, tmp_path / "old")), 5.0)
    assert kept == str(tmp_path / "version-2.before-5")
    assert (tmp_path / "version-2.before-5/log.7").read_bytes() == b"newer"
    assert not (tmp_path / "version-2/log.7").exists()


@pytest.mark.parametrize(
    "name", ["version-2/../../x", "/etc/passwd", "version-2/myid", "snapshot.0", "version-2/log.xyz"]
)
def test_another_file_in_a_copy_is_refused(back: ModuleType, name: str) -> None:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(ValueError, match="no file of an ensemble's data"):
        back.files(output.getvalue())


def test_a_copy_without_a_snapshot_is_refused(back: ModuleType) -> None:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("version-2/log.1"), io.BytesIO())
    with pytest.raises(ValueError, match="no snapshot"):
        back.files(output.getvalue())


# into a backup


def test_one_member_of_each_site_is_taken(plugin: Callable[[str], ModuleType]) -> None:
    filters = plugin("filter/backups.py")
    groups = {"origin_zookeeper": ["o1", "o2"], "public_zookeeper": ["p1"]}
    given = {
        "o1": {"backup_ensemble": {"unreachable": True, "msg": "no route"}},
        "o2": {"backup_ensemble": {"archive": "b"}},
        "p1": {"backup_ensemble": {"archive": "c"}},
    }
    assert filters.archives(given, groups) == {"origin": "b", "public": "c"}
    given["p1"] = {}
    with pytest.raises(Exception, match="ensemble of public has given its data: p1: it was not asked"):
        filters.archives(given, groups)
