"""What a worker and the process of an owner's filters say to each other: messages as JSON, in frames through two pipes.

The worker sends commands, which are trusted. The process sends answers, which are not, since the filters' authors may
control it. The types of answers contain their bounds, and `zads.filters.verdicts` checks every answer against them.
"""

from __future__ import annotations

import json
import os
import struct
from dataclasses import MISSING, dataclass, field, fields
from typing import Annotated, Any, NamedTuple

from annotated_types import Ge, Gt, Le, Lt, MaxLen

from zads.names import PROGRAMMES

MAX_FRAME_BYTES = 8_000_000  # 500 alerts, each with the longest annotations or the longest reason
MAX_COMMAND_BYTES = 64_000_000

# Characters of texts in answers.
MAX_ANNOTATIONS = 4_096  # of one alert, as JSON
MAX_REASON = 2_000
MAX_OUTPUT = 2_000
MAX_DOC = 20_000
MAX_NAME = 300  # of an owner, of a field's path
MAX_DEPTH = 100  # of annotations
MAX_FIELDS = 1_000
MAX_CAP = 1_000_000
MAX_TIME_LIMIT = 10.0  # seconds

# Limits are of processor time. A process that waits instead, for something that never comes or because others keep the
# processor busy, has this many times as long.
PATIENCE = 4

#: Of a filter in its group, or of an alert in its batch.
Index = Annotated[int, Ge(0), Lt(1 << 32)]
Programme = Annotated[int, Ge(min(PROGRAMMES)), Le(max(PROGRAMMES))]
Count = Annotated[int, Ge(0), Lt(1 << 32)]
Seconds = Annotated[float, Ge(0), Le(1e6)]
Reason = Annotated[str, MaxLen(MAX_REASON)]
Path = Annotated[str, MaxLen(MAX_NAME)]
Annotations = Annotated[str, MaxLen(MAX_ANNOTATIONS)]  # JSON, or ""

_STRICT = {"extra": "forbid", "strict": True}  # for pydantic: no other keys, no conversions


class Job(NamedTuple):
    """One filter's part of a `Run`."""

    filter: int
    selection: int | None  # which of the command's selections of alerts the filter sees; None: all alerts
    in_a_row: int  # failures in a row before this batch
    stop_at: int  # failures in a row after which the filter is stopped
    skip: list[int]  # alerts on which the filter has ended the process
    one_by_one: bool  # call the filter for single alerts, although it judges batches


@dataclass(frozen=True)
class Load:
    """Command: close the fence, and load these filters (index and place)."""

    filters: list[tuple[int, str]]
    trace: bool
    seconds: float  # for each filter
    memory_bytes: int
    directories: list[str]  # that filters may read


@dataclass(frozen=True)
class Run:
    """Command: judge the batch in the shared memory."""

    lengths: list[int]  # of the packets, in bytes
    selections: list[list[int]]  # of alerts
    jobs: list[Job]
    seconds: float  # for each filter


@dataclass(frozen=True)
class Ready:
    """The process has started."""

    __pydantic_config__ = _STRICT
    ready: bool


@dataclass(frozen=True)
class FenceState:
    """The fence is closed (""), or why it cannot be."""

    __pydantic_config__ = _STRICT
    error: Reason


@dataclass(frozen=True)
class Declaration:
    """What a filter declares, or why it cannot be loaded. `spoilt`: loading it left the process unfit for others."""

    __pydantic_config__ = _STRICT
    filter: Index
    error: Reason = ""
    spoilt: bool = False
    doc: Annotated[str, MaxLen(MAX_DOC)] = ""
    owner: Annotated[str, MaxLen(MAX_NAME)] = ""
    programmes: Annotated[list[Programme], MaxLen(len(PROGRAMMES))] = field(default_factory=list)
    fields: Annotated[list[Path], MaxLen(MAX_FIELDS)] = field(default_factory=list)
    cap: Annotated[int, Ge(1), Le(MAX_CAP)] = 1
    time_limit: Annotated[float, Gt(0), Le(MAX_TIME_LIMIT)] = 1.0
    batches: bool = False


