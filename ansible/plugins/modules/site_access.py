#!/usr/bin/python
"""Works out the topics, accounts, grants and limits that a site must have by the inventory's data."""
# ruff: noqa: E402 - the order Ansible asks for: documentation, then imports

from __future__ import annotations

DOCUMENTATION = r"""
module: site_access
short_description: The topics, accounts, grants and limits that a site must have
description:
  - Runs on the control machine and changes nothing. Works out what C(kafka_topics), C(kafka_users), C(kafka_acls)
    and C(kafka_quotas) have to set, from the inventory's data and from the nights whose topics the site has.
  - Users whose accounts have ended have nothing. A warning names them, and those whose accounts end soon.
  - In check mode a site that does not answer, since it was never deployed, is no error but RV(reachable=false).
options:
  client: {description: Properties file of the site's administrator, type: path, required: true}
  site: {description: Which site, type: str, required: true, choices: [origin, public]}
  policy: {description: The inventory's data that zads.site.policy reads, type: dict, required: true}
  brokers: {description: The inventory's names of the site's brokers, type: list, elements: str, default: []}
  warn_days: {description: Days before the end of an account from which on a warning names it, type: int, default: 28}
  nights: {description: More nights (YYYYMMDD) whose topics are made, type: list, elements: str, default: []}
"""

EXAMPLES = r"""
- name: What the public site must have
  site_access:
    client: .zads/local/clients/admin-public.properties
    site: public
    policy: "{{ site_policy }}"
    nights: ["20181129"]
"""

RETURN = r"""
reachable: {description: Whether the site answered, returned: always, type: bool}
topics: {description: "Topics that belong to no night, and those of O(nights)", returned: success, type: list}
accounts: {description: Names of all users and programs with a password, returned: success, type: list, elements: str}
acls: {description: Every grant, returned: success, type: list}
quotas: {description: "Every limit, in the order in which to set them", returned: success, type: list}
nights: {description: Nights that the site has or will have, returned: success, type: list, elements: str}
night_topics: {description: Names of these nights' topics, returned: success, type: list, elements: str}
"""

from dataclasses import asdict

from ansible.module_utils.kafka_site import run, site_module
from confluent_kafka import KafkaException

from zads import names
from zads.errors import ZadsError
from zads.site import people
from zads.site.access import accounts, known_nights, wanted_acls
from zads.site.limits import wanted_quotas
from zads.site.policy import Policy
from zads.site.topics import fixed_topics, night_topics


def main() -> None:
    module = site_module(
        site={"type": "str", "required": True, "choices": ["origin", "public"]},
        policy={"type": "dict", "required": True},
        brokers={"type": "list", "elements": "str", "default": []},
        warn_days={"type": "int", "default": 28},
        nights={"type": "list", "elements": "str", "default": []},
    )
    site, nights = module.params["site"], module.params["nights"]
    try:
        policy = Policy.read(module.params["policy"])
        topics = fixed_topics(policy, site) + night_topics(policy, site, nights)
    except ZadsError as error:
        module.fail_json(msg=str(error))

    for line in people.ending([*policy.users, *policy.expired], site, people.today(), module.params["warn_days"]):
        module.warn(line)

    def work(cluster) -> dict:
        try:
            present = cluster.metadata().topics
        except KafkaException:
            if not module.check_mode:
                raise
            return {
                "changed": False,
                "reachable": False,
                "topics": [],
                "accounts": [],
                "acls": [],
                "quotas": [],
                "nights": [],
                "night_topics": [],
            }
        known = known_nights(policy, site, present, nights)
        acls = [asdict(acl) for acl in wanted_acls(policy, site, known)]
        return {
            "changed": False,
            "reachable": True,
            "topics": [asdict(topic) for topic in topics],
            "accounts": accounts(policy, site),
            "acls": [
                {key: acl[key] for key in ("principal", "resource", "name", "pattern", "operation", "host")}
                for acl in acls
            ],
            "quotas": [
                {"user": entity[0][1], "values": values}
                for entity, values in wanted_quotas(policy, site, module.params["brokers"]).items()
            ],
            "nights": sorted({night for night, _ in known}),
            "night_topics": [names.night_topic(night, programme) for night, programme in known],
        }

    # If a site's certificates do not exist yet, it has no administrator either.
    try:
        run(module, work)
    except OSError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
