"""Show what a gate waits for, while it waits. Its module alone would say nothing for minutes.

The plugins `kafka_gate`, `kafka_reassign` and `zookeeper_status` are this one file: Ansible finds an action plugin by
its module's name.
"""

from __future__ import annotations

import time

from ansible.utils.display import Display

from ansible.plugins.action import ActionBase

FIRST = 3  # seconds of the first call of the module: the operator soon sees that the gate waits
SLICE = 10  # seconds of each further call
REPEAT = 60  # seconds after which the same reasons are shown again


class Progress:
    """What to show of a wait: its reasons when they change, and again after REPEAT seconds."""

    def __init__(self, whole: int) -> None:
        self.whole = whole
        self.shown: tuple[float, list[str]] | None = None

    def line(self, passed: float, reasons: list[str]) -> str | None:
        """The line to show after `passed` seconds, if any."""
        if self.shown and self.shown[1] == reasons and passed - self.shown[0] < REPEAT:
            return None
        self.shown = passed, reasons
        return f"waits, {passed:.0f} s of at most {self.whole} s: {'; '.join(reasons)}"


class ActionModule(ActionBase):
    """Calls the module for some seconds at a time until it succeeds, or until its option `wait` has passed."""

    def run(self, tmp=None, task_vars=None):
        answer = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        whole = int(arguments.get("wait") or 0)
        progress, started = Progress(whole), time.monotonic()
        seconds = min(FIRST, whole)
        while True:
            answer = self._execute_module(module_args={**arguments, "wait": int(seconds)}, task_vars=task_vars)
            if "carried" in answer:  # what one call of the module knows and the next needs
                arguments["carried"] = answer["carried"]
            passed = time.monotonic() - started
            if not answer.get("failed") or "reasons" not in answer:
                return answer
            if passed >= whole:
                return {**answer, "msg": f"{answer['msg']} (waited {whole} s)"}
            if line := progress.line(passed, answer["reasons"]):
                Display().display(f"    {(task_vars or {}).get('inventory_hostname', '')} {line}")
            seconds = max(1, min(SLICE, whole - passed))
