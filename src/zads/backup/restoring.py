"""Puts a backup back: the secrets on the control machine, then what a new site lacks.

A site is new if its cluster is another one than that of the backup. So is an origin whose nights hold no alert while
the backup's ledger has some: its brokers have lost all data, and its ensemble has not. Only new sites are changed, and
only while nobody has published there. The inventory says what accounts, grants, limits and other topics a site has, and
a deployment makes them. A backup does not: it must not let somebody in who was revoked since. What remains for it:

1. The nights' topics, with the settings that they had. The nights that the other site has are made as well: the mirror
   may create no topics.
2. At a new origin: the ledger, by the rule of `zads.backup.settled`.
3. At a new origin: the mirror's places are forgotten. They are on the public site, and count the records of the origin
   that is lost: with them the mirror would pass over new alerts. A new public site has no such places, so the mirror
   copies everything again that the origin keeps; nor does it have places of the filters, so they process it once more.

All programs must be stopped meanwhile. Every step can be repeated.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import KafkaException

from zads import kafka, names
from zads.backup import definitions, records, settled
from zads.backup.contents import Backup
from zads.backup.definitions import Definitions
from zads.backup.making import SECRETS
from zads.backup.records import LedgerRecord
from zads.backup.settled import Settled
from zads.errors import ZadsError
from zads.site.cluster import Cluster
from zads.site.nights import night_of
from zads.site.policy import Policy, Site
from zads.site.topics import Topic, night_topics, topic_changes

_GONE_SECONDS = 60
DAY = 86400.0


def put_secrets(backup: Backup, state: Path, *, replace: bool) -> list[str]:
    """Write a backup's secrets into the state of an environment, all at once. Returns the names of those that changed.

    Raises ZadsError if other secrets are there, unless they are to be replaced; they are then kept beside the new ones.
    """
    there, wanted = state / SECRETS, backup.below(SECRETS)
    if not wanted:
        raise ZadsError("the backup has no secrets")
    present = (
        {path.relative_to(there).as_posix(): path.read_bytes() for path in sorted(there.rglob("*")) if path.is_file()}
        if there.is_dir()
        else {}
    )
    different = sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))
    if not different:
        return []
    if present and not replace:
        raise ZadsError(
            f"{there} has other secrets than the backup: {', '.join(different[:5])}",
            hint="move that directory away if the backup's are the right ones; a deployment says which the hosts know",
        )
    part = there.with_name(f".{SECRETS}.part")
    shutil.rmtree(part, ignore_errors=True)
    for name, data in wanted.items():
        path = part / name
        for directory in reversed(Path(name).parents):  # `parents=True` would give only the last one this mode
            (part / directory).mkdir(mode=0o700, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
    if there.exists():
        there.rename(there.with_name(f"{SECRETS}.before-{time.time_ns()}"))
    part.rename(there)
    return different


@dataclass
class Restored:
    """What was done at the sites, a line each; `lost`: alerts that no site holds, by exposure."""

    lines: list[str] = field(default_factory=list)
    lost: dict[str, int] = field(default_factory=dict)


def put_sites(
    backup: Backup, sites: Mapping[Site, Mapping[str, str]], policy: Policy, *, only: Site | None = None
) -> Restored:
    """Give each new site (or `only` one) what it lacks: steps 1 to 3.

    `sites`: the properties of every site's administrator. Raises ZadsError, before anything is changed, if a new site
    holds alerts already.
    """
    done = Restored()
    present = {name: definitions.look(conf) for name, conf in sites.items()}
    before = {name: site_definitions(backup, name) for name in sites}
    ledger = records.unpack(backup.below("ledger"))
    new = _new({name: conf for name, conf in sites.items() if only in (None, name)}, before, present, ledger)
    settled_ledger = Settled()
    if "origin" in new:
        there = settled.held_at(sites, {name: definitions.night_topics(one) for name, one in present.items()})
        retention = policy.topics_night.retention_days * DAY
        settled_ledger = settled.settle(ledger, there, retention=retention, now=time.time())
        _refuse_ledger(sites["origin"], settled_ledger)
    for name in sites:
        if name in new:
            # Step 1.
            nights = wanted_nights(policy, name, before[name], present.values())
            done.lines += [f"{name}: {line}" for line in _put_nights(sites[name], nights, present[name])]
        else:
            done.lines.append(f"{name}: this site is not new, and is left alone")
    if "origin" in new:
        # Step 2.
        records.write(sites["origin"], settled_ledger.records)
        done.lost = settled_ledger.lost
        done.lines.append(f"origin: a ledger of {settled_ledger.kept} alerts, of which the sites hold {len(there)}")
        # Step 3.
        if "public" not in new and "public" in sites and _forget_mirror(sites["public"]):
            done.lines.append("public: the mirror's places in the lost origin are forgotten")
    return done


def _new(
    sites: Mapping[Site, Mapping[str, str]],
    before: Mapping[Site, Definitions],
    present: Mapping[Site, Definitions],
    ledger: list[LedgerRecord],
) -> list[Site]:
    """The sites that are new. Raises ZadsError if the cluster of one is new and holds alerts already."""
    found = []
    for name, conf in sites.items():
        other, full = present[name].cluster != before[name].cluster, _full_nights(conf, present[name])
        if other and full:
            raise ZadsError(
                f"the site {name} is new and holds alerts already: {', '.join(full[:3])}",
                hint="it works again: make deploy ends an interrupted restore; SITE= restores the other site alone",
            )
        if other or (name == "origin" and ledger and not full):
            found.append(name)
    return found


def site_definitions(backup: Backup, site: str) -> Definitions:
    """What a site defined when the backup was made. Raises ZadsError if the backup does not say it."""
    try:
        return Definitions.read(backup.members[f"{site}/definitions.json"])
    except KeyError:
        raise ZadsError(f"the backup has no definitions of the site {site}") from None


def _full_nights(conf: Mapping[str, str], present: Definitions) -> list[str]:
    """The topics of nights at a site that hold a record."""
    nights = definitions.night_topics(present)
    try:
        return sorted(nights.keys() - Cluster(conf).empty_topics(nights.keys())) if nights else []
    except KafkaException as error:
        raise kafka.failure(conf, error.args[0]) from error


def _refuse_ledger(conf: Mapping[str, str], wanted: Settled) -> None:
    """Raises ZadsError if the new origin's ledger has records that this restore does not write."""
    there, keys = records.read(conf), {record.key for record in wanted.records}
    # A run that was interrupted has written a part. Since then alerts may have expired, so there may be more to write.
    strange = settled.missing(there, wanted.records)
    entries = [one for one in there if one.key not in keys and not settled.has_rows(one)]
    if strange or entries:
        raise ZadsError(
            f"the ledger of the new origin has {len(strange)} alerts and {len(entries)} exposures of its own",
            hint="a producer has published there, or another backup was restored before",
        )


