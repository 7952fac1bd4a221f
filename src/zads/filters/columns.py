"""The alerts of a batch as NumPy columns, for filters that judge a whole batch in one call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from zads.filters.alert import UndeclaredField


class Columns(Mapping[str, Any]):
    """The alerts of a batch as read-only NumPy columns: ``alerts["candidate"]["magpsf"]`` has shape (alerts,).

    Numbers are int64 or bool where no value is null, otherwise float64 with NaN for null. Texts and arrays are columns
    of objects; the light curve is a tuple of records for each alert. Fields are spelt as in an `Alert`, and raise the
    same errors.
    """

    def __init__(self, alerts: Sequence[Mapping[str, Any]], fields: Iterable[str], *, _path: str = "") -> None:
        self._alerts = alerts
        self._fields = frozenset(fields)
        self._path = _path
        self._made: dict[str, Any] = {}

    def __len__(self) -> int:
        """Number of alerts, which is the length of every column."""
        return len(self._alerts)

    def __iter__(self) -> Any:
        return iter(sorted({field.partition(".")[0] for field in self._fields}))

    def __getitem__(self, name: str) -> Any:
        """The column of a field, or the columns of a record. Raises UndeclaredField."""
        if name not in self._made:
            self._made[name] = self._column(name)
        return self._made[name]

    def _column(self, name: str) -> Any:
        below = {field.removeprefix(f"{name}.") for field in self._fields if field.startswith(f"{name}.")}
        whole = not self._fields or name in self._fields
        if not whole and not below:
            raise UndeclaredField(f"{self._path}{name}")
        values = [None if alert is None else alert.get(name) for alert in self._alerts]
        if any(isinstance(value, dict) for value in values):
            return Columns(values, () if whole else below, _path=f"{self._path}{name}.")  # type: ignore[arg-type]
        return _array(values)


def _array(values: list[Any]) -> np.ndarray[Any, np.dtype[Any]]:
    kinds = {value.__class__ for value in values} - {type(None)}
    if kinds <= {bool} and None not in values and kinds:
        column: np.ndarray[Any, np.dtype[Any]] = np.array(values, dtype=bool)
    elif kinds == {int} and None not in values:
        column = np.array(values, dtype=np.int64)
    elif kinds <= {int, float, bool}:
        column = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    else:
        column = np.empty(len(values), dtype=object)
        column[:] = values
    column.flags.writeable = False
    return column
