"""One filter's run over one batch: its verdicts, its failures, and what is skipped once it has failed too often."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import numpy as np

from zads.filters import annotation_json, shared_memory, wire
from zads.filters.alert import Alert
from zads.filters.batch import Selection
from zads.filters.columns import Columns
from zads.filters.interface import Filter
from zads.filters.limits import Overrun, shortened

_OWN_FILES = frozenset({__file__, annotation_json.__file__})


class Judging:
    """Calls a filter for its alerts of a batch. `run` raises MemoryError; all else that the filter raises is a failure.

    `words` are those of the shared memory: they say which alert is being judged.
    """

    def __init__(self, loaded: Filter, selection: Selection, job: wire.Job, words: memoryview[int]) -> None:
        self._loaded, self._selection, self._job, self._words = loaded, selection, job, words
        self._in_a_row = job.in_a_row
        self._last = -1  # position in the selection of the last failure
        self._passed: list[tuple[int, str]] = []
        self._failed: list[tuple[int, str]] = []
        self._skipped = 0
        self._overrun = ""

    def run(self) -> None:
        """Judge the alerts until all are judged, or the filter has to be stopped. Raises MemoryError."""
        indices, alerts = self._selection.indices, self._selection.alerts
        batches = self._loaded.in_batches()
        if batches and not self._job.one_by_one and len(alerts) > 1 and self._judge_whole():
            return
        call: Callable[[Any], Any] = self._judge_as_batch if batches else self._loaded.accept
        words, word = self._words, shared_memory.ALERT
        todo = zip(range(len(alerts)), indices, alerts, strict=True)
        position = index = -1
        while self._in_a_row < self._job.stop_at:
            try:
                for position, index, alert in todo:  # noqa: B007  where it stopped is used below
                    words[word] = index
                    verdict = call(alert)
                    if verdict is not False:  # most are False: a group spends most of its time in this loop
                        self._add(index, verdict)
                if position > self._last:
                    self._in_a_row = 0
                break
            except MemoryError:
                raise
            except Overrun as error:
                self._fail(position, index, error)
                if error.whole:
                    self._overrun = str(error)
                    break
            except BaseException as error:  # an exception, SystemExit, GeneratorExit: each is a failure on this alert
                self._fail(position, index, error)
        self._skipped = len(alerts) - position - 1

    def result(self, seconds: float, output: str, read: list[str]) -> wire.Result:
        """The result of the run, which took `seconds`; what the filter printed, and which fields it read."""
        return wire.Result(
            self._job.filter, self._in_a_row, seconds, self._passed, self._failed, self._skipped, self._overrun,
            output, read,
        )  # fmt: skip

    def _judge_whole(self) -> bool:
        """Judge all alerts in one call; False if that failed and each is to be judged by itself. Raises MemoryError."""
        self._words[shared_memory.ALERT] = shared_memory.WHOLE_BATCH
        indices = self._selection.indices
        try:
            verdicts = _passing(self._loaded.accept_batch(self._selection.columns()), len(indices))
        except MemoryError:
            raise
        except BaseException:
            return False
        for position, verdict in verdicts:
            try:
                self._add(indices[position], verdict)
            except ValueError as error:
                self._fail(position, indices[position], error)
        self._in_a_row = 0
        return True

    def _judge_as_batch(self, alert: Alert) -> Any:
        """The verdict of a filter of batches on a single alert."""
        verdicts = _passing(self._loaded.accept_batch(Columns([alert], self._loaded.fields)), 1)
        return verdicts[0][1] if verdicts else False

    def _add(self, index: int, verdict: Any) -> None:
        """Add the verdict on an alert. Raises ValueError if it is not a verdict."""
        if verdict is True:
            self._passed.append((index, ""))
        elif isinstance(verdict, dict):
            self._passed.append((index, annotation_json.encode(verdict)))
        elif isinstance(verdict, np.bool_):
            if verdict:
                self._passed.append((index, ""))
        else:
            returned = f"{verdict!r:.100} ({type(verdict).__name__})"
            raise ValueError(f"it returned {returned}: a filter returns True, False or a dict")

    def _fail(self, position: int, index: int, error: BaseException) -> None:
        """Add a failure on the alert `index`, at a position in the selection."""
        self._in_a_row = self._in_a_row + 1 if position == self._last + 1 else 1
        self._last = position
        reason = str(error) if isinstance(error, Overrun) else _traceback(error)
        self._failed.append((index, shortened(reason[-wire.MAX_REASON :])))


def _traceback(error: BaseException) -> str:
    """An exception with its traceback from the filter's own code on, or without one if that code did not raise it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename in _OWN_FILES:
        trace = trace.tb_next
    try:
        if trace is None:
            return "".join(traceback.format_exception_only(error))
        return "".join(traceback.format_exception(error.with_traceback(trace), limit=-6))
    except Exception:  # an exception whose text raises
        return type(error).__name__


def _passing(answer: Any, count: int) -> list[tuple[int, bool | dict[str, Any]]]:
    """Positions and verdicts of the alerts that pass, from a filter's answer for `count` alerts. Raises ValueError.

    Only those that pass: all verdicts of a hundred filters would be many.
    """
    mask, columns = answer if isinstance(answer, tuple) and len(answer) == 2 else (answer, None)
    mask = np.asarray(mask)
    if mask.dtype != bool or mask.shape != (count,):
        raise ValueError(f"accept_batch returned {mask.dtype} of shape {mask.shape}: a mask of {count} bools is wanted")
    positions = np.flatnonzero(mask).tolist()
    if columns is None:
        return [(position, True) for position in positions]
    return [(position, {name: values[position] for name, values in columns.items()}) for position in positions]
