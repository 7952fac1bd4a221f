"""The broker that the tests of this directory run against, and the modules that set it up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.broker import ROOT, Broker, running
from several_brokers import site as site
from several_brokers import topic as topic
from zads.errors import ZadsError

Run = Callable[..., dict[str, Any]]


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
    client = tmp_path / "admin.properties"
    client.write_text("".join(f"{name}={value}\n" for name, value in broker.conf.items()))

    def run_module(name: str, *options: str, **more: Any) -> dict[str, Any]:
        arguments = {option: value for option, value in {"client": str(client), **more}.items() if value is not None}
        result = subprocess.run(
            [
                str(Path(sys.executable).with_name("ansible")), "localhost", "--one-line", "--module-name", name,
                "--args", json.dumps(arguments), *options,
                "--extra-vars", json.dumps({"ansible_become": False, "ansible_python_interpreter": sys.executable}),
            ],
            env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible/ansible.cfg"), "ANSIBLE_CACHE_PLUGIN": "memory"},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        for line in result.stdout.splitlines():
            if " => " in line:
                answer: dict[str, Any] = json.loads(line.split(" => ", 1)[1])
                return answer
        raise AssertionError(f"{name} said nothing:\n{result.stdout}\n{result.stderr}")

    return run_module
