"""The process in which an owner's filters run: fenced in, told what to run, and killed when it does not answer.

1. it closes the fence, loads the filters, each on its own, and says what they declare;
2. for each batch it decodes, once an alert, what any filter declares, and runs filter after filter;
3. each filter's verdicts are told as soon as it is done, so that a later one's death takes nothing away.

The worker checks all that is told (`zads.filters.verdicts`), so that what a filter makes of this process harms nobody
but its owner.

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
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np

from zads import schemas
from zads.errors import ZadsError
from zads.filters import loading, packages, sandbox, wire
from zads.filters.alert import Alert, MissingField, View
from zads.filters.columns import Columns
from zads.filters.fields import EAGER, union
from zads.filters.interface import Filter
from zads.filters.wire import MAX_ANNOTATIONS, MAX_DEPTH, MAX_DOC, MAX_FIELDS, MAX_NAME, MAX_OUTPUT, MAX_REASON
from zads.packet import Packet

TICK_SECONDS = 0.1
SPARE_DESCRIPTORS = 16  # that loading a filter has to leave, for the others' modules and data


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
        if len(self.kept) < MAX_OUTPUT:
            self.kept += text[: MAX_OUTPUT - len(self.kept)]
        return len(text)

    def writable(self) -> bool:
        """It is."""
        return True


class Clock:
    """Interrupts a filter's Python code when one call, or all its calls of a batch, take too long.

    What counts is processor time, since others' work must not make a filter late; one that waits is late as well, in
    the end.
    """

    def __init__(self, words: memoryview) -> None:
        self._words = words
        self._armed = False
        signal.signal(signal.SIGALRM, self._tick)

    def start(self, call_seconds: float, batch_seconds: float) -> None:
        """Watch a filter from now on."""
        self._call, self._batch = call_seconds, batch_seconds
        self._begun = self._since = (time.process_time(), time.monotonic())
        self._last = -1
        self._armed = True

    def stop(self) -> None:
        """Watch no longer."""
        self._armed = False

    def _tick(self, *_: object) -> None:
        if not self._armed:
            return
        now = (time.process_time(), time.monotonic())
        if (alert := self._words[wire.ALERT]) != self._last:
            self._last, self._since = alert, now
        if wire.late(self._begun, now, self._batch):
            raise Overrun(f"it took more than {self._batch:g} s for a batch of alerts", whole=True)
        if wire.late(self._since, now, self._call):
            raise Overrun(f"it took more than {self._call:g} s for one call", whole=False)


class Decoded:
    """One alert of a batch, decoded as far as the filters of the group look into it.

    Its packet stays in the shared memory: kept copies of a batch's packets would cost more than all else that is done.
    """

    def __init__(self, data: memoryview, fields: Mapping[str, tuple[str, ...]]) -> None:
        self._data: memoryview | bytes = data
        self._fields = fields
        self._late: dict[str, Any] = {}
        self.eager = self._read(fields[""])

    def fetch(self, name: str) -> Any:
        """A late field."""
        if name not in self._late:
            found = self._read(self._fields[name])
            if not found:
                raise MissingField(f"this packet's schema has no field {name}: read it with .get()")
            self._late[name] = found[name]
        return self._late[name]

    def keep(self) -> None:
        """Take the packet out of the shared memory, which the next batch will overwrite."""
        self._data = bytes(self._data)

    def _read(self, fields: tuple[str, ...]) -> dict[str, Any]:
        packet = Packet.trusted(bytes(self._data))
        return packet.read(packet.having(fields))


class Chosen:
    """Alerts of a batch as filters that declare the same fields see them: one by one, or as columns."""

    def __init__(self, numbers: list[int], alerts: list[Alert], fields: Sequence[str]) -> None:
        self.numbers, self.alerts = numbers, alerts
        self._fields = fields
        self._columns: Columns | None = None

    def columns(self) -> Columns:
        """All of them; made once, for whichever filter asks first."""
        if self._columns is None:
            self._columns = Columns(self.alerts, self._fields)
        return self._columns


class Batch:
    """The alerts of a batch, and what filters that see the same of them share.

    What one filter alone sees is let go with it: a hundred filters' own views of a batch are more memory than the
    group may have, and slower for it.
    """

    def __init__(
        self, decoded: Sequence[Decoded | None], selections: Sequence[Sequence[int]], shared: Set[View]
    ) -> None:
        self._decoded, self._selections, self._shared = decoded, selections, shared
        self._chosen: dict[tuple[View, int | None], Chosen] = {}

    def chosen(self, job: Mapping[str, Any], view: View, fields: Sequence[str]) -> Chosen:
        """What a filter is to look at: its selection (all, if it has none) of what can be decoded."""
        key = (view, job["alerts"])
        if key in self._chosen and not job.get("skip"):
            return self._chosen[key]
        skip = frozenset(job.get("skip", ()))
        numbers = range(len(self._decoded)) if job["alerts"] is None else self._selections[job["alerts"]]
        seen = [number for number in numbers if self._decoded[number] is not None and number not in skip]
        alerts = [view(one.eager, one.fetch) for number in seen if (one := self._decoded[number]) is not None]
        chosen = Chosen(seen, alerts, fields)
        if view in self._shared and not skip:
            self._chosen[key] = chosen
        return chosen


class Runner:
    """The filters of the group, and what runs them over a batch."""

    def __init__(
        self,
        words: memoryview[int],
        area: memoryview,
        results: wire.Results,
        send: Callable[[dict[str, Any]], None],
    ) -> None:
        self._words = words
        self._area = area
        self._results = results
        self._send = send
        self._clock = Clock(words)
        self._filters: dict[int, Filter] = {}
        self._grown: dict[int, int] = {}  # bytes of memory that each filter's calls have added
        self._read: dict[int, set[str]] = {}
        self._reserve = bytes(2_000_000)  # let go when there is no memory left, to say so
        self.output = Bounded()

    def fence(self, memory_bytes: int, directories: Sequence[str]) -> None:
        """Close the fence, or end: no filter's code has run before."""
        try:
            sandbox.close(memory_bytes, map(Path, directories))
        except (OSError, ValueError, ZadsError) as error:
            self._send({"fenced": _text(str(error))})
            os._exit(1)
        self._send({"fenced": ""})

    def load(self, wanted: Sequence[tuple[int, str]], trace: bool, seconds: float) -> None:
        """Load filters by number and place, and say of each what it declares or why it cannot be loaded."""
        self._trace = trace
        signal.setitimer(signal.ITIMER_REAL, TICK_SECONDS, TICK_SECONDS)
        for number, place in wanted:
            self._mark(number, wire.NO_ALERT)
            before = sandbox.address_space()
            told = self._load(number, place, seconds)
            if not _can_open(SPARE_DESCRIPTORS):
                told = {"error": f"{place}: it opens too many files while it is loaded", "spoilt": True}
            np.seterr(**_ERROR_STATE)
            self._send({"loaded": number, **told})
            self._grown[number] = sandbox.address_space() - before
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._mark(wire.NOBODY, 0)
        self._late_fields()

    def _load(self, number: int, place: str, seconds: float) -> dict[str, Any]:
        self._clock.start(seconds, seconds)
        try:
            loaded = loading.load(place)
        except loading.FilterError as error:
            return {"error": _text(str(error))}
        except BaseException as error:  # SystemExit and Overrun among them
            return {"error": _text(f"{place}: {type(error).__name__} while it was loaded: {_said(error)}")}
        finally:
            self._clock.stop()
        self._filters[number] = loaded
        kind = type(loaded)
        return {
            "class": _text(kind.__name__, MAX_NAME), "doc": _text((kind.__doc__ or "").strip(), MAX_DOC),
            "owner": _text(str(kind.owner), MAX_NAME),
            "programmes": sorted(kind.programmes), "fields": list(kind.fields), "cap": kind.cap,
            "time_limit": float(kind.time_limit), "batches": kind.in_batches(),
        }  # fmt: skip

    def _late_fields(self) -> None:
        every = union(kind.fields for kind in self._filters.values())
        tops = {field.partition(".")[0] for field in every}
        self._late = tuple(sorted(tops - set(EAGER)))
        self._fields = {name: tuple(field for field in every if field.partition(".")[0] == name) for name in self._late}
        self._fields[""] = tuple(field for field in every if field.partition(".")[0] in EAGER)
        self._views: dict[int, View] = {}
        by_fields: dict[tuple[str, ...], View] = {}
        for number, loaded in self._filters.items():
            fields = union([loaded.fields])
            if self._trace:
                self._read[number] = set()
                self._views[number] = View(fields, self._late, self._read[number].add)
            else:
                if fields not in by_fields:
                    by_fields[fields] = View(fields, self._late)
                self._views[number] = by_fields[fields]
        users = Counter(self._views.values())
        self._shared = {view for view, number in users.items() if number > 1}

    def run(
        self,
        lengths: Sequence[int],
        selections: Sequence[Sequence[int]],
        jobs: Sequence[Mapping[str, Any]],
        batch_seconds: float,
    ) -> None:
        """Run filters over the batch in the shared memory: `jobs` say which, and which of the selections of alerts."""
        signal.setitimer(signal.ITIMER_REAL, TICK_SECONDS, TICK_SECONDS)
        decoded = self._decode(lengths)
        self._judge(Batch(decoded, selections, self._shared), jobs, batch_seconds)
        self._let_go(decoded)
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._mark(wire.NOBODY, 0)
        self._send({"done": True})

    def _decode(self, lengths: Sequence[int]) -> list[Decoded | None]:
        decoded: list[Decoded | None] = []
        wrong: list[int] = []
        start = 0
        for number, length in enumerate(lengths):
            self._mark(wire.NOBODY, number)
            try:
                decoded.append(Decoded(self._area[start : start + length], self._fields))
            except MemoryError:
                self.out_of_memory(None)
            except Exception:  # whatever decoding says of bytes that are no packet: the worker looks for itself
                wrong.append(number)
                decoded.append(None)
            start += length
        if wrong:
            self._send({"undecodable": wrong})
        return decoded

    def _judge(self, batch: Batch, jobs: Sequence[Mapping[str, Any]], batch_seconds: float) -> None:
        for job in jobs:
            number = int(job["filter"])
            self._mark(number, wire.NO_ALERT)
            kind = self._filters[number]
            chosen = batch.chosen(job, self._views[number], kind.fields)
            self._tell(_Job(self, number, kind, chosen, job, batch_seconds).result)

    def _let_go(self, decoded: list[Decoded | None]) -> None:
        """End a batch; alerts that a filter holds on to must not change with the shared memory."""
        self._mark(wire.NOBODY, wire.NO_ALERT)
        try:
            while decoded:
                one = decoded.pop()
                if one is not None and sys.getrefcount(one) > 2:  # more than `one` and the argument
                    one.keep()
        except MemoryError:
            self.out_of_memory(None)

    def _tell(self, message: dict[str, Any]) -> None:
        if not self._results.add(message):
            self._send(message)

    def _mark(self, number: int, alert: int) -> None:
        self._words[wire.ALERT] = wire.NO_ALERT  # never one filter with another's alert
        self._words[wire.FILTER] = number
        self._words[wire.ALERT] = alert

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
    """One filter's run over one batch; `result` is what is told of it, where it differs from nothing."""

    def __init__(
        self,
        runner: Runner,
        number: int,
        loaded: Filter,
        chosen: Chosen,
        job: Mapping[str, Any],
        batch_seconds: float,
    ) -> None:
        self._loaded, self._chosen = loaded, chosen
        self._row, self._stop_at = int(job["row"]), int(job["stop_at"])
        self._last = -1  # the place among the chosen of the last failure
        self._words = runner._words
        self._passed: list[tuple[int, str]] = []
        self._failed: list[tuple[int, str]] = []
        self._skipped = 0
        self._overrun = ""
        before = sandbox.address_space()
        runner.output.kept = ""
        begun = time.perf_counter()
        runner._clock.start(loaded.time_limit, batch_seconds)
        full = False
        try:
            self._run(one_by_one=bool(job.get("one_by_one")))
        except MemoryError:
            full = True
        finally:
            runner._clock.stop()
        if full:  # only here has the traceback let go of what the filter held
            runner.out_of_memory(number, before)
        self._words[wire.ALERT] = wire.NO_ALERT
        seconds = time.perf_counter() - begun
        runner._grown[number] = runner._grown.get(number, 0) + sandbox.address_space() - before
        told: dict[str, Any] = {
            "passed": self._passed, "failed": self._failed, "skipped": self._skipped, "overrun": self._overrun,
            "output": _text(runner.output.kept, MAX_OUTPUT),
            "read": [_text(path, MAX_NAME) for path in sorted(runner._read.get(number, ()))][:MAX_FIELDS],
        }  # fmt: skip
        self.result = {name: value for name, value in told.items() if value}
        self.result |= {"filter": number, "row": self._row, "seconds": seconds}

    def _run(self, one_by_one: bool) -> None:
        numbers, alerts = self._chosen.numbers, self._chosen.alerts
        batches = self._loaded.in_batches()
        if batches and not one_by_one and len(alerts) > 1 and self._whole():
            return
        call: Callable[[Any], Any] = self._call_batch if batches else self._loaded.accept
        words, word = self._words, wire.ALERT
        todo = zip(range(len(alerts)), numbers, alerts, strict=True)
        place = number = -1
        while self._row < self._stop_at:
            try:
                for place, number, alert in todo:  # noqa: B007  where it stopped is told below
                    words[word] = number
                    verdict = call(alert)
                    if verdict is not False:  # most are False: this loop is what most of a group's time goes into
                        self._settle(number, verdict)
                if place > self._last:
                    self._row = 0
                break
            except MemoryError:
                raise
            except Overrun as error:
                self._fail(place, number, error)
                if error.whole:
                    self._overrun = str(error)
                    break
            except BaseException as error:  # an exception, SystemExit, GeneratorExit: all are this alert's
                self._fail(place, number, error)
        self._skipped = len(alerts) - place - 1

    def _whole(self) -> bool:
        """Try all alerts in one call; False if that failed and they are to be tried one by one."""
        self._words[wire.ALERT] = wire.WHOLE_BATCH
        numbers = self._chosen.numbers
        try:
            verdicts = _passes(self._loaded.accept_batch(self._chosen.columns()), len(numbers))
        except MemoryError:
            raise
        except BaseException:
            return False
        for place, verdict in verdicts:
            try:
                self._settle(numbers[place], verdict)
            except ValueError as error:
                self._fail(place, numbers[place], error)
        self._row = 0
        return True

    def _call_batch(self, alert: Alert) -> Any:
        passes = _passes(self._loaded.accept_batch(Columns([alert], self._loaded.fields)), 1)
        return passes[0][1] if passes else False

    def _settle(self, index: int, verdict: Any) -> None:
        if verdict is True:
            self._passed.append((index, ""))
        elif isinstance(verdict, dict):
            self._passed.append((index, _annotations(verdict)))
        elif isinstance(verdict, np.bool_):
            if verdict:
                self._passed.append((index, ""))
        else:
            told = f"{verdict!r:.100} ({type(verdict).__name__})"
            raise ValueError(f"it returned {told}: a filter returns True, False or a dict")

    def _fail(self, place: int, index: int, error: BaseException) -> None:
        self._row = self._row + 1 if place == self._last + 1 else 1
        self._last = place
        reason = str(error) if isinstance(error, Overrun) else _told(error)
        self._failed.append((index, _text(reason[-MAX_REASON:])))


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


