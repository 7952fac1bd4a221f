"""Plays a night on a deployed system: topics, warm-up, visits at their pace, and the wait for all of it to arrive."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

from confluent_kafka import KafkaException

from zads import audit, warmup
from zads.demo.arrival import Arrival, too_few
from zads.demo.night import Night
from zads.demo.sites import Sites
from zads.demo.spool import Spool
from zads.errors import ZadsError
from zads.inventory import Inventory
from zads.liveview import Hop, LiveView
from zads.site.topics import canary_topic
from zads.subscriber import Subscriber, percentiles

#: Seconds after the last visit within which the night must be at every hop, even if a machine is lost meanwhile.
SETTLE_SECONDS = 300.0
#: Seconds between updates of the view, and between questions for the filters' place in the stream.
LOOK_SECONDS = 0.5
FILTERS_SECONDS = 2.0
#: The live view's latencies cover this many alerts, the newest.
RECENT = 500
#: Seconds before the night is read again because an audit found something missing; doubled each time.
AUDIT_AGAIN_SECONDS = 2.0


class Play:
    """A night that is played on a deployed environment. ``say`` gets lines for people, ``view`` the progress."""

    def __init__(
        self, inventory: Inventory, night: Night, spool: Spool, say: Callable[[str], None], view: LiveView
    ) -> None:
        self.sites = Sites(inventory, night)
        #: A reader at each site: at the public one a user, at the origin the administrator.
        self.readers: dict[str, Subscriber] = {}
        self._inventory, self._night, self._spool, self._say, self._view = inventory, night, spool, say, view
        self._arrival = Arrival(self.sites, spool)
        self._dropped = 0
        self._behind: tuple[float, dict[str, int]] = (0.0, {})

    def run(self, interval: float, warm_seconds: float = 0.0) -> audit.Audit:
        """Drop a visit every ``interval`` seconds, then wait until the whole night is at every hop.

        Raises ZadsError that names the hop which lacks something.
        """
        new_topics = self._create_topics()
        if new_topics or too_few(self.sites.ends(), self._night.counts):
            self._warm(warm_seconds, new_topics)
        else:
            self._say("both sites seem to have this night already: no warm-up, and nothing should be published again")
        try:
            self.readers["origin"] = Subscriber(self.sites.origin, self.sites.origin_topics)
            self.readers["public"] = Subscriber(self.sites.subscriber, self.sites.public_topics)
            for reader in self.readers.values():
                reader.start()
            with self._view:
                self._drop_all(interval)
                return self._settle()
        finally:
            for reader in self.readers.values():
                reader.close()

    def latencies(self) -> dict[str, dict[str, float]]:
        """Percentiles of the latency of all alerts at each site where this run read any, in seconds."""
        found = {site: percentiles(reader.latencies) for site, reader in self.readers.items()}
        return {site: ages for site, ages in found.items() if ages}

    def _create_topics(self) -> bool:
        """Create the night's missing topics with the operators' own playbook. Returns whether any were missing."""
        if self.sites.have_topics():
            return False
        nights = ",".join(self._night.nights)
        self._say(f"topics of the night {nights}")
        command = [str(self._inventory.root / "scripts/ansible"), self._inventory.env, "night"]
        # The demo warms up itself, and shows it.
        command += ["-e", f"night={nights}", "-e", "night_warm_seconds=0"]
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if result.returncode:
            raise ZadsError(f"the night's topics could not be made: {result.stdout[-2000:]}")
        return True

    def _warm(self, seconds: float, new_topics: bool) -> None:
        """Send canaries until fresh processes are quick and new topics are mirrored; none if ``seconds`` is 0."""
        topic = canary_topic(self.sites.policy)
        if seconds > 0 and topic is not None:
            self._say(f"warming up with canaries until 99 % are read within {warmup.UNTIL_SECONDS:g} s")
            at_least = warmup.NEW_TOPICS_SECONDS if new_topics else 0.0
            origin, public = self.sites.origin, self.sites.public
            reached = warmup.warm(origin, public, topic, seconds=seconds, at_least=at_least, say=self._say)
            self._say(str(reached))

    def _drop_all(self, interval: float) -> None:
        """Drop the visits at their pace."""
        started = time.monotonic()
        total = len(self._night.visits)
        for number, visit in enumerate(self._night.visits, start=1):
            due = started + (number - 1) * interval
            while (left := due - time.monotonic()) > 0:
                time.sleep(min(left, LOOK_SECONDS))  # the telescope's pace: this waits for no condition
                self._show(f"visit {number - 1} of {total}")
            self._spool.put(f"{visit.name}.tar", visit.tar())
            self._dropped += len(visit.packets)
            self._show(f"visit {number} of {total}")

    def _settle(self) -> audit.Audit:
        """Wait until nothing shows that alerts are under way, then read all of the night.

        If something is missing the night is read again, each time after a longer rest.
        """
        deadline = time.monotonic() + SETTLE_SECONDS
        rest, not_before = AUDIT_AGAIN_SECONDS, 0.0
        missing = "nothing has been looked at"
        while time.monotonic() < deadline:
            signs = self._arrival.under_way(dict(self.readers["public"].ends))
            if signs:
                missing = signs
            elif time.monotonic() >= not_before:
                missing, found = self._arrival.audit()
                if not missing and found is not None:
                    return found
                not_before, rest = time.monotonic() + rest, 2 * rest
            self._show(f"waiting: {missing}")
            time.sleep(LOOK_SECONDS)
        raise ZadsError(f"after {SETTLE_SECONDS:g} s still: {missing}", hint="see the logs of the hop that lags")

    def _show(self, doing: str) -> None:
        self._view.update(doing, self._hops())

    def _hops(self) -> list[Hop]:
        """Where the night's alerts are now."""
        found = [Hop("dropped", self._dropped)]
        for site, reader in self.readers.items():
            found.append(Hop(site, reader.read.total(), self._to_come(site), percentiles(reader.latencies[-RECENT:])))
        for group, behind in self._groups_behind().items():
            found.append(Hop(f"filters {group}", max(0, self.readers["public"].read.total() - behind), behind))
        return found

    def _to_come(self, site: str) -> int:
        """How many alerts origin has for a site that the site's reader has not read."""
        origin, reader = self.readers["origin"].read, self.readers[site].read
        return max(0, sum(origin[name] - reader[name] for name in self.sites.public_topics))

    def _groups_behind(self) -> dict[str, int]:
        """How many records each group of filters is behind the subscriber; updated every FILTERS_SECONDS."""
        asked, known = self._behind
        if time.monotonic() - asked > FILTERS_SECONDS:
            ends = dict(self.readers["public"].ends)
            try:
                known = {group: self.sites.group_behind(group, ends) for group in self.sites.policy.groups()}
            except (KafkaException, TimeoutError):
                known = {}  # a broker is down: the view shows no filters until it is back
            self._behind = time.monotonic(), known
        return known
