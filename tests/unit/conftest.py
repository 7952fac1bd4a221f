"""What the unit tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes depends on what else the machine does; no promise is about that.
settings.register_profile("unit", deadline=None)
settings.load_profile("unit")


@pytest.fixture(scope="session")
def real_packets() -> list[Path]:
    """Files of real packets of several schema versions, below the directory that ZADS_ALERTS names."""
    given = os.environ.get("ZADS_ALERTS")
    found = sorted(Path(given).rglob("*.avro")) if given else []
    if not found:
        pytest.skip("no real packets: set ZADS_ALERTS to a directory of them")
    return found
