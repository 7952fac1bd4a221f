"""What the unit tests share."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

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


class _AskedError(Exception):
    """Ends a module as soon as it has said which options it takes."""

    def __init__(self, argument_spec: dict[str, Any]) -> None:
        super().__init__()
        self.argument_spec = argument_spec


@pytest.fixture
def accepted(
    plugin: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> Callable[[ModuleType], dict[str, Any]]:
    """Returns the options that a loaded module accepts: the argument_spec that its main() gives to AnsibleModule."""
    from ansible.module_utils import kafka_site  # type: ignore[import-not-found]  # found after `plugin` has said where

    def ask(argument_spec: dict[str, Any], **_: Any) -> None:
        raise _AskedError(argument_spec)

    def options(module: ModuleType) -> dict[str, Any]:
        monkeypatch.setattr(kafka_site, "AnsibleModule", ask)
        monkeypatch.setattr(module, "AnsibleModule", ask, raising=False)
        with pytest.raises(_AskedError) as asked:
            module.main()
        return asked.value.argument_spec

    return options
