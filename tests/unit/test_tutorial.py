"""The tutorial's steps that need no Kafka do what it says, and its filters are those that the commands write."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import tutorial
from zads.filters import load, recorded_night
from zads.filters.rehearsal import run


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A directory in which the page's commands find this project's programs."""
    place = tmp_path / ".venv" / "bin"
    place.mkdir(parents=True)
    for name, module in {"zads": "zads.cli", "pytest": "pytest"}.items():
        (place / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
        (place / name).chmod(0o755)
    return tmp_path


def test_a_filter_is_written_and_rehearsed_as_the_tutorial_says(checkout: Path) -> None:
    begin, look, compare, sample = (tutorial.run(block, checkout, 120) for block in tutorial.commands(1, 2))
    assert "wrote inventories/local/filters/bright_novae.py" in begin
    assert "3 passed" in begin
    assert "300 packets in 3 exposures" in look
    assert "% pass before the cap of 20 a visit" in look
    assert (checkout / ".zads/tutorial/novae.html").read_text().count("data:image/png;base64,") >= 4
    assert "gains: " in compare
    assert "losses: " in compare
    assert "a sample of 200 of 300 packets" in sample
    written = (checkout / "inventories/local/filters/bright_novae.py").read_text()
    assert tutorial.python()[0] in written.replace('"""One line on what this file is about."""\n\n', "")


def test_the_night_of_the_going_live_has_an_alert_that_passes(checkout: Path) -> None:
    """Otherwise the step that reads the filter's topic would wait in vain."""
    tutorial.run(tutorial.commands(1)[0], checkout, 60)
    simulate = next(
        line
        for block in tutorial.commands(4)
        for line in block.splitlines()
        if line.startswith(".venv/bin/zads simulate")
    )
    tutorial.run(simulate, checkout, 60)
    tonight = recorded_night.of_path(checkout / ".zads/tutorial/tonight")
    assert run(str(checkout / "inventories/local/filters/bright_novae.py"), tonight).passed


@pytest.mark.parametrize("number", range(len(tutorial.python())))
def test_every_filter_on_the_page_can_be_loaded(number: int, tmp_path: Path) -> None:
    path = tmp_path / "shown.py"
    path.write_text(tutorial.python()[number])
    assert load(path).fields
