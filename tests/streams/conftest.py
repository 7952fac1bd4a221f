"""A real broker for the tests of this directory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from broker import Broker, await_true, running

from zads.errors import ZadsError

__all__ = ["Broker", "await_true"]  # what the tests take from here


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    """A broker for each module: what one leaves in shared topics such as zads_rejected is nobody else's."""
    try:
        with running() as started:
            yield started
    except ZadsError as error:
        pytest.fail(str(error), pytrace=False)
