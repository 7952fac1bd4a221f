"""Runs a filter of an inventory once more on one packet, in the worker's sandbox."""

from __future__ import annotations

from pathlib import Path

from zads.filters import rehearsal
from zads.filters.group import place
from zads.filters.recorded_night import RecordedAlert
from zads.packet import Packet
from zads.site.policy import Filter
from zads.trace.filters import Judge, Rerun


def judge(directory: Path) -> Judge:
    """A judge for filters whose code is in a directory, or built in."""

    def run(entry: Filter, data: bytes) -> Rerun:
        packet = Packet.trusted(data)
        outcome = rehearsal.run(place(entry, directory), [RecordedAlert(str(packet.candid), packet)])
        if outcome.failures:
            return Rerun("failed", f"run again, it fails: {_last(outcome.failures[0].reason)}", outcome.cap)
        if outcome.passed:
            note = outcome.passed[0].annotations
            return Rerun("passed", f"run again, it passes{f' with {note}' if note else ''}", outcome.cap)
        why = f": {outcome.circuit}" if outcome.skipped else ""
        return Rerun("not passed", f"run again, it does not pass{why}", outcome.cap)

    return run


def _last(reason: str) -> str:
    """The last line of a traceback, which names the error."""
    return (reason.strip().splitlines() or ["no reason given"])[-1]
