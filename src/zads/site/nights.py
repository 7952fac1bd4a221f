"""Which nights a site must have at a moment, which it may lose, and what has to be changed for that.

Everything here follows from a moment, the inventory's data and what the site has. So two programs that look at the same
site at the same moment decide the same, and a program that was away for days decides as if it had been there.

- A night is a UTC date. It begins and ends at midnight.
- The list of nights moves on at the `turn`, a time of day at which no alerts are expected. The mirror then takes up new
  topics while nothing streams.
- The nights that must exist are those before the present one whose records have not all expired (at most `past` of
  them), the present one, and `ahead` more. So a late alert of a past night finds its topic, after an outage as well.
- A topic is removed if retention had ended for its night at the last turn, and if it had then held no record for a
  day. Kafka itself removes records as they expire: a topic without records has none that is unexpired. The day is for
  people who make a night of long ago again, to publish its alerts once more.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from zads import names
from zads.errors import ZadsError
from zads.site.access import Acl, AclChanges, acl_changes, known_nights, wanted_acls
from zads.site.policy import Policy, Site
from zads.site.topics import Topic, TopicChanges, canary_topic, fixed_topics, night_topics, topic_changes

HOUR = 3600.0
DAY = 24 * HOUR
#: A topic of a night whose retention has ended stays for this long after it was first seen without a record.
EMPTY_SECONDS = DAY
#: A night that is not ready this long before it begins is late.
LATE_SECONDS = 12 * HOUR


def night_at(moment: float) -> str:
    """The night (YYYYMMDD) of a moment (Unix seconds)."""
    # Python rounds a part of a second: the last moment of a night would belong to the next one.
    return datetime.datetime.fromtimestamp(math.floor(moment), datetime.UTC).strftime("%Y%m%d")


def begin(night: str) -> float:
    """The moment (Unix seconds) at which a night begins; it ends a day later."""
    return datetime.datetime.strptime(night, "%Y%m%d").replace(tzinfo=datetime.UTC).timestamp()


def night_of(topic: str) -> str | None:
    """The night whose alerts a topic holds; None for the canaries' and any other topic, and if it is no date."""
    parts = names.parse_topic(topic)
    if parts is None or parts[0] == names.CANARY_NIGHT:
        return None
    try:
        return names.check_night(parts[0])
    except ZadsError:
        return None


@dataclass(frozen=True)
class Timetable:
    """When nights come and go.

    `retention_days`: how long records are kept. `ahead`: how many nights after the present one exist. `past`: how many
    before it at most; None: all whose records may not have expired. `turn`: seconds after midnight (UTC) at which the
    list moves on.
    """

    retention_days: float
    ahead: int = 2
    past: int | None = None
    turn: float = 22 * HOUR

    def last_turn(self, now: float) -> float:
        """The last moment, `now` or earlier, at which the list of nights moved on."""
        return math.floor((now - self.turn) / DAY) * DAY + self.turn

    def wanted(self, now: float) -> list[str]:
        """The nights of this survey that must exist, in order."""
        kept = math.ceil(self.retention_days) + 1
        oldest = now - (kept if self.past is None else min(self.past, kept)) * DAY
        # After the turn, the night after the present one counts as the present one.
        newest = now + (-self.turn) % DAY + self.ahead * DAY
        first, last = max(oldest, begin(names.FIRST_NIGHT)), min(newest, begin(names.LAST_NIGHT))
        count = math.floor(last / DAY) - math.floor(first / DAY) + 1
        found = [night_at(first + number * DAY) for number in range(count)]
        return [night for night in found if not self.ended(night, now)]

    def ended(self, night: str, moment: float) -> bool:
        """Whether retention has ended for a night: what arrived before its end has expired."""
        return begin(night) + (1 + self.retention_days) * DAY <= moment

    def removable(self, empty_since: Mapping[str, float], now: float) -> set[str]:
        """The topics that may be removed. `empty_since`: since when (Unix seconds) each has held no record."""
        turn = self.last_turn(now)
        return {
            topic
            for topic, since in empty_since.items()
            if (night := night_of(topic)) and self.ended(night, turn) and since + EMPTY_SECONDS <= turn
        }


