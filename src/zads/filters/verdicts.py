"""Checks the answers of a process of filters: nothing is used before its size and form have been checked.

The filters' authors may control the process. Wrong verdicts of its own filters harm only their owner. An answer that is
about another owner's filters, comes twice, or does not have the form that `zads.filters.wire` gives it is charged to
the owner.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, TypeVar

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import from_json

from zads.filters import wire
from zads.filters.wire import Declaration, Done, FenceState, OutOfMemory, Ready, Result, Undecodable

Checked = TypeVar("Checked")


@dataclass
class Verdicts:
    """What one filter did with the alerts of a batch, by their index in it."""

    passed: dict[int, str] = field(default_factory=dict)  # annotations as JSON, or ""
    failed: dict[int, str] = field(default_factory=dict)  # the reason
    skipped: int = 0  # number of alerts that it did not see, since its circuit was open
    seconds: float = 0.0
    output: str = ""  # the beginning of what it printed


_READY: TypeAdapter[Ready] = TypeAdapter(Ready)
_LOADING: TypeAdapter[FenceState | Declaration] = TypeAdapter(FenceState | Declaration)
_RUNNING: TypeAdapter[Result | Done | OutOfMemory | Undecodable] = TypeAdapter(
    Annotated[Result | Done | OutOfMemory | Undecodable, Field(union_mode="left_to_right")]
)
_RESULTS: TypeAdapter[list[Result]] = TypeAdapter(list[Result])


def ready(body: bytes) -> Ready:
    """The first answer. Raises wire.ProtocolError."""
    return _checked(_READY, body)


def loading(body: bytes) -> FenceState | Declaration:
    """An answer to `wire.Load`, with printable texts. Raises wire.ProtocolError."""
    answer = _checked(_LOADING, body)
    if isinstance(answer, Declaration):
        texts = printable(answer.error), printable(answer.doc), printable(answer.owner)
        return replace(answer, error=texts[0], doc=texts[1], owner=texts[2])
    return answer


def running(body: bytes) -> Result | Done | OutOfMemory | Undecodable:
    """An answer to `wire.Run`. Raises wire.ProtocolError."""
    return _checked(_RUNNING, body)


def results(text: bytes) -> list[Result]:
    """The results in the shared memory. Raises wire.ProtocolError."""
    return _checked(_RESULTS, text)


def _checked(adapter: TypeAdapter[Checked], text: bytes) -> Checked:
    try:
        return adapter.validate_json(text)
    except (ValidationError, ValueError, RecursionError, MemoryError) as error:
        raise wire.ProtocolError(f"an answer without meaning ({type(error).__name__})") from error


@dataclass
class Question:
    """What one filter was asked: which alerts (indices in the batch), and whether it has answered."""

    alerts: frozenset[int]
    skip: frozenset[int] = frozenset()
    answered: bool = False

    def holds(self, alerts: set[int]) -> bool:
        """Whether the filter was asked about all of these."""
        return alerts <= self.alerts and self.skip.isdisjoint(alerts)

    def __len__(self) -> int:
        return len(self.alerts) - len(self.skip)


def check(result: Result, asked: Mapping[int, Question]) -> None:
    """Check that a result answers what was asked, and mark it as answered. `asked`: the questions by filter.

    Raises wire.ProtocolError.
    """
    question = asked.get(result.filter)
    if question is None:
        raise wire.ProtocolError(f"it answers for the filter {result.filter}, which it was not asked about")
    if question.answered:
        raise wire.ProtocolError("it answers twice for one filter")
    question.answered = True
    if result.passed or result.failed or result.skipped:
        _check_alerts(result, question)


def _check_alerts(result: Result, question: Question) -> None:
    alerts = {index for index, _ in result.passed} | {index for index, _ in result.failed}
    if len(alerts) != len(result.passed) + len(result.failed):
        raise wire.ProtocolError("it answers twice for one alert")
    if not question.holds(alerts) or len(alerts) + result.skipped > len(question):
        raise wire.ProtocolError("it answers for alerts that it was not asked about")
    for _, text in result.passed:
        if text and not _is_object(text):
            raise wire.ProtocolError("it passes an alert with annotations that are not a JSON object")


def _is_object(text: str) -> bool:
    if not text.isascii():
        return False
    try:
        return isinstance(from_json(text, allow_inf_nan=False), dict)
    except (ValueError, RecursionError):
        return False


def printable(text: str) -> str:
    """The text with "?" for every character that could move a terminal's cursor."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in "\n\t" else "?" for char in text)
