"""How far each consumer group is behind: offsets, and the age of the first record that it has yet to read.

Neither takes a right to read. An end also counts the marker of the last transaction, which nobody reads, so one offset
in a partition is no lag. After an aborted transaction a lag can be too large until the next record comes, which is
soon: the producer repeats it. A partition in which a group has committed nothing does not count: only its reader knows
whether they begin with the oldest record or with the newest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from zads import reading
from zads.exporter import figures
from zads.exporter.figures import Found
from zads.exporter.history import History
from zads.groups import look
from zads.groups.owner import owner
from zads.reading import Partition
from zads.site.cluster import ANSWER, Cluster
from zads.site.policy import Policy, Site

#: Groups of a site that have figures of their own. The others are summed up under the name OTHERS.
MOST = 50
OTHERS = "others"
#: Groups that are asked for in one look; a user can make any number.
ASKED = 200
_NAME = 100  # characters of a name in a figure
_AT_ONCE = 4
_MARKER = 1


@dataclass(frozen=True)
class GroupLag:
    """A group: whose it is, the offsets that it has yet to read, and for how long the first has been there."""

    name: str
    kind: str
    owner: str
    offsets: int
    seconds: float


def measure(
    name: str,
    policy: Policy,
    positions: Mapping[Partition, int],
    ends: Mapping[Partition, int],
    history: History,
    now: float,
) -> GroupLag:
    """How far a group is behind in the partitions where it has been."""
    offsets, seconds = 0, 0.0
    for where, position in positions.items():
        left = ends.get(where, 0) - position
        if left > _MARKER:
            offsets += left
            seconds = max(seconds, history.age(where, position, now))
    whose = owner(name, policy)
    return GroupLag(name, whose.kind, whose.name, offsets, seconds)


def chosen(names: Iterable[str], policy: Policy, most: int = ASKED) -> list[str]:
    """The groups to ask for, at most this number: those of filters and programs first, then each user's first ones."""
    rank = {"filters": 0, "program": 1, "user": 2, "nobody": 3}
    place: dict[str, int] = {}
    ranked = []
    for name in sorted(names):
        whose = owner(name, policy)
        place[str(whose)] = number = place.get(str(whose), -1) + 1
        ranked.append((rank[whose.kind], number, name))
    return [name for *_, name in sorted(ranked)[:most]]


def summary(site: Site, lags: Collection[GroupLag], number: int, most: int = MOST) -> Found:
    """The figures of a site's groups; ``number``: of all groups that it has."""
    found: Found = {(figures.GROUPS, (site,)): number}
    for place, lag in enumerate(lags):
        labels = (site, lag.kind, lag.owner[:_NAME], lag.name[:_NAME]) if place < most else (site, "", "", OTHERS)
        lags_key, behind_key = (figures.GROUP_LAG, labels), (figures.GROUP_BEHIND, labels)
        found[lags_key] = found.get(lags_key, 0.0) + lag.offsets
        found[behind_key] = max(found.get(behind_key, 0.0), lag.seconds)
    return found


class Groups:
    """Looks at the groups of a site. A group of a user without members reads nothing, so it is not behind."""

    def __init__(self, site: Site, conf: Mapping[str, str], read_policy: Callable[[], Policy]) -> None:
        self._site, self._conf, self._read_policy = site, conf, read_policy
        self._history = History()

    def look(self) -> Found:
        """The figures now. Raises confluent_kafka.KafkaException if the site does not answer."""
        policy, cluster = self._read_policy(), Cluster(self._conf)
        listed = cluster.client.list_consumer_groups(request_timeout=ANSWER).result(2 * ANSWER)
        if listed.errors:
            raise listed.errors[0]
        reading_now = {one.group_id for one in listed.valid if one.state.name not in ("EMPTY", "DEAD")}
        reading_now |= {one.group_id for one in listed.valid if owner(one.group_id, policy).kind == "filters"}
        asked = chosen(reading_now, policy)
        places = [
            (name, number)
            for name, topic in cluster.metadata().topics.items()
            if not name.startswith("__")
            for number, one in topic.partitions.items()
            if one.leader >= 0
        ]
        # The places before the ends: no group can have read beyond an end.
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            positions = list(pool.map(lambda name: look.positions(self._conf, name, places), asked))
        read = sorted({where for found in positions for where in found})
        ends, now = reading.committed_ends(self._conf, read), time.monotonic()
        self._history.see(ends, now)
        lags = [
            measure(name, policy, found, ends, self._history, now) for name, found in zip(asked, positions, strict=True)
        ]
        return summary(self._site, lags, len(listed.valid))