def wanted_nights(policy: Policy, site: Site, before: Definitions, present: Iterable[Definitions]) -> list[Topic]:
    """The topics of nights that a new site must have: those of the backup, and of every night that a site has now."""
    found = definitions.night_topics(before)
    nights = {night_of(name) for one in present for name in definitions.night_topics(one)} - {None}
    for topic in night_topics(policy, site, (night for night in nights if night)):
        found.setdefault(topic.name, topic)
    return list(found.values())


def _put_nights(conf: Mapping[str, str], wanted: Iterable[Topic], present: Definitions) -> list[str]:
    """Make topics of nights, with their settings. Returns what was done, and what cannot be, a line each."""
    changes = topic_changes(wanted, present.topics)
    try:
        Cluster(conf).change_topics(changes)
    except KafkaException as error:
        raise kafka.failure(conf, error.args[0]) from error
    done = {topic.name for topic in changes.create} | changes.grow.keys() | changes.configure.keys()
    return [f"{len(done)} topics of nights were made as they were", *changes.refused]


def _forget_mirror(conf: Mapping[str, str]) -> bool:
    """Remove the mirror's places from the public site. Returns whether there were any; raises ZadsError."""
    try:
        cluster = Cluster(conf)
        if names.MIRROR_PLACES_TOPIC not in cluster.metadata().topics:
            return False
        cluster.delete_topics([names.MIRROR_PLACES_TOPIC])
        until = time.monotonic() + _GONE_SECONDS
        while names.MIRROR_PLACES_TOPIC in cluster.metadata().topics:
            if time.monotonic() > until:
                raise ZadsError(
                    f"{names.MIRROR_PLACES_TOPIC} is still at the public site: is a mirror running?",
                    hint="stop it, and run this again",
                )
            time.sleep(0.5)
    except KafkaException as error:
        raise kafka.failure(conf, error.args[0]) from error
    return True


def compare(backup: Backup, sites: Mapping[str, Mapping[str, str]]) -> tuple[list[str], list[str]]:
    """The differences between a backup and the running sites, and remarks that are none. Raises ZadsError.

    The ledger differs if it lacks an alert that a site holds: that one would be published twice.
    """
    lines, remarks = [], []
    present = {name: definitions.look(conf) for name, conf in sites.items()}
    for name in sites:
        found = definitions.differences(site_definitions(backup, name), present[name])
        lines += [f"{name}: {line}" for line in found.lines]
        if found.came or found.went:
            remarks.append(f"{name}: {found.came} topics of nights have come since, {found.went} are gone")
    lacking = settled.missing(records.unpack(backup.below("ledger")), records.read(sites["origin"]))
    if lacking:
        there = settled.held_at(sites, {name: definitions.night_topics(one) for name, one in present.items()})
        doubled = [row for row in lacking if row in there]
        if doubled:
            lines.append(
                f"origin: the ledger lacks {len(doubled)} alerts that a site holds, such as candid {doubled[0].candid}"
            )
        if len(doubled) < len(lacking):
            remarks.append(
                f"origin: {len(lacking) - len(doubled)} alerts of the backup's ledger are on no site, and the ledger "
                "has forgotten them: they are published when they are delivered again"
            )
    return lines, remarks
