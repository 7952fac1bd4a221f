"""A night played through a deployed system: exposures into the spool, a subscriber at the public site, and the proof.

The demo does what the outside world does and no more: it drops exposures where the pipeline drops them, reads as a
subscriber reads, and then counts and digests what the clusters hold. Everything in its report comes from the clusters.
"""

from __future__ import annotations

import io
import json
import shlex
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from confluent_kafka import KafkaException
from rich.console import Console
from rich.text import Text

from zads import access, audit, kafka, pages, principals, shown, topics, warmup
from zads.errors import ZadsError
from zads.inventory import Inventory
from zads.liveview import Hop, LiveView
from zads.packet import Packet
from zads.report import Passed
from zads.sources import files, simulator
from zads.subscriber import Subscriber, percentiles

#: The night must be at every hop so long after its last exposure was dropped; a machine may be lost in between.
SETTLE_SECONDS = 300.0
#: How often the view is brought up to date, and the filters' place in the stream is asked for.
LOOK_SECONDS = 0.5
FILTERS_SECONDS = 2.0
#: Latencies of the view are those of so many alerts, the newest.
RECENT = 500
#: Rest before the night is read once more after an audit that lacked something; doubled each time.
AUDIT_AGAIN_SECONDS = 2.0
#: A visit every 40 s is the telescope's pace; the demo's own is this much faster.
DEFAULT_SPEED = 40.0
#: Within it 99 % of the alerts are to be read, when exposures come at the telescope's pace (docs/bench.md).
TARGET_SECONDS = 2.0
#: What a filter's workers count of a night's alerts that they were offered.
COUNTED = ("seen", "passed", "capped", "failed")


@dataclass
class Exposure:
    """One visit's packets: the name under which it is dropped, and its files."""

    name: str
    visit: str
    packets: list[tuple[str, bytes]] = field(default_factory=list)

    def tar(self) -> bytes:
        """The exposure as an archive, the same bytes every time."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name, data in self.packets:
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(data), 0o644
                archive.addfile(member, io.BytesIO(data))
        return buffer.getvalue()


@dataclass
class Night:
    """What is to be played: exposures in their order, and what they add up to."""

    exposures: list[Exposure]
    source: str
    #: topic -> how many different alerts of it are played
    counts: dict[str, int]

    @property
    def nights(self) -> list[str]:
        """The nights of these packets; one demo may play several."""
        return sorted({parsed[0] for name in self.counts if (parsed := topics.parse(name))})

    @property
    def alerts(self) -> int:
        """How many alerts are played."""
        return sum(self.counts.values())


def recorded(path: Path) -> Night:
    """A night from real packets: a directory or an archive of them, grouped by exposure, oldest first.

    Errors: ZadsError when there is none, or when one is no packet.
    """
    exposures: dict[str, Exposure] = {}
    counts: dict[str, int] = {}
    for name, data in files.packets(path):
        packet = Packet.parse(data, source=name)
        visit = packet.visit
        one = exposures.setdefault(visit, Exposure(f"{packet.night}-{visit}", visit))
        one.packets.append((Path(name).name, data))
        counts[packet.topic] = counts.get(packet.topic, 0) + 1
    if not exposures:
        raise ZadsError(f"there are no packets in {path}", hint="name a directory or a .tar.gz of .avro files")
    return Night([exposures[visit] for visit in sorted(exposures)], str(path), counts)


def simulated(night: str, visits: int, alerts_per_visit: int, seed: int = 1) -> Night:
    """A night that never was, the same for the same seed."""
    exposures = []
    counts: dict[str, int] = {}
    for visit, packets in simulator.simulate(night, visits, alerts_per_visit, seed):
        exposures.append(Exposure(f"{night}-{visit}", visit, packets))
        for _, data in packets:
            name = Packet.trusted(data).topic
            counts[name] = counts.get(name, 0) + 1
    return Night(exposures, "", counts)


# --- where the pipeline drops what it has --------------------------------------------------------------------------


class Drop(Protocol):
    """A producer's spool, wherever it is."""

    def put(self, name: str, content: bytes) -> None:
        """Put an archive into the spool, whole or not at all."""

    def pending(self) -> int:
        """How many of the exposures that were put there wait."""


