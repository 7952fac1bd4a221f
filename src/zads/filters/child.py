"""The process in which a group's filters run: fenced in, told what to run, and killed when it does not answer.

1. it loads the filters, each on its own, and says what they declare;
2. for each batch it decodes, once an alert, what any filter declares, and runs filter after filter;
3. each filter's verdicts are sent as soon as it is done, so that a later one's death takes nothing away.

Faults that Python can stop (an exception, a loop in Python code, SystemExit) are stopped here; for all others the
worker kills this process.
"""

from __future__ import annotations

import io
import json
import mmap
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from zads.filters import plugin, sandbox, wire
from zads.packet import Packet

TICK_SECONDS = 0.1
MAX_REASON = 2_000
MAX_ANNOTATIONS = 4_096  # bytes of one alert's, as JSON
KEPT_OUTPUT = 2_000
EAGER = ("schemavsn", "publisher", "objectId", "candid", "candidate")  # all else is decoded when it is looked at


class Overrun(BaseException):
    """Raised by the clock within a filter's code."""

    def __init__(self, reason: str, whole: bool) -> None:
        super().__init__(reason)
        self.whole = whole  # the filter's time for the batch is used up


class Bounded(io.TextIOBase):
    """Takes what filters print: the beginning is kept, the rest is dropped at no cost."""

    def __init__(self) -> None:
        self.kept = ""

    def write(self, text: str) -> int:
        """Keep or drop."""
        if len(self.kept) < KEPT_OUTPUT:
            self.kept += text[: KEPT_OUTPUT - len(self.kept)]
        return len(text)

    def writable(self) -> bool:
        """It is."""
        return True


class Clock:
    """Interrupts a filter's Python code when one call, or all its calls of a batch, take too long."""

    def __init__(self, words: memoryview) -> None:
        self._words = words
        self._armed = False
        signal.signal(signal.SIGALRM, self._tick)

    def start(self, call_seconds: float, batch_seconds: float) -> None:
        """Watch a filter from now on."""
        self._call, self._batch = call_seconds, batch_seconds
        self._begun = self._since = time.monotonic()
        self._last = -1
        self._armed = True

    def stop(self) -> None:
        """Watch no longer."""
        self._armed = False

    def _tick(self, *_: object) -> None:
        if not self._armed:
            return
        now = time.monotonic()
        if (call := self._words[wire.SEQUENCE]) != self._last:
            self._last, self._since = call, now
        if now - self._begun > self._batch:
            raise Overrun(f"it took more than {self._batch:g} s for a batch of alerts", whole=True)
        if now - self._since > self._call:
            raise Overrun(f"it took more than {self._call:g} s for one call", whole=False)


class Decoded:
    """One alert of a batch, decoded as far as the filters of the group look into it."""

    _known: dict[tuple[str, tuple[str, ...]], tuple[str, ...]] = {}  # noqa: RUF012  what a schema has of some fields

    def __init__(self, packet: Packet, fields: Mapping[str, tuple[str, ...]]) -> None:
        self._packet = packet
        self._fields = fields
        self._late: dict[str, Any] = {}
        self.eager = packet.read(self._existing(fields[""])) if fields[""] else {}

    def fetch(self, name: str) -> Any:
        """A late field."""
        if name not in self._late:
            existing = self._existing(self._fields[name])
            if not existing:
                raise plugin.MissingField(f"this packet's schema has no field {name}: read it with .get()")
            self._late[name] = self._packet.read(existing).get(name)
        return self._late[name]

    def _existing(self, fields: tuple[str, ...]) -> tuple[str, ...]:
        key = (self._packet.schema_version, fields)
        if key not in self._known:
            self._known[key] = tuple(field for field in fields if self._packet.has(field))
        return self._known[key]


