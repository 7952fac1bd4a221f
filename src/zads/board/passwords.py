"""Checks a password against the public site itself, and lets nobody try many."""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from zads import metrics
from zads.site.people import USER_NAME

#: A name that fails this often within WINDOW_SECONDS has to wait; so has an address, which many people may share.
MOST_BY_USER, MOST_BY_ADDRESS = 5, 20
WINDOW_SECONDS = 300.0
#: Checks at the same time; further ones are refused.
AT_ONCE = 4
#: The longest password that is sent to the site, in bytes.
MOST_BYTES = 250
_SECONDS = 8.0
_REMEMBERED = 10_000
_KEPT = ("security.protocol", "ssl.", "bootstrap.servers")


class Answer(Enum):
    """What became of an attempt to sign in."""

    RIGHT = "right"
    WRONG = "wrong"
    TOO_MANY = "too many"
    UNKNOWN = "no answer"


class Attempts:
    """Counts the attempts of each name and address that failed. Threads may share it. ``clock`` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._failed: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()

    def too_many(self, user: str, address: str) -> bool:
        """Whether this name or this address has to wait."""
        with self._lock:
            return self._count("user", user) >= MOST_BY_USER or self._count("address", address) >= MOST_BY_ADDRESS

    def failed(self, user: str, address: str) -> None:
        """Count an attempt that failed."""
        with self._lock:
            for key in (("user", user), ("address", address)):
                self._failed.setdefault(key, deque(maxlen=MOST_BY_ADDRESS)).append(self._clock())
                self._failed.move_to_end(key)
            while len(self._failed) > _REMEMBERED:
                self._failed.popitem(last=False)

    def _count(self, kind: str, name: str) -> int:
        since = self._clock() - WINDOW_SECONDS
        return sum(moment > since for moment in self._failed.get((kind, name), ()))


class Passwords:
    """Checks passwords at the site that ``conf`` (properties of a client) connects to."""

    def __init__(self, conf: Mapping[str, str], attempts: Attempts | None = None) -> None:
        self._conf = {name: value for name, value in conf.items() if name.startswith(_KEPT)}
        self._attempts = attempts or Attempts()
        self._free = threading.Semaphore(AT_ONCE)
        # A site that asks for no password would call every one right.
        self._asks = conf.get("security.protocol", "").upper().startswith("SASL_")

    def check(self, user: str, password: str, address: str) -> Answer:
        """Whether this is the password of a user. The answer is the same for a wrong password and an unknown name."""
        answer = self._check(user, password, address)
        metrics.BOARD_SIGN_INS.labels(answer.value).inc()
        return answer

    def _check(self, user: str, password: str, address: str) -> Answer:
        if not self._asks:
            return Answer.UNKNOWN
        if self._attempts.too_many(user, address) or not self._free.acquire(blocking=False):
            return Answer.TOO_MANY
        try:
            # The names of programs have a dot, and they do not sign in.
            sound = re.fullmatch(USER_NAME, user) and 0 < len(password.encode()) <= MOST_BYTES and "\0" not in password
            answer = self._ask(user, password) if sound else Answer.WRONG
        finally:
            self._free.release()
        if answer is Answer.WRONG:
            self._attempts.failed(user, address)
        return answer

    def _ask(self, user: str, password: str) -> Answer:
        """Log in at the site by the mechanism of every client. The password is in no log and no other property."""
        errors: list[KafkaError] = []
        login: dict[str, Any] = {
            **self._conf, "sasl.mechanism": "SCRAM-SHA-512", "sasl.username": user,
            "sasl.password": password, "error_cb": errors.append, "log_level": 0,
        }  # fmt: skip
        try:
            client, until = AdminClient(login), time.monotonic() + _SECONDS
        except (KafkaException, ValueError):
            return Answer.WRONG
        while time.monotonic() < until:
            try:
                client.list_topics(timeout=1)
            except KafkaException:
                client.poll(0)  # only then librdkafka reports why
                if any(one.code() == KafkaError._AUTHENTICATION for one in errors):
                    return Answer.WRONG
            else:
                return Answer.RIGHT
        return Answer.UNKNOWN