@dataclass(frozen=True)
class Plan:
    """What a site needs: topics to create and change, grants to add and withdraw, topics to remove."""

    topics: TopicChanges
    grants: AclChanges
    remove: list[str]

    def __bool__(self) -> bool:
        return bool(self.topics or self.grants or self.remove)

    def lines(self) -> Iterator[str]:
        """A line for each change, in the order in which they are made."""
        yield from (f"grant: {acl}" for acl in self.grants.add)
        yield from (f"withdraw: {acl}" for acl in self.grants.remove)
        yield from (f"create {topic.name}, {topic.partitions} partitions" for topic in self.topics.create)
        yield from (f"grow {name} from {old} to {new} partitions" for name, (old, new) in self.topics.grow.items())
        for name, settings in self.topics.configure.items():
            yield from (f"set {key} of {name} from {old} to {new}" for key, (old, new) in settings.items())
        yield from (f"remove {name}" for name in self.remove)

    def unready(self) -> set[str]:
        """The nights that lack a topic or a grant."""
        lacking = [*(topic.name for topic in self.topics.create), *(acl.name for acl in self.grants.add)]
        return {night for name in lacking if (night := night_of(name)) is not None}


def plan(
    policy: Policy,
    site: Site,
    timetable: Timetable,
    now: float,
    present: Mapping[str, Topic],
    grants: Collection[Acl],
    removable: Collection[str] = (),
) -> Plan:
    """What a site needs at a moment (Unix seconds).

    `present`: its topics by name. `grants`: all of its access control entries. `removable`: topics that may be removed.
    Only topics of nights and of the canaries are planned, and the grants on each of them. The rest is the deployment's.
    """
    coming = timetable.wanted(now)
    canaries = [topic for topic in fixed_topics(policy, site) if topic.name == canary_topic(policy)]
    wanted = [*canaries, *night_topics(policy, site, coming)]
    changes = topic_changes([topic for topic in wanted if _changeable(topic.name, present, now)], present)
    remove = sorted({*removable} & {*present} - {topic.name for topic in wanted})
    known = known_nights(policy, site, [name for name in present if name not in remove], coming)
    difference = acl_changes(
        {acl for acl in wanted_acls(policy, site, known) if _of_night(acl)},
        # An entry that denies is a person's decision, and stays.
        {acl for acl in grants if _of_night(acl) and acl.permission == "allow"},
    )
    # Before a topic is removed its grants are withdrawn. No other program may give them back then.
    turn = timetable.last_turn(now)
    add = [acl for acl in difference.add if not ((night := night_of(acl.name)) and timetable.ended(night, turn))]
    return Plan(changes, AclChanges(add, difference.remove), remove)


def ready_until(nights: Collection[str], unready: Collection[str], now: float) -> float:
    """The moment (Unix seconds) until which every night is ready, from the present one on.

    `nights`: those that must exist; `unready`: those of them that lack something. If the present night is unready, it
    is the moment at which that began.
    """
    until = begin(night_at(now))
    while (night := night_at(until)) in nights and night not in unready:
        until += DAY
    return until


def late(unready: Collection[str], now: float) -> list[str]:
    """The unready nights that have begun and not ended, or that begin soon."""
    return sorted(night for night in unready if begin(night) - LATE_SECONDS <= now < begin(night) + DAY)


def _changeable(topic: str, present: Mapping[str, Topic], now: float) -> bool:
    """Whether a topic may be created or changed.

    One whose night has begun is only created. More partitions would break the order of an object's alerts, and its
    retention may have been prolonged by hand.
    """
    night = night_of(topic)
    return topic not in present or (night is not None and begin(night) > now)


def _of_night(acl: Acl) -> bool:
    """Whether an entry is about one topic of a night or of the canaries."""
    return acl.resource == "topic" and acl.pattern == "literal" and names.parse_topic(acl.name) is not None