class Runner:
    """The filters of the group, and what runs them over a batch."""

    def __init__(self, words: memoryview, area: memoryview, send: Callable[[dict[str, Any]], None]) -> None:
        self._words = words
        self._area = area
        self._send = send
        self._clock = Clock(words)
        self._filters: dict[int, plugin.Filter] = {}
        self._grown: dict[int, int] = {}  # bytes of memory that each filter's calls have added
        self._read: dict[int, set[str]] = {}
        self._reserve = bytes(2_000_000)  # let go when there is no memory left, to say so
        self.output = Bounded()

    def load(self, wanted: Sequence[tuple[int, str]], trace: bool, seconds: float) -> None:
        """Load filters by number and place, and say of each what it declares or why it cannot be loaded."""
        self._trace = trace
        signal.setitimer(signal.ITIMER_REAL, TICK_SECONDS, TICK_SECONDS)
        for number, place in wanted:
            self._mark(number, wire.LOADING)
            before = sandbox.address_space()
            self._send({"loaded": number, **self._load(number, place, seconds)})
            self._grown[number] = sandbox.address_space() - before
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._mark(wire.NOBODY, 0)
        self._late_fields()

    def _load(self, number: int, place: str, seconds: float) -> dict[str, Any]:
        self._clock.start(seconds, seconds)
        try:
            loaded = plugin.load(place)
        except plugin.FilterError as error:
            return {"error": str(error)[:MAX_REASON]}
        except BaseException as error:  # SystemExit and Overrun among them
            return {"error": f"{place}: {type(error).__name__} while it was loaded: {error}"[:MAX_REASON]}
        finally:
            self._clock.stop()
        self._filters[number] = loaded
        kind = type(loaded)
        return {
            "class": kind.__name__, "doc": (kind.__doc__ or "").strip(), "owner": kind.owner,
            "programmes": sorted(kind.programmes), "fields": list(kind.fields), "cap": kind.cap,
            "time_limit": kind.time_limit, "batches": kind.in_batches(),
        }  # fmt: skip

    def _late_fields(self) -> None:
        every = plugin.union(kind.fields for kind in self._filters.values())
        tops = {field.partition(".")[0] for field in every}
        self._late = tuple(sorted(tops - set(EAGER)))
        self._fields = {name: tuple(field for field in every if field.partition(".")[0] == name) for name in self._late}
        self._fields[""] = tuple(field for field in every if field.partition(".")[0] in EAGER)
        self._views: dict[tuple[str, ...], plugin.View] = {}
        for number, loaded in self._filters.items():
            if self._trace:
                self._read[number] = set()
                view = plugin.View(loaded.fields, self._late, self._read[number].add)
                self._views[(str(number), *loaded.fields)] = view
            else:
                self._views.setdefault(tuple(loaded.fields), plugin.View(loaded.fields, self._late))

    def run(self, lengths: Sequence[int], jobs: Sequence[Mapping[str, Any]], batch_seconds: float) -> None:
        """Run filters over the batch in the shared memory: `jobs` say which, and which alerts."""
        signal.setitimer(signal.ITIMER_REAL, TICK_SECONDS, TICK_SECONDS)
        decoded = self._decode(lengths)
        alerts: dict[tuple[str, ...], list[plugin.Alert | None]] = {}
        for job in jobs:
            number = int(job["filter"])
            kind = self._filters[number]
            key = (str(number), *kind.fields) if self._trace else tuple(kind.fields)
            if key not in alerts:
                view = self._views[key]
                alerts[key] = [None if one is None else view(one.eager, one.fetch) for one in decoded]
            self._send(_Job(self, number, kind, alerts[key], job, batch_seconds).result)
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._mark(wire.NOBODY, 0)
        self._send({"done": True})

    def _decode(self, lengths: Sequence[int]) -> list[Decoded | None]:
        decoded: list[Decoded | None] = []
        errors: dict[int, str] = {}
        start = 0
        for number, length in enumerate(lengths):
            self._mark(wire.NOBODY, number)
            data = bytes(self._area[start : start + length])
            start += length
            try:
                decoded.append(Decoded(Packet.trusted(data), self._fields))
            except MemoryError:
                self.out_of_memory(None)
            except Exception as error:  # whatever decoding says of bytes that are no packet
                errors[number] = f"{type(error).__name__}: {error}"[:MAX_REASON]
                decoded.append(None)
        self._send({"undecodable": errors})
        return decoded

    def _mark(self, number: int, alert: int) -> None:
        self._words[wire.FILTER] = number
        self._words[wire.ALERT] = alert
        self._words[wire.SEQUENCE] = (self._words[wire.SEQUENCE] + 1) & 0x7FFFFFFF

    def out_of_memory(self, current: int | None, before: int = 0) -> None:
        """Say whose memory it is, and end: what a filter holds cannot be taken back from it.

        The filter that grew most is blamed, if it grew by more than a small part; else the one that just asked.
        """
        self._reserve = b""
        if current is not None:
            self._grown[current] = self._grown.get(current, 0) + sandbox.address_space() - before
        largest = max(self._grown, key=lambda number: self._grown[number], default=current)
        blamed = largest if largest is not None and self._grown[largest] > 64_000_000 else current
        alert = self._words[wire.ALERT] if blamed == current else None
        self._filters.clear()
        self._send({"memory": blamed, "alert": alert})
        os._exit(70)


