"""Say whether MirrorMaker works: exit status 0, or 1 and the reason.

A running process proves little: even after all its tasks have failed, Connect runs on and looks healthy from outside.
So this program checks the states of connectors and tasks, which Connect publishes as metrics.
"""

from __future__ import annotations

import os
import re
import sys
import urllib.request
from typing import NamedTuple

#: Where the metrics agent listens, `ADDRESS:PORT`, and how many mirror processes share the work.
METRICS = os.environ.get("ZADS_METRICS", "127.0.0.1:9404")
PROCESSES = int(os.environ.get("ZADS_MIRRORS", "1"))

SOURCE = "MirrorSourceConnector"
#: States that Connect leaves on its own; any other needs a restart or an operator.
TRANSIENT = {"running", "unassigned", "restarting", "paused", "stopped"}
_STATE = re.compile(
    r'^mirrormaker_(?P<kind>connector|task)_status\{connector="(?P<connector>[^"]+)",'
    r'(?:status="(?P<status>[^"]+)"(?:,task="(?P<task>\d+)")?),?\} 1\.0$',
    re.MULTILINE,
)


class Complaint(NamedTuple):
    """What is wrong, and whether only a restart of the process ends it."""

    text: str
    for_good: bool = False


def complaints(metrics: str, processes: int) -> list[Complaint]:
    """What is wrong in these metrics (Prometheus text); empty means healthy.

    A single process must have the source connector. One of several may have none, as a stand-by. A process may have no
    tasks, since there are none before the first night's topic exists.
    """
    found = [match.groupdict() for match in _STATE.finditer(metrics)]
    wrong = [
        Complaint(
            f"{state['kind']} {state['connector']}{'-' + state['task'] if state['task'] else ''} is {state['status']}",
            # Connect restarts a failed connector when its settings change, but never a failed task.
            for_good=(state["kind"], state["status"]) == ("task", "failed"),
        )
        for state in found
        if state["status"] not in TRANSIENT
    ]
    here = any(state["kind"] == "connector" and state["connector"] == SOURCE for state in found)
    if processes == 1 and not here:
        wrong.append(Complaint(f"{SOURCE} does not run here, and no other process has it"))
    return wrong


def check() -> list[Complaint]:
    """The complaints about the process in this container. Metrics that cannot be read are a complaint too."""
    try:
        with urllib.request.urlopen(f"http://{METRICS}/metrics", timeout=8) as answer:
            return complaints(answer.read().decode(), PROCESSES)
    except OSError as error:
        return [Complaint(f"no metrics at {METRICS}: {error}")]


if __name__ == "__main__":
    problems = check()
    print("; ".join(problem.text for problem in problems) or "healthy")  # noqa: T201
    sys.exit(bool(problems))
