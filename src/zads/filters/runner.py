"""What runs an owner's filters in their process: loads them, and judges batch after batch.

Faults that Python can stop (an exception, a loop in Python code, SystemExit) are stopped here. For all others the
worker kills the process.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from zads.avro.fields import union
from zads.errors import ZadsError
from zads.filters import fence, loading, shared_memory, wire
from zads.filters.alert import EAGER, View
from zads.filters.batch import DecodedAlert, DecodedBatch
from zads.filters.interface import Filter
from zads.filters.judging import Judging
from zads.filters.limits import TICK_SECONDS, Clock, PrintedText, shortened

SPARE_DESCRIPTORS = 16  # that must be free after a filter is loaded, for the others' modules and data
SUSPICIOUS_BYTES = 64_000_000  # a filter that has grown by more is blamed when the memory is used up

_ERROR_STATE = np.geterr()


class Runner:
    """The filters of an owner, by their index in the group.

    `area` has the packets of a batch; `words` and `results` are those of the shared memory; `send` sends an answer to
    the worker.
    """

    def __init__(
        self,
        words: memoryview[int],
        area: memoryview,
        results: shared_memory.Results,
        send: Callable[[wire.Answer], None],
    ) -> None:
        self._words = words
        self._area = area
        self._results = results
        self._send = send
        self._clock = Clock(words)
        self._filters: dict[int, Filter] = {}
        self._grown: dict[int, int] = {}  # bytes of memory that each filter's calls have added
        self._read: dict[int, set[str]] = {}  # fields that each filter has read, if this is traced
        self._reserve = bytes(2_000_000)  # released when no memory is left, so that this can be said
        self.output = PrintedText()

    def load(self, command: wire.Load) -> None:
        """Close the fence, load the filters, and send what each declares. Ends the process if there is no fence."""
        self._fence(command)
        signal.setitimer(signal.ITIMER_REAL, TICK_SECONDS, TICK_SECONDS)
        for index, place in command.filters:
            self._mark(index, shared_memory.NO_ALERT)
            before = fence.address_space()
            declaration = self._load(index, place, command.seconds)
            if not _can_open(SPARE_DESCRIPTORS):
                declaration = wire.Declaration(
                    index, error=shortened(f"{place}: it opens too many files while it is loaded"), spoilt=True
                )
            np.seterr(**_ERROR_STATE)
            self._send(declaration)
            self._grown[index] = fence.address_space() - before
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._mark(shared_memory.NO_FILTER, 0)
        self._make_views(command.trace)

    def _fence(self, command: wire.Load) -> None:
        """Close the fence, or end the process. No filter's code has run yet."""
        try:
            fence.close(command.memory_bytes, map(Path, command.directories))
        except (OSError, ValueError, ZadsError) as error:
            self._send(wire.FenceState(shortened(str(error))))
            os._exit(1)
        self._send(wire.FenceState(""))

    def _load(self, index: int, place: str, seconds: float) -> wire.Declaration:
        self._clock.start(seconds, seconds)
        try:
            loaded = loading.load(place)
        except loading.FilterError as error:
            return wire.Declaration(index, error=shortened(str(error)))
        except BaseException as error:  # SystemExit and Overrun among them
            reason = f"{place}: {type(error).__name__} while it was loaded: {_text(error)}"
            return wire.Declaration(index, error=shortened(reason))
        finally:
            self._clock.stop()
        self._filters[index] = loaded
        kind = type(loaded)
        return wire.Declaration(
            index,
            doc=shortened((kind.__doc__ or "").strip(), wire.MAX_DOC),
            owner=shortened(str(kind.owner), wire.MAX_NAME),
            programmes=sorted(kind.programmes),
            fields=list(kind.fields),
            cap=kind.cap,
            time_limit=float(kind.time_limit),
            batches=kind.in_batches(),
        )

    def _make_views(self, trace: bool) -> None:
        """Decide which fields are decoded at once and which late, and how each filter sees an alert."""
        every = union(loaded.fields for loaded in self._filters.values())
        tops = {field.partition(".")[0] for field in every}
        late = tuple(sorted(tops - set(EAGER)))
        self._fields = {name: tuple(field for field in every if field.partition(".")[0] == name) for name in late}
        self._fields[""] = tuple(field for field in every if field.partition(".")[0] in EAGER)
        self._views: dict[int, View] = {}
        by_fields: dict[tuple[str, ...], View] = {}
        for index, loaded in self._filters.items():
            fields = union([loaded.fields])
            if trace:
                self._read[index] = set()
                self._views[index] = View(fields, late, self._read[index].add)
            else:
                if fields not in by_fields:
                    by_fields[fields] = View(fields, late)
                self._views[index] = by_fields[fields]
        users = Counter(self._views.values())
        self._shared = {view for view, count in users.items() if count > 1}

    def run(self, command: wire.Run) -> None:
        """Judge the batch in the shared memory, and hand over each filter's result as soon as it is done."""
        signal.setitimer(signal.ITIMER_REAL, TICK_SECONDS, TICK_SECONDS)
        alerts = self._decode(command.lengths)
        batch = DecodedBatch(alerts, command.selections, self._shared)
        for job in command.jobs:
            result = self._judge(job, batch, command.seconds)
            if not self._results.add(result):
                self._send(result)
        del batch  # its views hold the alerts
        self._release(alerts)
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._mark(shared_memory.NO_FILTER, 0)
        self._send(wire.Done(True))

    def _decode(self, lengths: Sequence[int]) -> list[DecodedAlert | None]:
        alerts: list[DecodedAlert | None] = []
        undecodable: list[int] = []
        start = 0
        for index, length in enumerate(lengths):
            self._mark(shared_memory.NO_FILTER, index)
            try:
                alerts.append(DecodedAlert(self._area[start : start + length], self._fields))
            except MemoryError:
                self._end_out_of_memory(None)
            except Exception:  # any error, if the bytes are not a packet: the worker tries for itself
                undecodable.append(index)
                alerts.append(None)
            start += length
        if undecodable:
            self._send(wire.Undecodable(undecodable))
        return alerts

    def _judge(self, job: wire.Job, batch: DecodedBatch, batch_seconds: float) -> wire.Result:
        """Run one filter over its alerts of the batch."""
        index, loaded = job.filter, self._filters[job.filter]
        self._mark(index, shared_memory.NO_ALERT)
        judging = Judging(loaded, batch.selection(job, self._views[index], loaded.fields), job, self._words)
        before = fence.address_space()
        self.output.kept = ""
        begun = time.perf_counter()
        self._clock.start(loaded.time_limit, batch_seconds)
        full = False
        try:
            judging.run()
        except MemoryError:
            full = True
        finally:
            self._clock.stop()
        if full:  # only now has the traceback released what the filter held
            self._end_out_of_memory(index, before)
        self._words[shared_memory.ALERT] = shared_memory.NO_ALERT
        seconds = time.perf_counter() - begun
        self._grown[index] = self._grown.get(index, 0) + fence.address_space() - before
        read = [shortened(path, wire.MAX_NAME) for path in sorted(self._read.get(index, ()))][: wire.MAX_FIELDS]
        return judging.result(seconds, shortened(self.output.kept, wire.MAX_OUTPUT), read)

    def _release(self, alerts: list[DecodedAlert | None]) -> None:
        """End a batch. An alert that a filter still holds copies its packet, which the next batch overwrites."""
        self._mark(shared_memory.NO_FILTER, shared_memory.NO_ALERT)
        try:
            while alerts:
                alert = alerts.pop()
                if alert is not None and sys.getrefcount(alert) > 2:  # more than `alert` and the argument
                    alert.keep()
        except MemoryError:
            self._end_out_of_memory(None)

    def _mark(self, filter_index: int, alert: int) -> None:
        self._words[shared_memory.ALERT] = shared_memory.NO_ALERT  # never one filter with another's alert
        self._words[shared_memory.FILTER] = filter_index
        self._words[shared_memory.ALERT] = alert

    def _end_out_of_memory(self, current: int | None, before: int = 0) -> None:
        """Say which filter used up the memory, and end the process: what a filter holds cannot be taken from it.

        `current` is the filter that just asked for memory, `before` the address space when it began. The filter that
        grew most is blamed if it grew by more than SUSPICIOUS_BYTES, otherwise the current one.
        """
        self._reserve = b""
        if current is not None:
            self._grown[current] = self._grown.get(current, 0) + fence.address_space() - before
        largest = max(self._grown, key=lambda index: self._grown[index], default=current)
        suspicious = largest is not None and self._grown.get(largest, 0) > SUSPICIOUS_BYTES
        blamed = largest if suspicious else current
        alert = self._words[shared_memory.ALERT] if blamed == current else None
        self._filters.clear()
        self._send(wire.OutOfMemory(blamed, alert))
        os._exit(70)


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # an exception whose text raises
        return ""


def _can_open(count: int) -> bool:
    """Whether this number of files could still be opened."""
    opened: list[int] = []
    try:
        opened.extend(os.dup(0) for _ in range(count))
    except OSError:
        pass
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return len(opened) == count
