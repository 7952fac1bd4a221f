"""The exporter as a service: its settings, its parts, and the loop of each."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from confluent_kafka import KafkaException

from zads import names, wholefile
from zads.errors import ZadsError
from zads.exporter.brokers import Brokers
from zads.exporter.canaries import ODD, Canaries
from zads.exporter.disk_figures import Disks
from zads.exporter.expiry import Expiry
from zads.exporter.figures import Figures, Found
from zads.exporter.lag import Groups
from zads.exporter.mirror import Mirror
from zads.site.policy import SITES, Policy, Site
from zads.site.topics import canary_topic
from zads.watchdog import Watchdog

#: Seconds from look to look.
SITE_EVERY, MIRROR_EVERY, GROUPS_EVERY, DISKS_EVERY, CERTIFICATES_EVERY = 10.0, 5.0, 30.0, 300.0, 900.0
#: A look that takes longer hangs: the process ends, and its service starts it again.
HUNG_SECONDS = 600.0
_BEAT_SECONDS = 2.0
_FAILURES = (KafkaException, ZadsError, OSError, ValueError)
_log = structlog.get_logger("zads.exporter")


@dataclass(frozen=True)
class Settings:
    """What a deployment says: the data policy, each site's brokers (hosts by number), the least free part of a disk."""

    policy: Policy
    brokers: Mapping[Site, Mapping[int, str]]
    free_percent: int

    @classmethod
    def read(cls, path: Path) -> Settings:
        """From a JSON file. Raises ZadsError if it is not one of a deployment."""
        try:
            found: Any = json.loads(wholefile.read(path))
            brokers: dict[Site, dict[int, str]] = {
                site: {int(number): str(host) for number, host in found["brokers"][site].items()} for site in SITES
            }
            return cls(Policy.read(found["policy"]), brokers, int(found["free_percent"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ZadsError(f"{path} cannot be used: {error!r}", hint="a deployment writes it: make deploy") from error


class StopRequested(Exception):
    """The process was asked to end."""


@dataclass
class _Part:
    """A part of the work: what it looks at, how often, and what is still known when it fails."""

    name: str
    every: float
    look: Callable[[], Found]
    lost: Callable[[], Found] = dict
    began: float | None = None  # of a look that is under way
    why: str = ""  # the last look failed


class Exporter:
    """All parts, for the clients of both sites. `read_settings` gives the settings at each look."""

    def __init__(self, confs: Mapping[Site, Mapping[str, str]], read_settings: Callable[[], Settings]) -> None:
        settings = read_settings()
        self.figures = Figures()
        self._stop = threading.Event()
        group = names.EXPORTER
        clients = {site: {"group.id": group, **conf} for site, conf in confs.items()}

        def policy() -> Policy:
            return read_settings().policy

        self._parts = [_Part("mirror", MIRROR_EVERY, Mirror(clients, policy, group).look)]
        for site in SITES:
            self._parts += _of_site(site, clients[site], read_settings)
        topic = canary_topic(settings.policy)
        self._canaries = Canaries(clients, topic) if topic else None

    def once(self) -> dict[str, str]:
        """Each part looks once, without canaries. Returns why parts failed."""
        return {part.name: why for part in self._parts if (why := self._look(part))}

    def run(self, heartbeat: Path | None = None) -> None:
        """Look until `stop` is called."""
        threads = [threading.Thread(target=partial(self._repeat, part), daemon=True) for part in self._parts]
        if self._canaries is not None:
            threads.append(threading.Thread(target=self._fly, args=(self._canaries,), daemon=True))
        for thread in threads:
            thread.start()
        watchdog = Watchdog("exporter", HUNG_SECONDS / 2, heartbeat=heartbeat)
        while not self._stop.wait(_BEAT_SECONDS):
            now = time.monotonic()
            oldest = min((part.began for part in self._parts if part.began is not None), default=now)
            if all(thread.is_alive() for thread in threads) and now - oldest < HUNG_SECONDS / 2:
                watchdog.beat()
        watchdog.rest()
        _log.info("stopped")

    def stop(self) -> None:
        """End `run`."""
        self._stop.set()

    def _repeat(self, part: _Part) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            self._look(part)
            self._stop.wait(max(0.0, part.every - (time.monotonic() - began)))

    def _look(self, part: _Part) -> str:
        """One look; returns why it failed. A failure is logged once, until a look succeeds."""
        part.began = began = time.monotonic()
        why = ""
        try:
            found = part.look()
        except _FAILURES as error:
            why = error.args[0].str() if isinstance(error, KafkaException) else str(error) or type(error).__name__
        except (KeyboardInterrupt, SystemExit):
            raise
        except:  # noqa: E722 - the client may raise a KafkaError from C, which is no exception: no class matches it
            # Whatever it is, the next look may succeed, and this thread must make it. Python cannot say what it is.
            why = ODD
        if why:
            self.figures.failed(part.name, part.lost(), time.monotonic() - began)
        else:
            self.figures.put(part.name, found, time.monotonic() - began)
        if why and why != part.why:
            _log.warning("a look failed", part=part.name, reason=why)
        elif part.why and not why:
            _log.info("a look succeeds again", part=part.name)
        part.began, part.why = None, why
        return why

    def _fly(self, canaries: Canaries) -> None:
        def rest(seconds: float) -> None:
            if self._stop.wait(seconds):
                raise StopRequested

        with contextlib.suppress(StopRequested):
            canaries.run(rest)


def _of_site(site: Site, conf: Mapping[str, str], read: Callable[[], Settings]) -> list[_Part]:
    def brokers() -> Mapping[int, str]:
        return read().brokers[site]

    looks = Brokers(site, conf, brokers)
    disks = Disks(site, conf, lambda: (read().brokers[site], read().free_percent))
    return [
        _Part(site, SITE_EVERY, looks.look, looks.lost),
        _Part(f"{site} disks", DISKS_EVERY, disks.look),
        _Part(f"{site} groups", GROUPS_EVERY, Groups(site, conf, lambda: read().policy).look),
        _Part(f"{site} certificates", CERTIFICATES_EVERY, Expiry(site, conf, brokers).look),
    ]
