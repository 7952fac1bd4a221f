"""A real broker for the tests of this directory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.broker import Broker, running
from zads.errors import ZadsError


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    """A broker for each module: what one leaves in shared topics such as zads_rejected is nobody else's."""
    try:
        with running() as started:
            yield started
    except ZadsError as error:
        pytest.fail(str(error), pytrace=False)
