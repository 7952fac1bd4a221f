"""The verbs of the ``zads`` command, one module each; ``zads.cli`` imports a module when its verb is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zads import output

if TYPE_CHECKING:
    from collections.abc import MutableMapping


def _escaped(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escape what an event quotes: it may hold control characters, which a terminal would obey."""
    return {key: output.plain(value) if isinstance(value, str) else value for key, value in event.items()}


def log_to_stderr() -> None:
    """Log each event as one line on stderr: readable on a terminal, JSON elsewhere."""
    import sys

    import structlog

    terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            *([_escaped] if terminal else []),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if terminal else [structlog.processors.format_exc_info]),
            structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
