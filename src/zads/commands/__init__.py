"""The verbs of the ``zads`` command, one module each; ``zads.cli`` imports a module when its verb is used."""

from __future__ import annotations


def log_to_stderr() -> None:
    """One line an event: for people on a terminal, JSON for whoever collects logs elsewhere."""
    import sys

    import structlog

    terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if terminal else [structlog.processors.format_exc_info]),
            structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
