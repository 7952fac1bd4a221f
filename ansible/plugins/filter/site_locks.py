"""What the hosts of brokers answer about the locks of their sites."""

from __future__ import annotations

from dataclasses import asdict

from zads.site import lock

DOCUMENTATION = """
name: lock_taking
short_description: Whether an operation has the locks of its sites
description:
  - C(lock_first_hosts) names the hosts to ask first. C(lock_holders) says who holds which site, one a line.
  - C(lock_tokens) gives the token of each host's lock.
options:
  _input: {description: Answers of the module site_lock, type: list, elements: dict, required: true}
  sites: {description: The hosts of each site's brokers, type: dict, required: true}
  token: {description: The operation, type: str, required: true}
  env: {description: The inventory, type: str, required: true}
"""

EXAMPLES = """
taking: "{{ answers | lock_taking({'origin': groups.origin_kafka}, token, zads_env) }}"
"""

RETURN = """
_value: {description: "held: the hosts that hold our lock, by site; problems: why that is not enough", type: dict}
"""


def answers(results):
    """The answers of hosts, from the results of a loop. A host that was not asked is left out."""
    found = []
    for result in results:
        if result.get("skipped"):
            continue
        if "lock" not in result:
            text = str(result.get("msg", "no answer")).strip()
            found.append(lock.Answer(result["item"], failure=text.splitlines()[0] if text else "no answer"))
            continue
        given = result["lock"]
        held = None
        if given:
            held = lock.Lock(*(str(given[name]) for name in ("token", "owner", "operation", "reason")), given["age"])
        found.append(lock.Answer(result["item"], held))
    return found


def taking(results, sites, token, env):
    """The hosts that hold our lock and the problems."""
    return asdict(lock.taking(sites, answers(results), token, env))


def holders(results, sites):
    """A line for each site that is locked."""
    return [f"{site} is locked: {held}" for site, held in lock.holders(sites, answers(results)).items()]


def tokens(results):
    """The token of the lock that each host holds; that of a damaged file is empty."""
    return {one.host: one.lock.token for one in answers(results) if one.lock}


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        return {
            "lock_first_hosts": lock.first_hosts,
            "lock_taking": taking,
            "lock_holders": holders,
            "lock_tokens": tokens,
        }