class RemoteDrop:
    """A spool on a host of the inventory, reached as Ansible reaches it: through the engine or by SSH."""

    def __init__(self, inventory: Inventory) -> None:
        hosts = inventory.group("producers")
        if not hosts:
            raise ZadsError(f"inventory {inventory.env} has no host in the group producers")
        variables = inventory.hosts[hosts[0]]
        self._incoming = f"{variables.get('producer_spool', '/var/lib/zads/producer/spool')}/incoming"
        self._host, self._variables = hosts[0], variables
        self._put: set[str] = set()

    def put(self, name: str, content: bytes) -> None:
        """Write under a hidden name, then rename: the producer never sees half an exposure."""
        there, hidden = f"{self._incoming}/{name}", f"{self._incoming}/.{name}"
        self._run(f"cat > '{hidden}' && mv '{hidden}' '{there}'", content)
        self._put.add(name)

    def pending(self) -> int:
        """How many of the exposures that were put there wait; another's may be deferred for days."""
        return len(self._put.intersection(self._run(f"ls '{self._incoming}'").decode(errors="replace").split("\n")))

    def _run(self, script: str, given: bytes = b"") -> bytes:
        command = on_host(self._host, self._variables, script)
        result = subprocess.run(command, input=given, capture_output=True, check=False)
        if result.returncode:
            raise ZadsError(
                f"the spool {self._incoming} cannot be reached: {result.stderr.decode(errors='replace').strip()}",
                hint="is the system deployed, and the producer's host up?",
            )
        return result.stdout


def on_host(host: str, variables: Mapping[str, Any], script: str) -> list[str]:
    """A command that runs a shell script on a host as root, reached as Ansible reaches it; stdin is the script's."""
    if variables.get("ansible_connection") == "community.docker.docker":
        return ["docker", "exec", "-i", str(variables.get("ansible_docker_host", host)), "sh", "-c", script]
    user = f"{variables['ansible_user']}@" if "ansible_user" in variables else ""
    options = ["-o", "BatchMode=yes", *shlex.split(str(variables.get("ansible_ssh_common_args", "")))]
    if port := variables.get("ansible_port"):
        options += ["-p", str(port)]
    if key := variables.get("ansible_ssh_private_key_file"):
        options += ["-i", str(key)]
    # The far side's shell sees one line: without quotes the redirections would be its own, without sudo's rights.
    return ["ssh", *options, f"{user}{variables.get('ansible_host', host)}", f"sudo -n sh -c {shlex.quote(script)}"]


# --- filters' counts --------------------------------------------------------------------------------------------------


def filter_counts(conf: dict[str, str], nights: Iterable[str]) -> dict[str, dict[str, int]]:
    """What each filter has done with these nights' alerts: seen, passed, cut by the cap, failed.

    Workers write these counts in the transaction that commits their offsets: they agree with `filter_lag`.
    """
    newest: dict[bytes, dict[str, Any]] = {}
    names = {topics.FILTER_COUNTS}

    def take(message: Any) -> None:
        newest[message.key()] = json.loads(message.value())

    for state in audit.describe(conf, names.__contains__):
        audit.read_topics(conf, {state.topic: state.partitions}, take)
    counts: dict[str, dict[str, int]] = {}
    wanted = set(nights)
    for record in newest.values():
        total = counts.setdefault(record["filter"], dict.fromkeys(COUNTED, 0))
        for night in wanted & record.get("nights", {}).keys():
            for name in COUNTED:
                total[name] += int(record["nights"][night][name])
    return counts


