#!/usr/bin/python
"""Checks whether a site keeps its promises now."""
# ruff: noqa: E402 - the order Ansible asks for: documentation, then imports

from __future__ import annotations

DOCUMENTATION = r"""
module: kafka_health
short_description: Refuse a site that does not keep its promises
description:
  - Runs on the control machine and changes nothing. Reports all reasons at once.
  - Checks that every broker is up, and that every partition has a leader, the wanted number of replicas, and all of
    them in sync. Checks that both listeners of every broker refuse clients without credentials, with wrong ones, or
    without encryption.
options:
  client: {description: Properties file of the site's administrator, type: path, required: true}
  brokers: {description: Numbers of the brokers that must be up, type: list, elements: int, required: true}
  clients: {description: "HOST:PORT of every broker, for clients", type: list, elements: str, required: true}
  topics: {description: Topics and the replicas that they must have, type: dict, required: true}
  refusal: {description: Seconds during which a stranger must get no answer, type: int, default: 4}
"""

EXAMPLES = r"""
- name: The public site keeps its promises
  kafka_health:
    client: .zads/local/clients/admin-public.properties
    brokers: [1, 2, 3]
    clients: ["192.0.2.11:9094", "192.0.2.12:9094", "192.0.2.13:9094"]
    topics: {zads_rejected: 3}
"""

RETURN = r"""
reasons: {description: What is wrong, returned: failure, type: list, elements: str}
partitions: {description: Number of partitions that were checked, returned: success, type: int}
strangers: {description: Number of ways to connect that were tried and refused, returned: success, type: int}
"""

import socket
from concurrent.futures import ThreadPoolExecutor

from ansible.module_utils.kafka_site import run, site_module
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from zads.errors import some

NAMED = 3  # partitions that a reason names: hundreds lag when a broker is down
STRANGER = "nobody-at-all"
CREDENTIALS = {"sasl.mechanism": "SCRAM-SHA-512", "sasl.username": STRANGER, "sasl.password": STRANGER}


def cluster_reasons(metadata, brokers: list[int], topics: dict[str, int]) -> list[str]:
    """The problems of brokers, partitions and replicas, from one reading of the cluster's metadata."""
    reasons = [f"broker {number} is not up" for number in sorted(set(brokers) - set(metadata.brokers))]
    reasons += [f"the topic {name} is missing" for name in sorted(set(topics) - set(metadata.topics))]
    alike: dict[str, list[str]] = {}
    for name, topic in sorted(metadata.topics.items()):
        for number, partition in sorted(topic.partitions.items()):
            where = f"{name}-{number}"
            if partition.leader < 0:
                alike.setdefault("no leader", []).append(where)
            for broker in sorted(set(partition.replicas) - set(partition.isrs)):
                alike.setdefault(f"not in sync on broker {broker}", []).append(where)
            if name in topics and len(partition.replicas) != topics[name]:
                alike.setdefault(f"{len(partition.replicas)} replicas, not {topics[name]}", []).append(where)
    return reasons + [f"{what}: {some(where, NAMED)}" for what, where in alike.items()]


def attempts(conf: dict[str, str], clients: list[str]) -> dict[str, dict[str, str]]:
    """Every way to connect that must fail: its description, and its client configuration."""
    authority = {"ssl.ca.location": conf["ssl.ca.location"]}
    kinds = {
        "without encryption": {"security.protocol": "plaintext"},
        "encrypted, without credentials": {"security.protocol": "ssl", **authority},
        "with credentials of nobody": {"security.protocol": "sasl_ssl", **authority, **CREDENTIALS},
        "with credentials of nobody, without encryption": {"security.protocol": "sasl_plaintext", **CREDENTIALS},
    }
    listeners = {**dict.fromkeys(clients, "clients"), **dict.fromkeys(conf["bootstrap.servers"].split(","), "brokers")}
    return {
        f"{kind}, at the listener for {whom} of {address}": {**settings, "bootstrap.servers": address}
        for address, whom in listeners.items()
        for kind, settings in kinds.items()
    }


def silent(addresses: list[str], seconds: int) -> list[str]:
    """Listeners that do not answer: if a stranger cannot connect to one of these, that proves nothing."""
    reasons = []
    for address in addresses:
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=seconds).close()
        except OSError as error:
            reasons.append(f"nobody listens at {address}: {error}")
    return reasons


def comes_in(settings: dict[str, str], seconds: int) -> bool:
    """Whether a broker answers this client."""
    client = AdminClient({**settings, "log_level": "0", "error_cb": lambda _: None})
    try:
        client.list_topics(timeout=seconds)
    except KafkaException:
        return False
    return True


def main() -> None:
    module = site_module(
        brokers={"type": "list", "elements": "int", "required": True},
        clients={"type": "list", "elements": "str", "required": True},
        topics={"type": "dict", "required": True},
        refusal={"type": "int", "default": 4},
    )
    params = module.params

    def work(site) -> dict:
        wanted = {str(name): int(replicas) for name, replicas in params["topics"].items()}
        metadata = site.metadata()
        reasons = cluster_reasons(metadata, params["brokers"], wanted)
        reasons += silent([*params["clients"], *site.conf["bootstrap.servers"].split(",")], params["refusal"])
        tried = attempts(site.conf, params["clients"])
        with ThreadPoolExecutor(len(tried)) as pool:
            answers = pool.map(lambda settings: comes_in(settings, params["refusal"]), tried.values())
        reasons += [f"a client is let in: {how}" for how, entered in zip(tried, answers, strict=True) if entered]
        if reasons:
            module.fail_json(msg=f"{len(reasons)} promises are not kept: {'; '.join(reasons)}", reasons=reasons)
        return {
            "changed": False,
            "partitions": sum(len(topic.partitions) for topic in metadata.topics.values()),
            "strangers": len(tried),
        }

    run(module, work)


if __name__ == "__main__":
    main()
