"""Dashboards for Grafana, made from Python: what is on them, and their JSON."""

from zads.dashboards.night import NIGHT
from zads.dashboards.readers import READERS
from zads.dashboards.sites import SITES

#: Every dashboard.
DASHBOARDS = (NIGHT, SITES, READERS)

__all__ = ["DASHBOARDS"]