def filter_lag(conf: dict[str, str], group: str, ends: Mapping[tuple[str, int], int]) -> int:
    """How many offsets a group of filters is behind the last records of (topic, partition): the offsets behind these.

    Not behind the partitions' ends: those count transaction markers, which no consumer sees or commits.
    """
    if not ends:
        return 0
    committed = kafka.committed(conf, group, ends)
    return sum(max(0, end - committed[where]) for where, end in ends.items())


# --- the play ---------------------------------------------------------------------------------------------------------


class Play:
    """One night being played on one deployed environment.

    ``say`` gets lines for people, ``view`` what goes on. Errors: ZadsError that names the hop which lacks something.
    """

    def __init__(
        self, inventory: Inventory, night: Night, drop: Drop, say: Callable[[str], None], view: LiveView
    ) -> None:
        self.inventory, self.night, self.drop, self.say, self.view = inventory, night, drop, say, view
        variables = next(iter(inventory.hosts.values()))
        self.policy = access.Policy.read(variables)
        clients = inventory.state / "clients"
        self.origin = kafka.read_properties(clients / "admin-origin.properties")
        self.public = kafka.read_properties(clients / "admin-public.properties")
        self.reader = kafka.read_properties(clients / f"{self._subscriber()}.properties")
        #: Who reads along at each site; the one of the public site is a user, the other the administrator.
        self.readers: dict[str, Subscriber] = {}
        self._dropped = 0
        self._visit_seconds: float | None = None
        self._filters: tuple[float, dict[str, int]] = (0.0, {})
        self._last_ends: dict[tuple[str, str, int], int] = {}

    def _subscriber(self) -> str:
        allowed = self.policy.allowed("public")
        for user in self.policy.users:
            if user.site == "public" and allowed <= user.programmes:
                return user.name
        raise ZadsError("no user reads every public programme", hint="add one to users in the inventory")

    def public_topics(self) -> list[str]:
        """The night's topics that the data policy puts on the public site."""
        allowed = self.policy.allowed("public")
        return [name for name in sorted(self.night.counts) if (parsed := topics.parse(name)) and parsed[1] in allowed]

    def make_nights(self) -> bool:
        """Create the night's topics where they are missing, by the operators' own playbook; whether any were."""
        wanted = {topics.topic(night, programme) for night in self.night.nights for programme in self.policy.programmes}
        there = kafka.admin(self.origin).list_topics(timeout=30).topics
        public = kafka.admin(self.public).list_topics(timeout=30).topics
        if wanted <= set(there) and set(self.public_topics()) <= set(public):
            return False
        nights = ",".join(self.night.nights)
        self.say(f"topics of the night {nights}")
        command = [str(self.inventory.root / "scripts/ansible"), self.inventory.env, "night"]
        # The demo warms up itself, and shows it.
        command += ["-e", f"night={nights}", "-e", "night_warm_seconds=0"]
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if result.returncode:
            raise ZadsError(f"the night's topics could not be made: {result.stdout[-2000:]}")
        return True

    def warm(self, seconds: float, new_topics: bool) -> None:
        """Send canaries until fresh processes are quick and new topics are mirrored; none if ``seconds`` is 0."""
        topic = access.canary_topic(self.policy)
        if seconds > 0 and topic is not None:
            self.say(f"warming up with canaries until 99 % are read within {warmup.UNTIL_SECONDS:g} s")
            at_least = warmup.NEW_TOPICS_SECONDS if new_topics else 0.0
            reached = warmup.warm(self.origin, self.public, topic, seconds=seconds, at_least=at_least, say=self.say)
            self.say(str(reached))

    def run(self, interval: float, warm_seconds: float = 0.0) -> audit.Audit:
        """Drop an exposure every ``interval`` seconds and wait until all of the night is at every hop."""
        self._visit_seconds = interval
        new_topics = self.make_nights()
        if new_topics or _too_few(self._ends(), self.night.counts):
            self.warm(warm_seconds, new_topics)
        else:
            self.say("both sites seem to have this night already: no warm-up, and nothing should be published again")
        try:
            self.readers["origin"] = Subscriber(self.origin, sorted(self.night.counts))
            self.readers["public"] = Subscriber(self.reader, self.public_topics())
            for reader in self.readers.values():
                reader.start()
            with self.view:
                self._drop_all(interval)
                return self._settle()
        finally:
            for reader in self.readers.values():
                reader.close()

    def _drop_all(self, interval: float) -> None:
        """Drop the exposures at their pace."""
        started = time.monotonic()
        total = len(self.night.exposures)
        for number, exposure in enumerate(self.night.exposures, start=1):
            due = started + (number - 1) * interval
            while (left := due - time.monotonic()) > 0:
                time.sleep(min(left, LOOK_SECONDS))  # the telescope's pace, not a wait for anything
                self._show(f"visit {number - 1} of {total}")
            self.drop.put(f"{exposure.name}.tar", exposure.tar())
            self._dropped += len(exposure.packets)
            self._show(f"visit {number} of {total}")

    def _show(self, doing: str) -> None:
        self.view.update(doing, self.hops(RECENT))

    def hops(self, newest: int = 0) -> list[Hop]:
        """Where the night's alerts are; latencies of so many ``newest`` alerts, of all if 0."""
        found = [Hop("dropped", self._dropped)]
        for site, reader in self.readers.items():
            found.append(Hop(site, reader.read.total(), self._to_come(site), percentiles(reader.latencies[-newest:])))
        for group, behind in self._groups_behind().items():
            found.append(Hop(f"filters {group}", max(0, self.readers["public"].read.total() - behind), behind))
        return found

    def _to_come(self, site: str) -> int:
        """Alerts that origin has for a site, and the site's reader has not."""
        return max(
            0, sum(self.readers["origin"].read[name] - self.readers[site].read[name] for name in self.public_topics())
        )

    def _groups_behind(self) -> dict[str, int]:
        """How far each group of filters is behind the subscriber, asked for every now and then."""
        asked, known = self._filters
        if time.monotonic() - asked > FILTERS_SECONDS:
            ends = dict(self.readers["public"].ends)
            try:
                known = {group: self._group_behind(group, ends) for group in self.policy.groups()}
            except (KafkaException, TimeoutError):
                known = {}  # a broker that is away: the view shows no filters until it is back
            self._filters = time.monotonic(), known
        return known

    def _settle(self) -> audit.Audit:
        """Wait until nothing is under way any more, by signs that cost little; then read all of the night, once.

        If that finds a lack all the same it is done again, each time after a longer rest.
        """
        deadline = time.monotonic() + SETTLE_SECONDS
        rest, not_before = AUDIT_AGAIN_SECONDS, 0.0
        lacking = "nothing has been looked at"
        while time.monotonic() < deadline:
            signs = self._under_way()
            if signs:
                lacking = signs
            elif time.monotonic() >= not_before:
                lacking, found = self._audit()
                if not lacking and found is not None:
                    return found
                not_before, rest = time.monotonic() + rest, 2 * rest
            self._show(f"waiting: {lacking}")
            time.sleep(LOOK_SECONDS)
        raise ZadsError(f"after {SETTLE_SECONDS:g} s still: {lacking}", hint="see the logs of the hop that lags")

    def _under_way(self) -> str:
        """What shows from outside that the night is not everywhere yet; empty if nothing does, which proves nothing."""
        if waiting := self.drop.pending():
            return f"{waiting} exposures wait in the spool"
        try:
            ends = self._ends()
            lacking = _too_few(ends, self.night.counts)
            if not lacking and ends != self._last_ends:
                lacking = "records still arrive"
            self._last_ends = ends
        except (KafkaException, TimeoutError) as error:
            return f"a site cannot be asked for its offsets: {_why(error)}"
        return lacking or self._filters_behind(dict(self.readers["public"].ends))

    def _ends(self) -> dict[tuple[str, str, int], int]:
        """Where the night's partitions end at each site now: (site, topic, partition) -> offset."""
        found: dict[tuple[str, str, int], int] = {}
        for site, conf, names in (
            ("origin", self.origin, sorted(self.night.counts)),
            ("public", self.public, self.public_topics()),
        ):
            numbers = range(self.policy.topics_night.partitions)
            ends = audit.end_offsets(conf, [(name, number) for name in names for number in numbers])
            found |= {(site, *where): end for where, end in ends.items()}
        return found

    def _audit(self) -> tuple[str, audit.Audit | None]:
        try:
            found = audit.audit(self.origin, self.public, self.night.nights, sorted(self.policy.allowed("public")))
        except audit.AuditError as error:
            return str(error), None
        for name, wanted in sorted(self.night.counts.items()):
            have = found.origin.topics.get(name)
            if have is None or len(have.alerts) < wanted:
                return f"origin has {len(have.alerts) if have else 0} of {wanted} alerts of {name}", None
        if found.disagreements:
            return found.disagreements[0], found
        manifests = found.public.topics.values()
        return self._filters_behind({(one.topic, n): end for one in manifests for n, end in one.ends.items()}), found

    def _filters_behind(self, ends: Mapping[tuple[str, int], int]) -> str:
        """Which group of filters has not seen the records before these offsets of (topic, partition)."""
        for group in self.policy.groups():
            try:
                behind = self._group_behind(group, ends)
            except (KafkaException, TimeoutError) as error:
                return f"the public site cannot be asked for the filters' offsets: {_why(error)}"
            if behind:
                return f"the filters of the group {group} are {behind} records behind"
        return ""

    def _group_behind(self, group: str, ends: Mapping[tuple[str, int], int]) -> int:
        running = [entry for entry in self.policy.filters if entry.group == group and entry.state != "off"]
        reads = {programme for entry in running for programme in self.policy.reads(entry)}
        mine = {at: end for at, end in ends.items() if (parsed := topics.parse(at[0])) and parsed[1] in reads}
        return filter_lag(self.public, principals.filters(group), mine)

    def report(self, found: audit.Audit, earlier: dict[str, Any]) -> dict[str, Any]:
        """The figures of the report; latency is an earlier report's when this run had nothing new to publish."""
        hops = {hop.name: hop.latency for hop in self.hops() if hop.latency}
        whose, pace = "this run", self._visit_seconds
        if "public" not in hops:
            hops, pace = earlier.get("hops", {}), earlier.get("visit_seconds")
            whose = "an earlier run: this one had nothing new to publish"
        states = [*found.origin.states, *found.public.states]
        duplicates = sum(m.duplicates + m.conflicts for s in (found.origin, found.public) for m in s.topics.values())
        counts = filter_counts(self.public, self.night.nights)
        return {
            "environment": self.inventory.env,
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "source": self.night.source,
            "nights": self.night.nights,
            "visits": len(self.night.exposures),
            "alerts": {
                "read": self.night.alerts,
                "rejected": sum(one.count for one in found.origin.rejections if self._is_ours(one.source)),
                "origin": found.origin.records,
                "public": found.public.records,
            },
            "topics": self._topic_rows(found),
            "digests_agree": not found.disagreements,
            "disagreements": list(found.disagreements),
            "duplicates": duplicates,
            "filters": {
                entry.name: {
                    **dict.fromkeys(COUNTED, 0),
                    **counts.get(entry.name, {}),
                    "state": entry.state,
                    "owner": entry.owner,
                }
                for entry in self.policy.filters
                if entry.state != "off"
            },
            "latency_seconds": hops.get("public"),
            "hops": hops,
            "latency_of": whose,
            "latency_target_seconds": TARGET_SECONDS,
            "visit_seconds": pace,
            "object_page": self.inventory.common("object_page", pages.OBJECT_PAGE),
            "replication": {
                site.site: min((state.replication_factor for state in site.states), default=0)
                for site in (found.origin, found.public)
            },
            "under_replicated": sum(state.under_replicated for state in states),
            "replicas": [
                {"site": site.site, **vars(state)} for site in (found.origin, found.public) for state in site.states
            ],
            "refused": [
                {"site": site.site, **vars(one)} for site in (found.origin, found.public) for one in site.rejections
            ],
        }

    def _is_ours(self, source: str) -> bool:
        return any(source.startswith(exposure.name) for exposure in self.night.exposures)

    def _topic_rows(self, found: audit.Audit) -> list[dict[str, Any]]:
        rows = []
        for name in sorted(found.origin.topics.keys() | found.public.topics.keys()):
            parsed = topics.parse(name)
            there, here = found.origin.topics.get(name), found.public.topics.get(name)
            rows.append(
                {
                    "topic": name,
                    "night": parsed[0] if parsed else "",
                    "programme": parsed[1] if parsed else 0,
                    "read": self.night.counts.get(name, 0),
                    "origin": there.records if there else 0,
                    "origin_digest": there.digest if there else "",
                    "public": here.records if here else None,
                    "public_digest": here.digest if here else "",
                }
            )
        return rows


