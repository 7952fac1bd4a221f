"""One round after the other: what `zads.night_keeper` says, in the steps of its docstring."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog
from confluent_kafka import KafkaError, KafkaException

from zads import canary, kafka, metrics, names, warmup
from zads.errors import ZadsError, some
from zads.night_keeper.clocks import APART_SECONDS, Clocks, offset
from zads.night_keeper.memory import Memory
from zads.site import nights
from zads.site.access import known_nights, wanted_acls
from zads.site.cluster import Cluster, passing
from zads.site.nights import Plan, Timetable
from zads.site.policy import Policy, Site
from zads.site.topics import Topic, canary_topic

#: In this order nights are made, so that the mirror finds its target.
ORDER: tuple[Site, ...] = ("public", "origin")
#: Until all brokers know that a grant was withdrawn, and a write that was under way has ended.
CLOSE_SECONDS = 10.0
#: How often a round looks at a site again while a broker or the controller moves.
TRIES = 5
CANARY_LIMIT_SECONDS = 60.0
RUNBOOK = "docs/runbooks/late-nights.md"
_NAMED = 6  # nights or topics in one line of the log; the others are counted
_FAILURES = (KafkaException, ZadsError, OSError)

_log = structlog.get_logger("zads.night-keeper")


@dataclass
class Round:
    """What a round did. `now`: the moment that it went by, in Unix seconds.

    `failures`: why something failed, by site or "mirror". `plans`: what each site needed. `unready`: the nights that
    lack something at the end. `removed`: topics that were removed, by site.
    """

    policy: Policy
    now: float
    failures: dict[str, str] = field(default_factory=dict)
    plans: dict[Site, Plan] = field(default_factory=dict)
    unready: dict[Site, set[str]] = field(default_factory=dict)
    removed: dict[Site, list[str]] = field(default_factory=dict)


class Keeper:
    """Keeps the nights of both sites.

    `confs`: properties of the keeper's client at each site. `read_policy` gives the data policy at each round. `ahead`,
    `past` and `turn` are those of `Timetable`. `warm_seconds`: how long a warm-up may take; 0: none. `rest` waits for
    some seconds and is called between steps, too; an exception from it ends the round. `clocks` replaces the measured
    clocks.
    """

    def __init__(
        self,
        confs: Mapping[Site, Mapping[str, str]],
        read_policy: Callable[[], Policy],
        *,
        ahead: int = 2,
        past: int | None = None,
        turn: float = 22 * nights.HOUR,
        memory: Memory | None = None,
        warm_seconds: float = warmup.LIMIT_SECONDS,
        close_seconds: float = CLOSE_SECONDS,
        rest: Callable[[float], object] = time.sleep,
        clocks: Callable[[], Clocks] | None = None,
    ) -> None:
        self._confs = {site: {"group.id": names.NIGHT_KEEPER, **conf} for site, conf in confs.items()}
        self._read_policy = read_policy
        self._ahead, self._past, self._turn = ahead, past, turn
        self._memory = memory or Memory()
        self._warm_seconds, self._close_seconds = warm_seconds, close_seconds
        self._rest = rest
        self._clocks = clocks
        self._last_turn: float | None = None

    def plans(self) -> Round:
        """What a round would change now, by this host's clock; nothing is changed, and no canary is sent.

        Topics are not named for removal: that takes a day of rounds.
        """
        policy = self._read_policy()
        found = Round(policy, time.time())
        for site in ORDER:
            with self._failing(found, site):
                cluster = Cluster(self._confs[site])
                present, table = cluster.topics(_concerned(cluster)), self._timetable(policy)
                found.plans[site] = nights.plan(policy, site, table, found.now, present, cluster.acls())
        return found

    def round(self) -> Round:
        """Do one round. Raises ZadsError or OSError if there is no data policy to go by."""
        # Step 1.
        policy = self._read_policy()
        table = self._timetable(policy)
        # Step 2.
        found = Round(policy, 0.0)
        clocks = self._clocks() if self._clocks else self._read_clocks(policy, found)
        found.now = clocks.now
        # Steps 3 and 4.
        needed = {"public": self._at_origin(), "origin": set()}
        for site in ORDER:
            if site not in found.failures:
                with self._failing(found, site):
                    self._tend(site, table, clocks, needed[site], found)
        # Step 5.
        self._remove(found)
        # Step 6.
        self._see_mirror(table, found)
        # Step 7.
        self._report(table, found)
        return found

    def _timetable(self, policy: Policy) -> Timetable:
        return Timetable(policy.topics_night.retention_days, self._ahead, self._past, self._turn)

    @contextmanager
    def _failing(self, found: Round, place: str) -> Iterator[None]:
        """Note a failure of a site or of the mirror, so that the round goes on elsewhere."""
        self._rest(0)
        try:
            yield
        except _FAILURES as error:
            reason = error.args[0] if isinstance(error, KafkaException) else error
            found.failures[place] = reason.str() if isinstance(reason, KafkaError) else str(error)
            _log.error("failed", place=place, reason=found.failures[place], runbook=RUNBOOK)
            metrics.NIGHTS_FAILED.labels(place).inc()
            for conf in self._confs.values():
                kafka.forget_admin({**conf, "log_level": "0"})

    def _read_clocks(self, policy: Policy, found: Round) -> Clocks:
        """The clocks of the sites that answer: step 2."""
        topic = canary_topic(policy)
        offsets: dict[Site, float] = {}
        for site in ORDER if topic is not None else ():
            with self._failing(found, site):
                try:
                    offsets[site] = offset(self._confs[site], str(topic), time.time)
                except KafkaException as error:
                    # Step 4 makes the topic of a site that lacks it.
                    if error.args[0].code() not in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
                        raise
        for site, seconds in offsets.items():
            metrics.NIGHTS_CLOCK.labels(site).set(seconds)
        own = time.time()
        clocks = Clocks(own, {site: own + seconds for site, seconds in offsets.items()})
        if not clocks.agree:
            _log.error(
                "the clocks differ: no night is removed",
                **{f"{site}_ahead_seconds": round(seconds, 1) for site, seconds in offsets.items()},
                allowed_seconds=APART_SECONDS,
                runbook=RUNBOOK,
            )
        return clocks

    def _at_origin(self) -> set[str] | None:
        """The topics of the origin, which the mirror reads; None if it does not answer."""
        try:
            return set(Cluster(self._confs["origin"]).metadata().topics)
        except KafkaException:
            return None  # `_tend` says why, if it does not answer there either

    def _tend(self, site: Site, table: Timetable, clocks: Clocks, needed: set[str] | None, found: Round) -> None:
        """Make what a site lacks: steps 3 and 4. Topics that are ``needed`` are not removed; None: no topic is.

        It is tried again while a broker or the controller moves. Raises what the site answers.
        """
        for left in reversed(range(TRIES)):
            cluster = Cluster(self._confs[site])
            try:
                return self._follow(cluster, site, table, clocks, needed, found)
            except KafkaException as error:
                if not (left and cluster.answered and passing(error)):
                    raise
                kafka.forget_admin(cluster.conf)
                self._rest(1.0)
        raise AssertionError("the last try returns or raises")

    def _follow(
        self, cluster: Cluster, site: Site, table: Timetable, clocks: Clocks, needed: set[str] | None, found: Round
    ) -> None:
        now, policy = clocks.now, found.policy
        # Step 3.
        present = cluster.topics(_concerned(cluster))
        past = [
            name for name in present if (night := nights.night_of(name)) and nights.begin(night) + nights.DAY <= now
        ]
        empty_since = self._memory.see(site, cluster.empty_topics(past), now)
        removable: set[str] = set()
        if needed is not None and self._may_remove(cluster, site, clocks, policy):
            removable = table.removable(empty_since, now) - needed
        plan = nights.plan(policy, site, table, now, present, cluster.acls(), removable)
        if self._read_policy() != policy:
            # The sites were given the new policy's grants, perhaps before the look above.
            _log.info("the data policy has changed: the next round goes by the new one", site=site)
            return
        found.plans.setdefault(site, plan)
        found.unready[site] = plan.unready()
        if overdue := nights.late(plan.unready(), now):
            _log.warning("made late: so near its beginning a night had not been ready", site=site, nights=overdue)
        for reason in plan.topics.refused:
            _log.warning("cannot be changed", site=site, reason=reason)
        # Step 4.
        self._make(cluster, site, plan, now)
        if plan:
            found.unready[site] = self._unready(
                lambda: nights.plan(
                    policy, site, table, now, cluster.topics(_concerned(cluster)), cluster.acls(), plan.remove
                )
            )

    def _unready(self, look: Callable[[], Plan]) -> set[str]:
        """The nights that lack something after what was missing was made.

        Brokers know of a new topic some moments after the controller has made it.
        """
        for _ in range(TRIES):
            if not (unready := look().unready()):
                break
            self._rest(1.0)
        return unready

    def _make(self, cluster: Cluster, site: Site, plan: Plan, now: float) -> None:
        if plan.grants.add:
            cluster.create_acls(plan.grants.add)
        if plan.grants.remove:
            cluster.delete_acls(plan.grants.remove)
        if plan.grants:
            _log.info("grants", site=site, added=len(plan.grants.add), withdrawn=len(plan.grants.remove))
        for night in in_order(plan.topics.create, now):
            self._rest(0)
            # With a broker away Kafka makes no topic. If there is no time to wait for it, it gets its replicas unseen.
            urgent = bool(nights.late([n for topic in night if (n := nights.night_of(topic.name))], now))
            cluster.create_topics(night, with_absent_brokers=urgent)
            metrics.NIGHTS_CREATED.labels(site).inc(len(night))
            _log.info("made", site=site, topics=[topic.name for topic in night])
        if plan.topics.grow:
            cluster.grow_topics({name: new for name, (_, new) in plan.topics.grow.items()})
        if plan.topics.configure:
            settings = plan.topics.configure.items()
            cluster.set_topics({name: {key: new for key, (_, new) in keys.items()} for name, keys in settings})

    @staticmethod
    def _may_remove(cluster: Cluster, site: Site, clocks: Clocks, policy: Policy) -> bool:
        """Whether a site may lose topics now: all clocks agree, its own among them, and all its brokers are up.

        Without canaries there is no clock of a site to ask. A broker that is away would keep its part of a topic.
        """
        known = site in clocks.sites or canary_topic(policy) is None
        return clocks.agree and known and not cluster.brokers()[1]

    def _remove(self, found: Round) -> None:
        """Remove the topics that each site may lose, and whose grants are withdrawn: step 5."""
        planned = {
            site: plan.remove for site, plan in found.plans.items() if site not in found.failures and plan.remove
        }
        if planned:
            self._rest(self._close_seconds)
        for site, topics in planned.items():
            with self._failing(found, site):
                found.removed[site] = self._remove_at(site, topics, found.policy)

    def _remove_at(self, site: Site, topics: Collection[str], policy: Policy) -> list[str]:
        """Remove those of the topics that still hold no record, and on which nobody has a grant."""
        cluster = Cluster(self._confs[site])
        empty = cluster.empty_topics(topics)
        granted = {acl.name for acl in cluster.acls() if acl.resource == "topic" and acl.permission == "allow"}
        used = [name for name in topics if name not in empty and name in cluster.metadata().topics]
        if used:
            known = known_nights(policy, site, used)
            cluster.create_acls([acl for acl in wanted_acls(policy, site, known) if acl.name in used])
            _log.warning("kept: an alert came at the last moment", site=site, topics=used)
        gone = [name for name in topics if name in empty and name not in granted]
        if gone:
            cluster.delete_topics(gone)
            metrics.NIGHTS_REMOVED.labels(site).inc(len(gone))
            _log.info("removed: retention has ended, and they held no record", site=site, topics=gone)
        return gone

    def _see_mirror(self, table: Timetable, found: Round) -> None:
        """Send canaries through the mirror: step 6."""
        topic = canary_topic(found.policy)
        turn, before = table.last_turn(found.now), self._last_turn
        self._last_turn = turn
        if topic is None or found.failures:
            return
        origin, public = self._confs["origin"], self._confs["public"]
        made = any(plan.topics.create for plan in found.plans.values())
        with self._failing(found, "mirror"):
            try:
                if self._warm_seconds and (made or (before is not None and turn > before)):
                    at_least = warmup.NEW_TOPICS_SECONDS if made else 0.0
                    measured = warmup.warm(
                        origin, public, topic, seconds=self._warm_seconds, at_least=at_least, say=self._say
                    )
                    _log.info("warmed up", result=str(measured))
                    seconds = measured.last["p50"]
                else:
                    seconds = canary.send(origin, public, topic, limit=CANARY_LIMIT_SECONDS).read_seconds
                metrics.NIGHTS_CANARY.set(seconds)
            except ZadsError:
                metrics.NIGHTS_CANARY.set(float("nan"))
                raise

    def _say(self, line: str) -> None:
        self._rest(0)
        _log.debug(line)

    def _report(self, table: Timetable, found: Round) -> None:
        """Set the metrics, and log which nights are late: step 7."""
        wanted = table.wanted(found.now)
        for site, unready in found.unready.items():
            overdue = nights.late(unready, found.now)
            metrics.NIGHTS_READY_UNTIL.labels(site).set(nights.ready_until(wanted, unready, found.now))
            metrics.NIGHTS_LATE.labels(site).set(len(overdue))
            if overdue:
                _log.error("late", site=site, nights=some(overdue, _NAMED), runbook=RUNBOOK)
        if not found.failures:
            metrics.NIGHTS_LAST.set_to_current_time()


def in_order(topics: Collection[Topic], now: float) -> list[list[Topic]]:
    """Topics by night, in the order in which they are needed: others, the present night, later ones, then past ones."""
    groups: dict[str, list[Topic]] = {}
    for topic in topics:
        groups.setdefault(nights.night_of(topic.name) or "", []).append(topic)
    present = nights.night_at(now)
    coming = sorted(night for night in groups if not night or night >= present)
    past = sorted((night for night in groups if night and night < present), reverse=True)
    return [groups[night] for night in [*coming, *past]]


def _concerned(cluster: Cluster) -> list[str]:
    """The topics of nights and of the canaries that a site has."""
    return [name for name in cluster.metadata().topics if names.parse_topic(name)]
