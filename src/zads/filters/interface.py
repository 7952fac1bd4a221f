"""What an astronomer writes: a class that extends `Filter`, or a function with the decorator `filter`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

from zads.filters.alert import Alert
from zads.filters.columns import Columns

DEFAULT_CAP = 20  # alerts a visit: what the survey's own filter service allows
DEFAULT_TIME_LIMIT = 1.0  # seconds of one call


class Filter:
    """Extend this class, and give yours a docstring, `fields`, and either `accept` or `accept_batch`.

    owner: the user who reads what the filter passes.
    programmes: the programmes whose alerts the filter sees.
    fields: dotted paths of all fields that the filter may read. The name of a record or an array alone means all of it.
    cap: the largest number of alerts that pass in a visit (one exposure).
    time_limit: seconds that one call may take. A longer call is stopped and counts as a failure.
    """

    owner: ClassVar[str] = ""
    programmes: ClassVar[frozenset[int] | set[int]] = frozenset({1})
    fields: ClassVar[tuple[str, ...]] = ()
    cap: ClassVar[int] = DEFAULT_CAP
    time_limit: ClassVar[float] = DEFAULT_TIME_LIMIT

    def accept(self, alert: Alert) -> bool | dict[str, Any]:  # noqa: ARG002
        """Whether the alert passes. A dict, even an empty one, passes it with these annotations."""
        raise TypeError(f"{type(self).__name__} has neither accept nor accept_batch")

    def accept_batch(self, alerts: Columns) -> Any:  # noqa: ARG002
        """A mask of bools, shape (alerts,); or a pair of the mask and a dict of columns of annotations."""
        raise TypeError(f"{type(self).__name__} has neither accept nor accept_batch")

    @classmethod
    def in_batches(cls) -> bool:
        """Whether the filter judges batches, as columns."""
        return cls.accept_batch is not Filter.accept_batch


def filter(  # noqa: A001  the word that people expect: it shadows the builtin on purpose
    *,
    fields: Sequence[str],
    owner: str = "",
    cap: int = DEFAULT_CAP,
    programmes: Iterable[int] = (1,),
    time_limit: float = DEFAULT_TIME_LIMIT,
    batches: bool = False,
) -> Callable[[Callable[[Any], Any]], type[Filter]]:
    """Turn a plain function into a filter. The function is its `accept`, or with `batches` its `accept_batch`.

    The other arguments are those of `Filter`. The function's docstring becomes the filter's.
    """

    def decorate(function: Callable[[Any], Any]) -> type[Filter]:
        space = {
            "__doc__": function.__doc__,
            "__module__": function.__module__,
            "accept_batch" if batches else "accept": staticmethod(function),
            "fields": fields,
            "owner": owner,
            "cap": cap,
            "programmes": frozenset(programmes),
            "time_limit": time_limit,
        }
        return type(function.__name__, (Filter,), space)

    return decorate