class _Job:
    """One filter's run over one batch; `result` is the frame that tells of it."""

    def __init__(
        self,
        runner: Runner,
        number: int,
        loaded: plugin.Filter,
        alerts: Sequence[plugin.Alert | None],
        job: Mapping[str, Any],
        batch_seconds: float,
    ) -> None:
        self._runner, self._number, self._loaded, self._alerts = runner, number, loaded, alerts
        self._row, self._stop_at = int(job["row"]), int(job["stop_at"])
        skip = set(job["skip"])
        chosen = range(len(alerts)) if job["alerts"] is None else job["alerts"]
        self._pending = [index for index in chosen if index not in skip and alerts[index] is not None]
        self._words = runner._words
        self._passed: list[tuple[int, str]] = []
        self._failed: list[tuple[int, str]] = []
        self._skipped = 0
        self._overrun = ""
        self._before = sandbox.address_space()
        runner.output.kept = ""
        begun = time.perf_counter()
        runner._clock.start(loaded.time_limit, batch_seconds)
        full = False
        try:
            self._run(one_by_one=bool(job["one_by_one"]))
        except MemoryError:
            full = True
        finally:
            runner._clock.stop()
        if full:  # only here has the traceback let go of what the filter held
            runner.out_of_memory(number, self._before)
        seconds = time.perf_counter() - begun
        runner._grown[number] = runner._grown.get(number, 0) + sandbox.address_space() - self._before
        self.result = {
            "filter": number, "passed": self._passed, "failed": self._failed, "skipped": self._skipped,
            "row": self._row, "overrun": self._overrun, "seconds": seconds, "output": runner.output.kept,
            "read": sorted(runner._read.get(number, ())),
        }  # fmt: skip

    def _run(self, one_by_one: bool) -> None:
        if self._loaded.in_batches() and not one_by_one and len(self._pending) > 1 and self._whole():
            return
        call: Callable[[Any], Any] = self._call_batch if self._loaded.in_batches() else self._loaded.accept
        todo = iter(self._pending)
        done = 0
        while True:
            index = -1
            try:
                for index in todo:
                    if self._row >= self._stop_at:
                        break
                    self._mark(index)
                    self._settle(index, call(self._alerts[index]))
                    done += 1
                    self._row = 0
                break
            except MemoryError:
                raise
            except Overrun as error:
                done += 1
                self._fail(index, error)
                if error.whole:
                    self._overrun = str(error)
                    break
            except BaseException as error:  # an exception, SystemExit, GeneratorExit: all are this alert's
                done += 1
                self._fail(index, error)
        self._skipped = len(self._pending) - done

    def _whole(self) -> bool:
        """Try all alerts in one call; False if that failed and they are to be tried one by one."""
        self._mark(wire.WHOLE_BATCH)
        chosen = [alert for index in self._pending if (alert := self._alerts[index]) is not None]
        columns = plugin.Columns(chosen, self._loaded.fields)
        try:
            verdicts = _verdicts(self._loaded.accept_batch(columns), len(self._pending))
        except MemoryError:
            raise
        except BaseException:
            return False
        for index, verdict in zip(self._pending, verdicts, strict=True):
            try:
                self._settle(index, verdict)
            except ValueError as error:
                self._fail(index, error)
        self._row = 0
        return True

    def _call_batch(self, alert: plugin.Alert) -> Any:
        return _verdicts(self._loaded.accept_batch(plugin.Columns([alert], self._loaded.fields)), 1)[0]

    def _mark(self, index: int) -> None:
        words = self._words
        words[wire.FILTER] = self._number
        words[wire.ALERT] = index
        words[wire.SEQUENCE] = (words[wire.SEQUENCE] + 1) & 0x7FFFFFFF

    def _settle(self, index: int, verdict: Any) -> None:
        if isinstance(verdict, dict):
            self._passed.append((index, _annotations(verdict)))
        elif isinstance(verdict, bool | np.bool_):
            if verdict:
                self._passed.append((index, ""))
        else:
            told = f"{verdict!r:.100} ({type(verdict).__name__})"
            raise ValueError(f"it returned {told}: a filter returns True, False or a dict")

    def _fail(self, index: int, error: BaseException) -> None:
        self._row += 1
        reason = str(error) if isinstance(error, Overrun) else _told(error)
        self._failed.append((index, reason[-MAX_REASON:]))


