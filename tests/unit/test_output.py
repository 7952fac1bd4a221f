"""Names may be anything: they are printed visibly, in any locale, and do nothing to the terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import packets
from zads import output

ZADS = (sys.executable, "-m", "zads.cli")
#: Valid names of objects that look like something else.
NAMES = ["ZTF[/bold]x", "ZTF[red]x[/]", "[link=x]a", ":smile:", "ZTF\\x1b[1m", "$(id)`id`", "ZTF é星", "{0}%s"]
#: Names of files.
FILES = [b"a\x1b[2Jb.avro", b"new\nline.avro", b"\xff\xfe.avro", "\u202egpj.avro".encode(), b"[red].avro", b"-v.avro"]
LOCALES = [{"LANG": "C.UTF-8"}, {"PYTHONIOENCODING": "ascii"}, {"PYTHONUTF8": "0", "LC_ALL": "C"}]


def zads(*arguments: str | bytes, cwd: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHON"))}
    return subprocess.run([*ZADS, *arguments], cwd=cwd, env={**kept, **environment}, capture_output=True, check=False)


def packet(name: str, **changes: Any) -> bytes:
    return packets.encode({**packets.make_record("4.02"), "objectId": name, **changes}, "4.02")


@pytest.fixture(params=LOCALES, ids=lambda locale: ",".join(f"{key}={value}" for key, value in locale.items()))
def locale(request: pytest.FixtureRequest) -> dict[str, str]:
    return request.param


def test_names_of_objects_are_printed_in_any_locale(tmp_path: Path, locale: dict[str, str]) -> None:
    for number, name in enumerate(NAMES):
        (tmp_path / f"{number}.avro").write_bytes(packet(name))
    result = zads("packet", "inspect", ".", cwd=tmp_path, **locale)
    assert (result.returncode, result.stderr) == (0, b"")
    for name in NAMES:
        seen = name.encode() if "UTF-8" in str(locale) else name.encode("ascii", "backslashreplace")
        assert seen in result.stdout or name.encode() in result.stdout, name
    printed = zads("packet", "inspect", "--json", ".", cwd=tmp_path, **locale).stdout.decode().splitlines()
    assert [json.loads(line)["objectId"] for line in printed] == NAMES


@pytest.mark.parametrize("verb", ["validate", "inspect"])
def test_names_of_files_are_printed_and_nothing_moves_the_cursor(
    tmp_path: Path, verb: str, locale: dict[str, str]
) -> None:
    for name in FILES:
        (tmp_path / os.fsdecode(name)).write_bytes(b"no packet")
    result = zads("packet", verb, *(b"./" + name for name in FILES), cwd=tmp_path, **locale)
    out = result.stdout + result.stderr
    assert result.returncode == 1
    assert b"Traceback" not in out
    text = out.decode("utf-8")  # valid, whatever the names are
    assert text.replace("\n", "").isprintable()
    if verb == "validate":
        assert len(text.splitlines()) == len(FILES) + 1
        assert "a\\x1b[2Jb.avro: " in text
        assert "new\\nline.avro: " in text
        assert "\\u202egpj.avro: " in text or "\\udce2\\udc80\\udcaegpj.avro: " in text


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("a\x1b[0m", "a\\x1b[0m"),
        ("\x85\x9b", "\\x85\\x9b"),
        ("\u2066x\u200f", "\\u2066x\\u200f"),
        ("é[b]\\n", "é[b]\\n"),
    ],
)
def test_characters_that_cannot_be_printed_are_written_as_in_python(text: str, seen: str) -> None:
    assert output.plain(text) == seen


def test_line_breaks_are_kept() -> None:
    assert output.lines("a\n\tb\r\x1bc") == "a\n        b\\r\\x1bc"


@pytest.mark.parametrize("close", [">&-", ">&- 2>&- <&-", ">/dev/full", "| head -c 10"])
@pytest.mark.parametrize("verb", ["packet inspect", "packet validate nothing"])
def test_a_closed_or_full_output_causes_no_traceback(tmp_path: Path, verb: str, close: str) -> None:
    for number in range(4):
        (tmp_path / f"{number}.avro").write_bytes(packets.make_packet("4.02", candid=number + 1))
    command = f"{' '.join(ZADS)} {verb} {'' if 'nothing' in verb else '.'} {close}"
    result = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, check=False)
    assert b"Traceback" not in result.stderr
    assert result.stderr.count(b"\n") <= 1
    assert result.returncode in (0, 1)
    if close == ">/dev/full":
        assert result.returncode == 1


def test_validate_names_every_field_that_differs_whether_the_schema_is_accepted_or_not(tmp_path: Path) -> None:
    from test_schemas import candidate, edited

    definition = edited("a new optional field")
    candidate(definition).append({"name": "more", "type": "int"})
    record = packets.make_record("4.02", definition=definition) | {"schemavsn": "4.03"}
    for number in range(2):
        (tmp_path / f"{number}.avro").write_bytes(packets.encode(record, definition=definition))
    refused = zads("packet", "validate", ".", cwd=tmp_path)
    accepted = zads("packet", "validate", "--new-schemas", "accept", ".", cwd=tmp_path)
    assert (refused.returncode, accepted.returncode) == (1, 0)
    for out in (refused.stdout.decode(), accepted.stdout.decode()):
        assert out.count("  candidate.extra is new: null or float\n") == 1
        assert out.count("  candidate.more is new: int\n") == 1
    assert b"0 packets are valid, 2 are not" in refused.stdout
    assert b"2 packets are valid, 0 are not" in accepted.stdout
    assert b"compared with 4.02" in accepted.stdout
