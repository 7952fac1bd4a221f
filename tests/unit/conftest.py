"""What the unit tests share."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

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


@pytest.fixture(scope="session")
def plugin() -> Callable[[str], ModuleType]:
    """Loads a plugin of ours by its path below ``ansible/plugins``; what it imports is found as Ansible finds it."""
    module_utils = pytest.importorskip("ansible.module_utils")
    plugins = Path(__file__).parents[2] / "ansible" / "plugins"
    module_utils.__path__.append(str(plugins / "module_utils"))

    def load(path: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(Path(path).stem, plugins / path)
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load