@dataclass  # not frozen: that would double the time to make one, for every filter of every batch
class Result:
    """What one filter did with its alerts (indices in the batch)."""

    __pydantic_config__ = _STRICT
    filter: Index
    in_a_row: Count  # failures in a row after the batch
    seconds: Seconds
    passed: list[tuple[Index, Annotations]] = field(default_factory=list)
    failed: list[tuple[Index, Reason]] = field(default_factory=list)
    skipped: Count = 0
    overrun: Reason = ""  # the filter used up its time for the batch
    output: Annotated[str, MaxLen(MAX_OUTPUT)] = ""  # the beginning of what it printed
    read: Annotated[list[Path], MaxLen(MAX_FIELDS)] = field(default_factory=list)  # fields, if this is traced


@dataclass(frozen=True)
class Undecodable:
    """Alerts that the process could not decode."""

    __pydantic_config__ = _STRICT
    undecodable: list[Index]


@dataclass(frozen=True)
class OutOfMemory:
    """The process has used up its memory: the filter and the alert that seem to be the cause."""

    __pydantic_config__ = _STRICT
    filter: Index | None
    alert: Index | None


@dataclass(frozen=True)
class Done:
    """The process has done all jobs of a `Run`."""

    __pydantic_config__ = _STRICT
    done: bool


Command = Load | Run
Answer = Ready | FenceState | Declaration | Result | Undecodable | OutOfMemory | Done

_LENGTH = struct.Struct("!I")


class ProtocolError(Exception):
    """The other side is gone, or its messages make no sense."""


def late(begun: tuple[float, float], now: tuple[float, float], limit: float) -> bool:
    """Whether a limit in seconds is exceeded, by two readings of (processor time, monotonic time)."""
    return now[0] - begun[0] > limit or now[1] - begun[1] > PATIENCE * limit


def _defaults(kind: type[Any]) -> dict[str, object]:
    return {one.name: one.default if one.default_factory is MISSING else one.default_factory() for one in fields(kind)}


_DEFAULTS = {
    kind: _defaults(kind)
    for kind in (Load, Run, Ready, FenceState, Declaration, Result, Undecodable, OutOfMemory, Done)
}


def _members(message: Command | Answer) -> dict[str, object]:
    """A message's fields, without those that have their default."""
    defaults = _DEFAULTS[type(message)]
    return {name: value for name, value in vars(message).items() if value != defaults[name]}


_encode = json.JSONEncoder(separators=(",", ":")).encode


def encode(message: Command | Answer) -> bytes:
    """A message as JSON."""
    return _encode(_members(message)).encode()


def command(body: bytes) -> Command:
    """A command from its JSON, which is trusted."""
    members = json.loads(body)
    if "jobs" in members:
        return Run(**members | {"jobs": [Job(*job) for job in members["jobs"]]})
    return Load(**members)


def frame(message: Command | Answer) -> bytes:
    """A message as it goes through a pipe."""
    body = encode(message)
    return _LENGTH.pack(len(body)) + body


def send(descriptor: int, message: Command | Answer) -> None:
    """Write a frame. Raises ProtocolError."""
    data = memoryview(frame(message))
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError as error:
        raise ProtocolError(str(error)) from error


class Reader:
    """The bodies of the frames that come through a pipe."""

    def __init__(self, descriptor: int, largest: int) -> None:
        self._descriptor, self._largest = descriptor, largest
        self._buffer = bytearray()

    def next(self) -> bytes | None:
        """The next frame that has arrived completely; None if none has. Raises ProtocolError."""
        if len(self._buffer) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length > self._largest:
            raise ProtocolError(f"a frame of {length} bytes")
        end = _LENGTH.size + length
        if len(self._buffer) < end:
            return None
        body = bytes(self._buffer[_LENGTH.size : end])
        del self._buffer[:end]
        return body

    def fill(self) -> int:
        """Read what the pipe holds, and return its size. Waits only if the pipe blocks. Raises ProtocolError."""
        try:
            data = os.read(self._descriptor, 1 << 20)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise ProtocolError(str(error)) from error
        if not data:
            raise ProtocolError("closed")
        self._buffer += data
        return len(data)

    def receive(self) -> bytes:
        """The next frame, however long it takes to come. Raises ProtocolError."""
        while (body := self.next()) is None:
            self.fill()
        return body
