"""What the unit tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_packets() -> list[Path]:
    """Files of real packets of several schema versions, below the directory that ZADS_ALERTS names."""
    given = os.environ.get("ZADS_ALERTS")
    found = sorted(Path(given).rglob("*.avro")) if given else []
    if not found:
        pytest.skip("no real packets: set ZADS_ALERTS to a directory of them")
    return found
