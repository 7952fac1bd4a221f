"""The problems that a verification of a running system found, one a line, and the hosts whose clocks differ."""

from __future__ import annotations

import re
from datetime import UTC, datetime

DOCUMENTATION = """
name: broken_promises
short_description: Everything that a verification found wrong
description:
  - Collects what the playbook verify registered on each host.
  - C(late_nights) gives a line for each site whose nights are not ready, from the metrics of a night keeper.
  - A host's clock was read at an unknown moment between two readings of the control machine's clock. So only a
    difference that this interval cannot explain counts.
options:
  _input: {description: hostvars, type: dict, required: true}
  hosts: {description: Every host that was checked, type: list, elements: str, required: true}
  sites: {description: The host that answered for each site, type: list, elements: str, required: true}
  answered: {description: The control machine's clock when the last host had answered, type: float, required: true}
  bound: {description: Seconds by which clocks may differ, type: float, required: true}
"""

EXAMPLES = """
problems: "{{ hostvars | broken_promises(groups['kafka'], ['origin-1', 'public-1'], 100.0, 5) }}"
"""

RETURN = """
_value: {description: A line for each problem, type: list, elements: str}
"""


def clock_problems(measured, bound):
    """A line for each host whose clock differs from the control machine's, else for the two hosts that differ most."""
    spans = {
        host: (float(one["clock"]) - float(one["after"]), float(one["clock"]) - float(one["before"]))
        for host, one in measured.items()
    }
    wrong = [
        f"{host}: its clock is {abs(near(span)):.0f} s {'fast' if span[0] > 0 else 'slow'}; chronyc tracking says why"
        for host, span in sorted(spans.items())
        if abs(near(span)) > bound
    ]
    if wrong or not spans:
        return wrong
    last, first = max(spans, key=lambda host: spans[host][0]), min(spans, key=lambda host: spans[host][1])
    apart = spans[last][0] - spans[first][1]
    return (
        [f"{last} and {first}: their clocks differ by {apart:.0f} s; chronyc tracking says why"]
        if apart > bound
        else []
    )


def near(span):
    """The least difference that explains the measurement."""
    return 0.0 if span[0] <= 0 <= span[1] else min(span, key=abs)


def broken_promises(hostvars, hosts, sites, answered, bound):
    """A line for each problem on these hosts and at these sites (given by the host that answered for each)."""
    found, measured = [], {}
    for host in hosts:
        told = hostvars[host].get("verify_host") or {"msg": "it was not asked"}
        if told.get("unreachable"):
            found.append(f"{host}: cannot be reached: {' '.join(str(told.get('msg', '')).split())}")
        elif "problems" not in told:
            found.append(f"{host}: could not be checked: {told.get('msg', told)}")
        else:
            found += [f"{host}: {problem}" for problem in told["problems"]]
            measured[host] = {"clock": told["clock"], "before": told["asked"], "after": answered}
    found += clock_problems(measured, bound)
    for host in sites:
        about = hostvars[host]
        found += [f"{about['site']}: {problem}" for problem in site_problems(about)]
    stream = hostvars[sites[0]].get("verify_stream") or {}
    found += stream.get("problems", [f"the stream could not be checked: {stream.get('msg', '')}"])
    return found + [f"{host}: {problem}" for host in hostvars for problem in hostvars[host].get("verify_said") or []]


LATE = "docs/runbooks/late-nights.md says what to do"


def late_nights(metrics, now):
    """A line for each site whose nights are not ready for 12 hours from now; one if the keeper tells nothing."""
    ready = re.findall(r'^zads_nights_ready_until_seconds\{site="([^"]+)"\} ([0-9.e+]+)$', metrics, re.MULTILINE)
    if len(ready) != 2:
        return [f"the night keeper has not said until when nights are ready: {LATE}"]
    return [
        f"the nights at {site} are ready only until {datetime.fromtimestamp(float(until), UTC):%Y-%m-%dT%H:%MZ}: {LATE}"
        for site, until in ready
        if float(until) <= now + 12 * 3600
    ]


def site_problems(about):
    """The problems of a site, from the variables of the host that answered for it."""
    plan = about.get("verify_plan") or {}
    if not plan.get("reachable"):
        return [f"its topics, accounts and grants are unknown: {plan.get('msg', 'it was not asked')}"]
    found = []
    health = about.get("verify_health") or {}
    if "partitions" not in health:
        found += health.get("reasons") or [f"its health is unknown: {health.get('msg', '')}"]
    differs = []
    for asked, words in COMPARED.items():
        answer = about.get(asked) or {}
        if not set(words) <= set(answer):
            found.append(f"what it has cannot be compared: {answer.get('msg', '')}")
            continue
        differs += [f"{said} {one}" for key, said in words.items() for one in answer[key]]
    return found + [f"{one}: make deploy TAGS=access" for one in dict.fromkeys(differs)]


# The results of each comparison, and what they mean.
COMPARED = {
    "verify_topics": {
        "created": "missing topic",
        "grown": "other settings of topic",
        "configured": "other settings of topic",
    },
    "verify_users": {"set": "missing or other account of", "removed": "unwanted account of"},
    "verify_acls": {"added": "missing grant:", "removed": "unwanted grant:"},
    "verify_quotas": {"set": "missing or other limit of", "removed": "unwanted limit of"},
}


def different_clocks(hostvars, hosts, answered, bound):
    """A line for each clock that differs, from the facts that the module `host_facts` has read on these hosts."""
    facts = {host: hostvars[host]["ansible_facts"]["host_facts"] for host in hosts}
    measured = {host: {"clock": one["clock"], "before": one["asked"], "after": answered} for host, one in facts.items()}
    return clock_problems(measured, bound)


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        return {"different_clocks": different_clocks, "broken_promises": broken_promises, "late_nights": late_nights}
