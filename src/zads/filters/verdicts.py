"""What may come back from a process in which filters run: every frame is bounded and checked before it is believed.

The process may be in the hands of whoever wrote the filters. What it says wrongly of its own filters is their owner's
matter; a frame that says anything about others, says a thing twice, or has not the form below, is charged to the owner.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import from_json

from zads.filters import wire
from zads.filters.wire import MAX_ANNOTATIONS, MAX_CAP, MAX_DOC, MAX_FIELDS, MAX_NAME, MAX_OUTPUT, MAX_REASON

_Number = Annotated[int, Field(ge=0, lt=1 << 32)]
_Reason = Annotated[str, Field(max_length=MAX_REASON)]
_Seconds = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
_Path = Annotated[str, Field(max_length=MAX_NAME)]
Form = TypeVar("Form")


@dataclass
class Verdicts:
    """What one filter said of a batch; alerts are numbers in the batch."""

    passed: dict[int, str] = field(default_factory=dict)  # annotations as JSON, or ""
    failed: dict[int, str] = field(default_factory=dict)  # why
    skipped: int = 0  # not looked at, for its circuit was open
    seconds: float = 0.0
    output: str = ""  # the beginning of what it printed


class _Frame(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Ready(_Frame):
    """The process has started."""

    ready: bool


class Fenced(_Frame):
    """The fence is closed (""), or why it cannot be."""

    fenced: _Reason


class Loaded(_Frame):
    """What a filter declares, or why it cannot be loaded; `spoilt`: nothing else should run where that was tried."""

    loaded: _Number
    error: _Reason = ""
    spoilt: bool = False
    kind: Annotated[str, Field(alias="class", max_length=MAX_NAME)] = ""
    doc: Annotated[str, Field(max_length=MAX_DOC)] = ""
    owner: Annotated[str, Field(max_length=MAX_NAME)] = ""
    programmes: Annotated[list[Annotated[int, Field(ge=1, le=3)]], Field(max_length=3)] = []
    fields: Annotated[list[_Path], Field(max_length=MAX_FIELDS)] = []
    cap: Annotated[int, Field(ge=1, le=MAX_CAP)] = 1
    time_limit: Annotated[float, Field(gt=0, le=10)] = 1.0
    batches: bool = False

    def declared(self) -> dict[str, Any]:
        """As a dictionary: what it declares, or its error alone."""
        if self.error:
            return {"error": printable(self.error)}
        told = self.model_dump(by_alias=True, exclude={"error", "spoilt"})
        return told | {"doc": printable(self.doc), "class": printable(self.kind), "owner": printable(self.owner)}


class Result(_Frame):
    """What one filter said of its alerts (numbers in the batch)."""

    filter: _Number
    row: _Number
    seconds: _Seconds
    # Factories, since pydantic would copy a default list deeply for each result: that was a tenth of a batch's time.
    passed: list[tuple[_Number, Annotated[str, Field(max_length=MAX_ANNOTATIONS)]]] = Field(default_factory=list)
    failed: list[tuple[_Number, _Reason]] = Field(default_factory=list)
    skipped: _Number = 0
    overrun: _Reason = ""
    output: Annotated[str, Field(max_length=MAX_OUTPUT)] = ""
    read: list[_Path] = Field(default_factory=list, max_length=MAX_FIELDS)


class Undecodable(_Frame):
    """Alerts that it could not decode."""

    undecodable: list[_Number]


class Memory(_Frame):
    """It has used up its memory: the filter and the alert that are thought to be the cause."""

    memory: _Number | None
    alert: _Number | None


class Done(_Frame):
    """All that was asked is done."""

    done: bool


_READY: TypeAdapter[Ready] = TypeAdapter(Ready)
_LOADING: TypeAdapter[Fenced | Loaded] = TypeAdapter(Fenced | Loaded)
_RUNNING: TypeAdapter[Result | Done | Memory | Undecodable] = TypeAdapter(
    Annotated[Result | Done | Memory | Undecodable, Field(union_mode="left_to_right")]
)
_RESULTS: TypeAdapter[list[Result]] = TypeAdapter(list[Result])


def ready(body: bytes) -> Ready:
    """The first frame. Raises Broken."""
    return _read(_READY, body)


def loading(body: bytes) -> Fenced | Loaded:
    """A frame of a process that loads filters. Raises Broken."""
    return _read(_LOADING, body)


def running(body: bytes) -> Result | Done | Memory | Undecodable:
    """A frame of a process that runs filters. Raises Broken."""
    return _read(_RUNNING, body)


def results(text: bytes) -> list[Result]:
    """What lies in the shared memory. Raises Broken."""
    return _read(_RESULTS, text)


def _read(adapter: TypeAdapter[Form], text: bytes) -> Form:
    try:
        return adapter.validate_json(text)
    except (ValidationError, ValueError, RecursionError, MemoryError) as error:
        raise wire.Broken(f"a frame that says nothing ({type(error).__name__})") from error


@dataclass
class Asked:
    """What one filter was asked: the alerts (numbers in the batch), and whether it has answered."""

    alerts: frozenset[int]
    skip: frozenset[int] = frozenset()
    answered: bool = False

    def holds(self, alerts: set[int]) -> bool:
        """Whether it was asked about all of these."""
        return alerts <= self.alerts and self.skip.isdisjoint(alerts)

    def __len__(self) -> int:
        return len(self.alerts) - len(self.skip)


def check(result: Result, asked: Mapping[int, Asked]) -> None:
    """Whether it is an answer to what was asked. Raises Broken; annotations are checked, reasons made printable."""
    mine = asked.get(result.filter)
    if mine is None:
        raise wire.Broken(f"it speaks of the filter {result.filter}, which it was not asked about")
    if mine.answered:
        raise wire.Broken("it speaks twice of one filter")
    mine.answered = True
    if result.passed or result.failed or result.skipped:
        _check_alerts(result, mine)


def _check_alerts(result: Result, mine: Asked) -> None:
    told = {index for index, _ in result.passed} | {index for index, _ in result.failed}
    if len(told) != len(result.passed) + len(result.failed):
        raise wire.Broken("it speaks twice of one alert")
    if not mine.holds(told) or len(told) + result.skipped > len(mine):
        raise wire.Broken("it speaks of alerts that it was not asked about")
    for _, text in result.passed:
        if text and not _is_object(text):
            raise wire.Broken("it passes an alert with annotations that are no JSON object")


def _is_object(text: str) -> bool:
    if not text.isascii():
        return False
    try:
        return isinstance(from_json(text, allow_inf_nan=False), dict)
    except (ValueError, RecursionError):
        return False


def printable(text: str) -> str:
    """The text with nothing in it that would move a terminal's cursor."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in "\n\t" else "?" for one in text)
