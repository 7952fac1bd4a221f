"""`make logs` on the running system: every host's lines in order of time, and nothing that may not be shown."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator

import pytest

from local_system import STATE, System, run

LINE = re.compile(r"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (?P<host>\S+) (?P<unit>\S+) (?P<text>.*)")


def lines(*words: str) -> list[re.Match[str]]:
    """The lines that `make logs` prints."""
    printed = run("make", "--no-print-directory", "logs", *words).stdout.splitlines()
    return [match for one in printed if (match := LINE.fullmatch(one))]


def plant(system: System, host: str, text: str) -> None:
    """Let a unit with a name like ours write a text into its host's journal."""
    unit = "zads-planted"
    system.on(host, f"systemd-run --quiet --wait --unit {unit} printf '%b\\n' '{text}'")
    system.on(host, "journalctl --sync")


def test_the_lines_of_all_hosts_come_in_order_of_time(system: System) -> None:
    for host in ("public-1", "apps-1", "origin-1"):
        plant(system, host, f"planted on {host}")
    found = lines("UNIT=zads-planted", "SINCE=10min", "GREP=^planted on")
    assert [one["text"] for one in found[-3:]] == [f"planted on {host}" for host in ("public-1", "apps-1", "origin-1")]
    assert [one["host"] for one in found[-3:]] == ["public-1", "apps-1", "origin-1"]
    everything = lines("UNIT=zads-*", "SINCE=7d", "LINES=5000")
    times = [one["time"] for one in everything]
    assert times == sorted(times)
    units = {one["unit"] for one in everything}
    assert units >= {"zads-producer", "zads-mirrormaker", "zads-night-keeper"}


def test_one_host_one_unit_and_a_number_of_lines(system: System) -> None:
    plant(system, "public-3", "one\\ntwo\\nthree")
    found = lines("HOST=public-3", "UNIT=zads-planted", "SINCE=10min", "LINES=2", "GREP=^(one|two|three)$")
    assert [(one["host"], one["text"]) for one in found] == [("public-3", "two"), ("public-3", "three")]


@pytest.fixture
def secret() -> Iterator[str]:
    """A secret of the deployment that opens nothing: it stays in a host's journal."""
    text = "not-a-key-" + uuid.uuid4().hex
    path = STATE / "secrets/planted.key"
    path.write_text(text)
    try:
        yield text
    finally:
        path.unlink()


def test_a_secret_and_control_characters_are_not_shown(system: System, secret: str) -> None:
    plant(system, "apps-1", f"leak of {secret} \\033[2J end")
    printed = run("make", "logs", "UNIT=zads-planted", "SINCE=10min", "GREP=leak of").stdout
    assert "leak of <the key planted.key> \\x1b[2J end" in printed
    assert secret not in printed
    assert "\x1b" not in printed
