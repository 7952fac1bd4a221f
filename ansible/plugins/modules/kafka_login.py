#!/usr/bin/python
"""Logs in at every broker of a site with passwords that have just been changed."""
# ruff: noqa: E402 - the order Ansible asks for: documentation, then imports

from __future__ import annotations

DOCUMENTATION = r"""
module: kafka_login
short_description: Require that passwords serve at every broker
description:
  - Runs on the control machine, logs in, and changes nothing. Brokers learn a changed password one after the other, so
    each is asked until it accepts it or O(wait) is over.
options:
  brokers: {description: Addresses of the listener for clients, type: list, elements: str, required: true}
  authority: {description: File of the authorities that the brokers' certificates may be of, type: path, required: true}
  users: {description: Passwords by user, type: dict, required: true}
  wait: {description: Seconds for all brokers to accept all passwords, type: int, default: 60}
"""

EXAMPLES = r"""
- name: Require that the new passwords serve
  kafka_login:
    brokers: ["192.0.2.11:9094"]
    authority: .zads/local/secrets/public/kafka-ca.crt
    users: {reader: "{{ password }}"}
"""

RETURN = r"""
problems: {description: Who is refused where, returned: always, type: list, elements: str}
"""

import time

from ansible.module_utils.basic import AnsibleModule

from zads import kafka, reach

PAUSE = 0.5  # seconds between two attempts: a broker delays its answer to a wrong password by one second


def refusals(brokers: list[str], authority: str, users: dict[str, str], wait: float) -> list[str]:
    """A line for each user and broker that does not accept the password in time."""
    until = time.monotonic() + wait
    found = []
    for user, password in sorted(users.items()):
        lines = kafka.with_password(brokers, authority, user, password).splitlines()
        properties = dict(line.split("=", 1) for line in lines)
        for broker in brokers:
            while (step := reach.login(properties, broker)).state != reach.OK and time.monotonic() < until:
                time.sleep(PAUSE)
            if step.state != reach.OK:
                found.append(f"{broker}: {user}: {step.says}")
    return found


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "brokers": {"type": "list", "elements": "str", "required": True},
            "authority": {"type": "path", "required": True},
            "users": {"type": "dict", "required": True, "no_log": True},
            "wait": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    params = module.params
    if problems := refusals(params["brokers"], params["authority"], params["users"], params["wait"]):
        module.fail_json(msg="; ".join(problems), problems=problems)
    module.exit_json(changed=False, problems=[])


if __name__ == "__main__":
    main()
