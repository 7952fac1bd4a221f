"""A program that hangs ends itself, so that its service starts it again."""

from __future__ import annotations

import subprocess
import sys

import pytest

HANGS = "time.sleep(30)"
CALLS = {
    "the loop": (f"dog.beat(); {HANGS}", "the worker made no progress for 2 s"),
    "a call": (f"dog.beat()\nwith dog.limits(): {HANGS}", "Kafka client hung"),
}


def run(body: str, *, call: float = 1.0, turn: float = 2.0) -> subprocess.CompletedProcess[str]:
    dog = f"Watchdog('worker', {turn}, call_seconds={call})"
    text = f"import time\nfrom zads.watchdog import Watchdog\ndog = {dog}\n{body}"
    return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=25, check=False)


@pytest.mark.parametrize("what", CALLS)
def test_a_program_that_hangs_is_ended(what: str) -> None:
    body, why = CALLS[what]
    ended = run(body)
    assert ended.returncode == 1
    assert why in ended.stderr


def test_a_program_that_beats_goes_on() -> None:
    ended = run("for _ in range(8): dog.beat(); time.sleep(0.4)\ndog.rest(); time.sleep(2.6)")
    assert (ended.returncode, ended.stderr) == (0, "")
