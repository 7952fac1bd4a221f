#!/usr/bin/python
"""The gate of rolling operations: waits until a broker may go down, or until brokers are back."""
# ruff: noqa: E402 - the order Ansible asks for: documentation, then imports

from __future__ import annotations

DOCUMENTATION = r"""
module: kafka_gate
short_description: Wait until a broker may go down, or until it is fully back
description:
  - Runs on the control machine, and changes only leaders. C(zads.site.gate) makes the decision.
  - The action plugin of the same name calls it for some seconds at a time, and shows between two calls what it waits
    for.
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
  later:
    description: Brokers that the same operation restarts after this one. The controller has to be the last.
    type: list
    elements: int
    default: []
  defer_controller:
    description: Answer RV(deferred) if the broker is the controller, in place of a refusal
    type: bool
    default: false
  doing:
    description: What the hosts of brokers report of them, by number. A refusal repeats it for brokers that are away.
    type: dict
    default: {}
  free_percent: {description: Least free space of every broker's disks in percent, type: int, default: 0}
  wait: {description: Maximum seconds to wait, type: int, required: true}
"""

EXAMPLES = r"""
- name: May this broker go down
  kafka_gate:
    client: clients/admin-origin.properties
    state: may_stop
    brokers: [1]
    expected: [1, 2, 3]
    wait: 600
"""

RETURN = r"""
deferred: {description: Whether the broker is the controller and has to be the last, returned: success, type: bool}
reasons: {description: The reasons against it, returned: always, type: list, elements: str}
elected: {description: Number of partitions given back to their preferred leader, returned: success, type: int}
"""

import time

from ansible.module_utils.basic import AnsibleModule
from confluent_kafka import ElectionType, KafkaException, TopicPartition
from confluent_kafka.admin import ConfigResource, ResourceType

from zads.errors import ZadsError
from zads.kafka import admin, read_properties
from zads.site import broker_requests, gate

PAUSE = 0.5  # seconds between looks
ANSWER = 10  # seconds that a broker has to answer one request


def describe(client) -> tuple[gate.Cluster, dict[int, tuple[str, int]]]:
    """The cluster as its brokers describe it now, and the address of each broker."""
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
    addresses = {number: (broker.host, broker.port) for number, broker in metadata.brokers.items()}
    return gate.Cluster(frozenset(addresses), metadata.controller_id, partitions, minimum), addresses


def describe_all(client, conf: dict) -> gate.Cluster:
    """As `describe`, with disks and reassignments. Raises ZadsError if a registered broker does not answer."""
    cluster, addresses = describe(client)
    directories = {
        number: tuple(broker_requests.log_directories(conf, *address, ANSWER)) for number, address in addresses.items()
    }
    moving = []
    if cluster.controller in addresses:
        moving = broker_requests.reassignments(conf, *addresses[cluster.controller], ANSWER)
    return gate.Cluster(
        cluster.brokers, cluster.controller, cluster.partitions, cluster.min_insync, directories, tuple(moving)
    )


def elect(client, cluster: gate.Cluster) -> int:
    """Give partitions back to their preferred leaders. Returns how many."""
    strayed = [TopicPartition(partition.topic, partition.number) for partition in gate.misplaced(cluster)]
    if strayed:
        # confluent-kafka 2.16 refuses a request_timeout for this call, so we limit the wait ourselves.
        answers = client.elect_leaders(ElectionType.PREFERRED, strayed).result(ANSWER)
        return sum(error is None for error in answers.values())
    return 0


def look(client, conf: dict, params: dict) -> tuple[list[str], gate.Cluster | None]:
    """Reasons to wait, and the cluster if it answers."""
    try:
        if params["state"] == "may_stop":
            cluster = describe_all(client, conf)
            return gate.may_stop(params["brokers"][0], cluster, operation(params)), cluster
        cluster, _ = describe(client)
    except KafkaException as error:
        return [f"the site does not answer: {error.args[0].str()}"], None
    except ZadsError as error:
        return [str(error)], None
    doing = as_numbers(params["doing"])
    reasons = [r for broker in params["brokers"] for r in gate.not_recovered(broker, cluster, doing)]
    return list(dict.fromkeys(reasons)), cluster


def operation(params: dict) -> gate.Operation:
    """What the gate must know of the operation. A controller that is to be deferred is not a reason to wait."""
    return gate.Operation(
        frozenset(params["expected"]),
        frozenset() if params["defer_controller"] else frozenset(params["later"]),
        as_numbers(params["doing"]),
        params["free_percent"],
    )


def as_numbers(doing: dict) -> dict[int, str]:
    """The option ``doing``, whose keys Ansible turns into text."""
    return {int(number): str(what) for number, what in doing.items()}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "client": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["may_stop", "recovered"], "required": True},
            "brokers": {"type": "list", "elements": "int", "required": True},
            "expected": {"type": "list", "elements": "int", "default": []},
            "later": {"type": "list", "elements": "int", "default": []},
            "defer_controller": {"type": "bool", "default": False},
            "doing": {"type": "dict", "default": {}},
            "free_percent": {"type": "int", "default": 0},
            "wait": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    params = module.params
    if params["state"] == "may_stop" and len(params["brokers"]) != 1:
        module.fail_json(msg="may_stop is asked for one broker at a time")
    try:
        conf = read_properties(params["client"])
        client = admin({**conf, "log_level": "0"})
    except ZadsError as error:
        module.fail_json(msg=str(error))
    deadline = time.monotonic() + (0 if module.check_mode else params["wait"])
    while True:
        reasons, cluster = look(client, conf, params)
        if not reasons or time.monotonic() >= deadline:
            break
        time.sleep(PAUSE)
    if reasons and not module.check_mode:
        what = "may not go down" if params["state"] == "may_stop" else "is not back"
        who = ", ".join(map(str, params["brokers"]))
        module.fail_json(msg=f"broker {who} {what}: {'; '.join(reasons)}", reasons=reasons)
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
