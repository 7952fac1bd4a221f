"""The broker that the tests of this directory run against, and the modules that set it up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.broker import Broker, running
from modules import Run, runner
from several_brokers import site as site
from several_brokers import topic as topic
from zads.errors import ZadsError


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    """A broker for each module, so that modules do not see each other's records in topics such as zads_rejected."""
    try:
        with running() as started:
            yield started
    except ZadsError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def run(broker: Any, tmp_path: Path) -> Run:
    """Runs a module on the control machine, as a playbook would. Returns its result, a failed one too.

    A module that does not ask as the administrator is given ``client=None``.
    """
    return runner(broker.conf, tmp_path)
