"""An auditor for the tests: a process as the deployment runs it, on brokers without passwords."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any


class Auditing:
    """Runs `zads auditor --once` over nights; `programmes`: those that may be public."""

    def __init__(
        self,
        directory: Path,
        origin: Mapping[str, str],
        public: Mapping[str, str],
        *,
        programmes: Collection[int] = (1,),
        groups: Mapping[str, Collection[str]] | None = None,
        receipts: Path | None = None,
    ) -> None:
        self.results = directory / "audits"
        self._files = {name: directory / f"{name}.properties" for name in ("origin", "public")}
        for name, conf in (("origin", origin), ("public", public)):
            self._files[name].write_text("".join(f"{key}={value}\n" for key, value in conf.items()))
        self._policy = directory / "policy.json"
        self._policy.write_text(json.dumps(_policy(programmes, groups or {})))
        self._receipts = ["--receipts", str(receipts)] if receipts is not None else []

    def run(self, *nights: str) -> tuple[int, str]:
        """Audit these nights, or those that are due. Returns the exit status and what was written."""
        command = [
            sys.executable, "-m", "zads.cli", "auditor", "--once", "--policy", str(self._policy),
            "--origin", str(self._files["origin"]), "--public", str(self._files["public"]),
            "--results", str(self.results), *self._receipts, *(word for night in nights for word in ("--night", night)),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
        return done.returncode, done.stdout + done.stderr

    def result(self, night: str) -> dict[str, Any]:
        """The result of a night's last audit."""
        found: dict[str, Any] = json.loads((self.results / f"{night}.json").read_text())
        return found

    def kinds(self, night: str) -> dict[str, str]:
        """What that audit found: the sentences by their kind."""
        found: dict[str, list[str]] = {}
        for one in self.result(night)["differences"]:
            found.setdefault(one["kind"], []).append(one["text"])
        return {kind: "\n".join(texts) for kind, texts in found.items()}


def _policy(programmes: Collection[int], groups: Mapping[str, Collection[str]]) -> dict[str, Any]:
    filters = [
        {"name": name, "owner": "alice", "group": group, "state": "active"}
        for group, members in groups.items()
        for name in members
    ]
    return {
        "topics_night": {"partitions": 4, "replication_factor": 3, "min_insync_replicas": 2, "retention_days": 7},
        "programmes": {
            number: {"sites": ["origin", "public"] if number in programmes else ["origin"]} for number in (1, 2, 3)
        },
        "users": [{"name": "alice", "site": "public", "programmes": sorted(programmes)}],
        "users_limits": {},
        "filters": filters,
        "filter_groups": {group: {"workers": 1} for group in groups},
    }
