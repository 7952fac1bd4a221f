"""Filters: what an astronomer writes, and what runs it on a recorded night or on the live stream."""

from zads.filters.alert import Alert, UndeclaredField, View
from zads.filters.columns import Columns
from zads.filters.interface import Filter, filter  # noqa: A004
from zads.filters.loading import FilterError, load

__all__ = ["Alert", "Columns", "Filter", "FilterError", "UndeclaredField", "View", "filter", "load"]
