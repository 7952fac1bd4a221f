"""Filters: what an astronomer writes, and what runs it on a recorded night or on the live stream."""

from zads.filters.plugin import Alert, Columns, Filter, FilterError, UndeclaredField, filter, load  # noqa: A004

__all__ = ["Alert", "Columns", "Filter", "FilterError", "UndeclaredField", "filter", "load"]
