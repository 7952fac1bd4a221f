"""No command ends in a traceback, whatever its input; `tests/fuzz.py` can run for longer than this."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import fuzz
import packets
from zads import cli, kafka, wholefile
from zads.errors import ZadsError

SECONDS = float(os.environ.get("ZADS_FUZZ_SECONDS", "12"))


def test_commands_end_with_a_sentence_in_bounded_time_and_memory_whatever_their_input() -> None:
    result = subprocess.run(
        [sys.executable, fuzz.__file__, "--seconds", str(SECONDS), "--seed", "1"],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(Path(fuzz.__file__).parent)},
    )  # fmt: skip
    assert result.returncode == 0, result.stdout[-20_000:] + result.stderr[-2_000:]
    assert " 0 findings" in result.stdout


@pytest.mark.parametrize("error", [RuntimeError("a bug"), MemoryError(), SystemExit(3), KeyboardInterrupt()])
def test_the_fuzzer_reports_any_exception_as_a_finding(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "_take_debug", fail)
    with pytest.raises(fuzz.Finding):
        fuzz.try_once(["packet"])
    monkeypatch.setattr(fuzz.Packet, "parse", fail)
    with pytest.raises(fuzz.Finding):
        fuzz.try_packet(b"")


def test_a_file_without_end_and_a_pipe_without_data_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wholefile, "PIPE_SECONDS", 0.2)
    os.mkfifo(tmp_path / "pipe")
    for path, why in (
        (tmp_path / "pipe", "nothing more came"),
        (Path("/dev/zero"), "more than"),
        (tmp_path, "directory"),
    ):
        with pytest.raises(ZadsError, match=why):
            kafka.read_properties(path)


def test_a_pipe_is_read_like_a_file(tmp_path: Path) -> None:
    slow = "(sleep 0.3; echo bootstrap.servers=a:1; sleep 0.3; echo no.such=1)"
    script = f"exec {sys.executable} -m zads.cli topics --kafka <({slow})"
    result = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "No such configuration property" in result.stderr


@pytest.mark.parametrize("suffix", [".avro", ".tar", ".tar.gz"])
def test_an_archive_that_unpacks_to_gigabytes_is_refused_at_once(
    tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bomb = gzip.compress(bytes(10_000_000), 9) * 40
    (tmp_path / f"bomb{suffix}").write_bytes(bomb if suffix == ".tar.gz" else bomb[: packets_size()])
    began = time.process_time()
    assert cli.run(["packet", "validate", str(tmp_path / f"bomb{suffix}")]) == 1
    assert time.process_time() - began < 10
    assert "Traceback" not in capsys.readouterr().err


def test_an_archive_of_endless_zeros_is_not_read_to_its_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (tmp_path / "hole.tar").open("wb") as stream:
        stream.truncate(10**12)
    began = time.process_time()
    assert cli.run(["packet", "validate", str(tmp_path / "hole.tar")]) == 1
    assert time.process_time() - began < 10
    assert "zeros follow its end marker" in capsys.readouterr().err


def packets_size() -> int:
    return len(packets.make_packet())
