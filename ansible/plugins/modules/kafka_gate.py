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
      - V(may_replace) is V(may_stop) for a broker whose data are gone or will be. It may be away already; its own disks
        do not matter; every partition must have another replica in sync.
      - V(may_start_empty) waits until a broker without data may start without harm to the data of others.
      - V(recovered) waits until the brokers are registered and every partition has all its replicas in sync, then
        gives partitions back to their preferred leaders.
    type: str
    choices: [may_stop, may_replace, may_start_empty, recovered]
    required: true
  brokers:
    description: Numbers of the brokers; exactly one, except for V(recovered).
    type: list
    elements: int
    required: true
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
holds: {description: Number of partitions that have a replica on the first broker, returned: always, type: int}
"""

import time

from ansible.module_utils.basic import AnsibleModule
from confluent_kafka import ElectionType, KafkaException, TopicPartition

from zads.errors import ZadsError
from zads.kafka import admin, read_properties
from zads.site import gate
from zads.site.look import ANSWER, describe, describe_all

PAUSE = 0.5  # seconds between looks
ASKS_DISKS = {"may_stop": gate.may_stop, "may_replace": gate.may_replace}
REFUSALS = {
    "may_stop": "may not go down",
    "may_replace": "may not be replaced",
    "may_start_empty": "may not start without its data",
    "recovered": "is not back",
}


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
        if params["state"] in ASKS_DISKS:
            cluster, _ = describe_all(client, conf)
            return ASKS_DISKS[params["state"]](params["brokers"][0], cluster, operation(params)), cluster
        cluster, _ = describe(client)
    except KafkaException as error:
        return [f"the site does not answer: {error.args[0].str()}"], None
    except ZadsError as error:
        return [str(error)], None
    if params["state"] == "may_start_empty":
        return gate.may_start_empty(params["brokers"][0], cluster), cluster
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
            "state": {"type": "str", "choices": list(REFUSALS), "required": True},
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
    if params["state"] != "recovered" and len(params["brokers"]) != 1:
        module.fail_json(msg=f"{params['state']} is asked for one broker at a time")
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
    holds = len(cluster.holds(params["brokers"][0])) if cluster and params["brokers"] else 0
    if reasons and not module.check_mode:
        who = ", ".join(map(str, params["brokers"]))
        why = "; ".join(reasons)
        module.fail_json(msg=f"broker {who} {REFUSALS[params['state']]}: {why}", reasons=reasons, holds=holds)
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
    module.exit_json(changed=False, deferred=deferred, reasons=reasons, elected=elected, holds=holds)


if __name__ == "__main__":
    main()
