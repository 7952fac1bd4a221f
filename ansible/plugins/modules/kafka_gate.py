#!/usr/bin/python
"""The gate of rolling operations: waits until a broker may go down, or until brokers are back."""
# ruff: noqa: E402 - the order Ansible asks for: documentation, then imports

from __future__ import annotations

DOCUMENTATION = r"""
module: kafka_gate
short_description: Wait until a broker may go down, or until it is fully back
description:
  - Runs on the control machine, and changes only leaders. C(zads.site.gate) makes the decision.
options:
  client: {description: The administrator's client configuration, type: path, required: true}
  state:
    description:
      - V(may_stop) waits until the broker may go down without making a partition unwritable; fails with the reasons.
      - V(recovered) waits until the brokers are registered and every partition has all its replicas in sync, then
        gives partitions back to their preferred leaders.
    type: str
    choices: [may_stop, recovered]
    required: true
  brokers: {description: Numbers of the brokers; exactly one for V(may_stop), type: list, elements: int, required: true}
  expected: {description: All brokers of the site, type: list, elements: int, default: []}
  defer_controller: {description: Answer RV(deferred) if the broker is the controller, type: bool, default: false}
  wait: {description: Maximum seconds to wait, type: int, default: 600}
"""

EXAMPLES = r"""
- name: May this broker go down
  kafka_gate: {client: clients/admin-origin.properties, state: may_stop, brokers: [1], expected: [1, 2, 3]}
"""

RETURN = r"""
deferred: {description: Whether the broker is the controller and has to be the last, returned: always, type: bool}
reasons: {description: "In check mode, the reasons against it", returned: always, type: list, elements: str}
elected: {description: Number of partitions given back to their preferred leader, returned: always, type: int}
"""

import time

from ansible.module_utils.basic import AnsibleModule
from confluent_kafka import ElectionType, KafkaException, TopicPartition
from confluent_kafka.admin import ConfigResource, ResourceType

from zads.errors import ZadsError
from zads.kafka import admin, read_properties
from zads.site import gate

PAUSE = 0.5  # seconds between looks
ANSWER = 10  # seconds that a broker has to answer one request


def describe(client) -> gate.Cluster:
    """The cluster as its brokers describe it now."""
    metadata = client.list_topics(timeout=ANSWER)
    names = list(metadata.topics)
    minimum = {}
    if names:
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        for resource, future in client.describe_configs(resources, request_timeout=ANSWER).items():
            minimum[resource.name] = int(future.result()["min.insync.replicas"].value)
    partitions = tuple(
        gate.PartitionState(
            name,
            number,
            partition.leader if partition.leader >= 0 else None,
            tuple(partition.replicas),
            frozenset(partition.isrs),
        )
        for name, topic in metadata.topics.items()
        for number, partition in topic.partitions.items()
    )
    return gate.Cluster(frozenset(metadata.brokers), metadata.controller_id, partitions, minimum)


def elect(client, cluster: gate.Cluster) -> int:
    """Give partitions back to their preferred leaders. Returns how many."""
    strayed = [TopicPartition(partition.topic, partition.number) for partition in gate.misplaced(cluster)]
    if strayed:
        # confluent-kafka 2.16 refuses a request_timeout for this call, so we limit the wait ourselves.
        answers = client.elect_leaders(ElectionType.PREFERRED, strayed).result(ANSWER)
        return sum(error is None for error in answers.values())
    return 0


def look(client, params: dict) -> tuple[list[str], gate.Cluster | None]:
    """Reasons to wait, and the cluster if it answers."""
    try:
        cluster = describe(client)
    except KafkaException as error:
        return [f"the site does not answer: {error.args[0].str()}"], None
    if params["state"] == "may_stop":
        return gate.may_stop(params["brokers"][0], cluster, params["expected"]), cluster
    return list(dict.fromkeys(r for broker in params["brokers"] for r in gate.not_recovered(broker, cluster))), cluster


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "client": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["may_stop", "recovered"], "required": True},
            "brokers": {"type": "list", "elements": "int", "required": True},
            "expected": {"type": "list", "elements": "int", "default": []},
            "defer_controller": {"type": "bool", "default": False},
            "wait": {"type": "int", "default": 600},
        },
        supports_check_mode=True,
    )
    params = module.params
    if params["state"] == "may_stop" and len(params["brokers"]) != 1:
        module.fail_json(msg="may_stop is asked for one broker at a time")
    try:
        client = admin({**read_properties(params["client"]), "log_level": "0"})
    except ZadsError as error:
        module.fail_json(msg=str(error))
    deadline = time.monotonic() + (0 if module.check_mode else params["wait"])
    while True:
        reasons, cluster = look(client, params)
        if not reasons or time.monotonic() >= deadline:
            break
        time.sleep(PAUSE)
    if reasons and not module.check_mode:
        what = "may not go down" if params["state"] == "may_stop" else "is not back"
        who = ", ".join(map(str, params["brokers"]))
        module.fail_json(msg=f"broker {who} {what} after {params['wait']} s: {'; '.join(reasons)}", reasons=reasons)
    deferred = bool(params["defer_controller"] and cluster and cluster.controller == params["brokers"][0])
    elected = 0
    if params["state"] == "recovered" and cluster and not module.check_mode:
        try:
            elected = elect(client, cluster)
        except (
            KafkaException,
            TimeoutError,
        ) as error:  # the controller is moving: the cluster elects by itself every five minutes
            module.warn(f"leaders were not given back: {error}")
    module.exit_json(changed=False, deferred=deferred, reasons=reasons, elected=elected)


if __name__ == "__main__":
    main()
