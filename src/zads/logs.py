"""How our programs log: an event a line, as JSON, with a priority that the journal understands.

A deployed program writes lines such as

    <4>{"level": "warning", "event": "refused", "source": "58451.1/a.avro", ..., "timestamp": "2018-11-29T04:00:00Z"}

The journal takes the number as the entry's priority and keeps the rest. Images set ZADS_LOG=journal, which makes
programs write in this form. Without it the number is left out, and on a terminal a line is made for people.

A line is always one line. What it quotes is escaped, cut after MOST characters, and shows no secret: passwords of the
program's own Kafka clients, and what follows a word such as ``password=``. An alert is named by *candid* and *visit*,
as texts: as numbers candids would change in programs that have only doubles.
"""

from __future__ import annotations

import datetime
import json
import logging
import math
import os
import re
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from zads import output
from zads.secrecy import Secrets

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from types import TracebackType

    _Event = MutableMapping[str, Any]

#: The journal's priorities (syslog's), by our levels.
PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
MOST = 4_000  # characters of a text in an event
#: What other packages repeat is logged once in this time: a Kafka client without brokers says so 20 times a second.
REPEAT_SECONDS = 30.0
_CLIENTS = "zads.kafka-client"
_REMEMBERED = 100  # messages whose repetitions are counted
_NUMBERS = re.compile("[0-9]+")

_known: dict[str, str] = {}
_secrets = Secrets(_known)
_begun = False


def for_journal() -> bool:
    """Whether this process writes to a journal, which reads priorities."""
    return os.environ.get("ZADS_LOG") == "journal"


def hide(secret: str, name: str) -> None:
    """Let no line show a secret from now on; `name` says in its place what was there."""
    global _secrets
    if _known.get(secret) != name:
        _known[secret] = name
        _secrets = Secrets(_known)


def begin() -> None:
    """Log to standard error from now on: for people on a terminal, one JSON object a line elsewhere.

    Elsewhere, exceptions that nothing catches, warnings of Python, and what other packages log are events, too.
    """
    global _begun
    import structlog

    terminal = sys.stderr.isatty() and not for_journal()
    form: list[Any] = (
        [_escaped, structlog.processors.TimeStamper(fmt="iso", utc=True), structlog.dev.ConsoleRenderer()]
        if terminal
        else [structlog.processors.format_exc_info, _rendered]
    )
    structlog.configure(
        processors=[structlog.processors.add_log_level, *form],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    if not terminal:
        _begun = True
        handler = _Handler()
        logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
        logging.captureWarnings(True)
        sys.excepthook = _uncaught
        threading.excepthook = lambda found: _uncaught(found.exc_type, found.exc_value, found.exc_traceback)


def line(level: str, event: str, **fields: Any) -> None:
    """Log an event without structlog: for programs that have not begun to log, or are about to end."""
    sys.stderr.write(_rendered(None, level, {"level": level, "event": event, **fields}) + "\n")
    sys.stderr.flush()


def client_logger() -> logging.Logger | None:
    """What a Kafka client logs to, so that its lines are events as well; None where people read them."""
    return logging.getLogger(_CLIENTS) if _begun else None


def _escaped(_: Any, __: str, event: _Event) -> _Event:
    """Escape what an event quotes: it may hold control characters, which a terminal would obey."""
    return {key: output.plain(value) if isinstance(value, str) else value for key, value in event.items()}


def _rendered(_: Any, name: str, event: _Event) -> str:
    """An event as its line."""
    level = str(event.pop("level", name))
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    ordered = {"level": level, "event": event.pop("event", ""), **event, "timestamp": now}
    # Lone surrogates, as in names of files that are not UTF-8, become escapes: the text is plain ASCII.
    text = _secrets.hide(json.dumps(_bounded(ordered), default=repr))
    return f"<{PRIORITIES.get(level, 6)}>{text}" if for_journal() else text


def _bounded(value: Any) -> Any:
    """A value without secrets that is not too long, with integers that every program reads as they are."""
    if isinstance(value, str):
        value = _secrets.hide(value)  # before JSON spells it in another way
        return value if len(value) <= MOST else f"{value[:MOST]}... ({len(value)} characters)"
    if isinstance(value, dict):
        return {str(key): _bounded(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_bounded(one) for one in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > output.EXACT:
        return str(value)
    return value if value is None or isinstance(value, (bool, int, float)) else _bounded(repr(value))


class _Handler(logging.Handler):
    """Writes what other packages log as events, and what they repeat only from time to time."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, str], tuple[float, int]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Write an event."""
        try:
            text = record.getMessage()
            repeated = self._repeated((record.name, _NUMBERS.sub("", text)))
            if repeated is None:
                return
            fields: dict[str, Any] = {"repeated": repeated} if repeated else {}
            if record.exc_info is not None:
                fields["exception"] = logging.Formatter().formatException(record.exc_info)
            level = record.levelname.lower()
            line(level if level in PRIORITIES else "warning", text, logger=record.name, **fields)
        except Exception:
            self.handleError(record)

    def _repeated(self, key: tuple[str, str]) -> int | None:
        """How often a message was left out since it was written, or None if it is to be left out now."""
        now = time.monotonic()
        then, left_out = self._said.pop(key, (-math.inf, 0))
        if now - then < REPEAT_SECONDS:
            self._said[key] = then, left_out + 1
            return None
        self._said[key] = now, 0
        while len(self._said) > _REMEMBERED:
            del self._said[next(iter(self._said))]
        return left_out


def _uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    """Log an exception that nothing caught, with its traceback in the same line."""
    if issubclass(kind, (KeyboardInterrupt, SystemExit)):
        return
    # Confluent's client may raise a KafkaError from C, which is no exception.
    shown = error if isinstance(error, BaseException) else RuntimeError(str(error))
    found = logging.Formatter().formatException((type(shown), shown, trace))
    line("critical", f"{kind.__name__}: {error}", exception=found)