def _why(error: Exception) -> str:
    return str(error.args[0].str()) if isinstance(error, KafkaException) else "no answer in time"


def _too_few(ends: Mapping[tuple[str, str, int], int], counts: Mapping[str, int]) -> str:
    """Which site cannot have a topic's alerts yet, for its offsets are fewer; empty if each may have them.

    Offsets count transaction markers as well: it is when they suffice that a closer look is due.
    """
    held: dict[tuple[str, str], int] = {}
    for (site, name, _), end in ends.items():
        held[site, name] = held.get((site, name), 0) + end
    for (site, name), number in sorted(held.items()):
        if number < counts[name]:
            return f"{site} has at most {number} of {counts[name]} alerts of {name}"
    return ""


def passed_alerts(conf: dict[str, str], name: str, nights: Iterable[str], most: int = 6) -> Passed:
    """What a filter passed in these nights, from its topic: how many alerts, and so many of them."""
    wanted = set(nights)
    found = Passed()
    names = {topics.filter_topic(name)}

    def take(message: Any) -> None:
        headers = audit.headers_of(message)
        if audit.night_of_visit(headers.get(topics.HEADER_VISIT, b"").decode(errors="replace")) in wanted:
            found.count += 1
            if len(found.some) < most:
                note = headers.get(topics.HEADER_ANNOTATIONS, b"").decode(errors="replace")
                found.some.append((Packet.trusted(message.value()), "" if note == "{}" else note))

    for state in audit.describe(conf, names.__contains__):
        audit.read_topics(conf, {state.topic: state.partitions}, take)
    return found


def ending(inventory: Inventory, figures: dict[str, Any], page: Path, reader: str) -> str:
    """What to do next, for people."""
    topic = next((row["topic"] for row in figures["topics"] if row["public"]), "ztf_20181129_programid1")
    kit = (inventory.state / "clients" / reader).relative_to(inventory.root)
    host = inventory.group("producers")[0]
    return f"""
The report:   {page}
Read it:      {kit}/kcat.sh -C -t {topic} -e -q -f '%k %S bytes\\n'
In Python ..: {kit}/README.md and docs/consume.md
Look around:  .venv/bin/zads lab status {inventory.env}
              .venv/bin/zads lab exec {host} --env {inventory.env} -- docker ps
Check it:     make verify ENV={inventory.env}
Take it down: make down ENV={inventory.env}"""


def console_lines(console: Console) -> Callable[[str], None]:
    """Lines with the seconds since the start, on a terminal or into a file alike."""
    started = time.monotonic()

    def say(line: str) -> None:
        stamp = (f"{time.monotonic() - started:6.1f} s  ", "dim")
        console.print(Text.assemble(stamp, shown.plain(line)), soft_wrap=True)

    return say
