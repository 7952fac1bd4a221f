#!/usr/bin/python
"""Moves a site's replicas to the brokers that are to have them, and balances leaders."""
# ruff: noqa: E402 - the order Ansible asks for: documentation, then imports

from __future__ import annotations

DOCUMENTATION = r"""
module: kafka_reassign
short_description: Move replicas to other brokers, evenly and over racks
description:
  - Runs on the control machine. C(zads.site.placement) makes the plan, C(zads.site.moving) carries it out.
  - Follows copies that are under way, whoever began them, before it plans. So a run that was interrupted is repeated.
  - The action plugin of the same name calls it for some seconds at a time, and shows between two calls how far it is.
    If the time is over, the copies that are under way go on by themselves.
  - Needs a site whose brokers are all up and in sync, except those in O(leaving).
options:
  client: {description: The administrator's client configuration, type: path, required: true}
  state:
    description:
      - V(planned) makes the plan, says what it does, and changes nothing. So does check mode.
      - V(moved) carries it out, takes the bounds on copies away, and gives leaders back.
      - V(cancelled) ends the copies that are under way. Their partitions keep the replicas that they had.
    type: str
    choices: [planned, moved, cancelled]
    required: true
  racks: {description: "The brokers that are to have replicas: number, and rack or nothing", type: dict, required: true}
  leaving: {description: Brokers that are to have no replica; they may be away, type: list, elements: int, default: []}
  spread: {description: "true: use brokers evenly; false: move only what has to leave", type: bool, default: true}
  rate: {description: "Bytes a second that each broker may send, and receive, for copies", type: int, required: true}
  at_once: {description: Partitions that are copied at the same time, type: int, default: 8}
  free_percent: {description: Least free space of every broker's disks in percent, type: int, default: 0}
  doing: {description: What the hosts of brokers report of them by number, type: dict, default: {}}
  wait: {description: Maximum seconds to wait, type: int, required: true}
  carried: {description: What an earlier call has returned as RV(carried), type: dict, default: {}}
"""

EXAMPLES = r"""
- name: Use every broker of the site evenly
  kafka_reassign:
    client: clients/admin-public.properties
    state: moved
    racks: {1: a, 2: b, 3: c, 4: a}
    rate: 52428800
    wait: 3600
"""

RETURN = r"""
said: {description: "The plan: a summary, then a line for each move", returned: success, type: list, elements: str}
moves: {description: Number of partitions that the plan moves, returned: success, type: int}
cancelled: {description: Partitions whose copies were ended, returned: V(cancelled), type: list, elements: str}
reasons: {description: What it waits for, returned: always, type: list, elements: str}
carried: {description: The plan that is being carried out, returned: failure, type: dict}
"""

import time

from ansible.module_utils.basic import AnsibleModule
from confluent_kafka import KafkaError, KafkaException

from zads.errors import ZadsError
from zads.kafka import read_properties
from zads.site.moving import Mover, Task, Work, planned, summary
from zads.site.placement import Move, PlanError

PAUSE = 1.0  # seconds between looks


def task(params: dict) -> Task:
    """The task of the module's options, whose keys Ansible turns into text."""
    return Task(
        {int(number): str(rack or "") for number, rack in params["racks"].items()},
        frozenset(params["leaving"]),
        params["spread"],
        params["rate"],
        params["at_once"],
        params["free_percent"],
        {int(number): str(what) for number, what in params["doing"].items()},
    )


def carried(work: Work | None, changed: bool) -> dict:
    """A plan as the next call takes it, and whether anything was changed so far."""
    if work is None:
        return {"changed": changed}
    left = [[move.topic, move.number, list(move.before), list(move.after)] for move in work.left]
    return {"changed": changed, "left": left, "moves": work.moves, "size": work.size}


def known(given: dict) -> Work | None:
    """The plan that an earlier call has returned."""
    if "left" not in given:
        return None
    left = [Move(topic, number, tuple(before), tuple(after)) for topic, number, before, after in given["left"]]
    return Work(tuple(left), given["moves"], given["size"])


def words(error: Exception) -> str:
    """An error of the site in one sentence."""
    reason = error.args[0] if error.args else error
    return f"the site does not answer: {reason.str()}" if isinstance(reason, KafkaError) else str(error)


def move(module: AnsibleModule, mover: Mover, wanted: Task) -> None:
    """Carry the plan out for at most ``wait`` seconds, and end the module."""
    work = known(module.params["carried"])
    deadline = time.monotonic() + module.params["wait"]
    changed = bool(module.params["carried"].get("changed"))
    while True:
        try:
            work, reasons = mover.step(wanted, work)
        except PlanError as error:  # no wait helps
            module.fail_json(msg=str(error))
        except (KafkaException, ZadsError) as error:  # also while a broker or the controller moves
            reasons = [words(error)]
        changed = changed or work is not None
        if not reasons:
            module.exit_json(changed=changed, said=[], moves=0, reasons=[])
        if time.monotonic() >= deadline:
            break
        time.sleep(PAUSE)
    module.fail_json(
        msg=f"replicas are not where they are to be: {'; '.join(reasons)}",
        reasons=reasons,
        carried=carried(work, changed),
    )


def plan(module: AnsibleModule, mover: Mover, wanted: Task) -> None:
    """Say what a run would do, and end the module."""
    view = mover.view()
    moves = planned(wanted, view)
    moving = [f"under way: {one}" for one in view.cluster.reassignments]
    said = [*moving, summary(moves, view, wanted), *map(str, moves)] if moves else [*moving, "no replica has to move"]
    module.exit_json(changed=bool(moves), said=said, moves=len(moves), reasons=[])


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "client": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["planned", "moved", "cancelled"], "required": True},
            "racks": {"type": "dict", "required": True},
            "leaving": {"type": "list", "elements": "int", "default": []},
            "spread": {"type": "bool", "default": True},
            "rate": {"type": "int", "required": True},
            "at_once": {"type": "int", "default": 8},
            "free_percent": {"type": "int", "default": 0},
            "doing": {"type": "dict", "default": {}},
            "wait": {"type": "int", "required": True},
            "carried": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    try:
        wanted, mover = task(module.params), Mover(read_properties(module.params["client"]))
        if module.params["state"] == "planned" or module.check_mode:
            plan(module, mover, wanted)
        if module.params["state"] == "moved":
            move(module, mover, wanted)
        ended = mover.cancel()
    except (KafkaException, ZadsError) as error:
        module.fail_json(msg=words(error))
    module.exit_json(changed=bool(ended), cancelled=ended, said=[], moves=0, reasons=[])


if __name__ == "__main__":
    main()
