#!/usr/bin/python
"""Gives a running broker the changes of its settings that need no restart."""
# ruff: noqa: E402 - the order Ansible asks for: documentation, then imports

from __future__ import annotations

DOCUMENTATION = r"""
module: kafka_broker_settings
short_description: Give a running broker the changes of its settings that need no restart
description:
  - Runs on the control machine. C(zads.site.broker_settings) says what needs a restart; Kafka itself says which
    settings a broker can take while it runs.
  - If any change needs a restart, nothing is given, since the restart brings all of them.
  - Values that were given by hand are taken away, except the throttles of a reassignment.
options:
  client: {description: Properties file of the site's administrator, type: path, required: true}
  broker: {description: Number of the broker, type: int, required: true}
  wanted: {description: The text of the file that the broker shall have, type: str, required: true}
  started: {description: The text of the file that it started with, type: str, required: true}
  tidy:
    description: Take away values that only repeat the file as well, as after a restart
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Give the broker what needs no restart
  kafka_broker_settings:
    client: .zads/local/clients/admin-public.properties
    broker: 1
    wanted: "{{ lookup('template', 'server.properties.j2') }}"
    started: "{{ started.content | b64decode }}"
"""

RETURN = r"""
up: {description: Whether the broker is up. Nothing else is known of one that is not, returned: success, type: bool}
restart: {description: Settings that need a restart, returned: success, type: list, elements: str}
given: {description: Settings that the broker was given, returned: success, type: list, elements: str}
removed: {description: Settings that were taken away from it, returned: success, type: list, elements: str}
said: {description: One sentence for each change, returned: success, type: list, elements: str}
"""

from ansible.module_utils.kafka_site import ansible_diff, run, site_module

from zads.site.broker_settings import plan, read


def main() -> None:
    text = {"type": "str", "required": True}
    module = site_module(
        broker={"type": "int", "required": True}, wanted=text, started=text, tidy={"type": "bool", "default": False}
    )
    params = module.params

    def work(site) -> dict:
        nothing = {"changed": False, "restart": [], "given": [], "removed": [], "said": []}
        if params["broker"] not in site.metadata().brokers:
            return {**nothing, "up": False}
        given, dynamic, everywhere = site.broker_settings(params["broker"])
        if everywhere:
            module.warn(
                f"given by hand to all brokers: {', '.join(everywhere)}; kafka-configs --entity-default takes it away"
            )
        wanted = plan(read(params["wanted"]), read(params["started"]), given, dynamic, tidy=params["tidy"])
        changes = {**{name: new for name, (_, new) in wanted.at_once.items()}, **dict.fromkeys(wanted.remove)}
        if changes and not module.check_mode:
            site.set_broker(params["broker"], changes)
        return {
            "up": True,
            "changed": bool(changes),
            "restart": list(wanted.restart),
            "given": list(wanted.at_once),
            "removed": list(wanted.remove),
            "said": wanted.lines(),
            "diff": difference(params["broker"], {**wanted.at_once, **wanted.remove}),
        }

    run(module, work)


def difference(broker: int, changes: dict) -> dict:
    """What a running broker is given, one setting a line."""
    before = [f"broker {broker}: {name}={old}" for name, (old, _) in changes.items()]
    after = [f"broker {broker}: {name}={new}" for name, (_, new) in changes.items()]
    return ansible_diff(before, after)


if __name__ == "__main__":
    main()
