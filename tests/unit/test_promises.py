"""Each promise of the README names the tests that fail when it is broken."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECTION = (ROOT / "README.md").read_text().partition("## What it promises\n")[2]
PROMISES = re.split(r"^\d+\. ", SECTION, flags=re.MULTILINE)[1:]


def test_there_are_promises() -> None:
    assert len(PROMISES) == 5


@pytest.mark.parametrize("promise", PROMISES)
def test_a_promise_names_tests_that_are_there(promise: str) -> None:
    named = re.findall(r"`(tests/[^`]+)`", promise)
    assert named
    for name in named:
        assert (ROOT / name).is_file(), name
