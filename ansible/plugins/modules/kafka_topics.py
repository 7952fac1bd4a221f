#!/usr/bin/python
"""Gives a site the topics that the data describe."""
# ruff: noqa: E402 - the order Ansible asks for: documentation, then imports

from __future__ import annotations

DOCUMENTATION = r"""
module: kafka_topics
short_description: Create topics, add partitions, set their configuration
description:
  - Runs on the control machine. Topics that are not named are left alone, and none is ever deleted.
  - An unwanted setting of a named topic goes back to the broker's default.
  - Refuses, before changing anything, to take partitions away or to change the number of replicas.
options:
  client: {description: Properties file of the site's administrator, type: path, required: true}
  topics:
    description: The topics that must exist.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: Its name, type: str, required: true}
      partitions: {description: Minimum number of partitions, type: int, required: true}
      replication_factor: {description: Replicas of each partition, type: int, required: true}
      config: {description: Settings that differ from the broker's, type: dict, default: {}}
"""

EXAMPLES = r"""
- name: A topic of seven days
  kafka_topics:
    client: .zads/local/clients/admin-public.properties
    topics:
      - {name: ztf_filter_fast_riser, partitions: 4, replication_factor: 3, config: {retention.ms: 604800000}}
"""

RETURN = r"""
created: {description: Topics created, returned: success, type: list, elements: str}
grown: {description: Topics given partitions, returned: success, type: list, elements: str}
configured: {description: Topics whose settings changed, returned: success, type: list, elements: str}
"""

from ansible.module_utils.kafka_site import ansible_diff, run, site_module

from zads.errors import ZadsError
from zads.site.topics import Topic, TopicChanges, topic_changes


def as_text(value) -> str:
    """A setting as Kafka writes it: ``true``, not ``True``."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def read(topics: list[dict]) -> list[Topic]:
    """The wanted topics. Raises ZadsError if one is named twice or has an impossible number."""
    names = [topic["name"] for topic in topics]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ZadsError(f"named twice: {', '.join(twice)}")
    if wrong := [t["name"] for t in topics if t["partitions"] < 1 or t["replication_factor"] < 1]:
        raise ZadsError(f"needs at least one partition and one replica: {', '.join(wrong)}")
    return [
        Topic(t["name"], t["partitions"], t["replication_factor"], {k: as_text(v) for k, v in t["config"].items()})
        for t in topics
    ]


def difference(changes: TopicChanges) -> dict:
    """The changes, one a line."""
    before, after = [], []
    for topic in changes.create:
        settings = ", ".join(f"{key}={value}" for key, value in sorted(topic.config.items()))
        after.append(f"{topic.name}: {topic.partitions} partitions, {topic.replication_factor} replicas, {settings}")
    for name, (old, new) in changes.grow.items():
        before.append(f"{name}: {old} partitions")
        after.append(f"{name}: {new} partitions")
    for name, settings in changes.configure.items():
        for key, (old, new) in settings.items():
            before.append(f"{name}: {key}={'(default)' if old is None else old}")
            after.append(f"{name}: {key}={'(default)' if new is None else new}")
    return ansible_diff(before, after)


def main() -> None:
    topic = {
        "name": {"type": "str", "required": True},
        "partitions": {"type": "int", "required": True},
        "replication_factor": {"type": "int", "required": True},
        "config": {"type": "dict", "default": {}},
    }
    module = site_module(topics={"type": "list", "elements": "dict", "required": True, "options": topic})

    def work(site) -> dict:
        wanted = read(module.params["topics"])
        changes = topic_changes(wanted, site.topics(topic.name for topic in wanted))
        if changes.refused:
            raise ZadsError("; ".join(changes.refused))
        if not module.check_mode:
            site.change_topics(changes)
        return {
            "changed": bool(changes),
            "created": [topic.name for topic in changes.create],
            "grown": sorted(changes.grow),
            "configured": sorted(changes.configure),
            "diff": difference(changes),
        }

    run(module, work)


if __name__ == "__main__":
    main()
