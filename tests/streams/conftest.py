"""The broker that the tests of this directory run against."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.broker import Broker, running
from zads.errors import ZadsError


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    """A broker for each module, so that modules do not see each other's records in topics such as zads_rejected."""
    try:
        with running() as started:
            yield started
    except ZadsError as error:
        pytest.fail(str(error), pytrace=False)
