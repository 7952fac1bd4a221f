"""Plans between versions of Kafka, from what the hosts of a site report."""

from __future__ import annotations

from zads.site import versions

DOCUMENTATION = """
name: upgrade_plan
short_description: How a site's daemons come to a version of Kafka
description:
  - C(protocol_plan) says how its brokers come to the newest protocol, C(version_problems) what differs at each site,
    and C(version_table) what runs where, one line a program.
  - C(image_problems) says which programs run from different images, and C(rolled_units) which units a program has.
  - C(broker_protocol) chooses the protocol of a broker, and C(protocol_fits) says whether its version can speak it.
options:
  _input: {description: hostvars, type: dict, required: true}
  hosts: {description: The hosts of the site, type: list, elements: str, required: true}
  site: {description: The site, type: str, required: true}
  wanted: {description: The version to come to, type: str, required: true}
  chosen: {description: "The hosts whose turn it may be; all if empty", type: list, elements: str}
"""

EXAMPLES = """
plan: "{{ hostvars | upgrade_plan(groups.public_kafka + groups.public_zookeeper, 'public', '3.9.1') }}"
"""

RETURN = """
_value:
  description: "refused: the reasons against it; said: lines for the operator; kafka, zookeeper: the hosts whose daemon
    restarts; up: whether versions rise"
  type: dict
"""


def daemons(hostvars, hosts):
    """The brokers and members of these hosts, from what the module `host_versions` has said."""
    found = []
    for host in dict.fromkeys(hosts):
        told = (hostvars[host].get("kafka_distribution_there") or {}).get("daemons") or {}
        found += [versions.Daemon(host, kind, **about) for kind in ("zookeeper", "kafka") if (about := _of(told, kind))]
    return found


def _of(told, kind):
    """What a host has said of a daemon, in the words of Daemon; None if it has no such daemon."""
    about = told.get(kind)
    return about and {key: about.get(key, "") for key in ("version", "runs", "protocol", "speaks")}


def _plan(plan):
    hosts = {kind: [one.host for one in plan.turns if one.kind == kind] for kind in ("kafka", "zookeeper")}
    return {"refused": plan.refused, "said": plan.said, "up": plan.up, **hosts}


def upgrade_plan(hostvars, hosts, site, wanted, chosen=()):
    """How the daemons of a site come to a version of Kafka."""
    return _plan(versions.change(site, daemons(hostvars, hosts), str(wanted), chosen))


def protocol_plan(hostvars, hosts, site):
    """How the brokers of a site come to the newest protocol of their version."""
    return _plan(versions.raising(site, daemons(hostvars, hosts)))


def version_problems(hostvars, hosts, site, wanted):
    """What differs in the versions of a site."""
    return versions.differences(site, daemons(hostvars, hosts), str(wanted))


def broker_protocol(own, others, wanted, version):
    """The protocol of a broker: what its file says, else the oldest of the other brokers, else what is wanted.

    ``others`` are the answers of the module `host_versions` on their hosts. Without any of these it is the newest of
    the broker's version.
    """
    if own:
        return own
    known = [((one.get("daemons") or {}).get("kafka") or {}).get("protocol") for one in others]
    known = sorted(filter(None, known), key=versions.number)
    return known[0] if known else str(wanted) or versions.protocol_of(version)


def version_table(hostvars, hosts):
    """A line for each daemon and each program of these hosts."""
    lines = []
    for host in dict.fromkeys(hosts):
        told = hostvars[host].get("kafka_distribution_there") or {}
        for kind, about in sorted((told.get("daemons") or {}).items()):
            lines.append(f"{host}: {_daemon_line(kind, about)}" if about["version"] else f"{host}: {kind} is not there")
        lines += [f"{host}: {_program_line(one)}" for one in told.get("programs") or []]
        if not told:
            lines.append(f"{host}: does not answer")
    return lines


def _daemon_line(kind, about):
    also = "" if about["runs"] == about["version"] else f" ({about['runs'] or 'nothing'} runs)"
    more = f", ZooKeeper {about['zookeeper']}" if kind == "zookeeper" else f", protocol {about['protocol']}"
    return f"{kind} {about['version']}{also}{more}, Java {about['java']}"


def _program_line(one):
    back = f", rolled back from {one['rolled_back']}" if one["rolled_back"] else ""
    kept = f"; make rollback goes to {one['before']}" if one["before"] and not back else ""
    return f"{one['unit']} {one['image']}{back}{kept}"


def image_problems(hostvars, hosts):
    """A line for each program that runs from different images on different hosts."""
    images = {}
    for host in dict.fromkeys(hosts):
        for one in (hostvars[host].get("kafka_distribution_there") or {}).get("programs") or []:
            images.setdefault(one["unit"], {}).setdefault(one["image"], []).append(host)
    return [
        f"{unit} has different images: "
        + "; ".join(f"{image} on {', '.join(on)}" for image, on in sorted(found.items()))
        for unit, found in sorted(images.items())
        if len(found) > 1
    ]


def rolled_units(program):
    """Patterns of the units of a program. A filter worker has its sandbox, whose image is the same."""
    if program == "filter-worker":
        return ["zads-filters-*@.service", "zads-sandbox-*@.service"]
    return [f"zads-{program}.service"]


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        return {
            "broker_protocol": broker_protocol,
            "image_problems": image_problems,
            "protocol_fits": versions.may_speak,
            "protocol_plan": protocol_plan,
            "rolled_units": rolled_units,
            "upgrade_plan": upgrade_plan,
            "version_problems": version_problems,
            "version_table": version_table,
        }
