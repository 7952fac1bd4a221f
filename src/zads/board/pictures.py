"""The pictures of one alert, read from the public site when somebody opens its page; the last ones are kept."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from confluent_kafka import KafkaException

from zads.alert_card import AlertCard
from zads.board.alerts import Alert, Place
from zads.board.stream import one_record
from zads.errors import ZadsError
from zads.packet import Packet

#: Pictures that are kept, at about 50 KB each, and people who may wait for one.
KEPT, WAITING = 200, 16
_READ_SECONDS = 8.0


@dataclass(frozen=True)
class Drawn:
    """An alert's card, and its packet's size in bytes and SHA-256. ``why``: the reason if there is no card."""

    card: AlertCard | None
    size: int = 0
    digest: str = ""
    why: str = ""


class Pictures:
    """Draws alerts one at a time: Matplotlib is not made for threads, and one viewer must not slow the others.

    ``conf``: properties of a client of the public site; ``object_page`` returns a template of addresses
    (`AlertCard.of`).
    """

    def __init__(self, conf: Mapping[str, str], object_page: Callable[[], str] = lambda: "") -> None:
        self._conf, self._object_page = conf, object_page
        self._one, self._places = threading.Lock(), threading.Semaphore(WAITING)
        self._kept: OrderedDict[Place, Drawn] = OrderedDict()

    def of(self, alert: Alert) -> Drawn:
        """The pictures of an alert."""
        if not self._places.acquire(blocking=False):
            return Drawn(None, why="Too many people want pictures at this moment: try again.")
        try:
            with self._one:
                if (known := self._kept.get(alert.place)) is not None:
                    self._kept.move_to_end(alert.place)
                    return known
                drawn = self._draw(alert)
                if drawn.card is not None:
                    self._kept[alert.place] = drawn
                    while len(self._kept) > KEPT:
                        self._kept.popitem(last=False)
                return drawn
        finally:
            self._places.release()

    def _draw(self, alert: Alert) -> Drawn:
        try:
            data = one_record(self._conf, *alert.place, _READ_SECONDS)
        except KafkaException as error:
            return Drawn(None, why=f"The public site does not answer: {error.args[0].str()}")
        if data is None:
            return Drawn(None, why="The public site does not give its packet: it has expired, or the site is ill.")
        try:
            packet = Packet.trusted(data)
            if packet.candid != alert.candid:  # the topic was made anew
                return Drawn(None, why="The public site has another packet in its place.")
            card = AlertCard.of(packet, "", self._object_page())
        except ZadsError as error:
            return Drawn(None, why=f"Its packet cannot be shown: {error}")
        return Drawn(card, len(data), hashlib.sha256(data).hexdigest())
