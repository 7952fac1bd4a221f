"""The alarms for Prometheus and Alertmanager, from the package and from the inventory.

Ansible loads every filter in each of its workers, so this file imports what is heavy only when it is called.
"""

from __future__ import annotations

DOCUMENTATION = """
name: alarm_rules
short_description: Prometheus' rules and Alertmanager's configuration
description:
  - C(alarm_rules) makes the rules of all alarms.
  - C(alarm_routing) makes Alertmanager's configuration from the variables C(alarms_to), C(alarms_mail) and
    C(alarms_secrets). C(alarm_secrets) makes the contents of the files that this configuration names, by their names.
options:
  _input: {description: "Where the runbooks are, or the variables", type: raw, required: true}
  directory: {description: Directory of the secret files on the host, type: str}
"""

EXAMPLES = """
rules: "{{ 'https://docs.example.org/runbooks' | alarm_rules }}"
config: "{{ {'alarms_to': alarms_to} | alarm_routing('/etc/zads/alertmanager/load') }}"
secrets: "{{ {'alarms_to': alarms_to, 'alarms_secrets': alarms_secrets} | alarm_secrets }}"
"""

RETURN = """
_value: {description: Rules, a configuration, or secrets by the names of their files, type: dict}
"""


def alarm_rules(runbooks):
    """The content of a file of rules."""
    from zads.alarms import rules

    return rules.rules(runbooks)


def alarm_routing(variables, directory):
    """Alertmanager's configuration. Raises zads.site.policy.PolicyError."""
    from zads.alarms import routing

    return routing.routing(variables, directory).config


def alarm_secrets(variables):
    """The secret files that the configuration names: their contents by name. Raises zads.site.policy.PolicyError."""
    from zads.alarms import routing

    return routing.routing(variables, "").secrets


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        return {"alarm_routing": alarm_routing, "alarm_rules": alarm_rules, "alarm_secrets": alarm_secrets}