def _told(error: BaseException) -> str:
    """An exception with its traceback from the filter's own code on; without one where it is not of that code."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    try:
        if trace is None:
            return "".join(traceback.format_exception_only(error))
        return "".join(traceback.format_exception(error.with_traceback(trace), limit=-6))
    except Exception:  # an exception whose text raises
        return type(error).__name__


def _annotations(verdict: dict[str, Any]) -> str:
    try:
        text = json.dumps(verdict, default=_plain, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"its annotations are not JSON: {error}") from None
    if len(text) > MAX_ANNOTATIONS:
        raise ValueError(f"its annotations have {len(text)} characters, at most {MAX_ANNOTATIONS} are kept")
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not JSON")


def _verdicts(result: Any, count: int) -> list[Any]:
    mask, columns = result if isinstance(result, tuple) and len(result) == 2 else (result, None)
    mask = np.asarray(mask)
    if mask.dtype != bool or mask.shape != (count,):
        raise ValueError(f"accept_batch returned {mask.dtype} of shape {mask.shape}: a mask of {count} bools is wanted")
    if columns is None:
        return list(mask)
    return [
        {name: values[index] for name, values in columns.items()} if passes else False
        for index, passes in enumerate(mask)
    ]


def main(arguments: Sequence[str]) -> None:
    """Serve a worker: descriptors of commands, answers and shared memory, and the memory limit in bytes."""
    commands, answers, shared, memory = map(int, arguments)
    sandbox.die_with_parent()
    area = mmap.mmap(shared, wire.PAGE + wire.AREA_BYTES)
    view = memoryview(area)
    runner = Runner(view[: wire.PAGE].cast("I"), view[wire.PAGE :], lambda message: wire.send(answers, message))
    sys.stdout = sys.stderr = runner.output
    fenced = sandbox.limit(memory)
    wire.send(answers, {"ready": True, "fenced": fenced})
    reader = wire.Reader(commands)
    while (message := reader.receive()) is not None:
        if "load" in message:
            runner.load(message["load"], message["trace"], message["seconds"])
        else:
            runner.run(message["lengths"], message["jobs"], message["seconds"])


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (wire.Broken, KeyboardInterrupt):
        os._exit(0)