def _text(text: str, most: int = MAX_REASON) -> str:
    """As it can be told: not too long, and nothing in it that is no Unicode."""
    return text[:most].encode("utf-8", "replace").decode()


def _said(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # an exception whose text raises
        return ""


_ERROR_STATE = np.geterr()


def _can_open(count: int) -> bool:
    """Whether so many files could still be opened."""
    opened: list[int] = []
    try:
        opened.extend(os.dup(0) for _ in range(count))
    except OSError:
        pass
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return len(opened) == count


def _annotations(verdict: dict[str, Any]) -> str:
    try:
        text = json.dumps(verdict, default=_plain, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"its annotations are not JSON: {error}") from None
    if "\\ud" in text or text.count("[") + text.count("{") > MAX_DEPTH:
        _check(json.loads(text))
    if len(text) > MAX_ANNOTATIONS:
        raise ValueError(f"its annotations have {len(text)} characters, at most {MAX_ANNOTATIONS} are kept")
    return text


def _check(annotations: Any) -> None:
    """Refuse what JSON can say and most readers cannot take. Raises ValueError."""
    if _depth(annotations) > MAX_DEPTH:
        raise ValueError(f"its annotations are nested more than {MAX_DEPTH} deep")
    try:
        json.dumps(annotations, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("its annotations have half a character (a lone surrogate)") from None


def _depth(value: Any) -> int:
    if not isinstance(value, dict | list):
        return 0
    return 1 + max(map(_depth, value.values() if isinstance(value, dict) else value), default=0)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not JSON")


def _passes(result: Any, count: int) -> list[tuple[int, bool | dict[str, Any]]]:
    """Those that pass of a batch, by their place in it: few, where all of a hundred filters' verdicts are many."""
    mask, columns = result if isinstance(result, tuple) and len(result) == 2 else (result, None)
    mask = np.asarray(mask)
    if mask.dtype != bool or mask.shape != (count,):
        raise ValueError(f"accept_batch returned {mask.dtype} of shape {mask.shape}: a mask of {count} bools is wanted")
    places = np.flatnonzero(mask).tolist()
    if columns is None:
        return [(place, True) for place in places]
    return [(place, {name: values[place] for name, values in columns.items()}) for place in places]


def prepare() -> None:
    """What every such process needs, done before it is copied: later there may be no descriptor left to open a file."""
    schemas.known()
    packages.prepare()


def serve(commands: int, answers: int, packets: int, told: int) -> None:
    """Serve a worker over two pipes and two pieces of shared memory, until it is gone."""
    packages.prepare()
    area = memoryview(mmap.mmap(packets, wire.AREA_BYTES, prot=mmap.PROT_READ))
    mine = memoryview(mmap.mmap(told, wire.TOLD_BYTES))
    os.close(packets)
    os.close(told)
    words = mine[: wire.PAGE].cast("I")
    results = wire.Results(words, mine[wire.PAGE :])
    runner = Runner(words, area, results, lambda message: wire.send(answers, message))
    sys.stdout = sys.stderr = runner.output
    reader = wire.Reader(commands, wire.MAX_COMMAND_BYTES)
    try:
        wire.send(answers, {"ready": True})
        while True:
            message = reader.receive()
            if "load" in message:
                runner.fence(message["memory"], message["directories"])
                runner.load(message["load"], message["trace"], message["seconds"])
            else:
                runner.run(message["lengths"], message["selections"], message["jobs"], message["seconds"])
    except wire.Broken:
        return


def main(arguments: Sequence[str]) -> None:
    """Serve the worker whose child this is: descriptors of commands, answers, packets, and what is told."""
    sandbox.die_with_parent()
    sandbox.hide()
    prepare()
    serve(*map(int, arguments))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        os._exit(0)
