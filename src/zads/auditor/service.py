"""The auditor as a service: a round, a rest, and so on until it is stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from zads import metrics
from zads.errors import ZadsError
from zads.rest import StopRequested

if TYPE_CHECKING:
    from zads.auditor.auditor import Auditor
    from zads.rest import Rest

_log = structlog.get_logger("zads.auditor")


def run(auditor: Auditor, rest: Rest, interval: float) -> None:
    """Do rounds until stopped, with `interval` seconds between them. What hinders a round does not end the service."""
    _log.info("started")
    try:
        while True:
            try:
                auditor.round()
                metrics.AUDIT_LAST_ROUND.set_to_current_time()
            except (ZadsError, OSError, ValueError) as error:
                _log.error("no round", reason=str(error))
                metrics.AUDIT_FAILURES.inc()
            rest(interval)
    except StopRequested:
        _log.info("stopped")
