"""Every test is collected; what starts containers runs only if its directory, or something in it, is named."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip tests/streams and tests/system unless the command line names them."""
    here = config.invocation_params.dir
    named = [(here / argument.partition("::")[0]).resolve() for argument in config.args]
    for level in ("streams", "system"):
        if any(path.is_relative_to(TESTS / level) for path in named):
            continue
        skip = pytest.mark.skip(reason=f"starts containers: `make {level}` runs it")
        for item in items:
            if item.path.is_relative_to(TESTS / level):
                item.add_marker(skip)
