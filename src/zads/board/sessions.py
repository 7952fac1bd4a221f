"""Who has signed in: a name in a signed cookie that expires. The board keeps no password.

The cookie is bound to this host, sent over TLS alone, never given to scripts, and not sent with another site's request.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict

import itsdangerous

#: Seconds until people must sign in again.
LIFE_SECONDS = 8 * 3600
#: The prefix makes browsers refuse a cookie of this name that is not Secure or is for several hosts.
COOKIE = "__Host-zads-board"
_MOST_ENDED = 10_000


class Sessions:
    """Makes and reads the cookie's value. ``key``: a secret that only this deployment has."""

    def __init__(self, key: str, life: int = LIFE_SECONDS) -> None:
        self._signer = itsdangerous.URLSafeTimedSerializer(key, salt="zads.board.session")
        self._life = life
        self._ended: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, user: str) -> str:
        """The value of the cookie of a user who has just signed in."""
        return str(self._signer.dumps([user, secrets.token_urlsafe(16)]))

    def user(self, value: str) -> str:
        """The user of a cookie's value; "" if it is not one of ours, too old, or has been ended."""
        user, number = self._read(value)
        return user if number and number not in self._ended else ""

    def end(self, value: str) -> None:
        """Sign out: the value is worth nothing from now on. It is remembered as long as it would have lived."""
        _, number = self._read(value)
        if number:
            with self._lock:
                self._ended[number] = time.monotonic() + self._life
                while self._ended and (
                    len(self._ended) > _MOST_ENDED or next(iter(self._ended.values())) < time.monotonic()
                ):
                    self._ended.popitem(last=False)

    def _read(self, value: str) -> tuple[str, str]:
        try:
            user, number = self._signer.loads(value, max_age=self._life)
        except (itsdangerous.BadData, TypeError, ValueError):
            return "", ""
        return (user, number) if isinstance(user, str) and isinstance(number, str) else ("", "")
