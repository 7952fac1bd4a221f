"""Keeps open pages live by server-sent events: each connection gets the parts of the page that have changed.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable

from zads import metrics
from zads.board.parts import Parts
from zads.board.view import View

#: Open pages that are served at the same time, and those of one address.
MOST, MOST_BY_ADDRESS = 400, 40
TICK_SECONDS = 2.0
#: An empty line that keeps the connection alive through proxies.
_ALIVE_SECONDS = 14.0


class Live:
    """Serves open pages. ``parts`` renders; each connection has a place, so that their number is bounded."""

    def __init__(self, parts: Parts, most: int = MOST, most_by_address: int = MOST_BY_ADDRESS) -> None:
        self._parts, self._most, self._most_by_address = parts, most, most_by_address
        self._open: Counter[str] = Counter()
        #: Whether the program stops: then every connection ends.
        self.stopping: Callable[[], bool] = lambda: False

    def has_place(self, address: str) -> bool:
        """Whether one more page of this address may be open."""
        return self._open.total() < self._most and self._open[address] < self._most_by_address

    async def events(self, address: str, view: View, seen_now: Callable[[], View]) -> AsyncIterator[bytes]:
        """The events of an open page. It ends if the view of this person has changed (`seen_now`)."""
        self._open[address] += 1
        metrics.BOARD_PAGES.set(self._open.total())
        sent: dict[str, str] = {}
        quiet = 0.0
        try:
            while not self.stopping():
                if seen_now() != view:
                    yield b"event: changed\ndata:\n\n"
                    return
                parts = await asyncio.to_thread(self._parts.of, view)
                if news := {name: html for name, html in parts.items() if sent.get(name) != html}:
                    sent.update(news)
                    quiet = 0.0
                    yield f"event: parts\ndata: {json.dumps(news)}\n\n".encode()
                elif quiet >= _ALIVE_SECONDS:
                    quiet = 0.0
                    yield b":\n\n"
                quiet += TICK_SECONDS
                await asyncio.sleep(TICK_SECONDS)
        finally:
            self._open[address] -= 1
            self._open += Counter()  # forget addresses without a page
            metrics.BOARD_PAGES.set(self._open.total())
