"""Ansible loads every filter plug-in in each worker that it starts, for each task on each host."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PLUGINS = Path(__file__).resolve().parents[2] / "ansible/plugins/filter"
#: What takes a tenth of a second or more to import. A deployment starts some five hundred workers.
HEAVY = {"asyncio", "confluent_kafka", "fastavro", "numpy", "pydantic", "rich", "structlog"}
LOAD = """
import importlib.util, json, sys
import ansible.errors, yaml
before = set(sys.modules)
for number, path in enumerate(sys.argv[1:]):
    spec = importlib.util.spec_from_file_location(f"plugin_{number}", path)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before})))
"""


def test_filter_plugins_are_quick_to_load() -> None:
    paths = sorted(str(path) for path in PLUGINS.glob("*.py"))
    assert paths
    loaded = subprocess.run([sys.executable, "-c", LOAD, *paths], capture_output=True, text=True, check=True).stdout
    assert HEAVY & set(json.loads(loaded)) == set()
