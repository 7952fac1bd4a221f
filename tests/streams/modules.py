"""Ansible modules of ours, run without a playbook."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.broker import ROOT

Run = Callable[..., dict[str, Any]]


def runner(conf: Mapping[str, str], directory: Path) -> Run:
    """Runs a module on the control machine, as a playbook would. Returns its result, a failed one too.

    ``conf``: properties of an administrator of the site; a file of them is written into ``directory``. A
    module that does not ask as the administrator is given ``client=None``.
    """
    client = directory / "admin.properties"
    client.write_text("".join(f"{name}={value}\n" for name, value in conf.items()))

    def run(name: str, *options: str, **more: Any) -> dict[str, Any]:
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

    return run
